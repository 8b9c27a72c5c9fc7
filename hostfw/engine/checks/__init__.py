"""Checks of a change before it is put into force: what the host would lose by it."""
