"""Files written atomically: a reader, or a boot after a crash, finds either the old content or the new."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hostfw.host.errors import reason

_ROOM_BYTES, _ROOM_FILES = 64 * 1024, 8


class WriteError(OSError):
    """A file could not be written; what it held before is still there."""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {reason(self)}"


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that it holds `data` durably, or what it held before. Raises WriteError.

    A kill between the steps leaves a temporary file behind, which `remove_leftovers` removes. It is locked while it
    is written, so that this needs no other agreement between those who write and those who remove.
    """
    try:
        temporary, descriptor = _temporary(path, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(path)) from error


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody looks for yet, as in `folder_aside`; its folder is to be synced once. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def link_atomically(path: Path, target: str) -> None:
    """Let a symbolic link lead to `target` from one moment to the next; durable once its folder is. Raises OSError."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        temporary.symlink_to(target)
        try:
            temporary.replace(path)
        except FileNotFoundError:
            # Taken for a leftover of a killed writer, since nothing can hold a link.
            continue
        return


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """A new folder beside the one that it is to become once it is complete, and gone unless it was renamed by then.

    It is locked like what `write_atomically` writes. Raises OSError.
    """
    while True:
        aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        aside.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            descriptor = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _is_held(aside, descriptor):
                break
    try:
        yield aside
    finally:
        os.close(descriptor)
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder, and nothing that is being written. Raises OSError."""
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            with suppress(OSError):
                _remove_leftover(path)


def _temporary(path: Path, mode: int) -> tuple[Path, int]:
    """A new file beside a path, and a descriptor that holds it."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        if _is_held(temporary, descriptor):
            return temporary, descriptor


def _is_held(path: Path, descriptor: int) -> bool:
    """Take the lock of a file or folder that was just made; False if it was removed before.

    A file system without locks, as some on a network, has no sweep either: that needs the lock as well.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if path.exists():
        return True
    os.close(descriptor)
    return False


def _remove_leftover(path: Path) -> None:
    """Remove a temporary file, folder or link unless somebody writes it."""
    if path.is_symlink():
        # `link_atomically` makes another.
        path.unlink(missing_ok=True)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def removed(path: Path) -> bool:
    """Remove a file, whether it can be looked at or not; False if there was none. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def is_read_only(path: Path) -> bool:
    """True if a file system is mounted read-only (statvfs(3)); False where that cannot be told."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def is_full(path: Path) -> bool:
    """True if a file system has no room for a small file of ours; False where that cannot be told."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _ROOM_BYTES or (found.f_files > 0 and found.f_favail < _ROOM_FILES)
