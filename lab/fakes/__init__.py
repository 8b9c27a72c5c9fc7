"""Fakes of the outside world that behave as it does."""
