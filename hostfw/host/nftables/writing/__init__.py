"""Changes of the ruleset: scripts by way of libnftables, and batches by netlink."""
