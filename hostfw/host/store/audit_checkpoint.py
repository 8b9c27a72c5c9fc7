"""The position in the log that was reported, kept in the run directory for the next reader.

It is written for every event, into a few bytes of a file in memory (/run): one system call, which no crash interrupts.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from hostfw.host.store.codec import saving

_FILE = "audit.heard"
_LAYOUT = struct.Struct("=8sQQQ")
_MAGIC = b"hostfw/1"


class AuditCheckpoint(NamedTuple):
    """The numbers of reported or lost records, and of suppressed packets, by the kernel's count."""

    records: int
    suppressed: int


@dataclass(frozen=True, slots=True)
class AuditCheckpointFile:
    """The file, open for as long as somebody reads the log."""

    descriptor: int

    @classmethod
    def open(cls, run_dir: Path) -> Self:
        """Open the file or make it. Raises StateError."""
        with saving("how much of the log was read"):
            run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            return cls(os.open(run_dir / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))

    def load(self) -> AuditCheckpoint | None:
        """The checkpoint of this network namespace, or None if there is none that can be trusted."""
        data = os.pread(self.descriptor, _LAYOUT.size + 1, 0)
        if len(data) != _LAYOUT.size:
            return None
        magic, namespace, records, suppressed = _LAYOUT.unpack(data)
        return AuditCheckpoint(records, suppressed) if (magic, namespace) == (_MAGIC, _namespace()) else None

    def save(self, checkpoint: AuditCheckpoint) -> None:
        """Keep it. Raises StateError."""
        with saving("how much of the log was read"):
            os.pwrite(self.descriptor, _LAYOUT.pack(_MAGIC, _namespace(), *checkpoint), 0)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)


def _namespace() -> int:
    """The inode of our network namespace: the tables of another namespace have other counters."""
    return Path("/proc/thread-self/ns/net").stat().st_ino
