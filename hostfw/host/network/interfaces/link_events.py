"""Events of interfaces, addresses and default routes: whatever may change `HostFacts`, and nothing else.

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
from pathlib import Path
from typing import Protocol

from hostfw.host.netlink.listening import DATAGRAM_BYTES, ListeningSocket
from hostfw.host.netlink.messages import HEADER, NETLINK_ROUTE, NetlinkError, messages
from hostfw.host.netlink.rtnetlink import (
    RT_TABLE_MAIN,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    RTN_UNICAST,
    Link,
    LinkAddress,
    parse_address_message,
    parse_link,
)
from hostfw.host.nftables.nflog import interface_name
from hostfw.model.host.facts import Interface
from hostfw.model.values import Cidr, Family, host_cidr

RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
"""Room for some 5,000 links that change at once."""
READ_DATAGRAMS = 256
"""Most datagrams of one read: 5 ms of work, after which an event loop gets its turn."""

_WHAT = "listening to links"
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR and _IPV6_ROUTE."""
_NEXT_HOPS = 1 << 31
"""RTNLGRP_NEXTHOP."""
_ROUTE_CHANGES = (RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP)
_COMPAT_MODE = Path("/proc/sys/net/ipv4/nexthop_compat_mode")
"""Unless it is 0, the kernel reports the routes whose next hop object changes (Linux 5.8, ip-sysctl)."""
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class LinkNews:
    """Changes: interfaces that changed, or whose addresses did, by name, or a default route of the main table.

    `ports` are the interfaces that may have become ports of another since they were last heard of, by index, each with
    its master's. With `missed` the kernel had to throw something away, and anything may have changed. With `endless` an
    address without an end was set: who gave it may be known only later.

    `links` are the links that changed, as they were and as they are, without addresses and routes, and `addresses` the
    addresses that came or went, each with its interface; both say why the names are in `interfaces`.
    """

    interfaces: frozenset[str] = frozenset()
    routes: bool = False
    missed: bool = False
    ports: frozenset[tuple[int, int]] = frozenset()
    endless: bool = False
    links: frozenset[Interface] = frozenset()
    addresses: frozenset[tuple[str, Cidr]] = frozenset()

    def __bool__(self) -> bool:
        """True if the host is to be observed again."""
        return bool(self.interfaces) or self.routes or self.missed


class LinkListener(Protocol):
    """A source of changes, such as `LinkEvents`."""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""

    def read(self) -> LinkNews:
        """The changes since the last call, or a bounded part of them; never waits."""

    def close(self) -> None:
        """Stop listening."""


_Address = tuple[int, Family, int]
"""Of an address: the index of its link, its family, and itself."""
_Known = tuple[bool, int, int, int | None]
"""The origin of an address: True if it has no end, its protocol, the length of its network, and the peer."""


class LinkEvents(ListeningSocket):
    """Listens to the links, addresses and routes of the network namespace that the caller is in. Raises NetlinkError.

    Listen first and observe then. What is first heard of a link or an address counts as a change.
    """

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: dict[_Address, _Known] = {}
        try:
            super().__init__(NETLINK_ROUTE, receive_buffer_bytes, _join)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, _WHAT) from error

    def read(self) -> LinkNews:
        """The changes of at most `READ_DATAGRAMS` datagrams; the descriptor stays readable while more are left."""
        links: set[Interface] = set()
        addresses: set[tuple[str, Cidr]] = set()
        ports: set[tuple[int, int]] = set()
        routes = missed = endless = False
        for data in self._datagrams(READ_DATAGRAMS, _WHAT):
            if data is None:
                missed = True
                # What we remember may have changed and will change back: all that comes is new again.
                self._links.clear()
                self._addresses.clear()
                continue
            for _, (kind, _, payload) in messages(data):
                if kind in (RTM_NEWLINK, RTM_DELLINK):
                    link = parse_link(payload)
                    if kind == RTM_NEWLINK and link is not None and link.master:
                        before = self._links.get(link.index)
                        if before is None or before.master != link.master:
                            ports.add((link.index, link.master))
                    links |= self._link_changes(link, gone=kind == RTM_DELLINK)
                elif kind in (RTM_NEWADDR, RTM_DELADDR):
                    address = parse_address_message(payload)
                    changed = self._address_changes(address, gone=kind == RTM_DELADDR)
                    addresses |= changed
                    endless |= bool(changed) and kind == RTM_NEWADDR and address is not None and address.is_permanent
                else:
                    routes |= kind in _ROUTE_CHANGES
        interfaces = frozenset((*(link.name for link in links), *(name for name, _ in addresses)))
        why = frozenset(links), frozenset(addresses)
        return LinkNews(interfaces, routes, missed, frozenset(ports), endless, *why)

    def _link_changes(self, now: Link | None, *, gone: bool) -> frozenset[Interface]:
        """A link that is not what it was, as it was and as it is."""
        if now is None:
            return frozenset()
        before = self._links.get(now.index)
        if gone:
            self._links.pop(now.index, None)
            self._addresses = {key: address for key, address in self._addresses.items() if key[0] != now.index}
        elif before == now:
            return frozenset()
        else:
            self._links[now.index] = now
        return frozenset(self._interface(link) for link in (before, now) if link is not None)

    def _interface(self, link: Link) -> Interface:
        """A link in the words of policy."""
        return Interface(
            link.name,
            link.index,
            link.altnames,
            link.kind,
            link.group,
            self._name(link.master) if link.master else None,
            up=link.up,
            mac=link.mac,
            permanent_mac=link.permanent_mac,
            bridge=link.bridge,
        )

    def _address_changes(self, now: LinkAddress | None, *, gone: bool) -> frozenset[tuple[str, Cidr]]:
        """An address that is not what it was, with the name of its link."""
        if now is None:
            return frozenset()
        key = (now.index, now.family, now.address)
        # Of the flags one says who set it; others come and go with duplicate detection.
        known = (now.is_permanent, now.protocol, now.prefix_length, now.peer)
        if not gone and self._addresses.get(key) == known:
            return frozenset()
        if gone:
            self._addresses.pop(key, None)
        else:
            self._addresses[key] = known
        return frozenset(((self._name(now.index), host_cidr(now.family, now.address)),))

    def _name(self, index: int) -> str:
        """The name of a link, by what was heard of it or as the kernel says now."""
        link = self._links.get(index)
        return link.name if link else interface_name(index) or f"#{index}"


def _join(sock: socket.socket) -> None:
    _attach_filter(sock)
    sock.bind((0, _GROUPS | (0 if _routes_follow_next_hops() else _NEXT_HOPS)))


def _routes_follow_next_hops() -> bool:
    """True if a next hop object that changes is told as a change of its routes."""
    try:
        return _COMPAT_MODE.read_text(encoding="ascii").strip() != "0"
    except OSError:
        return True


def _attach_filter(sock: socket.socket) -> None:
    """Let the kernel drop every route that is not a default route of the main table, before it wakes us.

    A program of socket(7)'s classic BPF over struct nlmsghdr and struct rtmsg. It loads in network byte order.
    """
    new, deleted = (int.from_bytes(kind.to_bytes(2, sys.byteorder), "big") for kind in (RTM_NEWROUTE, RTM_DELROUTE))
    program = array("B")
    for code, if_true, if_false, value in (
        (_LOAD_U16, 0, 0, 4),  # nlmsg_type
        (_JUMP_EQUAL, 1, 0, new),
        (_JUMP_EQUAL, 0, 6, deleted),
        (_LOAD_U8, 0, 0, HEADER.size + 1),  # rtm_dst_len
        (_JUMP_EQUAL, 0, 5, 0),
        (_LOAD_U8, 0, 0, HEADER.size + 4),  # rtm_table
        (_JUMP_EQUAL, 0, 3, RT_TABLE_MAIN),
        (_LOAD_U8, 0, 0, HEADER.size + 7),  # rtm_type
        (_JUMP_EQUAL, 0, 1, RTN_UNICAST),
        (_RETURN, 0, 0, DATAGRAM_BYTES),
        (_RETURN, 0, 0, 0),
    ):
        program.frombytes(_INSTRUCTION.pack(code, if_true, if_false, value))
    address, length = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", length // _INSTRUCTION.size, address))


_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_U16, _LOAD_U8, _JUMP_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
