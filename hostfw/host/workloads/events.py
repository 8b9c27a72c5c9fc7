"""Changes of the files about workloads, told by the kernel (inotify(7)).

Python has no inotify; the C library is asked directly. The folder is made where it is missing, and watched anew when
it is replaced. Readers of workloads listen to the folders of their engines in the same way, and make none.
"""

import ctypes
import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

_CLOSE_WRITE, _ATTRIB, _MOVED_FROM, _MOVED_TO = 0x8, 0x4, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF, _IGNORED = 0x100, 0x200, 0x400, 0x800, 0x8000
_ONLY_FOLDERS = 0x01000000
_WATCHED = (
    _CLOSE_WRITE | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDERS
)
_FOLDER_MODE = 0o755
_READ_BYTES = 64 * 1024


class WorkloadEvents:
    """Hears of changes in a folder; `read` says that there were any. Raises OSError."""

    def __init__(self, folder: Path, *, make: bool = True) -> None:
        """Listens from now on; the folder is made unless `make` is False."""
        if make:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            _checked(libc.inotify_add_watch(self._fd, os.fsencode(folder), _WATCHED))
        except OSError:
            self.close()
            raise
        self._folder = folder

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._fd

    def read(self) -> bool:
        """True if anything has changed since the last time; never waits. Raises OSError once the folder is gone."""
        data = b""
        with suppress(BlockingIOError):
            data = os.read(self._fd, _READ_BYTES)
        if any(mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED) for mask in _masks(data)):
            raise OSError(errno.ENOENT, "the folder has been removed or replaced", str(self._folder))
        return bool(data)

    def close(self) -> None:
        """Stop listening."""
        os.close(self._fd)


def _masks(data: bytes) -> list[int]:
    """The masks of events: struct inotify_event, whose name is padded to `len` bytes."""
    masks = []
    place = 0
    while place < len(data):
        masks.append(int.from_bytes(data[place + 4 : place + 8], sys.byteorder))
        place += 16 + int.from_bytes(data[place + 12 : place + 16], sys.byteorder)
    return masks


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
