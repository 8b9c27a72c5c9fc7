"""Members of sets that change without a generation."""
