"""Interfaces: their addresses, bridges, and changes of them."""
