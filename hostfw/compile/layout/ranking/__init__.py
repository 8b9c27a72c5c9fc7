"""Rules that no cut makes short, found by rank in hash maps."""
