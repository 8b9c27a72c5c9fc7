"""The journal, and what takes its place."""

import errno
import io
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostfw.host.errors import HostError
from hostfw.host.journal.writer import Journal, JsonLines, SystemdJournal, open_journal
from hostfw.journal.packet_entry import fields
from lab.fakes.fakes import FakeJournal
from tests.unit.builders.event_builders import event

ENTRY = {"MESSAGE": "denied", "HOSTFW_POLICY": "café"}


class Journald:
    """A socket where journald has its own, and what came through it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))

    def received(self) -> bytes:
        """The next datagram."""
        return self.socket.recv(1 << 20)

    def stop(self) -> None:
        """As when journald is stopped for good."""
        self.socket.close()
        self.path.unlink()


@pytest.fixture(name="journald")
def _journald(tmp_path: Path) -> Iterator[Journald]:
    journald = Journald(tmp_path / "socket")
    yield journald
    journald.socket.close()


def test_where_journald_runs_it_gets_the_fields(journald: Journald) -> None:
    """Each as NAME=value, and one of more than one line with its length in front (JOURNAL_NATIVE_PROTOCOL)."""
    value = "one\ntwo"
    open_journal(io.StringIO(), journald.path).send({**ENTRY, "HOSTFW_PROBLEMS": value})

    expected = "MESSAGE=denied\nHOSTFW_POLICY=café\n".encode()
    assert journald.received() == expected + b"HOSTFW_PROBLEMS\n" + struct.pack("<Q", 7) + b"one\ntwo\n"


def test_without_journald_there_are_lines_of_json(tmp_path: Path) -> None:
    """One an entry, with the same fields."""
    stream = io.StringIO()

    journal = open_journal(stream, tmp_path / "no-socket")
    journal.send(ENTRY)
    journal.send(fields(event()))

    lines = stream.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [ENTRY, fields(event())]


def test_the_stream_is_standard_error_unless_another_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service manager writes it down."""
    open_journal(path=tmp_path / "no-socket").send({"MESSAGE": "x"})

    assert capsys.readouterr().err == '{"MESSAGE": "x"}\n'


def test_a_journald_that_starts_anew_is_found_again(journald: Journald) -> None:
    """And one that is gone is an error rather than a loss that nobody notices."""
    journal = open_journal(io.StringIO(), journald.path)
    journald.stop()

    with pytest.raises(HostError, match="the journal cannot be written: there is no such file"):
        journal.send(ENTRY)
    with_new = Journald(journald.path)
    journal.send(ENTRY)

    assert with_new.received().startswith(b"MESSAGE=denied\n")
    with_new.stop()


def test_a_journald_that_hangs_holds_nobody_up(journald: Journald) -> None:
    """It takes some entries, then none until it reads again."""
    journal = SystemdJournal(journald.path, patience_s=0.001)
    refusals: list[str] = []
    sent = 0
    while not refusals:
        try:
            journal.send(ENTRY)
            sent += 1
        except HostError as error:
            refusals.append(error.message)

    assert refusals == ["the journal cannot be written: it accepts no more entries at the moment"]
    assert [journald.received()[:15] for _ in range(sent)] == [b"MESSAGE=denied\n"] * sent
    journal.send(ENTRY)
    assert journald.received().startswith(b"MESSAGE=denied\n")


def test_what_is_too_long_is_cut_and_not_refused_for_ever(journald: Journald) -> None:
    """As what nft has to say of a thousand lines; no field of an entry takes the room of the others."""
    SystemdJournal(journald.path).send({f"HOSTFW_{number}": "x" * 1_000_000 for number in range(30)})

    fields = journald.received().splitlines()
    assert len(fields) == 30
    assert {field.partition(b"=")[2] for field in fields} == {b"x" * (6 * 1024 - 3) + b"..."}


class _Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("journal", "expected"),
    [(JsonLines(_Full()), "events cannot be written: the disk is full")],
    ids=["a stream"],
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
