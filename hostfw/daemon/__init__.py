"""The service: one event loop that keeps a generation in force, and answers who asks for another."""
