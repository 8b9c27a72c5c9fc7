"""Packets that policy is not asked about: neighbour discovery, answers to multicast, and what nothing leads back to."""

from hostfw.model.host.guests import BEFORE_AN_ADDRESS, Workload
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.plan import LINK_LOCAL, Plan
from hostfw.model.settings import FailsafePort, NeighbourDiscovery, ReversePathFilter
from hostfw.model.values import IGMP, UDP, Cidr, Family

_NEIGHBOUR_DISCOVERY_TYPES = frozenset((133, 134, 135, 136))
"""Router and neighbour solicitation and advertisement (RFC 4861); a hop limit of 255 proves a sender on the link."""

_MULTICAST_LISTENER_TYPES = frozenset((130, 131, 132, 143))
"""Multicast listener query, report, done (RFC 2710) and report version 2 (RFC 3810).

Their hop limit is 1 and their source link-local, or unspecified before there is one (RFC 3590).
"""

_GROUPS = Cidr(Family.V4, 224 << 24, 4)
"""IPv4 multicast: with a TTL of 1 to such an address, IGMP is what MLD is in IPv6 (RFC 3376, 4)."""

_LINK_LOCAL_UNICAST = Cidr(Family.V6, 0xFE80 << 112, 10)
"""All that RFC 4291 (2.4) reserves for the link, by which senders of MLD are known; `LINK_LOCAL` is a part of it."""
_UNSPECIFIED = 0


def is_neighbour_discovery(packet: Packet) -> bool:
    """True for neighbour discovery of IPv6, and for the membership of multicast groups, from the link."""
    if packet.family is Family.V4:
        return packet.protocol == IGMP.number and packet.hop_limit == 1 and _GROUPS.contains(packet.destination)
    if not packet.is_icmp:
        return False
    if packet.icmp_type in _NEIGHBOUR_DISCOVERY_TYPES:
        return packet.hop_limit == 255
    from_the_link = packet.source == _UNSPECIFIED or _LINK_LOCAL_UNICAST.contains(packet.source)
    return packet.icmp_type in _MULTICAST_LISTENER_TYPES and packet.hop_limit == 1 and from_the_link


def is_multicast_answer(plan: Plan, packet: Packet) -> bool:
    """True if a neighbour sends UDP to where a question came from; workloads are asked nothing."""
    interface = packet.in_interface
    if interface is None or not packet.answer or packet.protocol != UDP.number:
        return False
    if plan.settings.workloads.has(interface):
        return False
    near = packet.family is Family.V6 and LINK_LOCAL.contains(packet.source)
    return near or plan.networks.holds(interface, packet.family, packet.source)


def lacks_a_way_back(plan: Plan, packet: Packet) -> bool:
    """True if the reverse path filter denies a packet: a new one, of no failsafe port and no neighbour discovery."""
    settings = plan.settings
    if settings.reverse_path_filter is ReversePathFilter.DISABLED or not packet.no_way_back:
        return False
    if packet.state is not ConntrackState.NEW or packet.in_interface in (None, LOOPBACK):
        return False
    if settings.neighbour_discovery is NeighbourDiscovery.ACCEPT and is_neighbour_discovery(packet):
        return False
    return not any(
        port.protocol.number == packet.protocol
        and port.port == packet.destination_port
        and (port.net is None or (port.net.family is packet.family and port.net.contains(packet.source)))
        for port in settings.failsafe.inbound
    )


def is_before_an_address(packet: Packet) -> bool:
    """True if it has a source that anybody uses on a link: it tells nobody apart."""
    return any(net.family is packet.family and net.contains(packet.source) for net in BEFORE_AN_ADDRESS)


def is_of_another(workload: Workload, packet: Packet) -> bool:
    """True if a packet has a source that is not the workload's, or is known to come from another Ethernet address."""
    if workload.mac is not None and packet.mac not in (None, workload.mac):
        return True
    return not any(net.family is packet.family and net.contains(packet.source) for net in workload.sources)


_LEASES = {(UDP.number, 67): (Family.V4, 68), (UDP.number, 547): (Family.V6, 546)}
"""The IP versions and the ports that DHCP answers to (RFC 2131, 4.1; RFC 8415, 7.2), by its own."""


def is_lease(packet: Packet, server: FailsafePort) -> bool:
    """True if a packet goes to where clients of DHCP get the answers of a service."""
    return _LEASES.get((server.protocol.number, server.port)) == (packet.family, packet.destination_port)


def asks_for_a_lease(packet: Packet) -> bool:
    """True if a packet is what a client of DHCP asks everybody: each port of a bridge gets it, so it is no news there.

    What the host sends there itself is news.
    """
    family, _ = _LEASES.get((packet.protocol, packet.destination_port or 0), (None, 0))
    return packet.path is not Path.LOCAL_OUT and family is packet.family
