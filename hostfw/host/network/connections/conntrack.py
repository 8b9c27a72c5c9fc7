"""Entries of connection tracking for sockets that exist, made and read by ctnetlink.

The format is that of <linux/netfilter/nfnetlink_conntrack.h>. Connection tracking begins with the first rule that asks
for it, so it knows no connection that is older, and calls the next packet of one new. An entry made here is what it
would hold if it had been there from the beginning. The sequence numbers and windows that it has not seen it takes from
the first packet of each side without judging them, as for every connection that it meets midway
(nf_conntrack_proto_tcp.c, IP_CT_TCP_FLAG_BE_LIBERAL).
"""

import errno
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from hostfw.host.netlink.messages import (
    ATTRIBUTE,
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NetlinkError,
    NetlinkSocket,
    attribute,
    nested,
    u32,
)
from hostfw.host.network.sockets.sockets import Connection, ConnectionState, read_connections
from hostfw.model.values import TCP, Family

_SUBSYSTEM = 1 << 8
_NEW, _GET, _DELETE = _SUBSYSTEM, _SUBSYSTEM | 1, _SUBSYSTEM | 2

_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _PROTOCOL_INFO, _TIMEOUT = 1, 2, 3, 4, 7
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION = {Family.V4: 1, Family.V6: 3}, {Family.V4: 2, Family.V6: 4}
_PROTOCOL_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_INFO_TCP, _TCP_STATE, _TCP_FLAGS_ORIGINAL, _TCP_FLAGS_REPLY = 1, 1, 4, 5

_SEEN_REPLY, _ASSURED, _CONFIRMED = 1 << 1, 1 << 2, 1 << 3
_ESTABLISHED = u32(_STATUS, _SEEN_REPLY | _ASSURED | _CONFIRMED)
"""The kernel refuses a status without IPS_CONFIRMED, which every entry of its table has."""
_LIBERAL = bytes((0x0A, 0x0A))
"""struct nf_ct_tcp_flags: IP_CT_TCP_FLAG_SACK_PERM and _BE_LIBERAL, and the mask of what is set."""

_TIMEOUTS = Path("/proc/sys/net/netfilter")
_TIMEOUT_OF: Mapping[ConnectionState, tuple[int, str, int]] = {
    ConnectionState.ESTABLISHED: (3, "nf_conntrack_tcp_timeout_established", 432_000),
    ConnectionState.FIN_SENT: (4, "nf_conntrack_tcp_timeout_fin_wait", 120),
    ConnectionState.HALF_CLOSED: (5, "nf_conntrack_tcp_timeout_close_wait", 60),
    ConnectionState.CLOSING: (6, "nf_conntrack_tcp_timeout_last_ack", 30),
}
"""The number of each state of TCP (nf_conntrack_tcp.h), the sysctl of its timeout, and what that is by default."""
_UDP_TIMEOUT = ("nf_conntrack_udp_timeout_stream", 120)

_PORT = struct.Struct("!H2x")
"""A port with the padding behind it."""

_AT_A_TIME = 64
"""Most requests under way: as many answers fit into a socket's buffer in any case."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """The result for connections: `added` ones have an entry, and `refused` ones could not get one, for a `reason`."""

    added: tuple[Connection, ...] = ()
    refused: int = 0
    reason: str = ""


class Conntrack(Protocol):
    """The connections of this network namespace's sockets, and connection tracking."""

    def connections(self) -> tuple[Connection, ...]:
        """Every connected socket of TCP and UDP. Raises HostError."""

    def learn(self, connections: Collection[Connection]) -> Learnt:
        """Have connections be established, whatever is known of them so far. Raises HostError."""

    def unknown(self, connections: Iterable[Connection]) -> tuple[Connection, ...]:
        """Those that have no entry. Raises HostError."""

    def forget(self, connections: Iterable[Connection]) -> None:
        """Remove the entries of connections. Raises HostError."""

    def interface(self, connection: Connection) -> str:
        """The interface by which packets to the peer leave now, or nothing where there is no way to it."""
        # What reads routes is for the verbs that change what is in force, here and below.

    def forwards(self) -> bool:
        """Tell if this host forwards packets of others on any interface."""


class KernelConntrack:
    """Connection tracking as the kernel has it."""

    def connections(self) -> tuple[Connection, ...]:
        """Every connected socket of TCP and UDP. Raises HostError."""
        return read_connections()

    def learn(self, connections: Collection[Connection]) -> Learnt:
        """Have connections be established, whatever is known of them so far. Raises HostError.

        An entry that is there keeps all that it holds but that packets of both sides were seen.
        """
        if not connections:
            return Learnt()
        timeouts = _timeouts()
        added: list[Connection] = []
        known: list[Connection] = []
        refusals: list[int] = []
        for connection, refusal in _ask(
            _NEW, NLM_F_CREATE | NLM_F_EXCL, connections, lambda one: _entry(one, timeouts)
        ):
            if not refusal:
                added.append(connection)
            elif refusal == errno.EEXIST:
                known.append(connection)
            else:
                refusals.append(refusal)
        # An entry whose addresses are translated is found from one of its ends only.
        turned = [one for one, refusal in _ask(_NEW, 0, known, _established) if refusal == errno.ENOENT]
        tuple(_ask(_NEW, 0, turned, lambda one: _established(one, turned=True)))
        return Learnt(tuple(added), len(refusals), _reason(refusals[0]) if refusals else "")

    def unknown(self, connections: Iterable[Connection]) -> tuple[Connection, ...]:
        """Those that have no entry. Raises HostError."""
        missing = [one for one, refusal in _ask(_GET, 0, connections, _original) if refusal == errno.ENOENT]
        turned = _ask(_GET, 0, missing, lambda one: _original(one, turned=True))
        return tuple(one for one, refusal in turned if refusal == errno.ENOENT)

    def forget(self, connections: Iterable[Connection]) -> None:
        """Remove the entries of connections. Raises HostError."""
        for _, refusal in _ask(_DELETE, 0, connections, _original):
            if refusal not in (0, errno.ENOENT):
                raise NetlinkError(refusal, "removing an entry of connection tracking")

    def interface(self, connection: Connection) -> str:
        """The interface by which packets to the peer leave now, or nothing where there is no way to it."""
        from hostfw.host.network.network_needs import route_to

        route = route_to(connection.family, connection.peer, connection.local)
        return "" if route is None else route.interface

    def forwards(self) -> bool:
        """Tell if this host forwards packets of others on any interface."""
        from hostfw.host.network.routing import forwards_anything

        return forwards_anything()


def _ask(
    kind: int, flags: int, connections: Iterable[Connection], body: Callable[[Connection], bytes]
) -> Iterator[tuple[Connection, int]]:
    """Send a request for each connection, and give what the kernel answers: 0 or an errno."""
    remaining = iter(connections)
    with NetlinkSocket(NETLINK_NETFILTER) as netlink:
        while some := tuple(islice(remaining, _AT_A_TIME)):
            answers = netlink.ask_each(kind, flags, map(body, some), "asking connection tracking")
            yield from zip(some, answers, strict=True)


def _entry(connection: Connection, timeouts: Mapping[ConnectionState | None, int]) -> bytes:
    timeout = timeouts[connection.state if connection.protocol == TCP.number else None]
    reply = _tuple(_TUPLE_REPLY, connection, from_peer=not connection.inbound)
    parts = (_original(connection), reply, _ESTABLISHED, u32(_TIMEOUT, timeout))
    return b"".join((*parts, _tcp(connection.state)) if connection.protocol == TCP.number else parts)


def _tcp(state: ConnectionState) -> bytes:
    number = _TIMEOUT_OF[state][0]
    return nested(
        _PROTOCOL_INFO,
        nested(
            _INFO_TCP,
            attribute(_TCP_STATE, bytes((number,))),
            attribute(_TCP_FLAGS_ORIGINAL, _LIBERAL),
            attribute(_TCP_FLAGS_REPLY, _LIBERAL),
        ),
    )


def _established(connection: Connection, *, turned: bool = False) -> bytes:
    return _original(connection, turned=turned) + _ESTABLISHED


def _original(connection: Connection, *, turned: bool = False) -> bytes:
    """The key of an entry: its family, and the addresses and ports of a packet of the initiator."""
    number = socket.AF_INET if connection.family is Family.V4 else socket.AF_INET6
    return NFGENMSG.pack(number, 0, 0) + _tuple(_TUPLE_ORIGINAL, connection, from_peer=connection.inbound != turned)


def _tuple(kind: int, connection: Connection, *, from_peer: bool) -> bytes:
    family, protocol, peer, peer_port, local, local_port, *_ = connection
    if not from_peer:
        peer, peer_port, local, local_port = local, local_port, peer, peer_port
    size = family.bits // 8
    ends = peer.to_bytes(size, "big"), local.to_bytes(size, "big"), peer_port, local_port
    return _layout(kind, family, protocol).pack(*ends)


class _Layout(NamedTuple):
    """A tuple of one kind, family and protocol, in pieces between which the addresses and ports go.

    Put together once, since there may be a hundred thousand connections.
    """

    pieces: tuple[bytes, bytes, bytes, bytes]

    def pack(self, source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
        """The attribute."""
        first, second, third, last = self.pieces
        ports = _PORT.pack(source_port), _PORT.pack(destination_port)
        return b"".join((first, source, second, destination, third, ports[0], last, ports[1]))


@cache
def _layout(kind: int, family: Family, protocol: int) -> _Layout:
    size = family.bits // 8
    # Whatever the addresses and ports are, they stand at the same places.
    empty = nested(
        kind,
        nested(
            _TUPLE_IP,
            attribute(_IP_SOURCE[family], bytes(size)),
            attribute(_IP_DESTINATION[family], bytes(size)),
        ),
        nested(
            _TUPLE_PROTOCOL,
            attribute(_PROTOCOL_NUMBER, bytes((protocol,))),
            attribute(_SOURCE_PORT, bytes(2)),
            attribute(_DESTINATION_PORT, bytes(2)),
        ),
    )
    source = 3 * ATTRIBUTE.size
    destination = source + size + ATTRIBUTE.size
    destination_port = len(empty) - _PORT.size
    source_port = destination_port - _PORT.size - ATTRIBUTE.size
    return _Layout(
        (
            empty[:source],
            empty[source + size : destination],
            empty[destination + size : source_port],
            empty[source_port + _PORT.size : destination_port],
        )
    )


def _timeouts() -> dict[ConnectionState | None, int]:
    """The seconds that an entry lives without a packet, by the state of TCP; None is UDP."""
    names: Sequence[tuple[ConnectionState | None, str, int]] = (
        *((state, name, default) for state, (_, name, default) in _TIMEOUT_OF.items()),
        (None, *_UDP_TIMEOUT),
    )
    return {state: _number(_read(_TIMEOUTS / name), default) for state, name, default in names}


def _number(found: str, default: int) -> int:
    return int(found) if found.isdecimal() else default


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _reason(refusal: int) -> str:
    if refusal == errno.ENOMEM:
        return "the table of connection tracking is full (net.netfilter.nf_conntrack_max)"
    return NetlinkError(refusal, "connection tracking refused them").message
