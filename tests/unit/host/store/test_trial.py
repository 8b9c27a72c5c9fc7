"""The trial that waits to be confirmed, and the last event, on disk."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hostfw.host.store.generations.last_event import Event, EventKind, load_event, save_event
from hostfw.host.store.generations.trial import (
    RollbackTimer,
    Trial,
    boot_id,
    forget_trial,
    load_rollback_timer,
    load_trial,
    save_rollback_timer,
    save_trial,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
PENDING = Trial("000007-ab", 7, "0123456789ab", 6, False, NOON, 17.5, "b")


@pytest.mark.parametrize("previous", [6, None])
def test_what_waits_comes_back_as_it_was_saved(tmp_path: Path, previous: int | None) -> None:
    """The directory is made where there is none, for root alone."""
    trial = Trial("000007-ab", 7, "0123456789ab", previous, previous is None, NOON, 17.5, "b")

    save_trial(tmp_path / "state", trial)

    assert load_trial(tmp_path / "state") == (trial, ())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("cookies", [None, frozenset[int](), frozenset({1, 1 << 40})])
def test_what_belongs_to_the_boot_comes_back(tmp_path: Path, cookies: frozenset[int] | None) -> None:
    """No connections noted is another thing than no connections."""
    save_rollback_timer(tmp_path / "run", RollbackTimer("t", "process:1:n", cookies))

    assert load_rollback_timer(tmp_path / "run") == RollbackTimer("t", "process:1:n", cookies)


def test_nothing_waits_where_nothing_is(tmp_path: Path) -> None:
    """No directory, or a file in its place; forgetting what is not there does nothing."""
    (tmp_path / "file").touch()

    for state in (tmp_path / "none", tmp_path / "file"):
        assert load_trial(state) == (None, ())
        assert load_rollback_timer(state) is None
    forget_trial(tmp_path / "none", tmp_path / "none")


def test_what_is_forgotten_does_not_wait(tmp_path: Path) -> None:
    """Both halves are gone."""
    save_trial(tmp_path / "state", PENDING)
    save_rollback_timer(tmp_path / "run", RollbackTimer("t", "unit:n"))

    forget_trial(tmp_path / "state", tmp_path / "run")

    assert load_trial(tmp_path / "state") == (None, ())
    assert load_rollback_timer(tmp_path / "run") is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b"\xff", b'{"format": 2}'])
def test_garbage_is_said(tmp_path: Path, content: bytes) -> None:
    """Something waited: that must not pass for nothing."""
    (tmp_path / "pending.json").write_bytes(content)

    trial, problems = load_trial(tmp_path)

    assert trial is None
    assert [problem.message for problem in problems] == ["was not written by hostfw"]
    assert load_rollback_timer(tmp_path) == RollbackTimer("", "")


@pytest.mark.parametrize("kind", EventKind)
def test_the_last_event_comes_back(tmp_path: Path, kind: EventKind) -> None:
    """Every kind of it; a later one takes its place."""
    save_event(tmp_path, Event(EventKind.FAILED, NOON, "a", "why"))
    save_event(tmp_path, Event(kind, NOON, "b", "because"))

    assert load_event(tmp_path) == Event(kind, NOON, "b", "because")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1, "kind": "danced"}'])
def test_an_event_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    """It is for people alone."""
    (tmp_path / "event.json").write_text(content)

    assert load_event(tmp_path) is None


def test_a_boot_has_an_id() -> None:
    """The same for as long as it lasts."""
    assert len(boot_id()) == 32
    assert boot_id() == boot_id()


def test_a_service_goes_by_the_boot_that_systemd_tells_it_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it and hostfwctl agree in a container, too."""
    monkeypatch.setenv("HOSTFW_BOOT_ID", "4511683c32ef4e709c410441bf354e4d")

    assert boot_id() == "4511683c32ef4e709c410441bf354e4d"
