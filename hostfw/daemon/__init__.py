"""The service: one event loop that keeps a generation in force, and answers requests."""
