"""DHCP: clients at work, and the leases that they keep."""
