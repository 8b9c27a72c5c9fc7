"""Address translation by other programs, as rules say it: ports that they publish."""
