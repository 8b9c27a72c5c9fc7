"""The journal: where events go for good, as fields. Without journald they are JSON lines on a stream.

Entries go to journald's own socket in its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), not through
`sd_journal_sendv`: that waits without end for a journald that hangs, and says nothing where there is none.
"""

import errno
import json
import select
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from hostfw.host.errors import HostError, reason

SOCKET = Path("/run/systemd/journal/socket")
"""There while journald runs (systemd-journald.service(8))."""

PATIENCE_S = 0.05
"""Time that an entry waits for a busy journald: its socket holds 512 of them (net.unix.max_dgram_qlen)."""

_DATAGRAMS = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_MOST_BYTES = 6 * 1024
"""Of one value: all of an entry go into one datagram, which the socket takes up to 208 KiB (net.core.wmem_default)."""
_CUT = b"..."
_LENGTH = struct.Struct("<Q")


class Journal(Protocol):
    """A sink for journal entries."""

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Raises HostError."""


@dataclass(frozen=True, slots=True)
class SystemdJournal:
    """journald, by its socket. It is found anew for each entry, since journald may have started anew."""

    path: Path = SOCKET
    patience_s: float = PATIENCE_S

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry to the journal. Raises HostError."""
        entry = b"".join(_native(fields))
        try:
            with socket.socket(socket.AF_UNIX, _DATAGRAMS) as sock:
                sock.connect(str(self.path))
                try:
                    sock.send(entry)
                except BlockingIOError:
                    self._wait(sock)
                    sock.send(entry)
        except OSError as error:
            why = "it accepts no more entries at the moment" if error.errno == errno.EAGAIN else reason(error)
            raise HostError(f"the journal cannot be written: {why}") from error

    def _wait(self, sock: socket.socket) -> None:
        """Wait a moment for room."""
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        poll.poll(self.patience_s * 1000)


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


def open_journal(stream: TextIO | None = None, path: Path = SOCKET) -> Journal:
    """The journal where journald runs; otherwise the stream, by default standard error."""
    return SystemdJournal(path) if path.is_socket() else JsonLines(stream or sys.stderr)


def _native(fields: Mapping[str, str]) -> Iterator[bytes]:
    """Each field on a line, or where its value has more than one, with its length in front."""
    for name, value in fields.items():
        data = value.encode(errors="replace")
        if len(data) > _MOST_BYTES:
            data = data[: _MOST_BYTES - len(_CUT)] + _CUT
        if b"\n" in data:
            yield name.encode() + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
        else:
            yield name.encode() + b"=" + data + b"\n"
