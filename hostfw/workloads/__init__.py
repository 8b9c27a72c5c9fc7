"""Readers of what runs: small programs that know one engine each and nothing of firewalls.

Each is a process of its own (`hostfw-workloads@READER.service`) and writes WorkloadEndpoints to files below
`/run/hostfw/workloads`, as any hook of a user may.
"""
