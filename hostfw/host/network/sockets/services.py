"""The services of this host: listening sockets with their processes and systemd units, and who is connected to them.

TCP and UDP, by sock_diag(7) and proc(5). A UDP socket in the range of ports that the kernel gives to clients
(ip_local_port_range) is taken for a client's, unless it is the kernel's own, as that of WireGuard.
"""

import os
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from hostfw.host.network import network_needs as needs
from hostfw.host.network.sockets import sockets
from hostfw.host.network.sockets.sockets import TcpEnd
from hostfw.host.nftables.nat.published_ports import read_published
from hostfw.host.process import processes
from hostfw.host.systemd.units import runs_here, systemctl
from hostfw.model.host.services import BoundAddress, HostServices, Peer, Service
from hostfw.model.values import TCP, UDP

PROC = processes.PROC
_PORT_RANGE = "sys/net/ipv4/ip_local_port_range"
_INIT = 1
_UNIT_SUFFIXES = (".service", ".socket", ".scope")
_USER_MANAGER = re.compile(r"user@[0-9]+\.service")
_LISTEN = re.compile(r":(\d+) \((?:Stream|Datagram)\)")
_MOST_PEERS = 10_000
"""Most peers that are read: they decide nothing, and only add to messages."""


class Owner(NamedTuple):
    """The owner of a socket: the name of the process, and its systemd unit or ""."""

    process: str
    unit: str


def collect(proc: Path = PROC) -> HostServices:
    """The services of this host, as far as this process may see. Raises HostError."""
    tcp = sockets.read_tcp_ends()
    listening = [end for end in tcp if end.peer is None]
    clients = _client_ports(proc)
    udp = [end for end in sockets.read_udp_ports() if not end.inode or end.local_port not in clients]
    owners = read_owners({end.inode for end in (*listening, *udp)}, proc)
    published = read_published()
    services = (*_services(TCP.number, listening, owners), *_services(UDP.number, udp, owners))
    return HostServices(tuple(sorted(services, key=_order)), published, _peers(tcp, listening))


def read_owners(inodes: AbstractSet[int], proc: Path = PROC) -> Mapping[int, Owner]:
    """The owners of sockets by inode, the process with the highest number first: a child that serves, not its parent.

    A socket of systemd's own is that of the socket unit that is meant to start something.
    """
    found: dict[int, Owner] = {}
    with os.scandir(proc) as entries:
        pids = sorted((int(entry.name) for entry in entries if entry.name.isdigit()), reverse=True)
    for pid in pids:
        held = processes.socket_inodes(proc / str(pid)) or frozenset()
        for inode in held & inodes:
            if inode not in found:
                found.setdefault(inode, Owner(processes.name_of(proc / str(pid)), _unit(proc / str(pid))))
    return found


def _unit(folder: Path) -> str:
    """The innermost unit of the system's manager that a process is in; init is in none.

    Below user@UID.service (user@.service, systemd 252) a user's own manager names the units, as the user likes.
    """
    try:
        lines = (folder / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    paths = [line.split(":", 2)[2] for line in lines if line.startswith(("0::", "1:name=systemd:"))]
    found = ""
    for name in (name for path in paths for name in path.split("/")):
        if name.endswith(_UNIT_SUFFIXES):
            found = name
        if _USER_MANAGER.fullmatch(name):
            break
    return found if folder.name != str(_INIT) else ""


def _services(protocol: int, ends: Iterable[TcpEnd], owners: Mapping[int, Owner]) -> Iterable[Service]:
    bound: dict[tuple[int, Owner], set[BoundAddress]] = {}
    waiting: dict[int, str] | None = None
    for end in ends:
        owner = owners.get(end.inode, Owner("", ""))
        if owner == Owner("systemd", "") and runs_here():
            waiting = _socket_units() if waiting is None else waiting
            owner = owner._replace(unit=waiting.get(end.local_port, ""))
        interface = needs.interface_name(end.interface) if end.interface else ""
        address = BoundAddress(end.family, end.local or None, interface)
        bound.setdefault((end.local_port, owner), set()).add(address)
    return (
        Service(protocol, port, tuple(sorted(addresses, key=_address_order)), owner.process, owner.unit)
        for (port, owner), addresses in bound.items()
    )


def _socket_units() -> dict[int, str]:
    """The ports of socket units, and their names."""
    found: dict[int, str] = {}
    for block in systemctl("show", "--all", "--property=Id,Listen", "*.socket").split("\n\n"):
        name = re.search(r"^Id=(\S+)$", block, re.MULTILINE)
        if name is not None:
            found |= {int(port): name[1] for port in _LISTEN.findall(block)}
    return found


def _client_ports(proc: Path) -> range:
    try:
        first, last = map(int, (proc / _PORT_RANGE).read_text().split())
    except (OSError, ValueError):
        return range(32_768, 61_000)
    return range(first, last + 1)


def _peers(ends: Iterable[TcpEnd], listening: Iterable[TcpEnd]) -> tuple[Peer, ...]:
    ports = {end.local_port for end in listening}
    peers = {
        Peer(TCP.number, end.local_port, end.family, end.peer)
        for end in ends
        if end.peer is not None and end.local_port in ports
    }
    return tuple(sorted(peers, key=_peer_order)[:_MOST_PEERS])


def _order(service: Service) -> tuple[int, int, str, str]:
    return service.protocol, service.port, service.unit, service.process


def _address_order(bound: BoundAddress) -> tuple[int, int, str]:
    return bound.family, bound.address or 0, bound.interface


def _peer_order(peer: Peer) -> tuple[int, int, int, int]:
    return peer.protocol, peer.port, peer.family, peer.address
