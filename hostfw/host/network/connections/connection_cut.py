"""Ending connections: the entries of connection tracking go, so that their next packet meets policy as a new one.

The format is that of <linux/netfilter/nfnetlink_conntrack.h>.
"""

import errno
import socket
from collections.abc import Iterator, Sequence
from itertools import islice

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    nested,
)
from hostfw.model.values import Cidr, Family

_SUBSYSTEM = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ZONE = 1, 2, 18
_TUPLE_IP = 1
_NUMBER_OF = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}
_AT_A_TIME = 64


def cut_connections(nets: Sequence[Cidr]) -> int:
    """End every connection that has an end in one of the prefixes, and give how many there were. Raises HostError."""
    ended = 0
    with NetlinkSocket(NETLINK_NETFILTER) as netlink:
        for family in sorted({net.family for net in nets}):
            header = NFGENMSG.pack(_NUMBER_OF[family], 0, 0)
            of_family = [net for net in nets if net.family is family]
            entries = netlink.dump(_GET, header, "reading connection tracking")
            bodies = (header + body for entry in entries for body in _if_within(entry, of_family))
            while some := list(islice(bodies, _AT_A_TIME)):
                for refusal in netlink.ask_each(_DELETE, 0, some, "ending a connection"):
                    # What has ended meanwhile need not be ended.
                    if refusal not in (0, errno.ENOENT):
                        raise NetlinkError(refusal, "ending a connection")
                    ended += not refusal
    return ended


def _if_within(entry: bytes, nets: Sequence[Cidr]) -> Iterator[bytes]:
    """The key of an entry, if one of its ends, as either side sees it, lies in the prefixes."""
    found = attributes(entry, NFGENMSG.size)
    ends = [
        int.from_bytes(address, "big")
        for way in (_TUPLE_ORIGINAL, _TUPLE_REPLY)
        for address in attributes(attributes(found.get(way, b"")).get(_TUPLE_IP, b"")).values()
    ]
    if any(net.contains(end) for net in nets for end in ends):
        zone = attribute(_ZONE, found[_ZONE]) if _ZONE in found else b""
        yield nested(_TUPLE_ORIGINAL, found[_TUPLE_ORIGINAL]) + zone
