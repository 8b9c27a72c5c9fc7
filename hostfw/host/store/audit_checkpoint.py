"""The position in the log that was reported, kept in the run directory for the next reader.

It is written for every event, into a few bytes of a file in memory (/run): one system call, which no crash interrupts.
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hostfw.host.errors import reason
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations.active import network_namespace

_FILE = "audit.heard"
_LAYOUT = struct.Struct("=8sQQQ")
_MAGIC = b"hostfw/1"


class AuditCheckpoint(NamedTuple):
    """The numbers of reported or lost records, and of suppressed packets, by the kernel's count."""

    records: int
    suppressed: int


class AuditCheckpointFile:
    """The file, open for as long as somebody reads the log; opened again where it failed or was removed."""

    def __init__(self, run_dir: Path) -> None:
        """Nothing is touched yet."""
        self._path = run_dir / _FILE
        self._descriptor: int | None = None

    def load(self) -> AuditCheckpoint | None:
        """The checkpoint of this network namespace, or None if there is none that can be trusted.

        Raises StateError and Unreadable.
        """
        try:
            with self._opened("read") as descriptor:
                data = os.pread(descriptor, _LAYOUT.size + 1, 0)
        except StateError:
            if self._is_of_another_kind():
                return None
            raise
        if len(data) != _LAYOUT.size:
            return None
        magic, namespace, records, suppressed = _LAYOUT.unpack(data)
        return AuditCheckpoint(records, suppressed) if (magic, namespace) == (_MAGIC, network_namespace()) else None

    def save(self, checkpoint: AuditCheckpoint) -> None:
        """Keep it. Something else at the path than a file gives way to one. Raises StateError and Unreadable."""
        try:
            self._save(checkpoint)
        except StateError:
            if not self._is_of_another_kind():
                raise
            self._make_room()
            self._save(checkpoint)

    def _save(self, checkpoint: AuditCheckpoint) -> None:
        with self._opened("saved") as descriptor:
            os.ftruncate(descriptor, _LAYOUT.size)
            os.pwrite(descriptor, _LAYOUT.pack(_MAGIC, network_namespace(), *checkpoint), 0)

    def _is_of_another_kind(self) -> bool:
        """True if there is something else than a file, such as a link, a pipe or a folder."""
        try:
            return not stat.S_ISREG(os.lstat(self._path).st_mode)
        except OSError:
            return False

    def _make_room(self) -> None:
        """Remove what is not a file; a folder that is not empty stays, and is an error."""
        try:
            if stat.S_ISDIR(os.lstat(self._path).st_mode):
                self._path.rmdir()
            else:
                self._path.unlink()
        except OSError as error:
            raise _failure(self._path, "saved", error) from error

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _opened(self, done: str) -> Iterator[int]:
        """The descriptor of the file that is at its path now."""
        try:
            if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:
                self.close()
            if self._descriptor is None:
                self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._path, flags, 0o600)
            yield self._descriptor
        except OSError as error:
            self.close()
            raise _failure(self._path, done, error) from error


def _failure(path: Path, done: str, error: OSError) -> StateError:
    return StateError(f"{path}: how much of the log was read cannot be {done}: {reason(error)}")
