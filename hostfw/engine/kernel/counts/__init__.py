"""Counts that the kernel keeps for us, and their meaning."""
