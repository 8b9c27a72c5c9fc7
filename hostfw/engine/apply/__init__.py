"""One apply: who asked for it, the check of what the host would lose, and the generation that is accepted."""
