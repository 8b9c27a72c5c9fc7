"""The state of the host's firewall as it is read, without loading what would change it: verbs that look are quick."""
