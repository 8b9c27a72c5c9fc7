"""Stored scripts of whole generations, put into force where the sources do not build."""
