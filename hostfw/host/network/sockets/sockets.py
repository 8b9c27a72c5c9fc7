"""The TCP and UDP sockets of the network namespace that we are in, by sock_diag (sock_diag(7), <linux/inet_diag.h>).

A cookie names a socket for as long as the kernel runs and is never used again, so it tells a connection that was
there at some moment from one that was made later, whatever addresses and ports they have.
"""

import errno
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from hostfw.host.netlink.messages import NetlinkError, NetlinkSocket, attributes
from hostfw.model.values import TCP, UDP, Family

NETLINK_SOCK_DIAG = 4

_SOCK_DIAG_BY_FAMILY = 20
_TCP_ESTABLISHED, _TCP_FIN_WAIT1, _TCP_FIN_WAIT2, _TCP_TIME_WAIT, _TCP_CLOSE = 1, 4, 5, 6, 7
_TCP_CLOSE_WAIT, _TCP_LAST_ACK, _TCP_LISTEN, _TCP_CLOSING = 8, 9, 10, 11
_ALL_STATES = 0xFFFFFFFF
_CONNECTED = _ALL_STATES & ~(1 << _TCP_TIME_WAIT | 1 << _TCP_CLOSE | 1 << _TCP_LISTEN)
"""Half-open ones among them: such a socket hands its cookie on to the connection that it becomes."""
_STANDING = 1 << _TCP_ESTABLISHED | 1 << _TCP_LISTEN

_REQUEST = struct.Struct("=BBBxI48x")
"""struct inet_diag_req_v2: family, protocol, extensions, states, and a socket id that dumps do not look at."""
_ONE = struct.Struct("!BBBxIHH16s16s4sQ")
"""The same with the socket id of one: ports and addresses in network order."""
_NO_COOKIE = 0xFFFF_FFFF_FFFF_FFFF
_ANSWER = struct.Struct("=BBBBHH16s16sIQIIIII")
"""struct inet_diag_msg: family, state, timer, retransmits, ports (in network order), addresses, interface, cookie,
expiry, queues, user and inode. A cookie is two words of 32 bits; as the name of a socket their order is all one."""
_V6_ONLY = 11
"""INET_DIAG_SKV6ONLY, of listening IPv6 sockets."""
_MAPPED = bytes(10) + b"\xff\xff"
"""The first bytes of an IPv4 address that an IPv6 socket has (RFC 4291)."""


class TcpEnd(NamedTuple):
    """This host's end of a TCP connection, or with `peer` None of a port that is listened on.

    `local` 0 is every address of the family. `interface` is the index of the one that the socket is bound to, or 0.
    `user` is the one who made the socket, or for a connection the socket that listens.
    """

    family: Family
    local: int
    local_port: int
    peer: int | None
    peer_port: int
    interface: int
    inode: int
    user: int = 0


class ConnectionState(Enum):
    """Stages of a connection that its socket shows. UDP only has the first.

    FIN_SENT is a connection that this host has ended, and the peer has not taken note; HALF_CLOSED one that either side
    has ended, and the other took note; CLOSING one that both have ended.
    """

    ESTABLISHED = 1
    FIN_SENT = 2
    HALF_CLOSED = 3
    CLOSING = 4


_STATES: Mapping[int, ConnectionState] = {
    _TCP_ESTABLISHED: ConnectionState.ESTABLISHED,
    _TCP_FIN_WAIT1: ConnectionState.FIN_SENT,
    _TCP_FIN_WAIT2: ConnectionState.HALF_CLOSED,
    _TCP_CLOSE_WAIT: ConnectionState.HALF_CLOSED,
    _TCP_LAST_ACK: ConnectionState.CLOSING,
    _TCP_CLOSING: ConnectionState.CLOSING,
}
"""States in which the peer has answered: neither still beginning nor ended."""


class Connection(NamedTuple):
    """A connected socket of TCP or UDP: the addresses and ports of both ends, and its cookie.

    `inbound` is whether the peer began, as far as can be told: somebody listens at the local port.
    """

    family: Family
    protocol: int
    peer: int
    peer_port: int
    local: int
    local_port: int
    inbound: bool
    state: ConnectionState
    cookie: int


class TcpSocket(NamedTuple):
    """A connection's socket. `inode` is what /proc/PID/fd shows, or 0 while no process has it."""

    cookie: int
    inode: int


def read_tcp_sockets() -> tuple[TcpSocket, ...]:
    """Every TCP socket, IPv4 and IPv6, that is connected or becomes so. Raises HostError."""
    found = (_ANSWER.unpack_from(answer) for answer in _dump(_CONNECTED))
    return tuple(TcpSocket(cookie=fields[9], inode=fields[14]) for fields in found)


def read_tcp_ends() -> tuple[TcpEnd, ...]:
    """Every established TCP connection and every port that is listened on. Raises HostError.

    An IPv6 socket that takes IPv4 as well is listed for each family, and its IPv4 connections are IPv4.
    """
    return tuple(end for answer in _dump(_STANDING) for end in _ends(answer))


def read_udp_ports() -> tuple[TcpEnd, ...]:
    """Every UDP port that takes packets of anybody, which only a socket does that is not connected. Raises HostError.

    They are in the form of TCP ports that are listened on.
    """
    found = _dump(1 << _TCP_CLOSE, UDP.number)
    return tuple(end for answer in found for end in _ends(answer) if end.local_port)


def read_connections() -> tuple[Connection, ...]:
    """Every connection of TCP that the peer has answered, and every connected socket of UDP. Raises HostError.

    What a host says to itself is listed from both ends.
    """
    return (
        *_connections(TCP.number, _dump(_ALL_STATES, TCP.number)),
        *_connections(UDP.number, _dump(_ALL_STATES, UDP.number)),
    )


def find_connection(
    protocol: int, family: Family, local: tuple[int, int], peer: tuple[int, int], interface: str
) -> int | None:
    """The cookie of the connected socket with these addresses and ports, None where there is none. Raises HostError.

    `interface` is the one by which its packets come, since a socket may be bound to one.
    """
    ends = [(address.to_bytes(family.bits // 8, "big"), port) for address, port in (local, peer)]
    # For UDP the kernel has the two in the places of a packet that comes in (udp_diag.c).
    (source, source_port), (destination, destination_port) = reversed(ends) if protocol == UDP.number else ends
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return None
    number = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    request = _ONE.pack(
        *(number, protocol, 0, _ALL_STATES),
        *(source_port, destination_port, source, destination, index.to_bytes(4, sys.byteorder), _NO_COOKIE),
    )
    try:
        with NetlinkSocket(NETLINK_SOCK_DIAG) as netlink:
            answer = netlink.ask(_SOCK_DIAG_BY_FAMILY, request, "looking for a connection")
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    fields = _ANSWER.unpack_from(answer)
    # One that listens, or is not connected, would have answered as well.
    return fields[9] if fields[1] in _STATES else None


def _connections(protocol: int, answers: Sequence[bytes]) -> Iterator[Connection]:
    sockets = [(_ANSWER.unpack_from(answer), answer) for answer in answers]
    # A socket of UDP that is not connected is closed, in the kernel's words.
    waits = _TCP_LISTEN if protocol == TCP.number else _TCP_CLOSE
    waiting = {fields[4] for fields, _ in sockets if fields[1] == waits}
    for fields, answer in sockets:
        state = _STATES.get(fields[1])
        if state is not None:
            (end,) = _ends(answer)
            yield Connection(
                end.family,
                protocol,
                end.peer or 0,
                end.peer_port,
                end.local,
                end.local_port,
                fields[4] in waiting,
                state,
                fields[9],
            )


def _dump(states: int, protocol: int = TCP.number) -> list[bytes]:
    try:
        with NetlinkSocket(NETLINK_SOCK_DIAG) as netlink:
            return [
                answer
                for family in (socket.AF_INET, socket.AF_INET6)
                for answer in netlink.dump(
                    _SOCK_DIAG_BY_FAMILY,
                    _REQUEST.pack(family, protocol, 0, states),
                    "listing connections",
                )
            ]
    except NetlinkError as error:
        # A kernel that has no module to list these sockets.
        if protocol != TCP.number and error.errno == errno.ENOENT:
            return []
        raise


def _ends(answer: bytes) -> Iterator[TcpEnd]:
    kind, state, _, _, port, peer_port, local, peer, interface, _, _, _, _, user, inode = _ANSWER.unpack_from(answer)
    # A UDP socket that is not connected is in the state of a closed TCP one.
    listens = state in (_TCP_LISTEN, _TCP_CLOSE)
    numbers = (socket.ntohs(port), socket.ntohs(peer_port), interface, inode, user)
    if kind == socket.AF_INET:
        yield _end(Family.V4, local[:4], None if listens else peer[:4], *numbers)
    elif local.startswith(_MAPPED):
        yield _end(Family.V4, local[12:], None if listens else peer[12:], *numbers)
    else:
        yield _end(Family.V6, local, None if listens else peer, *numbers)
        both = listens and not any(local) and attributes(answer, _ANSWER.size).get(_V6_ONLY) == b"\0"
        if both:
            yield _end(Family.V4, b"", None, *numbers)


def _end(family: Family, local: bytes, peer: bytes | None, port: int, *rest: int) -> TcpEnd:
    far = None if peer is None else int.from_bytes(peer, "big")
    return TcpEnd(family, int.from_bytes(local, "big"), port, far, *rest)
