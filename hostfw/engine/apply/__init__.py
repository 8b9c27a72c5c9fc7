"""One apply: who asked for it, its judgement, and the generation that is accepted."""
