"""Processes and the sockets that they hold (proc(5)): those above ours, up to the first, and others by name.

Any user may give a process any name. So a name counts only of a process that is trusted: one that is root in every
respect, and runs a file that root owns, that nobody else may write, and that does not make root of whoever starts it
(sudo, started by another name, is root as well).
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")

_PARENT_FIELD = 1
"""Of what stands behind the name in /proc/PID/stat: the state, then the parent."""


_UIDS = re.compile(r"^Uid:((?:\s+\d+){4})$", re.MULTILINE)
_SESSION_SCOPE = re.compile(r"/session-[^/]+\.scope(?=/|$)", re.MULTILINE)
_NO_SESSION = 0xFFFFFFFF
"""The audit session of a process that nobody logged in for."""


class Ancestor(NamedTuple):
    """A process, mostly above ours: its name (at most 15 bytes) and the inodes of its sockets, None where hidden.

    `trusted` is whether its name can be believed, where that could be looked at.
    """

    pid: int
    name: str
    sockets: frozenset[int] | None
    trusted: bool = True


class Login(NamedTuple):
    """The session that a process belongs to: by the kernel's audit, and by systemd-logind. Both are set by PAM."""

    audit_session: int | None
    scope: str | None

    def is_beyond(self, other: "Login") -> bool:
        """Tell if somebody logged in since the other process."""
        audited = self.audit_session is not None and self.audit_session != other.audit_session
        return audited or (self.scope is not None and self.scope != other.scope)


NO_LOGIN = Login(None, None)


def ancestors(pid: int | None = None, proc: Path = PROC) -> tuple[Ancestor, ...]:
    """The processes above one, by default this one, nearest first. It ends early where one has just gone."""
    return tuple(_above(os.getpid() if pid is None else pid, proc))


def process(pid: int, names: Collection[str], proc: Path = PROC) -> Ancestor | None:
    """A process if it has one of these names, with the sockets that it holds; None if not, or if it has gone."""
    folder = proc / str(pid)
    name, _ = _name_and_parent(folder)
    return Ancestor(pid, name, socket_inodes(folder), _is_trusted(folder)) if name in names else None


def parents(proc: Path = PROC) -> dict[int, tuple[str, int]]:
    """The name and the parent of every process, by pid. Raises OSError."""
    with os.scandir(proc) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    found = ((pid, _name_and_parent(proc / str(pid))) for pid in pids)
    return {pid: (name, parent) for pid, (name, parent) in found if name}


def login(pid: int, proc: Path = PROC) -> Login:
    """The session that a process belongs to."""
    session = _text(proc / str(pid) / "sessionid").strip()
    scope = _SESSION_SCOPE.search(_text(proc / str(pid) / "cgroup"))
    number = int(session) if session.isdecimal() else _NO_SESSION
    return Login(None if number == _NO_SESSION else number, scope[0] if scope else None)


def login_uid(proc: Path = PROC) -> int:
    """The number of the user who logged in, whoever they have become since; otherwise that of this process.

    4294967295 stands for none (loginuid, proc(5)).
    """
    text = _text(proc / "self" / "loginuid").strip()
    return int(text) if text.isdigit() and int(text) != _NO_SESSION else os.getuid()


def _above(pid: int, proc: Path) -> Iterator[Ancestor]:
    seen = {pid}
    _, parent = _name_and_parent(proc / str(pid))
    while parent > 0 and parent not in seen:
        seen.add(parent)
        folder = proc / str(parent)
        name, above = _name_and_parent(folder)
        if not name:
            return
        yield Ancestor(parent, name, socket_inodes(folder), _is_trusted(folder))
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


def _is_trusted(folder: Path) -> bool:
    """Tell if it is root, and runs a file that only root can have put there; what cannot be seen is not trusted."""
    uids = _UIDS.search(_text(folder / "status"))
    if uids is None or set(uids[1].split()) != {"0"}:
        return False
    try:
        # Of the file that it runs, whatever stands at its path by now.
        executable = (folder / "exe").stat()
    except OSError:
        return False
    writable = executable.st_mode & stat.S_IWOTH or (executable.st_mode & stat.S_IWGRP and executable.st_gid != 0)
    return executable.st_uid == 0 and not writable and not executable.st_mode & (stat.S_ISUID | stat.S_ISGID)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


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
