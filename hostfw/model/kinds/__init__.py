"""Kinds of resources by subject, and what all of them have."""
