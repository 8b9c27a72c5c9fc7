"""Configurations and mixtures of policies to measure with."""
