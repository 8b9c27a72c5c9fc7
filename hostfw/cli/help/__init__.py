"""The help pages of the verbs."""
