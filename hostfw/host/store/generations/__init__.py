"""Generations on disk: the active one, the accepted ones, and their parts."""
