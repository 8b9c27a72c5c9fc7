"""The journal: where events go for good, as fields. Without journald they are JSON lines on a stream."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from hostfw.host.errors import HostError
from hostfw.host.files import reason

SOCKET = Path("/run/systemd/journal/socket")
"""There while journald runs (systemd-journald.service(8))."""


class Journal(Protocol):
    """What takes events."""

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Raises HostError."""


@dataclass(frozen=True, slots=True)
class SystemdJournal:
    """journald, through systemd-python; `sendv` takes `NAME=value` texts."""

    sendv: Callable[..., None]

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry to the journal. Raises HostError."""
        try:
            self.sendv(*(f"{name}={value}" for name, value in fields.items()))
        except OSError as error:
            raise HostError(f"the journal cannot be written: {reason(error)}") from error


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A stream that gets each entry as one line of JSON, at once."""

    stream: TextIO

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry to the stream. Raises HostError."""
        try:
            self.stream.write(f"{json.dumps(dict(fields))}\n")
            self.stream.flush()
        except OSError as error:
            raise HostError(f"events cannot be written: {reason(error)}") from error


def open_journal(stream: TextIO | None = None, socket: Path = SOCKET) -> Journal:
    """The journal where journald runs and systemd-python is there; otherwise the stream, by default standard error."""
    lines = JsonLines(stream or sys.stderr)
    if not socket.is_socket():
        return lines
    try:
        # python3-systemd is a recommendation, not a dependency: a container has no use for it.
        from systemd.journal import sendv
    except ImportError:
        return lines
    return SystemdJournal(sendv)
