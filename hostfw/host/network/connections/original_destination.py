"""The destinations that peers connected to before destination NAT, by connection tracking (ctnetlink).

The format is that of <linux/netfilter/nfnetlink_conntrack.h>. An entry is found by the tuple of either of its sides;
that of the answers is what the socket has, so the other one is what the peer meant.
"""

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    nested,
)
from hostfw.host.network.sockets.sockets import TcpEnd
from hostfw.model.values import TCP, Family

_GET = 1 << 8 | 1
_TUPLE_ORIGINAL = 1
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION = {Family.V4: 1, Family.V6: 3}, {Family.V4: 2, Family.V6: 4}
_PROTOCOL_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_NUMBER_OF = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}
_UNKNOWN = frozenset((errno.ENOENT, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT))
"""There is no entry, we may not look, or the kernel tracks no connections at all."""


def original_destinations(ends: Iterable[TcpEnd]) -> dict[TcpEnd, tuple[int, int]]:
    """The address and port that the peer of each connection connected to, for those that were translated.

    Those that connection tracking does not know are left out. Raises HostError.
    """
    found: dict[TcpEnd, tuple[int, int]] = {}
    connected = [end for end in ends if end.peer is not None]
    if connected:
        with NetlinkSocket(NETLINK_NETFILTER) as netlink:
            found |= {end: original for end in connected for original in _original(netlink, end)}
    return found


def _original(netlink: NetlinkSocket, end: TcpEnd) -> Iterator[tuple[int, int]]:
    entry = b""
    try:
        entry = netlink.ask(_GET, _answers_of(end), "asking connection tracking")
    except NetlinkError as error:
        if error.errno not in _UNKNOWN:
            raise
    original = attributes(attributes(entry, NFGENMSG.size).get(_TUPLE_ORIGINAL, b""))
    with suppress(KeyError):
        address = attributes(original[_TUPLE_IP])[_IP_DESTINATION[end.family]]
        port = attributes(original[_TUPLE_PROTOCOL])[_DESTINATION_PORT]
        meant = int.from_bytes(address, "big"), int.from_bytes(port, "big")
        # Of a connection that this host began, it is the peer's.
        if meant not in ((end.local, end.local_port), (end.peer, end.peer_port)):
            yield meant


def _answers_of(end: TcpEnd) -> bytes:
    """The key of an entry: the family, and the tuple of what this host sends."""
    size = end.family.bits // 8
    addresses = (
        attribute(_IP_SOURCE[end.family], end.local.to_bytes(size, "big")),
        attribute(_IP_DESTINATION[end.family], (end.peer or 0).to_bytes(size, "big")),
    )
    ports = (
        attribute(_PROTOCOL_NUMBER, bytes((TCP.number,))),
        attribute(_SOURCE_PORT, end.local_port.to_bytes(2, "big")),
        attribute(_DESTINATION_PORT, end.peer_port.to_bytes(2, "big")),
    )
    header = NFGENMSG.pack(_NUMBER_OF[end.family], 0, 0)
    return header + nested(_TUPLE_ORIGINAL, nested(_TUPLE_IP, *addresses), nested(_TUPLE_PROTOCOL, *ports))
