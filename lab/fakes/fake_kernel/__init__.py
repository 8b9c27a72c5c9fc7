"""An nftables in memory: its tables, the scripts that change them, and the interface that hostfw uses."""
