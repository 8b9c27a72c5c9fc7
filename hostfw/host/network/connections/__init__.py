"""Connection tracking: entries read, made and ended."""
