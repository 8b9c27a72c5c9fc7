"""Entries that a command itself writes to the journal, since no service takes part in what it does."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from hostfw.engine.context import Host
from hostfw.host.errors import HostError
from hostfw.host.journal.writer import SOCKET, open_journal


def to_journal(entry: Mapping[str, str]) -> None:
    """Write an entry to the journal. Without journald there is nobody to tell but the caller, who is told anyway."""
    if SOCKET.is_socket():
        with suppress(HostError):
            open_journal().send(entry)


def announcing(host: Host) -> Host:
    """The same host, with a journal of its own."""
    return replace(host, announce=to_journal)
