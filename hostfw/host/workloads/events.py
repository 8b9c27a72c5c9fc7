"""Changes of the files about workloads, told by the kernel (inotify(7)).

Python has no inotify; the C library is asked directly. The folder is made where it is missing, and watched anew when
it is replaced. Readers of workloads listen to the folders of their engines in the same way, and make none.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

_CLOSE_WRITE, _ATTRIB, _MOVED_FROM, _MOVED_TO = 0x8, 0x4, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF, _IGNORED = 0x100, 0x200, 0x400, 0x800, 0x8000
_ONLY_FOLDERS = 0x01000000
_WATCHED = (
    _CLOSE_WRITE | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDERS
)
_FOLDER_MODE = 0o755
_READ_BYTES = 64 * 1024


_WHOLE = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE


class FolderNews(IntEnum):
    """The changes since the last time: none, some, or some that leave files whole, as a renaming does."""

    NOTHING = 0
    SOMETHING = 1
    WHOLE = 2


class WorkloadEvents:
    """Hears of changes in a folder; `read` says if there were any. Raises OSError."""

    def __init__(self, folder: Path, *, make: bool = True, counts: Callable[[str], bool] = lambda _name: True) -> None:
        """Listens from now on to names that count; the folder is made unless `make` is False."""
        if make:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), folder)
        try:
            _checked(libc.inotify_add_watch(self._fd, os.fsencode(folder), _WATCHED), folder)
        except OSError:
            self.close()
            raise
        self._folder = folder
        self._counts = counts

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._fd

    def read(self) -> FolderNews:
        """Say what has changed since the last time; never waits. Raises OSError once the folder is gone."""
        data = b""
        with suppress(BlockingIOError):
            data = os.read(self._fd, _READ_BYTES)
        news = FolderNews.NOTHING
        for mask, name in _events(data):
            if mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED):
                raise OSError(errno.ENOENT, "the folder has been removed or replaced", str(self._folder))
            if not name or self._counts(name):
                # Of one without a name, as where too many were missed, nothing is known.
                news = max(news, FolderNews.WHOLE if mask & _WHOLE else FolderNews.SOMETHING)
        return news

    def close(self) -> None:
        """Stop listening."""
        os.close(self._fd)


def _events(data: bytes) -> Iterator[tuple[int, str]]:
    """The masks of events with the names of files: struct inotify_event, whose name is padded to `len` bytes."""
    place = 0
    while place < len(data):
        end = place + 16 + int.from_bytes(data[place + 12 : place + 16], sys.byteorder)
        yield (
            int.from_bytes(data[place + 4 : place + 8], sys.byteorder),
            os.fsdecode(data[place + 16 : end].rstrip(b"\0")),
        )
        place = end


def _checked(result: int, folder: Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(folder))
    return result
