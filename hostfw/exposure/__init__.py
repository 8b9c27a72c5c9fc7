"""Exposure: who can reach each service of a host, as exact sets of sources, without effects."""
