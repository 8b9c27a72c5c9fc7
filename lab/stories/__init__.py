"""The stories of the examples: shown on a throw-away host, and told."""
