"""The facts of this host's network: interfaces, addresses and default routes, of the namespace we are in.

A neighbour can write some of them. An address or a default route is an administrator's unless there is evidence that
DHCP or a router advertisement made it:

* an address that ends (no IFA_F_PERMANENT): DHCP's for IPv4, and for IPv6 where it has the whole length, as DHCPv6
  gives single addresses (RFC 8415, 18.2.10.1); otherwise a router's. So is one that the kernel marks as of a router
  advertisement (IFA_PROTO, Linux 5.18);
* an address without an end that a DHCP client has leased for ever, which its lease file or a route of RTPROT_DHCP from
  that address says, or that is new on a link for which a DHCP client runs: it may not have written its file yet;
* an IPv6 address without an end whose prefix is on the link by a route of RTPROT_RA alone: networkd and NetworkManager
  take advertisements themselves, and a router may advertise a prefix for ever;
* a default route of RTPROT_DHCP or RTPROT_RA;
* an IPv4 default route on a link with an address by DHCP whose protocol says nothing: dhclient's script and `ip route`
  both write RTPROT_BOOT.

The networks of an interface are those of its addresses, as a neighbour's as these are, and the IPv6 prefixes that a
route without a gateway puts on its link: an advertised prefix may be on the link without an address in it (RFC 4861,
6.3.4), and then it is a router's.

Everything is read raw (`host.rtnetlink`), by one reader.
"""

import os
import socket
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from hostfw.host.netlink.messages import NETLINK_ROUTE, NetlinkSocket
from hostfw.host.netlink.parsed import Parsed
from hostfw.host.netlink.rtnetlink import (
    IFA_F_NOPREFIXROUTE,
    IFAPROT_KERNEL_RA,
    RT_SCOPE_LINK,
    RTPROT_DHCP,
    RTPROT_KERNEL,
    RTPROT_RA,
    RTPROT_STATIC,
    Link,
    LinkAddress,
    Route,
    parse_address_message,
    parse_link,
    parse_route,
    read_addresses,
    read_links,
    read_routes,
    with_hops,
)
from hostfw.host.network.dhcp.dhcp_clients import links_being_asked_for, links_without_leases
from hostfw.host.network.dhcp.dhcp_leases import EndlessLease, endless_leases
from hostfw.host.nftables.nft_version import nft_version
from hostfw.host.time.clock import monotonic
from hostfw.host.workloads.noted_bridges import has_bridge_netfilter
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.values import FAMILIES, Cidr, Family, Learned, host_cidr, mask_of

LINK_GROUP_FILES = (Path("/etc/iproute2/group"), Path("/usr/share/iproute2/group"))
"""The files in which iproute2 names link groups: the first that exists (Debian 13 ships the second)."""


class LastReading:
    """The last reading of a network, so that the next one parses the messages that differ, and no others."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.links = Parsed(parse_link)
        self.addresses = Parsed(parse_address_message)
        self.routes = {family: Parsed(parse_route) for family in FAMILIES}
        self.interfaces: dict[int, tuple[object, Interface]] = {}


def observe(node: str | None = None, nft: str | None = None, last: LastReading | None = None) -> HostFacts:
    """The host as it is now, interfaces by name. Raises HostError if the kernel does not tell.

    `node` is what the settings call it, otherwise its own name in lower case, as in Calico. `nft` is nft's version
    where it is known already; asking takes 5 ms. An interface that comes or goes meanwhile is in or out, whole. What is
    as it was in the last reading comes to the same values.
    """
    last = LastReading() if last is None else last
    network = _read(last)
    return HostFacts(
        node=socket.gethostname().lower() if node is None else node,
        interfaces=interfaces_of(network, endless_leases() | _perhaps_leased(network), last),
        link_groups=link_groups(),
        kernel=os.uname().release,
        nft=nft_version() if nft is None else nft,
        bridge_netfilter=has_bridge_netfilter(),
    )


def observed_again(facts: HostFacts) -> HostFacts:
    """Facts of a moment ago, with all that may have changed since without a message of the kernel's about links."""
    return replace(facts, link_groups=link_groups(), bridge_netfilter=has_bridge_netfilter())


def link_groups(files: Sequence[Path] = LINK_GROUP_FILES) -> tuple[tuple[str, int], ...]:
    """The names of link groups with their numbers, by name; lines that iproute2 would not take are left out."""
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        return tuple(sorted(dict(_group_lines(text)).items()))
    return ()


SETTLED_S = 10.0
"""Time that a DHCP client has to write down its lease: an older address without an end is what it looks like."""


class Network(NamedTuple):
    """One reading of a namespace's network.

    `routes` are those that lead everywhere, those of DHCP and RA, and of IPv6 the kernel's own.
    """

    links: Sequence[Link] = ()
    addresses: Sequence[LinkAddress] = ()
    routes: Sequence[Route] = ()


def interfaces_of(
    network: Network, leases: Collection[EndlessLease] = (), last: LastReading | None = None
) -> tuple[Interface, ...]:
    """The interfaces of a reading, by name, with what a neighbour gave told apart."""
    known, found = {} if last is None else last.interfaces, dict[int, tuple[object, Interface]]()
    names = {link.index: link.name for link in network.links}
    learned = _learned_addresses(network, names, leases)
    addresses: dict[int, set[Cidr]] = {}
    for one in network.addresses:
        addresses.setdefault(one.index, set()).add(host_cidr(one.family, one.address))
    networks = _networks(network, learned)
    routed = _default_route_links(network, {(index, cidr.family) for index, cidr in learned})
    for link in network.links:
        index = link.index
        own = tuple(sorted(addresses.get(index, ())))
        said = _Said(
            link,
            names.get(link.master),
            own,
            tuple((cidr, learned[index, cidr]) for cidr in own if (index, cidr) in learned),
            routed.get(index),
            networks.get(index, {}),
        )
        before = known.get(index)
        found[index] = before if before is not None and before[0] == said else (said, _interface(said))
    if last is not None:
        last.interfaces = found
    return tuple(sorted((one for _, one in found.values()), key=attrgetter("name")))


class _Said(NamedTuple):
    """All that a reading says of an interface; `routed` is who made default routes to it, None where there is none."""

    link: Link
    master: str | None
    addresses: tuple[Cidr, ...]
    learned: tuple[tuple[Cidr, Learned], ...]
    routed: "_Makers | None"
    networks: "dict[Cidr, Learned | None]"


def _interface(said: _Said) -> Interface:
    link, networks = said.link, said.networks
    return Interface(
        name=link.name,
        index=link.index,
        altnames=link.altnames,
        kind=link.kind,
        link_group=link.group,
        master=said.master,
        addresses=said.addresses,
        default_route=said.routed is not None,
        up=link.up,
        mac=link.mac,
        permanent_mac=link.permanent_mac,
        bridge=link.bridge,
        learned=said.learned,
        default_route_learned=_unless_set(said.routed or frozenset()),
        networks=tuple(sorted(networks)),
        networks_learned=tuple(sorted((cidr, how) for cidr, how in networks.items() if how is not None)),
    )


_PROTOCOLS = {Family.V4: (RTPROT_DHCP, RTPROT_RA), Family.V6: (RTPROT_DHCP, RTPROT_RA, RTPROT_KERNEL)}
"""The makers of routes by which it is known what a neighbour gave, and which IPv6 prefixes are on a link."""


def _read(last: LastReading) -> Network:
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        routes = (
            route for family in FAMILIES for route in read_routes(sock, family, _PROTOCOLS[family], last.routes[family])
        )
        links, addresses = read_links(sock, last.links), read_addresses(sock, last.addresses)
        return Network(links, addresses, with_hops(sock, routes))


def _perhaps_leased(network: Network) -> frozenset[EndlessLease]:
    """Addresses without an end that DHCP clients that run now may have given, whatever their files say."""
    now_s = monotonic()
    names = {link.index: link.name for link in network.links}
    endless = [
        one for one in network.addresses if one.is_permanent and one.scope != RT_SCOPE_LINK and one.index in names
    ]
    unsettled = [one for one in endless if one.age_s(now_s) < SETTLED_S]
    asking = links_being_asked_for(frozenset(names.values())) if unsettled else frozenset()
    silent = links_without_leases(frozenset(names.values()))
    return frozenset(
        EndlessLease(one.index, one.family, one.address)
        for ones, links in ((unsettled, asking), (endless, silent))
        for one in ones
        if names[one.index] in links
    )


def _learned_addresses(
    network: Network, names: dict[int, str], leases: Collection[EndlessLease]
) -> dict[tuple[int, Cidr], Learned]:
    """The addresses that a neighbour gave, by link and address, with how they came."""
    by_dhcp_route = {
        (hop.index, route.family, route.source)
        for route in network.routes
        if route.protocol == RTPROT_DHCP and route.source is not None
        for hop in route.hops
    }
    advertised = [
        (hop.index, Cidr(route.family, route.destination, route.prefix_length))
        for route in network.routes
        if route.protocol == RTPROT_RA and route.prefix_length
        for hop in route.hops
    ]
    leased = {(lease.link, lease.family, lease.address) for lease in leases}
    found: dict[tuple[int, Cidr], Learned] = {}
    for one in network.addresses:
        links = (one.index, names.get(one.index, ""))
        if not one.is_permanent or one.protocol == IFAPROT_KERNEL_RA:
            single = one.prefix_length == one.family.bits and one.protocol != IFAPROT_KERNEL_RA
            how = Learned.DHCP if one.family is Family.V4 or single else Learned.RA
        elif (one.index, one.family, one.address) in by_dhcp_route or any(
            (link, one.family, one.address) in leased for link in links
        ):
            how = Learned.DHCP
        elif one.flags & IFA_F_NOPREFIXROUTE and (one.index, _network(one)) in advertised:
            how = Learned.RA
        else:
            continue
        found[one.index, host_cidr(one.family, one.address)] = how
    return found


def _network(address: LinkAddress) -> Cidr:
    of = address.address if address.peer is None else address.peer
    return Cidr(address.family, of & mask_of(address.family, address.prefix_length), address.prefix_length)


def _networks(network: Network, learned: dict[tuple[int, Cidr], Learned]) -> dict[int, dict[Cidr, Learned | None]]:
    """The networks of each link, with how they came; None for those of which an administrator set an address."""
    found: dict[int, dict[Cidr, Learned | None]] = {}
    for one in network.addresses:
        if one.prefix_length == one.family.bits and one.peer is None:
            # The address of this host alone.
            continue
        of_link, how = found.setdefault(one.index, {}), learned.get((one.index, host_cidr(one.family, one.address)))
        cidr = _network(one)
        of_link[cidr] = how if cidr not in of_link or of_link[cidr] is not None else None
    for route in network.routes:
        if route.family is Family.V6 and route.prefix_length and route.protocol in (RTPROT_KERNEL, RTPROT_RA):
            cidr = Cidr(route.family, route.destination, route.prefix_length)
            for index in () if cidr.is_host else route.on_links:
                found.setdefault(index, {}).setdefault(cidr, Learned.RA)
    return found


_Makers = frozenset[Learned | None]
"""Origins of the default routes of a link; None for an administrator."""


def _default_route_links(network: Network, with_learned: set[tuple[int, Family]]) -> dict[int, _Makers]:
    """The links that a default route of the main table leads to, in either family, with who made these routes."""
    found: dict[int, _Makers] = {}
    for route in network.routes:
        if not route.is_default:
            continue
        for hop in route.hops:
            maker = _maker(route, by_dhcp=(hop.index, Family.V4) in with_learned)
            found[hop.index] = found.get(hop.index, frozenset()) | {maker}
    return found


def _maker(route: Route, *, by_dhcp: bool) -> Learned | None:
    """The origin of a default route; `by_dhcp` is True where its link has an IPv4 address by DHCP."""
    match route.protocol:
        case protocol if protocol == RTPROT_RA:
            return Learned.RA
        case protocol if protocol == RTPROT_DHCP:
            return Learned.DHCP
        case protocol if protocol < RTPROT_STATIC and route.family is Family.V4 and by_dhcp:
            return Learned.DHCP
        case _:
            return None


def _unless_set(makers: _Makers) -> tuple[Learned, ...]:
    """The origins of default routes, where no administrator made one of them."""
    return () if None in makers else tuple(sorted(maker for maker in makers if maker is not None))


def _group_lines(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2:
            number, name = words
            try:
                yield name, int(number, 0)
            except ValueError:
                continue
