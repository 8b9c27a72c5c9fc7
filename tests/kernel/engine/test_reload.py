"""A reload in an engine that lives on costs what changed: ratios in one run, since machines differ."""

from collections.abc import Iterator

import pytest

from bench import reload
from lab.namespace import LabError

POLICIES = 600
ROUNDS = 3


@pytest.fixture(name="engine", scope="module")
def _engine() -> Iterator[reload.Living]:
    try:
        with reload.living(POLICIES) as made:
            yield made
    except LabError as reason:
        pytest.skip(str(reason))


@pytest.fixture(name="first_s", scope="module")
def _first_s(engine: reload.Living) -> float:
    return engine.reload_s()


def test_a_reload_without_a_change_takes_a_fraction_of_the_first(engine: reload.Living, first_s: float) -> None:
    """A tenth at most, where a thirtieth is usual, and nothing is sent."""
    assert min(engine.reload_s(changes=False) for _ in range(ROUNDS)) < first_s / 10


def test_one_changed_policy_takes_less_than_half_of_the_first(engine: reload.Living, first_s: float) -> None:
    """A seventh is usual; with ten times the policies a twentieth."""
    changes = [reload.one_policy(engine, number) for number in range(ROUNDS)]

    assert min(one.whole_s for one in changes) < first_s / 2
    assert min(one.switch_s for one in changes) < first_s / 50
