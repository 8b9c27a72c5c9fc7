"""The notes about configurations that did not come into force."""

from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.build.refused import Refused
from hostfw.engine.context import Directories, Host
from hostfw.engine.events import note_refused
from hostfw.host.store.generations.last_event import load_event
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.problems import Problem

PLACES = [
    ("of a file", Position("/etc/hostfw/web.yaml", 7, 3), "/etc/hostfw/web.yaml:7: no"),
    ("of the host itself", NOWHERE, "no"),
]


@pytest.mark.parametrize(("name", "place", "reason"), PLACES, ids=[case[0] for case in PLACES])
def test_the_reason_of_a_refusal_has_its_place_if_there_is_one(
    tmp_path: Path, name: str, place: Position, reason: str
) -> None:
    """A problem of the kernel is in no file."""
    directories = Directories(*(tmp_path / folder for folder in ("etc", "var", "run")))
    note_refused(directories, replace(Host(), announce=lambda _: None), Refused((Problem(place, "no"),)))

    event = load_event(directories.state)
    assert event is not None
    assert event.reason == reason, name
