"""The rtnetlink codec: links, addresses, routes and next hops as the kernel sends them (rtnetlink(7)).

The one place that knows the layout of these messages; readers ask for them, listeners are sent them. The formats are
those of <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if_addr.h> and <linux/nexthop.h>. A message that ends early
has the attributes that it got to.
"""

import math
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from hostfw.host.netlink.messages import (
    NetlinkSocket,
    attribute,
    attribute_list,
    attributes,
    text_of,
)
from hostfw.host.netlink.parsed import Parsed
from hostfw.model.host.facts import BridgeFacts
from hostfw.model.values import Family

T = TypeVar("T")

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

ADDRESS_FAMILIES = {Family.V4: int(socket.AF_INET), Family.V6: int(socket.AF_INET6)}
_FAMILIES = {number: family for family, number in ADDRESS_FAMILIES.items()}

IFINFOMSG = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, device type, index, flags, mask of changes."""
IFADDRMSG = struct.Struct("=4BI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
RTMSG = struct.Struct("=8BI")
"""struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags."""
_NHMSG = struct.Struct("=4BI")
"""struct nhmsg: family, scope, protocol, reserved, flags."""
_RTNEXTHOP = struct.Struct("=HBBi")
"""struct rtnexthop: length, flags, hops, index of the link."""
_GROUP_MEMBER = struct.Struct("=IBBH")
"""struct nexthop_grp: id, weight, the upper half of the weight, reserved."""
_U32, _INDEX = struct.Struct("=I"), struct.Struct("=i")

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_WIRELESS, _IFLA_LINKINFO, _IFLA_GROUP, _IFLA_EXT_MASK, _IFLA_PROP_LIST = (
    3,
    10,
    11,
    18,
    27,
    29,
    52,
)
_IFLA_ADDRESS, _IFLA_PERM_ADDRESS = 1, 54
_IFLA_INFO_KIND, _IFLA_ALT_IFNAME = 1, 53
_IFLA_INFO_DATA = 2
_IFLA_BR_VLAN_FILTERING, _IFLA_BR_NF_CALL_IPTABLES, _IFLA_BR_NF_CALL_IP6TABLES = 7, 36, 37
_SHORTEST_HARDWARE_ADDRESS = 6
BRIDGE_KIND = "bridge"
_SKIP_STATISTICS = _U32.pack(1 << 3)
"""RTEXT_FILTER_SKIP_STATS: counters are half of a link's message."""

_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 6, 8, 11
_IFA_CACHEINFO_LAYOUT = struct.Struct("@IIII")
"""struct ifa_cacheinfo: preferred and valid lifetime, then when it was made and last set, in hundredths of a second."""
_AHEAD = 6000
"""Hundredths of a second by which an address may seem to come from the future."""
IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE = 0x80, 0x200
IFAPROT_KERNEL_RA = 2
"""The protocol of an address that the kernel made of a router advertisement (Linux 5.18)."""
RT_SCOPE_LINK = 253

RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_PREFSRC = 1, 2, 3, 4, 7
_RTA_GATEWAY, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA, _RTA_NH_ID = 5, 9, 15, 18, 30
RT_TABLE_MAIN, RTN_UNICAST = 254, 1
RTPROT_KERNEL, RTPROT_STATIC, RTPROT_RA, RTPROT_DHCP = 2, 4, 9, 16

_NHA_ID, _NHA_GROUP, _NHA_OIF, _NHA_GATEWAY = 1, 2, 5, 6


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. `kind` is IFLA_INFO_KIND, "loopback" for lo; `master` is the index of one, 0 for none.

    `mac` and `permanent_mac` are hardware addresses (IFLA_ADDRESS, IFLA_PERM_ADDRESS), empty where there is none.
    `bridge` is what only a bridge has.
    """

    index: int
    name: str
    altnames: tuple[str, ...] = ()
    kind: str = ""
    group: int = 0
    master: int = 0
    up: bool = False
    mac: str = ""
    permanent_mac: str = ""
    bridge: BridgeFacts | None = None


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address of a link: our own, where the link has a peer. `protocol` is IFA_PROTO, 0 where nobody says.

    `set_at` is when it was last set, in hundredths of a second of CLOCK_MONOTONIC modulo 2**32 (IFA_CACHEINFO), None
    where the kernel does not say. `peer` is IFA_ADDRESS where that is another address: the network is the peer's then.
    """

    index: int
    family: Family
    address: int
    prefix_length: int
    scope: int = 0
    flags: int = IFA_F_PERMANENT
    protocol: int = 0
    set_at: int | None = None
    peer: int | None = None

    @property
    def is_permanent(self) -> bool:
        """True if it has no end of life (IFA_F_PERMANENT)."""
        return bool(self.flags & IFA_F_PERMANENT)

    def age_s(self, now_s: float) -> float:
        """Seconds since it was last set, at a moment of CLOCK_MONOTONIC; for ever where the kernel does not say."""
        if self.set_at is None:
            return math.inf
        age = (int(now_s * 100) - self.set_at) % 2**32
        # The kernel counts jiffies, which may be ahead of the clock by a little.
        return 0.0 if age > 2**32 - _AHEAD else age / 100


@dataclass(frozen=True, slots=True)
class Hop:
    """One way of a route: the link, and the gateway with its family where there is one."""

    index: int
    gateway: tuple[Family, int] | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A route. `hops` are its ways; with `next_hop_id` they may be known by that object alone."""

    family: Family
    destination: int
    prefix_length: int
    table: int
    protocol: int
    kind: int
    hops: tuple[Hop, ...] = ()
    source: int | None = None
    next_hop_id: int = 0

    @property
    def on_links(self) -> tuple[int, ...]:
        """The links whose neighbours a route of the main table leads to without a gateway."""
        if self.table != RT_TABLE_MAIN or self.kind != RTN_UNICAST:
            return ()
        return tuple(hop.index for hop in self.hops if hop.gateway is None)

    @property
    def is_default(self) -> bool:
        """True if it is a way to everywhere, in the main table."""
        return self.prefix_length == 0 and self.table == RT_TABLE_MAIN and self.kind == RTN_UNICAST


@dataclass(frozen=True, slots=True)
class NextHop:
    """A next hop object (ip-nexthop(8)): a way, or the ids of the members of a group."""

    id: int
    hop: Hop | None = None
    members: tuple[int, ...] = ()


def read_links(sock: NetlinkSocket, parsed: Parsed[Link] | None = None) -> list[Link]:
    """Every link of the namespace. Raises NetlinkError."""
    body = IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(_IFLA_EXT_MASK, _SKIP_STATISTICS)
    return (parsed or Parsed(parse_link)).of(sock.dump(RTM_GETLINK, body, "reading the interfaces"))


def read_bridges(sock: NetlinkSocket) -> list[Link]:
    """The bridges among the links of the namespace, which the kernel picks out. Raises NetlinkError."""
    kind = attribute(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, BRIDGE_KIND.encode() + b"\0"))
    body = IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(_IFLA_EXT_MASK, _SKIP_STATISTICS) + kind
    links = _present(map(parse_link, sock.dump(RTM_GETLINK, body, "reading the bridges")))
    return [link for link in links if link.bridge is not None]


def read_addresses(sock: NetlinkSocket, parsed: Parsed[LinkAddress] | None = None) -> list[LinkAddress]:
    """Every IPv4 and IPv6 address of the namespace. Raises NetlinkError."""
    body = IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return (parsed or Parsed(parse_address_message)).of(sock.dump(RTM_GETADDR, body, "reading the addresses"))


def read_routes(
    sock: NetlinkSocket, family: Family, protocols: Collection[int] = (), parsed: Parsed[Route] | None = None
) -> list[Route]:
    """The routes of a family that lead everywhere, of all tables, and any to other hosts that these protocols made.

    A router may have a million of others, which are not decoded. Raises NetlinkError.
    """
    body = RTMSG.pack(ADDRESS_FAMILIES[family], *(0,) * 7, 0)
    messages = sock.dump(RTM_GETROUTE, body, "reading the routes")
    return (parsed or Parsed(parse_route)).of(
        m for m in messages if len(m) >= RTMSG.size and (not m[1] or (m[5] in protocols and m[7] == RTN_UNICAST))
    )


def with_hops(sock: NetlinkSocket, routes: Iterable[Route]) -> list[Route]:
    """The routes, those that are known by the id of a next hop object alone with its ways. Raises NetlinkError.

    The kernel sends the ways as well unless net.ipv4.nexthop_compat_mode is 0.
    """
    every = list(routes)
    if all(route.hops or not route.next_hop_id for route in every):
        return every
    objects = {one.id: one for one in read_next_hops(sock)}
    return [
        route if route.hops else replace(route, hops=tuple(_object_hops(route.next_hop_id, objects))) for route in every
    ]


def _object_hops(next_hop_id: int, objects: Mapping[int, NextHop]) -> Iterator[Hop]:
    """The ways of an object, or of the members of its group; the kernel nests no group in another."""
    found = objects.get(next_hop_id)
    members = () if found is None else (found, *(objects[m] for m in found.members if m in objects))
    return (one.hop for one in members if one.hop is not None)


def read_next_hops(sock: NetlinkSocket) -> list[NextHop]:
    """The next hop objects of the namespace. Raises NetlinkError."""
    body = _NHMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return _present(map(_parse_next_hop, sock.dump(RTM_GETNEXTHOP, body, "reading the next hops")))


def look_up(
    sock: NetlinkSocket, family: Family, destination: int, source: int | None = None, into: int = 0
) -> Route | None:
    """The way that a packet to an address would take now, from an address of ours. Raises NetlinkError for none.

    With `into`, the index of an interface, it is the way of a packet that comes in there, from anybody.
    """
    asked = [(RTA_DST, destination)] if source is None else [(RTA_DST, destination), (RTA_SRC, source)]
    header = RTMSG.pack(ADDRESS_FAMILIES[family], family.bits, 0 if source is None else family.bits, *(0,) * 5, 0)
    parts = [attribute(kind, address.to_bytes(family.bits // 8, "big")) for kind, address in asked]
    parts += [attribute(RTA_IIF, _U32.pack(into))] if into else []
    return parse_route(sock.ask(RTM_GETROUTE, header + b"".join(parts), "asking for a route"))


def parse_link(payload: bytes) -> Link | None:
    """A link; None for other messages: a bridge's port, or a search for wireless networks."""
    if len(payload) < IFINFOMSG.size:
        return None
    family, _, index, flags, _ = IFINFOMSG.unpack_from(payload)
    found = attributes(payload, IFINFOMSG.size)
    if family != socket.AF_UNSPEC or _IFLA_WIRELESS in found:
        return None
    names = (
        text_of(name) for kind, name in attribute_list(found.get(_IFLA_PROP_LIST, b"")) if kind == _IFLA_ALT_IFNAME
    )
    info = attributes(found.get(_IFLA_LINKINFO, b""))
    kind = text_of(info.get(_IFLA_INFO_KIND, b""))
    return Link(
        index=index,
        name=text_of(found.get(_IFLA_IFNAME, b"")),
        altnames=tuple(sorted(names)),
        kind="loopback" if flags & _IFF_LOOPBACK else kind,
        group=_number(found, _IFLA_GROUP),
        master=_number(found, _IFLA_MASTER),
        up=bool(flags & _IFF_UP),
        mac=_hardware_address(found.get(_IFLA_ADDRESS, b"")),
        permanent_mac=_hardware_address(found.get(_IFLA_PERM_ADDRESS, b"")),
        bridge=_bridge(attributes(info.get(_IFLA_INFO_DATA, b""))) if kind == BRIDGE_KIND else None,
    )


def _bridge(found: dict[int, bytes]) -> BridgeFacts:
    flags = (_IFLA_BR_NF_CALL_IPTABLES, _IFLA_BR_NF_CALL_IP6TABLES, _IFLA_BR_VLAN_FILTERING)
    return BridgeFacts(*(found.get(flag, b"\0")[:1] not in (b"", b"\0") for flag in flags))


def set_bridge_calls(sock: NetlinkSocket, calls: Mapping[int, tuple[bool, bool]]) -> Mapping[int, int]:
    """Say by index whether packets between the ports of bridges meet the hooks of IPv4, and of IPv6.

    Gives the errno of each that could not be set, a bridge that is gone among them. Raises NetlinkError.
    """
    answers = sock.ask_each(RTM_NEWLINK, 0, (_calls(index, *of) for index, of in calls.items()), "setting up bridges")
    return {index: answer for index, answer in zip(calls, answers, strict=True) if answer}


def _calls(index: int, ipv4: bool, ipv6: bool) -> bytes:  # noqa: FBT001 -- two flags of a message
    data = attribute(_IFLA_BR_NF_CALL_IPTABLES, bytes((ipv4,))) + attribute(_IFLA_BR_NF_CALL_IP6TABLES, bytes((ipv6,)))
    kind = attribute(_IFLA_INFO_KIND, BRIDGE_KIND.encode() + b"\0")
    info = attribute(_IFLA_LINKINFO, kind + attribute(_IFLA_INFO_DATA, data))
    return IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, 0, 0) + info


def _hardware_address(address: bytes) -> str:
    """As `ip link` writes it; empty for one of zeros, as lo has, and for the IP address that a tunnel has there."""
    return address.hex(":") if len(address) >= _SHORTEST_HARDWARE_ADDRESS and any(address) else ""


def parse_address_message(payload: bytes) -> LinkAddress | None:
    """An address; None for one of another family, such as MPLS."""
    if len(payload) < IFADDRMSG.size or (family := _FAMILIES.get(payload[0])) is None:
        return None
    _, prefix_length, flags, scope, index = IFADDRMSG.unpack_from(payload)
    found = attributes(payload, IFADDRMSG.size)
    # Of a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 gives IFA_LOCAL only there.
    own = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    if len(own) * 8 != family.bits:
        return None
    other = found.get(_IFA_ADDRESS, own)
    return LinkAddress(
        index=index,
        family=family,
        address=int.from_bytes(own, "big"),
        prefix_length=prefix_length,
        scope=scope,
        # The header has the lower eight of the flags.
        flags=_number(found, _IFA_FLAGS, flags),
        protocol=found.get(_IFA_PROTO, b"\0")[0],
        set_at=_last_set(found.get(_IFA_CACHEINFO, b"")),
        peer=int.from_bytes(other, "big") if other != own and len(other) == len(own) else None,
    )


def _last_set(cache_info: bytes) -> int | None:
    return _IFA_CACHEINFO_LAYOUT.unpack_from(cache_info)[3] if len(cache_info) >= _IFA_CACHEINFO_LAYOUT.size else None


def parse_route(payload: bytes) -> Route | None:
    """A route; None for one of another family."""
    if len(payload) < RTMSG.size or (family := _FAMILIES.get(payload[0])) is None:
        return None
    _, prefix_length, _, _, table, protocol, _, kind, _ = RTMSG.unpack_from(payload)
    found = attributes(payload, RTMSG.size)
    source = found.get(RTA_PREFSRC)
    return Route(
        family=family,
        destination=int.from_bytes(found.get(RTA_DST, b""), "big"),
        prefix_length=prefix_length,
        table=_number(found, _RTA_TABLE, table),
        protocol=protocol,
        kind=kind,
        hops=tuple(_hops(family, found)),
        source=None if source is None else int.from_bytes(source, "big"),
        next_hop_id=_number(found, _RTA_NH_ID),
    )


def _hops(family: Family, found: dict[int, bytes]) -> Iterator[Hop]:
    if RTA_OIF in found:
        yield _hop(family, _INDEX.unpack_from(found[RTA_OIF])[0], found)
    data, offset = found.get(_RTA_MULTIPATH, b""), 0
    while offset + _RTNEXTHOP.size <= len(data):
        length, _, _, index = _RTNEXTHOP.unpack_from(data, offset)
        yield _hop(family, index, attributes(data[offset + _RTNEXTHOP.size : offset + length]))
        offset += max((length + 3) & ~3, _RTNEXTHOP.size)


def _hop(family: Family, index: int, found: dict[int, bytes]) -> Hop:
    if _RTA_VIA in found:
        # An IPv4 route by way of an IPv6 gateway (RFC 5549): the family, then the address.
        via = found[_RTA_VIA]
        return Hop(index, (Family.V6 if len(via) > 6 else Family.V4, int.from_bytes(via[2:], "big")))
    gateway = found.get(_RTA_GATEWAY)
    return Hop(index, None if gateway is None else (family, int.from_bytes(gateway, "big")))


def _parse_next_hop(payload: bytes) -> NextHop | None:
    if len(payload) < _NHMSG.size:
        return None
    found = attributes(payload, _NHMSG.size)
    group = found.get(_NHA_GROUP, b"")
    whole = len(group) - len(group) % _GROUP_MEMBER.size
    members = tuple(member for member, *_ in _GROUP_MEMBER.iter_unpack(group[:whole]))
    index, gateway = _number(found, _NHA_OIF), found.get(_NHA_GATEWAY)
    family = Family.V4 if gateway is not None and len(gateway) * 8 == Family.V4.bits else Family.V6
    hop = Hop(index, None if gateway is None else (family, int.from_bytes(gateway, "big"))) if index else None
    return NextHop(_number(found, _NHA_ID), hop, members)


def _number(found: dict[int, bytes], kind: int, otherwise: int = 0) -> int:
    """An attribute of 32 bits in host byte order."""
    payload = found.get(kind, b"")
    return int(_U32.unpack_from(payload)[0]) if len(payload) >= _U32.size else otherwise


def _present(found: Iterable[T | None]) -> list[T]:
    return [one for one in found if one is not None]
