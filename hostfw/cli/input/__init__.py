"""The data that verbs work on: configurations, facts, generations, log records."""
