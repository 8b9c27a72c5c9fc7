"""Neighbour discovery and multicast membership, which no policy is asked about unless a setting says so."""

from collections.abc import Iterator

from hostfw.model.settings import NeighbourDiscovery, Settings
from hostfw.model.values import IGMP, Cidr, Family, PortRange, host_cidr
from hostfw.nft.rules import Accept, Key, Match, Rule

NEIGHBOUR_DISCOVERY_TYPES = PortRange(133, 136)
"""Router and neighbour solicitations and advertisements (RFC 4861), valid only with a hop limit of 255."""

MULTICAST_LISTENER_TYPES = (PortRange(130, 132), PortRange(143, 143))
"""Multicast listener queries, reports and dones (RFC 2710, RFC 3810)."""

HOP_LIMIT_OF_A_NEIGHBOUR = 255
HOP_LIMIT_OF_A_LISTENER = 1
SOURCES_OF_A_LISTENER = (Cidr(Family.V6, 0xFE80 << 112, 10), host_cidr(Family.V6, 0))
"""Link-local, or unspecified before there is such an address (RFC 3590): no router passes either on."""

GROUPS = Cidr(Family.V4, 224 << 24, 4)
"""The addresses of IPv4 multicast, the only ones that a host's membership messages go to (RFC 3376, 4)."""


def neighbours(settings: Settings, family: Family) -> Iterator[Rule]:
    """The rules for what a host has to hear of its neighbours to reach them at all."""
    if settings.neighbour_discovery is NeighbourDiscovery.ACCEPT:
        yield from of_the_link(family)


def of_the_link(family: Family) -> Iterator[Rule]:
    """The same, whatever a setting says: without it no two ports of a bridge would find each other."""
    listening = Match(Key.HOP_LIMIT, HOP_LIMIT_OF_A_LISTENER)
    if family is Family.V4:
        # What MLD is in IPv6. No source tells of the link here; that nobody routes multicast to a host does.
        yield Rule((Match(Key.PROTOCOL, IGMP.number), listening, Match(Key.DADDR, GROUPS)), (Accept(),))
        return
    near = Match(Key.HOP_LIMIT, HOP_LIMIT_OF_A_NEIGHBOUR)
    yield Rule((Match(Key.ICMP_TYPE, NEIGHBOUR_DISCOVERY_TYPES), near), (Accept(),))
    for types in MULTICAST_LISTENER_TYPES:
        for source in SOURCES_OF_A_LISTENER:
            yield Rule((Match(Key.ICMP_TYPE, types), listening, Match(Key.SADDR, source)), (Accept(),))
