"""Bundles: a directory of policy as one signed file, and which host takes it when."""
