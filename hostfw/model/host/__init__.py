"""One host at one moment: its interfaces, addresses, connections and services."""
