"""Processes and the sockets that they hold (proc(5)): those above ours, up to the first, and others by name."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")

_PARENT_FIELD = 1
"""Of what stands behind the name in /proc/PID/stat: the state, then the parent."""


class Ancestor(NamedTuple):
    """A process, mostly above ours: its name (at most 15 bytes) and the inodes of its sockets, None where hidden."""

    pid: int
    name: str
    sockets: frozenset[int] | None


def ancestors(pid: int | None = None, proc: Path = PROC) -> tuple[Ancestor, ...]:
    """The processes above one, by default this one, nearest first. It ends early where one has just gone."""
    return tuple(_above(os.getpid() if pid is None else pid, proc))


def process(pid: int, names: Collection[str], proc: Path = PROC) -> Ancestor | None:
    """A process if it has one of these names, with the sockets that it holds; None if not, or if it has gone."""
    folder = proc / str(pid)
    name, _ = _name_and_parent(folder)
    return Ancestor(pid, name, socket_inodes(folder)) if name in names else None


def _above(pid: int, proc: Path) -> Iterator[Ancestor]:
    seen = {pid}
    _, parent = _name_and_parent(proc / str(pid))
    while parent > 0 and parent not in seen:
        seen.add(parent)
        folder = proc / str(parent)
        name, above = _name_and_parent(folder)
        if not name:
            return
        yield Ancestor(parent, name, socket_inodes(folder))
        parent = above


def _name_and_parent(folder: Path) -> tuple[str, int]:
    """The name may hold brackets and blanks of its own: it ends with the last bracket of all."""
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        head, _, rest = text.rpartition(")")
        return head.partition("(")[2], int(rest.split()[_PARENT_FIELD])
    except (OSError, ValueError, IndexError):
        return "", 0


def name_of(folder: Path) -> str:
    """The name of the process of a folder of /proc, or "" if it has gone."""
    return _name_and_parent(folder)[0]


def socket_inodes(folder: Path) -> frozenset[int] | None:
    """The sockets that the process of a folder of /proc holds, or None where that may not be seen."""
    try:
        return frozenset(_inodes(folder / "fd"))
    except OSError:
        return None


def _inodes(folder: Path) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                target = str(Path(entry.path).readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                yield int(target.removeprefix("socket:[").removesuffix("]"))
