"""Verbs of bundles, by which a fleet takes its policy."""
