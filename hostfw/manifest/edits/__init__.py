"""Edits of files that a person wrote: resources added, and staged ones promoted."""
