"""Changes of the names in one folder (inotify(7)): files made, removed and renamed, and the folder itself.

Python has no module for it; the C library is asked directly.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path

_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_ONLY_A_FOLDER = 0x01000000
_MASK = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_A_FOLDER
_OF_THE_FOLDER = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _OVERFLOW | _IGNORED
_EVENT = struct.Struct("=iIII")
_READ_BYTES = 64 * 1024


class FolderEvents:
    """Hears of what becomes of one name in a folder, and of the folder. Raises OSError."""

    def __init__(self, path: Path) -> None:
        """Of the folder that is there now."""
        self._name = os.fsencode(path.name)
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(libc.inotify_init1(_NONBLOCK_CLOEXEC))
        try:
            _checked(libc.inotify_add_watch(self._descriptor, os.fsencode(path.parent), _MASK))
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._descriptor

    def read(self) -> bool:
        """True if something happened to the name since the last time; never waits.

        Raises FileNotFoundError once the folder is another one, or none: then nothing more is heard.
        """
        concerns_us = False
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        while data:
            _, mask, _, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            data = data[_EVENT.size + length :]
            if mask & _OF_THE_FOLDER:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            concerns_us |= name == self._name
        return concerns_us

    def close(self) -> None:
        """Stop listening."""
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
