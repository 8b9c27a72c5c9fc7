"""Workloads that run on this host, as files say."""
