"""What this host is seen to live by, for the check before a change: its ssh, its gateways, leases and name servers.

`collect` looks at the processes and tells ssh by who serves it. Who may not, as the sandboxed daemon, tells it by its
ports with `collect_by_ports`.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hostfw.host import needs, processes, sockets
from hostfw.host.processes import PROC, Ancestor
from hostfw.host.sockets import TcpEnd
from hostfw.host.systemd import systemctl
from hostfw.model.evidence import SSH_SERVERS, Evidence, Listener, Session

SSH_PORT = 22

_SOCKET_UNITS = ("ssh.socket", "sshd.socket", "dropbear.socket")
_STREAM = re.compile(r":(\d+) \(Stream\)")
_SYSTEMD = "systemd"


class Served(NamedTuple):
    """An ssh server: its name and the inodes of its sockets."""

    name: str
    sockets: frozenset[int]


def collect(proc: Path = PROC) -> Evidence:
    """What the host lives by, as far as this process may see. Raises HostError."""
    ends = sockets.read_tcp_ends()
    servers, seen = _ssh_servers(proc)
    if not seen:
        return _evidence(*_by_ports(ends, {SSH_PORT}), sees_processes=False)
    connected = frozenset(end.inode for end in ends if end.peer is not None)
    # A session that forwards ports listens too; the server itself holds no connection.
    waiting = {inode: server.name for server in servers if not server.sockets & connected for inode in server.sockets}
    waiting |= dict.fromkeys(_activated(ends, proc), "sshd")
    held = frozenset(inode for server in servers for inode in server.sockets)
    mine = _own(processes.ancestors(), connected)
    # The ports of ssh are those that its servers listen on, and those of their sessions that somebody listens on.
    taken = {end.local_port for end in ends if end.peer is None}
    ports = {end.local_port for end in ends if end.peer is None and end.inode in waiting}
    ports |= {end.local_port for end in ends if end.peer is not None and end.inode in held} & taken
    sessions = (end for end in ends if end.peer is not None and end.local_port in ports)
    listeners = (_listener(end, waiting[end.inode]) for end in ends if end.peer is None and end.inode in waiting)
    return _evidence((_session(end, own=end.inode in mine) for end in sessions), listeners, sees_processes=True)


def collect_by_ports(ssh_ports: Collection[int] = (SSH_PORT,)) -> Evidence:
    """The same without a look at any process: ssh is whatever is at its ports. Raises HostError."""
    return _evidence(*_by_ports(sockets.read_tcp_ends(), ssh_ports), sees_processes=False)


def _evidence(sessions: Iterable[Session], listeners: Iterable[Listener], *, sees_processes: bool) -> Evidence:
    return Evidence(
        sessions=tuple(sorted(set(sessions), key=_session_order)),
        listeners=tuple(sorted(set(listeners), key=_listener_order)),
        gateways=needs.gateways(),
        leases=needs.leases(),
        name_servers=needs.name_servers(),
        sees_processes=sees_processes,
    )


def _by_ports(ends: Iterable[TcpEnd], ports: Collection[int]) -> tuple[list[Session], list[Listener]]:
    at_ports = [end for end in ends if end.local_port in ports]
    taken = {end.local_port for end in at_ports if end.peer is None}
    sessions = [_session(end, own=False) for end in at_ports if end.peer is not None and end.local_port in taken]
    return sessions, [_listener(end, "the ssh server") for end in at_ports if end.peer is None]


def _session(end: TcpEnd, *, own: bool) -> Session:
    peer = end.peer or 0
    way = None if end.interface else needs.route_to(end.family, peer, end.local)
    interface = needs.interface_name(end.interface) if end.interface else way.interface if way else ""
    return Session(end.family, peer, end.peer_port, end.local, end.local_port, interface, own)


def _listener(end: TcpEnd, server: str) -> Listener:
    return Listener(end.family, end.local_port, end.local or None, server)


def _ssh_servers(proc: Path) -> tuple[list[Served], bool]:
    """The processes that serve ssh, and whether each could be looked at."""
    found = [process for process in _processes(proc) if process.name in SSH_SERVERS]
    served = [Served(process.name, process.sockets) for process in found if process.sockets is not None]
    return served, len(served) == len(found)


def _processes(proc: Path) -> Iterator[Ancestor]:
    with os.scandir(proc) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    for pid in pids:
        found = processes.process(pid, SSH_SERVERS, proc)
        if found is not None:
            yield found


def _own(ancestors: Iterable[Ancestor], connected: frozenset[int]) -> frozenset[int]:
    """The connections of the nearest ssh server above this process that has any."""
    servers = (ancestor.sockets or frozenset() for ancestor in ancestors if ancestor.name in SSH_SERVERS)
    return next((held & connected for held in servers if held & connected), frozenset())


def _activated(ends: Iterable[TcpEnd], proc: Path) -> frozenset[int]:
    """The sockets that systemd holds for an ssh server which it starts with the first connection."""
    first = processes.process(1, frozenset({_SYSTEMD}), proc)
    waiting = [end for end in ends if end.peer is None and first is not None and end.inode in (first.sockets or ())]
    ports = _ports_of_units() if waiting else frozenset()
    return frozenset(end.inode for end in waiting if end.local_port in ports)


def _ports_of_units() -> frozenset[int]:
    shown = systemctl("show", "--property=Listen", *_SOCKET_UNITS)
    return frozenset(int(port) for port in _STREAM.findall(shown))


def _session_order(session: Session) -> tuple[bool, int, int, int, int]:
    return not session.own, session.family, session.peer, session.peer_port, session.local_port


def _listener_order(listener: Listener) -> tuple[int, int, int]:
    return listener.family, listener.port, listener.address or 0
