"""Waits before repairs: none at first, longer and longer while tampering goes on, and none again afterwards."""

from hostfw.daemon.retries.backoff import Backoff


def test_repairs_that_come_one_after_the_other_wait_longer_and_longer() -> None:
    """Half a second at first, twice as long each time, and never longer than the longest."""
    backoff = Backoff(window_s=60, free=2, longest_s=3)
    waits = []
    for moment in range(7):
        waits.append(backoff.wait_s(moment))
        backoff.note(moment)
    assert waits == [0, 0, 0.5, 1, 2, 3, 3]


def test_a_quiet_minute_is_forgiven() -> None:
    """Repairs of long ago do not slow those of now."""
    backoff = Backoff(window_s=60, free=2)
    for moment in (0, 1, 2):
        backoff.note(moment)
    assert backoff.recent == 3
    assert backoff.wait_s(2) == 1
    assert backoff.wait_s(62) == 0
    assert backoff.recent == 0
