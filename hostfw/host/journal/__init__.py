"""The journal of this host: written and read."""
