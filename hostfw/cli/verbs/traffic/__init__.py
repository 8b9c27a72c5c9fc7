"""Verbs that say what became of packets."""
