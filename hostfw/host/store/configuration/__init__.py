"""The configuration directory: which files count, and what they say."""
