"""Verbs that put a configuration into force, roll it back and tell of it."""
