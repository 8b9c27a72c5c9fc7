"""Trying again: after a wait, until a disk takes it, and with a new listener."""
