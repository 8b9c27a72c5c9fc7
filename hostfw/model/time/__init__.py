"""Moments and times: as text, as limits, and what has expired."""
