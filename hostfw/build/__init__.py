"""From sources to a generation: decoded, checked, resolved and compiled, with what is kept for the next time."""
