"""Processes, this one and others: memory, descriptors, signals."""
