"""Descriptors that are watched: whether one still is what it was when it was opened.

An event loop hears nothing of a descriptor that was closed under it, by a defect of ours or of a library: epoll(7)
forgets it without a word, and its number may be given to something else.
"""

import os


def descriptor_identity(descriptor: int) -> tuple[int, int] | None:
    """The device and inode behind a descriptor (of a socket, one that no other has); None if it is closed."""
    try:
        info = os.fstat(descriptor)
    except (OSError, OverflowError):
        return None
    return info.st_dev, info.st_ino
