"""The kernel's routing decision for an address: local, broadcast, or on by an interface (rtnetlink(7)).

The kernel is asked, so every table, rule and route type counts, as that of an AnyIP prefix (`ip route add local`).
"""

import errno
import socket
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hostfw.host.netlink import rtnetlink
from hostfw.host.netlink.messages import NETLINK_ROUTE, NetlinkError, NetlinkSocket
from hostfw.host.network.network_needs import interface_name
from hostfw.model.values import Family

_SYSCTL = Path("/proc/sys/net")
_NO_ROUTE = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.EXDEV))
"""Errors of the kernel for no route, for routes of the types unreachable, blackhole and prohibit, and for a source that
does not come in there (rp_filter)."""


class RouteKind(StrEnum):
    """Kinds of routes (RTN_*) that deliver packets, and NONE where there is none, or one that drops them."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    NONE = "none"


_KINDS = dict(enumerate((kind for kind in RouteKind if kind is not RouteKind.NONE), 1))


@dataclass(frozen=True, slots=True)
class Routed:
    """The route to an address: its kind, the interface that it leads to, of a local one lo, and of NONE no name.

    `source` is the address that the host puts into what it sends there, None where the kernel does not say.
    """

    kind: RouteKind
    interface: str = ""
    source: int | None = None


def routed(family: Family, address: int) -> Routed:
    """The route that a packet of this host to an address takes now. Raises HostError."""
    return _looked_up(family, address)


def routed_through(family: Family, address: int, source: int, interface: str) -> Routed:
    """The route that a packet takes now which comes in on an interface from a source. Raises HostError.

    The kernel finds none either where it does not forward, or where the source cannot come from there.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return Routed(RouteKind.NONE)
    return _looked_up(family, address, source, index)


def _looked_up(family: Family, address: int, source: int | None = None, into: int = 0) -> Routed:
    try:
        with NetlinkSocket(NETLINK_ROUTE) as sock:
            found = rtnetlink.look_up(sock, family, address, source, into)
    except NetlinkError as error:
        if error.errno in _NO_ROUTE:
            return Routed(RouteKind.NONE)
        raise
    kind = None if found is None else _KINDS.get(found.kind)
    if found is None or kind is None or not found.hops:
        return Routed(RouteKind.NONE)
    return Routed(kind, interface_name(found.hops[0].index), found.source)


def forwards(family: Family, interface: str, sysctl: Path = _SYSCTL) -> bool:
    """True if the host forwards what comes in on an interface and is for somebody else."""
    names = {Family.V4: "ipv4", Family.V6: "ipv6"}
    try:
        return (sysctl / names[family] / "conf" / interface / "forwarding").read_text().strip() != "0"
    except OSError:
        return True


def forwards_anything(sysctl: Path = _SYSCTL) -> bool:
    """Tell if packets of others pass the rules for forwarded ones; what cannot be read forwards nothing.

    They are routed, on any interface and in either family, or br_netfilter has those between ports of a bridge pass.
    """
    patterns = ("ipv4/conf/*/forwarding", "ipv6/conf/*/forwarding", "bridge/bridge-nf-call-ip*tables")
    for switch in (path for pattern in patterns for path in sysctl.glob(pattern)):
        try:
            if switch.read_text().strip() != "0":
                return True
        except OSError:
            continue
    return False
