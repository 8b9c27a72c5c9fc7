"""The ways to files: the folders and symbolic links that a path passes, and who could lead it elsewhere."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

_MOST_LINKS = 40
"""The kernel follows so many symbolic links of one path (path_resolution(7))."""
_MOUNTS = Path("/proc/self/mountinfo")
_OF_THE_KERNEL = frozenset(
    (
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "securityfs",
        "selinuxfs",
        "smackfs",
        "sysfs",
        "tracefs",
    )
)
"""File systems (filesystems(5)) whose files the kernel makes up when they are read."""


class Step(NamedTuple):
    """A folder or a symbolic link on the way to a file."""

    path: Path
    info: os.stat_result

    @property
    def is_link(self) -> bool:
        """True if it is a symbolic link."""
        return stat.S_ISLNK(self.info.st_mode)


class Suspicion(NamedTuple):
    """A step that others than its owner could lead elsewhere: which, why, and what would change that."""

    path: Path
    message: str
    expected: str
    hint: str


def suspicion(path: Path, owner: int, trusted: Path) -> Suspicion | None:
    """The first step to a file that somebody else than `owner` can change, or None. Raises OSError.

    Folders above `trusted` are not looked at, since what they lead to is trusted already. Above the file's own folder
    a sticky one that all may write to (`/tmp`) is good enough: nobody else can take away there what is the owner's.
    """
    found = list(steps(path))
    above = frozenset(trusted.resolve().parents)
    own_folder = next(step.path for step in reversed(found) if not step.is_link)
    for step in found:
        if step.path in above:
            continue
        noun = "symbolic link" if step.is_link else "folder"
        if step.info.st_uid != owner:
            hint = f"chown {'-h ' if step.is_link else ''}root: {step.path}"
            return Suspicion(step.path, f"{noun} belongs to user {step.info.st_uid}, who is not root", "", hint)
        is_sticky = bool(step.info.st_mode & stat.S_ISVTX) and step.path != own_folder
        if step.info.st_mode & OTHERS_MAY_WRITE and not step.is_link and not is_sticky:
            who = "everyone" if step.info.st_mode & stat.S_IWOTH else "its group"
            hint = f"chmod go-w {step.path}"
            return Suspicion(step.path, f"{noun} is writable by {who}", "writable by root alone", hint)
    return None


def steps(path: Path) -> Iterator[Step]:
    """Every folder and symbolic link on the way to a file, the root first. Raises OSError where there is no way."""
    start = Path.cwd() / path
    here, ahead, links = Path("/"), [*reversed(start.parts[1:])], 0
    yield Step(here, here.stat())
    while ahead:
        part = ahead.pop()
        if part == "..":
            here = here.parent
            continue
        entry = here / part
        info = entry.lstat()
        if stat.S_ISLNK(info.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            yield Step(entry, info)
            target = PurePath(entry.readlink())
            ahead.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            here = Path("/") if target.is_absolute() else here
        elif stat.S_ISDIR(info.st_mode):
            here = entry
            yield Step(here, info)
        elif ahead:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def is_below(path: Path, folders: Iterable[str]) -> bool:
    """True if a path, its symbolic links followed, is one of these folders or below one; they hold no links."""
    real = os.path.realpath(path)
    return any(os.path.commonpath((real, folder)) == folder for folder in folders)


def is_made_up(info: os.stat_result) -> bool:
    """True if a file or folder is on a file system of the kernel's own, such as /proc: nobody has written it.

    Raises OSError.
    """
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return False
    try:
        mounts = _MOUNTS.read_text(errors="replace")
    except FileNotFoundError:
        return False
    device = f"{os.major(info.st_dev)}:{os.minor(info.st_dev)}"
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split(" ", 3)[2] == device:
            return source.split(" ", 1)[0] in _OF_THE_KERNEL
    return False
