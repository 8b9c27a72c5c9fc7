"""The ssh servers of this host, and the connections over which somebody has logged in.

Anybody who reaches the port has a connection; a session is one over which somebody was let in. That shows in the
process that serves it: PAM puts it into an audit session of its own (pam_loginuid(8)), and into a scope of
systemd-logind where that runs (pam_systemd(8)). Dropbear of Debian knows no PAM, and starts a program for whoever it
has let in.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from hostfw.host.process import processes
from hostfw.host.process.processes import NO_LOGIN, PROC, Ancestor
from hostfw.model.host.baseline import SSH_SERVERS

LOGIND_SESSIONS = Path("/run/systemd/sessions")
"""The directory of systemd-logind's sessions, which sd_session_get_remote_host(3) reads."""

_WITHOUT_PAM = "dropbear"


class SshServer(NamedTuple):
    """A process that serves ssh: its name and the inodes of its sockets.

    `serves_one` is whether another one started it for a connection, and `logged_in` whether somebody is logged in over
    the connection that it holds, if it holds one. `beneath` are sockets of what it started to run as that user: OpenSSH
    forwards connections there.
    """

    name: str
    sockets: frozenset[int]
    serves_one: bool
    logged_in: bool
    beneath: frozenset[int] = frozenset()


def read_ssh_servers(proc: Path = PROC) -> tuple[tuple[SshServer, ...], bool]:
    """The processes that serve ssh, and whether all that may do so could be looked at. Raises OSError."""
    everybody = processes.parents(proc)
    found = [processes.process(pid, SSH_SERVERS, proc) for pid, (name, _) in everybody.items() if name in SSH_SERVERS]
    there = [process for process in found if process is not None]
    served = tuple(
        SshServer(
            process.name,
            process.sockets,
            _top(process.pid, everybody) != process.pid,
            _is_logged_in(process, everybody, proc),
            _beneath(process.pid, there, everybody),
        )
        for process in there
        if process.sockets is not None and process.trusted
    )
    return served, all(process.sockets is not None for process in there)


def connections_of_caller(ancestors: Iterable[Ancestor], connected: frozenset[int]) -> frozenset[int]:
    """The connections of the nearest ssh server above this process that has any: who runs us is logged in over them."""
    servers = (one.sockets or frozenset() for one in ancestors if one.name in SSH_SERVERS and one.trusted)
    return next((held & connected for held in servers if held & connected), frozenset())


def remote_hosts(sessions: Path = LOGIND_SESSIONS) -> frozenset[str]:
    """The addresses that people are logged in from by ssh, as systemd-logind has them; none where it does not run."""
    try:
        # Beside each file there may be a pipe, which would keep a reader waiting.
        files = [path for path in sorted(sessions.iterdir()) if path.is_file()]
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    except OSError:
        return frozenset()
    fields = [dict(line.partition("=")[::2] for line in text.splitlines()) for text in texts]
    return frozenset(
        session["REMOTE_HOST"] for session in fields if session.get("REMOTE_HOST") and session.get("SERVICE") == "sshd"
    )


def _beneath(pid: int, servers: Iterable[Ancestor], everybody: Mapping[int, tuple[str, int]]) -> frozenset[int]:
    """The sockets of servers that are children of one and are not root; nobody but it starts those."""
    children = (one for one in servers if not one.trusted and everybody[one.pid][1] == pid)
    return frozenset(inode for one in children for inode in one.sockets or ())


def _is_logged_in(process: Ancestor, everybody: Mapping[int, tuple[str, int]], proc: Path) -> bool:
    if process.name == _WITHOUT_PAM:
        return any(parent == process.pid and name != _WITHOUT_PAM for name, parent in everybody.values())
    # A server that somebody started in a session of theirs hands that on to everybody whom it serves.
    top = _top(process.pid, everybody)
    before = processes.login(top, proc) if top != process.pid else NO_LOGIN
    return processes.login(process.pid, proc).is_beyond(before)


def _top(pid: int, everybody: Mapping[int, tuple[str, int]]) -> int:
    """The first of the ssh servers that a process comes from: the one that listens."""
    seen: set[int] = set()
    while pid not in seen:
        seen.add(pid)
        _, parent = everybody.get(pid, ("", 0))
        if parent in everybody and everybody[parent][0] in SSH_SERVERS:
            pid = parent
    return pid
