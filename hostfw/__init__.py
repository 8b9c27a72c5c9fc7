"""hostfw: Calico-style policy for Linux hosts, enforced by nftables."""

__version__ = "0.1.0"
