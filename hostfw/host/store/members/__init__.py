"""Members of sets on disk, and the time that they have left."""
