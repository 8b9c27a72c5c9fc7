"""The interfaces of this host as readers of workloads need them (rtnetlink(7)): whose other end is where.

The other end of a veth is in the network namespace that IFLA_LINK_NETNSID counts, and RTM_GETNSID says which number
the namespace of a process has here. Neither needs a capability, or a way into the namespace: an engine that tells the
process of a container tells its interfaces.
"""

import errno
import socket
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from hostfw.host.netlink.listening import ListeningSocket
from hostfw.host.netlink.messages import NETLINK_ROUTE, NetlinkError, NetlinkSocket, attribute, attributes, text_of
from hostfw.host.netlink.rtnetlink import (
    IFADDRMSG,
    IFINFOMSG,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_OIF,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTMSG,
    RTN_UNICAST,
)

_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_IFALIAS, _IFLA_LINK_NETNSID, _IFLA_EXT_MASK = 3, 5, 10, 20, 37, 29
_RTEXT_FILTER_SKIP_STATS = 1 << 3
_RTM_GETNSID, _NETNSA_NSID, _NETNSA_PID = 90, 1, 2
_RTGENMSG = struct.Struct("=Bxxx")
_INT, _U32 = struct.Struct("=i"), struct.Struct("=I")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTMGRP_LINK, _RTMGRP_ADDRESSES_AND_ROUTES = 0x1, 0x10 | 0x40 | 0x100 | 0x400
_MOST_DATAGRAMS = 1000
_RECEIVE_BUFFER_BYTES = 1024 * 1024

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class HostInterface:
    """An interface of this host.

    `master` is the index of the bridge that it is a port of, 0 for none. `namespace_id` is the number, here, of the
    network namespace that its other end is in, None where that end is here or there is none.
    """

    index: int
    name: str
    master: int = 0
    alias: str = ""
    namespace_id: int | None = None


class HostInterfaces:
    """One reading of the interfaces, and questions about them. Raises NetlinkError."""

    def __init__(self) -> None:
        """Read the interfaces of the network namespace that the caller is in."""
        with NetlinkSocket(NETLINK_ROUTE) as sock:
            body = IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            body += attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
            links = map(_interface, sock.dump(RTM_GETLINK, body, "reading the interfaces"))
            self.by_index = {link.index: link for link in links if link is not None}
        self.by_name = {link.name: link for link in self.by_index.values()}
        self._of_namespace: defaultdict[int, list[HostInterface]] = defaultdict(list)
        for link in self.by_index.values():
            if link.namespace_id is not None:
                self._of_namespace[link.namespace_id].append(link)

    def leading_to(self, processes: Sequence[int]) -> Mapping[int, Sequence[HostInterface]]:
        """The interfaces whose other ends are in the network namespaces of processes, by their ids here.

        A process that is gone, or is in the namespace of this host, has none.
        """
        found: dict[int, Sequence[HostInterface]] = {}
        with NetlinkSocket(NETLINK_ROUTE) as sock:
            for process in processes:
                number = _namespace_id(sock, process)
                found[process] = () if number is None else tuple(self._of_namespace.get(number, ()))
        return found


def _namespace_id(sock: NetlinkSocket, process: int) -> int | None:
    """The number of a process's network namespace, None where it has none here (net/core/net_namespace.c)."""
    body = _RTGENMSG.pack(socket.AF_UNSPEC) + attribute(_NETNSA_PID, _U32.pack(process))
    try:
        answer = sock.ask(_RTM_GETNSID, body, "asking for a network namespace")
    except NetlinkError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return None
        raise
    payload = attributes(answer, _RTGENMSG.size).get(_NETNSA_NSID)
    number: int = -1 if payload is None else _INT.unpack_from(payload)[0]
    return number if number >= 0 else None


def host_addresses() -> Mapping[int, Sequence[Network]]:
    """The addresses of this host, by the indexes of their interfaces. Raises NetlinkError."""
    found: defaultdict[int, list[Network]] = defaultdict(list)
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        payloads = sock.dump(RTM_GETADDR, IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "reading the addresses")
    for payload in payloads:
        family, _, _, _, index = IFADDRMSG.unpack_from(payload)
        known = attributes(payload, IFADDRMSG.size)
        raw = known.get(_IFA_LOCAL) or known.get(_IFA_ADDRESS, b"")
        network = _network(family, raw, len(raw) * 8)
        if network is not None:
            found[index].append(network)
    return found


def routed_networks(index: int) -> Sequence[Network]:
    """The networks that the main table leads to by an interface; default routes are none. Raises NetlinkError."""
    found: list[Network] = []
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        # A router may have a million of others.
        sock.filter_dumps()
        for family in (socket.AF_INET, socket.AF_INET6):
            body = RTMSG.pack(family, *(0,) * 3, RT_TABLE_MAIN, *(0,) * 3, 0) + attribute(RTA_OIF, _U32.pack(index))
            for payload in _routes(sock, body):
                _, length, _, _, table, _, _, kind, _ = RTMSG.unpack_from(payload)
                raw = attributes(payload, RTMSG.size).get(RTA_DST)
                if kind == RTN_UNICAST and table == RT_TABLE_MAIN and raw is not None and length > 0:
                    network = _network(family, raw, length)
                    found += [] if network is None else [network]
    return found


def _routes(sock: NetlinkSocket, body: bytes) -> Sequence[bytes]:
    """The routes that a request asks for; none where the table has never had one."""
    try:
        return sock.dump(RTM_GETROUTE, body, "reading the routes")
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return ()
        raise


def _network(family: int, raw: bytes, length: int) -> Network | None:
    size = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}.get(family)
    return None if size != len(raw) else ip_network((raw, length), strict=False)


def _interface(payload: bytes) -> HostInterface | None:
    if len(payload) < IFINFOMSG.size:
        return None
    _, _, index, _, _ = IFINFOMSG.unpack_from(payload)
    known = attributes(payload, IFINFOMSG.size)
    number = known.get(_IFLA_LINK_NETNSID)
    return HostInterface(
        index,
        text_of(known.get(_IFLA_IFNAME, b"")),
        _U32.unpack_from(known[_IFLA_MASTER])[0] if _IFLA_MASTER in known else 0,
        text_of(known.get(_IFLA_IFALIAS, b"")),
        _INT.unpack_from(number)[0] if number is not None and _IFLA_LINK in known else None,
    )


class InterfaceEvents(ListeningSocket):
    """Changes of interfaces, their addresses and routes: that there were any, not what they were. Raises OSError."""

    def __init__(self) -> None:
        """Listen from now on, in the network namespace that the caller is in."""
        groups = _RTMGRP_LINK | _RTMGRP_ADDRESSES_AND_ROUTES
        super().__init__(NETLINK_ROUTE, _RECEIVE_BUFFER_BYTES, lambda sock: sock.bind((0, groups)))

    def read(self) -> None:
        """Take what has arrived; what the kernel had to drop was a change as well."""
        for _ in self._datagrams(_MOST_DATAGRAMS, "listening to changes of interfaces"):
            pass
