"""Repair: changes by other programs are noticed, held by base protection, and undone."""
