"""Verbs about the host as a whole, and about hostfwctl itself."""
