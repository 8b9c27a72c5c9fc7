"""What this host needs of its network: its gateways, the addresses that end unless renewed, and its name servers.

Read from rtnetlink (rtnetlink(7)), from the lease files of the usual DHCP clients, and from resolv.conf(5). Whatever
cannot be read is left out: it is for a check before a change, which must not fail where a host has another resolver.
"""

import re
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from hostfw.host.errors import HostError
from hostfw.host.netlink import NETLINK_ROUTE, NetlinkSocket, attribute, attributes
from hostfw.model.evidence import Gateway, Lease, LeaseKind, NameServer
from hostfw.model.values import FAMILIES, Family, parse_address

RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVED_UPSTREAMS = Path("/run/systemd/resolve/resolv.conf")
"""The servers that systemd-resolved asks, where resolv.conf names its stub (systemd-resolved.service(8))."""
NETWORKD_LEASES = Path("/run/systemd/netif/leases")
DHCLIENT_LEASES = Path("/var/lib/dhcp")

_RESOLVED_STUBS = (0x7F000035, 0x7F000036)
"""127.0.0.53 and 127.0.0.54."""
_ADDRESS_FAMILY = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}

_RTM_GETADDR, _RTM_GETROUTE = 22, 26
_RT_TABLE_MAIN, _RTN_UNICAST = 254, 1
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_VIA = 1, 2, 4, 5, 7, 9, 18
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_PERMANENT = 0x80
_RT_SCOPE_LINK = 253
_RTMSG = struct.Struct("=8BI")
_RTNEXTHOP = struct.Struct("=HBBi")
_IFADDRMSG = struct.Struct("=4BI")
_U32, _INDEX = struct.Struct("=I"), struct.Struct("=i")

_NAME_SERVER = re.compile(r"^nameserver[ \t]+(\S+)", re.MULTILINE)
_NETWORKD = re.compile(r"^(ADDRESS|SERVER_ADDRESS)=(\S+)$", re.MULTILINE)
_DHCLIENT = re.compile(r"^lease6? \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_DHCLIENT_ADDRESS = re.compile(r"fixed-address (\S+);")
_DHCLIENT_SERVER = re.compile(r"option dhcp-server-identifier (\S+);")


class Route(NamedTuple):
    """The way to an address: the interface, and the address that packets leave with where the kernel says."""

    interface: str
    source: int | None


def route_to(family: Family, address: int, source: int | None = None) -> Route | None:
    """The way that a packet to an address would take now, or None where there is none."""
    parts = [attribute(_RTA_DST, _packed(family, address))]
    parts += [attribute(_RTA_SRC, _packed(family, source))] if source is not None else []
    header = _RTMSG.pack(_ADDRESS_FAMILY[family], family.bits, family.bits if source is not None else 0, *(0,) * 5, 0)
    with suppress(HostError), NetlinkSocket(NETLINK_ROUTE) as sock:
        found = attributes(sock.ask(_RTM_GETROUTE, header + b"".join(parts), "asking for a route"), _RTMSG.size)
        if _RTA_OIF in found:
            preferred = found.get(_RTA_PREFSRC)
            name = interface_name(_INDEX.unpack(found[_RTA_OIF])[0])
            return Route(name, None if preferred is None else int.from_bytes(preferred, "big"))
    return None


def interface_name(index: int) -> str:
    """The name of an interface, or nothing if it has gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def gateways() -> tuple[Gateway, ...]:
    """Where the default routes of the main table lead. Raises HostError."""
    found = {gateway for family in FAMILIES for message in _dump_routes(family) for gateway in _gateways(message)}
    return tuple(sorted(found, key=lambda gateway: (gateway.family, gateway.interface, gateway.address or 0)))


def leases(networkd: Path = NETWORKD_LEASES, dhclient: Path = DHCLIENT_LEASES) -> tuple[Lease, ...]:
    """The addresses of this host that end, and who gave them where a DHCP client says so. Raises HostError."""
    servers = dict(chain(_networkd_servers(networkd), _dhclient_servers(dhclient)))
    found = {lease for family in FAMILIES for message in _dump_addresses(family) for lease in _leases(message, servers)}
    return tuple(sorted(found, key=lambda lease: (lease.family, lease.interface, lease.address)))


def name_servers(resolv_conf: Path = RESOLV_CONF, upstreams: Path = RESOLVED_UPSTREAMS) -> tuple[NameServer, ...]:
    """The resolvers that this host asks; behind systemd-resolved's stub those that it asks in turn."""
    named = _named_in(resolv_conf)
    if any(family is Family.V4 and address in _RESOLVED_STUBS for family, address, _ in named):
        named = (*named, *_named_in(upstreams))
    return tuple(dict.fromkeys(_name_server(*server) for server in named))


def _gateways(message: bytes) -> Iterator[Gateway]:
    kind, prefix_length, _, _, table, _, _, route_type, _ = _RTMSG.unpack_from(message)
    if prefix_length or table != _RT_TABLE_MAIN or route_type != _RTN_UNICAST:
        return
    family = Family.V4 if kind == socket.AF_INET else Family.V6
    fields = attributes(message, _RTMSG.size)
    if _RTA_OIF in fields:
        yield from _gateway(family, _INDEX.unpack(fields[_RTA_OIF])[0], fields)
    data, offset = fields.get(_RTA_MULTIPATH, b""), 0
    while offset + _RTNEXTHOP.size <= len(data):
        length, _, _, index = _RTNEXTHOP.unpack_from(data, offset)
        yield from _gateway(family, index, attributes(data[offset + _RTNEXTHOP.size : offset + length]))
        offset += max((length + 3) & ~3, _RTNEXTHOP.size)


def _gateway(family: Family, index: int, fields: Mapping[int, bytes]) -> Iterator[Gateway]:
    interface = interface_name(index)
    if not interface:
        return
    if _RTA_VIA in fields:
        # An IPv4 route by way of an IPv6 gateway (RFC 5549): the family, then the address.
        yield Gateway(Family.V6, interface, int.from_bytes(fields[_RTA_VIA][2:], "big"))
    else:
        address = fields.get(_RTA_GATEWAY)
        yield Gateway(family, interface, None if address is None else int.from_bytes(address, "big"))


def _leases(message: bytes, servers: Mapping[tuple[Family, int], int]) -> Iterator[Lease]:
    kind, prefix_length, _, scope, index = _IFADDRMSG.unpack_from(message)
    fields = attributes(message, _IFADDRMSG.size)
    flags = _U32.unpack(fields[_IFA_FLAGS])[0] if _IFA_FLAGS in fields else _IFA_F_PERMANENT
    interface = interface_name(index)
    if flags & _IFA_F_PERMANENT or scope >= _RT_SCOPE_LINK or not interface:
        return
    family = Family.V4 if kind == socket.AF_INET else Family.V6
    address = int.from_bytes(fields.get(_IFA_LOCAL, fields.get(_IFA_ADDRESS, b"")), "big")
    # DHCPv6 gives single addresses (RFC 8415, 18.2.10.1); what has the length of its network was advertised.
    by_dhcp = family is Family.V4 or prefix_length == family.bits
    lease_kind = LeaseKind.DHCP if by_dhcp else LeaseKind.ROUTER_ADVERTISEMENT
    yield Lease(lease_kind, family, interface, address, servers.get((family, address)) if by_dhcp else None)


def _networkd_servers(folder: Path) -> Iterator[tuple[tuple[Family, int], int]]:
    for text in _texts(folder, "*"):
        fields = dict(_NETWORKD.findall(text))
        yield from _given(fields.get("ADDRESS"), fields.get("SERVER_ADDRESS"))


def _dhclient_servers(folder: Path) -> Iterator[tuple[tuple[Family, int], int]]:
    for text in _texts(folder, "dhclient*.leases"):
        for block in _DHCLIENT.findall(text):
            address, server = _DHCLIENT_ADDRESS.search(block), _DHCLIENT_SERVER.search(block)
            yield from _given(address and address[1], server and server[1])


def _given(address: str | None, server: str | None) -> Iterator[tuple[tuple[Family, int], int]]:
    parsed, by = parse_address(address or ""), parse_address(server or "")
    if parsed and by:
        yield parsed, by[1]


def _texts(folder: Path, pattern: str) -> Iterator[str]:
    with suppress(OSError):
        for path in sorted(folder.glob(pattern)):
            with suppress(OSError):
                yield path.read_text(encoding="utf-8", errors="replace")


def _named_in(path: Path) -> tuple[tuple[Family, int, str], ...]:
    """The name servers of a resolv.conf, each with the zone that a link-local one has."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    words = (word.partition("%") for word in _NAME_SERVER.findall(text))
    return tuple((*parsed, zone) for address, _, zone in words if (parsed := parse_address(address)) is not None)


def _name_server(family: Family, address: int, zone: str) -> NameServer:
    way = None if zone else route_to(family, address)
    return NameServer(family, address, zone, None) if way is None else NameServer(family, address, *way)


def _dump_routes(family: Family) -> Iterable[bytes]:
    return _dump(_RTM_GETROUTE, _RTMSG.pack(_ADDRESS_FAMILY[family], *(0,) * 7, 0), "reading the routes")


def _dump_addresses(family: Family) -> Iterable[bytes]:
    return _dump(_RTM_GETADDR, _IFADDRMSG.pack(_ADDRESS_FAMILY[family], 0, 0, 0, 0), "reading the addresses")


def _dump(kind: int, body: bytes, what: str) -> list[bytes]:
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        return sock.dump(kind, body, what)


def _packed(family: Family, address: int) -> bytes:
    return address.to_bytes(family.bits // 8, "big")
