"""When interfaces, addresses or default routes change: what may change `HostFacts`, and nothing else.

The kernel filters routes for us (a socket filter), so that a router's full table may flap without a wake-up. It tells
links and addresses again for reasons of no concern here, such as a carrier or the lifetime of an address; these are
compared with what was told before.
"""

import errno
import socket
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hostfw.host.listening import DATAGRAM_BYTES, ListeningSocket
from hostfw.host.netlink import (
    HEADER,
    NETLINK_ROUTE,
    NetlinkError,
    attributes,
    messages,
    text_of,
)
from hostfw.host.nflog import interface_name

RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
"""Room for some 5,000 links that change at once."""
READ_DATAGRAMS = 256
"""How much one read takes: 5 ms of work, after which an event loop sees to others."""

_WHAT = "listening to links"
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR and _IPV6_ROUTE."""
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25

_IFINFOMSG = struct.Struct("=BxHiII")
_IFF_UP = 0x1
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_WIRELESS, _IFLA_LINKINFO, _IFLA_GROUP, _IFLA_PROP_LIST = 3, 10, 11, 18, 27, 52
_INFO_KIND = 1
_IFADDRMSG = struct.Struct("=BBBBi")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_RT_TABLE_MAIN = 254
_RTN_UNICAST = 1
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class LinkNews:
    """What has changed: these interfaces or their addresses, by name, or a default route of the main table.

    With `missed` the kernel had to throw something away, and anything may have changed.
    """

    interfaces: frozenset[str] = frozenset()
    routes: bool = False
    missed: bool = False

    def __bool__(self) -> bool:
        """Whether the host is to be observed again."""
        return bool(self.interfaces) or self.routes or self.missed


class LinkListener(Protocol):
    """What hears of changes; `LinkEvents` is one."""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""

    def read(self) -> LinkNews:
        """What has been heard since the last time, or a bounded part of it; never waits."""

    def close(self) -> None:
        """Stop listening."""


class LinkEvents(ListeningSocket):
    """Listens to the links, addresses and routes of the network namespace that the caller is in. Raises NetlinkError.

    Listen first and observe then. What is first heard of a link or an address counts as a change.
    """

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self._links: dict[int, _Link] = {}
        self._addresses: set[_Address] = set()
        try:
            super().__init__(NETLINK_ROUTE, receive_buffer_bytes, _join)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, _WHAT) from error

    def read(self) -> LinkNews:
        """What has been heard, of at most `READ_DATAGRAMS` datagrams; what is left keeps the descriptor readable."""
        interfaces: set[str] = set()
        routes = missed = False
        for data in self._datagrams(READ_DATAGRAMS, _WHAT):
            if data is None:
                missed = True
                # What we remember may have changed and will change back: all that comes is new again.
                self._links.clear()
                self._addresses.clear()
                continue
            for _, (kind, _, payload) in messages(data):
                if kind in (_NEWLINK, _DELLINK):
                    interfaces |= self._link_changes(payload, gone=kind == _DELLINK)
                elif kind in (_NEWADDR, _DELADDR):
                    interfaces |= self._address_changes(payload, gone=kind == _DELADDR)
                else:
                    routes |= kind in (_NEWROUTE, _DELROUTE)
        return LinkNews(frozenset(interfaces), routes, missed)

    def _link_changes(self, payload: bytes, *, gone: bool) -> frozenset[str]:
        """The names, old and new, of a link that is not what it was."""
        family, _, index, flags, _ = _IFINFOMSG.unpack_from(payload)
        fields = attributes(payload, _IFINFOMSG.size)
        # A bridge tells of its ports in a family of its own, and a wireless card of its search for networks.
        if family != socket.AF_UNSPEC or _IFLA_WIRELESS in fields:
            return frozenset()
        before = self._links.get(index)
        if gone:
            self._links.pop(index, None)
            self._addresses = {address for address in self._addresses if address[0] != index}
            return frozenset((text_of(fields.get(_IFLA_IFNAME, b"")),))
        now = _link(fields, up=bool(flags & _IFF_UP))
        if before == now:
            return frozenset()
        self._links[index] = now
        return frozenset((now.name, before.name if before else now.name))

    def _address_changes(self, payload: bytes, *, gone: bool) -> frozenset[str]:
        """The name of the link whose addresses are not what they were."""
        family, _, _, _, index = _IFADDRMSG.unpack_from(payload)
        fields = attributes(payload, _IFADDRMSG.size)
        address = (index, family, fields.get(_IFA_LOCAL) or fields.get(_IFA_ADDRESS, b""))
        if not gone and address in self._addresses:
            return frozenset()
        (self._addresses.discard if gone else self._addresses.add)(address)
        link = self._links.get(index)
        return frozenset((link.name if link else interface_name(index) or f"#{index}",))


_Address = tuple[int, int, bytes]
"""Of an address: the index of its link, its family, and itself."""


class _Link(NamedTuple):
    """What of a link `HostFacts` has, as the kernel tells it; kind, group and master in its own bytes."""

    name: str
    altnames: bytes
    kind: bytes
    group: bytes
    master: bytes
    up: bool


def _link(fields: dict[int, bytes], *, up: bool) -> _Link:
    return _Link(
        text_of(fields.get(_IFLA_IFNAME, b"")),
        fields.get(_IFLA_PROP_LIST, b""),
        attributes(fields.get(_IFLA_LINKINFO, b"")).get(_INFO_KIND, b""),
        fields.get(_IFLA_GROUP, b""),
        fields.get(_IFLA_MASTER, b""),
        up,
    )


def _join(sock: socket.socket) -> None:
    _attach_filter(sock)
    sock.bind((0, _GROUPS))


def _attach_filter(sock: socket.socket) -> None:
    """Let the kernel drop every route that is not a default route of the main table, before it wakes us.

    A program of socket(7)'s classic BPF over struct nlmsghdr and struct rtmsg. It loads in network byte order.
    """
    new, deleted = (int.from_bytes(kind.to_bytes(2, sys.byteorder), "big") for kind in (_NEWROUTE, _DELROUTE))
    program = array("B")
    for code, if_true, if_false, value in (
        (_LOAD_U16, 0, 0, 4),  # nlmsg_type
        (_JUMP_EQUAL, 1, 0, new),
        (_JUMP_EQUAL, 0, 6, deleted),
        (_LOAD_U8, 0, 0, HEADER.size + 1),  # rtm_dst_len
        (_JUMP_EQUAL, 0, 5, 0),
        (_LOAD_U8, 0, 0, HEADER.size + 4),  # rtm_table
        (_JUMP_EQUAL, 0, 3, _RT_TABLE_MAIN),
        (_LOAD_U8, 0, 0, HEADER.size + 7),  # rtm_type
        (_JUMP_EQUAL, 0, 1, _RTN_UNICAST),
        (_RETURN, 0, 0, DATAGRAM_BYTES),
        (_RETURN, 0, 0, 0),
    ):
        program.frombytes(_INSTRUCTION.pack(code, if_true, if_false, value))
    address, length = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", length // _INSTRUCTION.size, address))


_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_U16, _LOAD_U8, _JUMP_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
