"""Verbs that put a configuration into force, take it back and tell of it."""
