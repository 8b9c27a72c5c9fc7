"""Compiling again after a change: what is kept from one plan to the next, and what has to be made anew."""
