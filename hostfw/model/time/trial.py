"""Limits of the time that a change may wait for its confirmation."""

SHORTEST_TRIAL_S, LONGEST_TRIAL_S = 1, 86_400
"""From a second to a day."""
