"""Verbs about a configuration, before it is in force: read, judge, compare, compile it."""
