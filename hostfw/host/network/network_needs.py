"""The host's needs of its network: gateways, addresses that end unless they are renewed, and name servers.

Read from rtnetlink (rtnetlink(7)), from the lease files of the usual DHCP clients, and from resolv.conf(5). Whatever
cannot be read is left out: it is for a check before a change, which must not fail where a host has another resolver.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hostfw.host.errors import HostError
from hostfw.host.netlink import rtnetlink
from hostfw.host.netlink.messages import NETLINK_ROUTE, NetlinkSocket
from hostfw.host.network.dhcp import dhcp_leases
from hostfw.host.network.dhcp.dhcp_leases import DHCLIENT_LEASES, NETWORKD_LEASES
from hostfw.model.host.baseline import Gateway, Lease, LeaseKind, NameServer
from hostfw.model.values import FAMILIES, Family, parse_address

RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVED_UPSTREAMS = Path("/run/systemd/resolve/resolv.conf")
"""The servers that systemd-resolved asks, where resolv.conf names its stub (systemd-resolved.service(8))."""

_RESOLVED_STUBS = (0x7F000035, 0x7F000036)
"""127.0.0.53 and 127.0.0.54."""

_NAME_SERVER = re.compile(r"^nameserver[ \t]+(\S+)", re.MULTILINE)


class Route(NamedTuple):
    """The way to an address: the interface, and the address that packets leave with where the kernel says."""

    interface: str
    source: int | None


def route_to(family: Family, address: int, source: int | None = None) -> Route | None:
    """The way that a packet to an address would take now, or None where there is none."""
    with suppress(HostError), NetlinkSocket(NETLINK_ROUTE) as sock:
        found = rtnetlink.look_up(sock, family, address, source)
        if found is not None and found.hops:
            return Route(interface_name(found.hops[0].index), found.source)
    return None


def interface_name(index: int) -> str:
    """The name of an interface, or nothing if it has gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def gateways() -> tuple[Gateway, ...]:
    """The gateways of the main table's default routes. Raises HostError."""
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        routes = rtnetlink.with_hops(sock, (route for f in FAMILIES for route in rtnetlink.read_routes(sock, f)))
    found = {gateway for route in routes if route.is_default for gateway in _gateways(route)}
    return tuple(sorted(found, key=lambda gateway: (gateway.family, gateway.interface, gateway.address or 0)))


def leases(networkd: Path = NETWORKD_LEASES, dhclient: Path = DHCLIENT_LEASES) -> tuple[Lease, ...]:
    """The addresses of this host that end, and who gave them where a DHCP client says so. Raises HostError."""
    by = dhcp_leases.servers(networkd, dhclient)
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        addresses = rtnetlink.read_addresses(sock)
    found = {lease for address in addresses for lease in _leases(address, by)}
    return tuple(sorted(found, key=lambda lease: (lease.family, lease.interface, lease.address)))


def name_servers(resolv_conf: Path = RESOLV_CONF, upstreams: Path = RESOLVED_UPSTREAMS) -> tuple[NameServer, ...]:
    """The resolvers that this host asks; behind systemd-resolved's stub those that it asks in turn."""
    named = _named_in(resolv_conf)
    if any(family is Family.V4 and address in _RESOLVED_STUBS for family, address, _ in named):
        named = (*named, *_named_in(upstreams))
    return tuple(dict.fromkeys(_name_server(*server) for server in named))


def _gateways(route: rtnetlink.Route) -> Iterator[Gateway]:
    for hop in route.hops:
        interface = interface_name(hop.index)
        if interface:
            family, address = hop.gateway or (route.family, None)
            yield Gateway(family, interface, address)


def _leases(one: rtnetlink.LinkAddress, servers: Mapping[tuple[Family, int], int]) -> Iterator[Lease]:
    interface = interface_name(one.index)
    if one.is_permanent or one.scope >= rtnetlink.RT_SCOPE_LINK or not interface:
        return
    # DHCPv6 gives single addresses (RFC 8415, 18.2.10.1); what has the length of its network was advertised.
    by_dhcp = one.family is Family.V4 or one.prefix_length == one.family.bits
    kind = LeaseKind.DHCP if by_dhcp else LeaseKind.ROUTER_ADVERTISEMENT
    yield Lease(kind, one.family, interface, one.address, servers.get((one.family, one.address)) if by_dhcp else None)


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
