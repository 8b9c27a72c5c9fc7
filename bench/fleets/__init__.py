"""Fleets of hosts: their configurations, their bundles, and their rollouts."""
