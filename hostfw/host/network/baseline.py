"""The host's baseline for the check before a change: its ssh sessions, gateways, leases and name servers.

`collect` looks at the processes and tells ssh by who serves it. Who may not, as the sandboxed daemon, tells it by its
ports with `collect_by_ports`.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from hostfw.host.network import network_needs as needs
from hostfw.host.network.connections.original_destination import original_destinations
from hostfw.host.network.sockets import sockets
from hostfw.host.network.sockets.sockets import TcpEnd
from hostfw.host.network.sockets.ssh_servers import connections_of_caller, read_ssh_servers, remote_hosts
from hostfw.host.nftables.nat.published_ports import read_published
from hostfw.host.process import processes
from hostfw.host.process.processes import PROC
from hostfw.host.systemd.units import systemctl
from hostfw.model.host.baseline import Baseline, Listener, Session
from hostfw.model.host.services import PublishedPort
from hostfw.model.values import TCP, address_text

SSH_PORT = 22

_SOCKET_UNITS = ("ssh.socket", "sshd.socket", "dropbear.socket")
_STREAM = re.compile(r":(\d+) \(Stream\)")
_SYSTEMD = "systemd"
_ROOT = 0


def collect(proc: Path = PROC) -> Baseline:
    """Collect the baseline, as far as this process may see it. Raises HostError."""
    ends = sockets.read_tcp_ends()
    servers, seen = read_ssh_servers(proc)
    if not seen:
        return collect_by_ports()
    connected = frozenset(end.inode for end in ends if end.peer is not None)
    mine = connections_of_caller(processes.ancestors(), connected)
    held = mine.union(*(server.sockets & connected for server in servers if server.logged_in))
    # A session that forwards ports listens too.
    forwards = frozenset(inode for server in servers if server.serves_one for inode in server.sockets)
    waiting = {inode: server.name for server in servers for inode in server.sockets - forwards}
    waiting |= dict.fromkeys(_activated(ends, proc), "sshd")
    # A session holds what it forwards as well: its own connection is at a port that somebody else listens on.
    ports = {end.local_port for end in ends if end.peer is None and end.inode not in forwards}
    sessions = [end for end in ends if end.peer is not None and end.inode in held and end.local_port in ports]
    listeners = (_listener(end, waiting[end.inode]) for end in ends if end.peer is None and end.inode in waiting)
    beneath = held.union(*(server.beneath for server in servers if server.logged_in))
    onward = [end for end in ends if end.peer_port == SSH_PORT and end.inode in beneath and end not in sessions]
    found = _baseline(_sessions(sessions, mine), listeners, sees_processes=True)
    return replace(
        found, outgoing=tuple(sorted((_session(end, None, own=False) for end in onward), key=_session_order))
    )


def collect_by_ports(ssh_ports: Collection[int] = (SSH_PORT,)) -> Baseline:
    """The same without a look at the sockets of any process: a server is what root listens with at these ports.

    A session is a connection to one of them from where somebody is logged in. Raises HostError.
    """
    at_ports = [end for end in sockets.read_tcp_ends() if end.local_port in ssh_ports and end.user == _ROOT]
    taken = {end.local_port for end in at_ports if end.peer is None}
    logged_in = remote_hosts()
    sessions = [
        end
        for end in at_ports
        if end.peer is not None and end.local_port in taken and address_text(end.family, end.peer) in logged_in
    ]
    listeners = (_listener(end, "the ssh server") for end in at_ports if end.peer is None)
    return _baseline(_sessions(sessions), listeners, sees_processes=False)


def sessions_of(inodes: Collection[int]) -> tuple[Session, ...]:
    """The connections that these sockets of an ssh server are. Raises HostError.

    What the session forwards is left out where it can be told: its own connection is at a port that others listen on.
    """
    ends = sockets.read_tcp_ends()
    taken = {end.local_port for end in ends if end.peer is None and end.inode not in inodes}
    held = [end for end in ends if end.peer is not None and end.inode in inodes]
    own = [end for end in held if end.local_port in taken] or held
    return _sessions(own, inodes)


def _baseline(sessions: tuple[Session, ...], listeners: Iterable[Listener], *, sees_processes: bool) -> Baseline:
    servers = tuple(sorted(set(listeners), key=_listener_order))
    return Baseline(
        sessions=sessions,
        listeners=servers,
        gateways=needs.gateways(),
        leases=needs.leases(),
        name_servers=needs.name_servers(),
        sees_processes=sees_processes,
        published=_published({server.port for server in servers}),
    )


def _published(ssh_ports: Collection[int]) -> tuple[PublishedPort, ...]:
    """The translations of TCP that lead to ports of ssh, or away from them; port 0 is every one."""
    if not ssh_ports:
        return ()
    wanted = {0, *ssh_ports}
    found = (port for port in read_published() if port.protocol == TCP.number)
    return tuple(port for port in found if port.port in wanted or (port.local and port.target_port in wanted))


def _sessions(ends: Collection[TcpEnd], mine: Collection[int] = ()) -> tuple[Session, ...]:
    """The sessions of connections, those of these inodes as the caller's own."""
    originals = original_destinations(ends)
    found = {_session(end, originals.get(end), own=end.inode in mine) for end in ends}
    return tuple(sorted(found, key=_session_order))


def _session(end: TcpEnd, original: tuple[int, int] | None, *, own: bool) -> Session:
    peer = end.peer or 0
    way = None if end.interface else needs.route_to(end.family, peer, end.local)
    interface = needs.interface_name(end.interface) if end.interface else way.interface if way else ""
    return Session(end.family, peer, end.peer_port, end.local, end.local_port, interface, own, original)


def _listener(end: TcpEnd, server: str) -> Listener:
    return Listener(end.family, end.local_port, end.local or None, server)


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
