"""Bursts of events are acted on once, neither too early nor too late."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.host.time.debounce import Debounce


@pytest.mark.parametrize(
    ("events", "due"),
    [
        ((), None),
        ((0.0,), 0.1),
        ((0.0, 0.05), 0.15),
        ((0.0, 0.05, 0.1, 0.15, 0.2, 0.25), 0.3),
        ((5.0, 5.29), 5.3),
    ],
)
def test_a_burst_is_due_when_it_is_quiet_or_has_waited_enough(events: tuple[float, ...], due: float | None) -> None:
    """A tenth of a second after the last event, three tenths after the first."""
    debounce = Debounce(quiet_s=0.1, at_most_s=0.3)
    for now in events:
        debounce = debounce.noted(now)

    assert debounce.due == pytest.approx(due)
    assert debounce.done().due is None


@given(
    gaps_ms=st.lists(st.integers(0, 500), max_size=60),
    quiet_ms=st.integers(1, 200),
    at_most_ms=st.integers(1, 1000),
)
def test_every_event_is_acted_on_in_time_and_no_more_often_than_allowed(
    gaps_ms: list[int], quiet_ms: int, at_most_ms: int
) -> None:
    """With an actor who acts at the moment that is due: the clock is in whole milliseconds, so sums are exact."""
    debounce = Debounce(quiet_ms, at_most_ms)
    now, waiting, waited, acted = 0, list[int](), list[int](), list[float]()

    def act_until(moment: float) -> None:
        nonlocal debounce
        while debounce.due is not None and debounce.due <= moment:
            acted.append(debounce.due)
            waited.extend(int(debounce.due) - event for event in waiting)
            waiting.clear()
            debounce = debounce.done()

    for gap in gaps_ms:
        now += gap
        act_until(now)
        debounce = debounce.noted(now)
        waiting.append(now)
    act_until(float("inf"))

    assert len(waited) == len(gaps_ms)
    assert all(0 < wait <= at_most_ms for wait in waited)
    assert all(later - earlier >= min(quiet_ms, at_most_ms) for earlier, later in pairwise(acted))
