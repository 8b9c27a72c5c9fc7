"""nftables of this host: scripts into the kernel, and reading back what it holds."""
