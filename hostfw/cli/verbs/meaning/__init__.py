"""Verbs that say what policy means on this host."""
