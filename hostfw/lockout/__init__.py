"""The lock-out check: the connections that a host depends on, judged by a candidate generation."""
