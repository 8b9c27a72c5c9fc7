"""The journal, and what takes its place."""

import errno
import io
import json
import os
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hostfw.audit.events import fields
from hostfw.host.errors import HostError
from hostfw.host.journal import Journal, JsonLines, SystemdJournal, open_journal
from hostfw.testing.fakes import FakeJournal
from tests.unit.event_builders import event

ENTRY = {"MESSAGE": "denied\nor not", "HOSTFW_POLICY": "café"}


@pytest.fixture(name="running")
def _running(tmp_path: Path) -> Path:
    """A socket where journald has its own."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(path))
    return path


def systemd(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Put a systemd-python in place that keeps what it is given."""
    sent: list[tuple[str, ...]] = []
    journal = ModuleType("systemd.journal")
    journal.sendv = lambda *texts: sent.append(texts)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "systemd", ModuleType("systemd"))
    monkeypatch.setitem(sys.modules, "systemd.journal", journal)
    return sent


def test_where_journald_runs_it_gets_the_fields(monkeypatch: pytest.MonkeyPatch, running: Path) -> None:
    """Each as NAME=value, whatever the value holds."""
    sent = systemd(monkeypatch)

    open_journal(io.StringIO(), running).send(ENTRY)

    assert sent == [("MESSAGE=denied\nor not", "HOSTFW_POLICY=café")]


def test_without_journald_there_are_lines_of_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One an entry, with the same fields."""
    systemd(monkeypatch)
    stream = io.StringIO()

    journal = open_journal(stream, tmp_path / "no-socket")
    journal.send(ENTRY)
    journal.send(fields(event()))

    lines = stream.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [ENTRY, fields(event())]


def test_without_systemd_python_there_are_lines_too(monkeypatch: pytest.MonkeyPatch, running: Path) -> None:
    """Debian does not install it with a minimal system."""
    monkeypatch.setitem(sys.modules, "systemd", None)
    monkeypatch.setitem(sys.modules, "systemd.journal", None)

    assert isinstance(open_journal(io.StringIO(), running), JsonLines)


def test_the_stream_is_standard_error_unless_another_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which a service manager writes down."""
    open_journal(socket=tmp_path / "no-socket").send({"MESSAGE": "x"})

    assert capsys.readouterr().err == '{"MESSAGE": "x"}\n'


def _refuse(*_: str) -> None:
    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


class _Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        (SystemdJournal(_refuse), "the journal cannot be written: no buffer space available"),
        (JsonLines(_Full()), "events cannot be written: the disk is full"),
    ],
    ids=["journald", "a stream"],
)
def test_what_cannot_be_written_is_an_error(journal: Journal, expected: str) -> None:
    """An event is never lost in silence."""
    with pytest.raises(HostError) as caught:
        journal.send(ENTRY)

    assert caught.value.message == expected


def test_the_fake_keeps_what_it_is_sent() -> None:
    """In order, as it was when it was sent."""
    journal = FakeJournal()
    entry = dict(ENTRY)
    journal.send(entry)
    entry["MESSAGE"] = "changed"

    assert journal.sent == [ENTRY]
