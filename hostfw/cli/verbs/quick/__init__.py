"""Verbs that write policy in a few words."""
