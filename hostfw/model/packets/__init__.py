"""A packet, the verdict on it, and the reasons."""
