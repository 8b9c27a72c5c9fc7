"""The journal's entries of an identifier, past and new ones."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hostfw.host.errors import HostError, reason
from hostfw.host.journal.writer import SOCKET

SERVICE = "hostfw.service"
"""The unit that writes what it reads in the log."""

_FOLDERS = (Path("/run/log/journal"), Path("/var/log/journal"))
_WHO_MAY = "run it as root, or as a member of the group systemd-journal or adm"

Entry = Mapping[str, object]
"""The fields of an entry; what is not text is left as it came."""


class History(Protocol):
    """A source of entries in order, such as `JournalHistory`."""

    def entries(self) -> Iterator[Entry]:
        """Those that are there and were not given yet. Raises HostError."""

    def wait(self, timeout_s: float | None) -> None:
        """Wait until there may be more, at most so long."""


class JournalHistory:
    """The journal from a moment on, or from the start of this boot: what our service said under an identifier.

    Others may call themselves what they like, root's processes among them; the unit and the user are the journal's own
    word (systemd.journal-fields(7)). A unit of that name in a user's own manager is another (`_SYSTEMD_USER_UNIT`).
    """

    def __init__(self, identifier: str, message_ids: Sequence[str], since: datetime | None) -> None:
        from systemd.journal import Reader

        if not _may_read():
            raise HostError("the journal may not be read", _WHO_MAY) from PermissionError(errno.EACCES, "")
        try:
            self._reader = Reader(converters={"MESSAGE_ID": bytes.decode})
            self._reader.add_match(f"SYSLOG_IDENTIFIER={identifier}", "_UID=0", f"_SYSTEMD_UNIT={SERVICE}")
            self._reader.add_match(*(f"MESSAGE_ID={message_id}" for message_id in message_ids))
            if since is None:
                self._reader.this_boot()
                self._reader.seek_head()
            else:
                self._reader.seek_realtime(since.timestamp())
        except OSError as error:
            raise HostError(f"the journal cannot be read: {reason(error)}") from error

    def entries(self) -> Iterator[Entry]:
        """Those that are there and were not given yet. Raises HostError."""
        try:
            while entry := self._reader.get_next():
                yield entry
        except OSError as error:
            raise HostError(f"the journal cannot be read: {reason(error)}") from error

    def wait(self, timeout_s: float | None) -> None:
        """Wait until there may be more, at most so long."""
        self._reader.wait(timeout_s)


def _may_read() -> bool:
    """True if we may read the system's journal: to who may not, libsystemd shows one without an entry."""
    if os.geteuid() == 0:
        return True
    files = (file for folder in _FOLDERS for file in folder.glob("*/system*.journal"))
    return any(os.access(file, os.R_OK) for file in files)


def why_no_history() -> str:
    """The reason why nobody can look back in a journal here; empty where there is one."""
    if not SOCKET.is_socket():
        return f"no journald listens at {SOCKET}"
    try:
        import systemd.journal  # noqa: F401  that it is there is asked
    except ImportError:
        return "python3-systemd is not installed"
    return ""


def open_history(identifier: str, message_ids: Sequence[str], since: datetime | None) -> History | None:
    """The journal's history, or None where `why_no_history` has a reason. Raises HostError."""
    return None if why_no_history() else JournalHistory(identifier, message_ids, since)
