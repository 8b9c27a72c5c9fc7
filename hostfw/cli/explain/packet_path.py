"""The way of a packet through a host: what is for the host itself, what it sends, and what it forwards.

On this host the kernel's routing says what an address is and where it leads, and its tables what other programs
translate; a packet is taken to come in where the route back to its source leads. The facts of another host hold no
routes but the default one, so what they do not tell is asked for, unless every answer comes to the same.
"""

from dataclasses import replace
from typing import NamedTuple

from hostfw.cli.explain.packet_addresses import (
    LINK_LOCAL,
    LOOPBACK_NETS,
    TO_MANY,
    addresses_of,
    broadcast_on,
    is_any,
    is_local,
    routed_now,
    text_of,
)
from hostfw.cli.explain.packet_interfaces import (
    Chosen,
    interface_in,
    interface_out,
    interfaces_through,
    none_but,
    routeless,
)
from hostfw.cli.explain.packet_query import Address, PacketQuery
from hostfw.cli.input.facts import PlannedHost
from hostfw.exposure.services import target_on
from hostfw.exposure.wording import target_text
from hostfw.host.network.routing import RouteKind
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.host.services import PublishedPort
from hostfw.model.packets.packet import ConntrackState, Original, Packet
from hostfw.model.settings import ReversePathFilter
from hostfw.model.values import ICMP, ICMPV6, IGMP, Family

_NEIGHBOUR_DISCOVERY_TYPES = range(133, 138)
_NEIGHBOUR_DISCOVERY_HOPS = 255
"""The hop limit of neighbour discovery, on sending and on arrival (RFC 4861)."""
_LISTENER_TYPES = (130, 131, 132, 143)
_MEMBERSHIP_HOPS = 1
"""That of MLD (RFC 3810) and IGMP (RFC 3376), by which hosts join groups of multicast."""
_HOPS = 64
_UNLESS_LOCALNET = "whatever policy says, unless sysctl route_localnet allows it"


class PacketPath(NamedTuple):
    """The packets of a question in the order in which policy meets them, and what was taken for granted.

    There are two for what the host says to itself: one is sent on `lo`, the other received there.
    """

    packets: tuple[Packet, ...]
    notes: tuple[str, ...] = ()


def find_packet_path(query: PacketQuery, host: PlannedHost) -> PacketPath:
    """The packets that a question is about. Raises QuestionError, which says what has to be given."""
    return _with_way_back(_found(query, host), host)


def _with_way_back(path: PacketPath, host: PlannedHost) -> PacketPath:
    """The same, with what the reverse path filter finds of the sources of what comes in, where routes are known."""
    wanted = host.plan.settings.reverse_path_filter
    if wanted is ReversePathFilter.DISABLED or host.host is None:
        return path
    packets = []
    for packet in path.packets:
        source, into = Address(packet.family, packet.source), packet.in_interface
        if into not in (None, LOOPBACK) and not is_any(LINK_LOCAL, source):
            back = routed_now(source, host)
            none = back is None or back.kind is RouteKind.NONE
            lacks = none or (wanted is ReversePathFilter.STRICT and back is not None and back.interface != into)
            packets.append(replace(packet, no_way_back=packet.no_way_back or lacks))
        else:
            packets.append(packet)
    return path._replace(packets=tuple(packets))


def _found(query: PacketQuery, host: PlannedHost) -> PacketPath:
    source, destination = addresses_of(query, host)
    # What has no address yet (DHCP) sends from the unspecified one, which the routing takes for the host's own.
    from_here = is_local(source, host) and (source.value != 0 or query.in_interface is None)
    to_here = is_local(destination, host)
    if from_here and to_here and not {query.in_interface, query.out_interface} - {None, LOOPBACK}:
        sent = _packet(query, source, destination, None, LOOPBACK)
        translated = _sent_on(sent, host)
        if translated is not None:
            return translated
        received = _packet(query, source, destination, LOOPBACK, None)
        return PacketPath((sent, received), ("what the host says to itself is sent on lo and received there",))
    broadcast = broadcast_on(destination, host)
    to_all = broadcast is not None or is_any(TO_MANY, destination)
    if to_here or (to_all and not from_here and query.out_interface is None):
        what = "an address of this host" if to_here else "received by the host itself"
        out = none_but(query.out_interface, "--out", f"{text_of(destination)} is {what}")
        into = interface_in(query, host, source, broadcast)
        return _received(query, host, source, destination, into)
    if from_here:
        into = none_but(query.in_interface, "--in", f"{text_of(source)} is an address of this host")
        out = interface_out(query, host, source, destination)
    else:
        into, out = interfaces_through(query, host, source, destination)
    notes = [chosen.note for chosen in (into, out) if chosen.note]
    notes += [*routeless(query, destination, host), *_forwarding(into, out, host, source)]
    return PacketPath((_packet(query, source, destination, into.name, out.name),), tuple(notes))


def _received(query: PacketQuery, host: PlannedHost, source: Address, destination: Address, into: Chosen) -> PacketPath:
    """The way of what is for the host, or for the target of a port that another program publishes."""
    packet = _packet(query, source, destination, into.name, None)
    notes = [into.note] if into.note else []
    if is_any(LOOPBACK_NETS, destination) and into.name != LOOPBACK:
        notes.append(f"the kernel drops what comes in on {into.name} for a loopback address, {_UNLESS_LOCALNET}")
    found = _published(packet, host)
    if found is None:
        return PacketPath((packet,), tuple(notes))
    where = f"to {target_text(found)} by the table {found.table}"
    if not found.certain:
        return PacketPath((packet,), (*notes, f"not translated {where}, which may happen"))
    interface = host.facts.interface(into.name or "")
    target = found.target if interface is None else target_on(found, interface)
    if target is None:
        return PacketPath((packet,), tuple(notes))
    port = found.target_port or packet.destination_port
    out = None if found.local else found.out_interface
    original = Original(packet.destination, packet.destination_port)
    translated = replace(packet, destination=target, destination_port=port, out_interface=out, original=original)
    return PacketPath((translated,), (*notes, f"translated {where}; what that program denies is not looked at"))


def _sent_on(packet: Packet, host: PlannedHost) -> PacketPath | None:
    """The way of what the host sends to a port that another program publishes; None where it stays on the host."""
    found = _published(packet, host)
    if found is None or found.local or not found.certain:
        return None
    translated = replace(
        packet,
        destination=found.target,
        destination_port=found.target_port or packet.destination_port,
        out_interface=found.out_interface,
        original=Original(packet.destination, packet.destination_port, LOOPBACK),
    )
    where = f"to {target_text(found)} by the table {found.table}"
    return PacketPath((translated,), (f"translated {where}; what that program denies is not looked at",))


def _published(packet: Packet, host: PlannedHost) -> PublishedPort | None:
    """The port of another program that a packet to this host is for, what is certain first."""
    if host.host is None or packet.state is not ConntrackState.NEW or not packet.has_ports:
        return None
    to_loopback = is_any(LOOPBACK_NETS, Address(packet.family, packet.destination))
    found = [
        port
        for port in (host.host.published_to_host() if packet.in_interface is None else host.host.published())
        if (port.family, port.protocol) == (packet.family, packet.protocol)
        and port.port in (0, packet.destination_port)
        and port.address in (None, packet.destination)
        and port.holds_on(packet.in_interface or "")
        and (port.local or port.out_interface)
        and not (port.not_loopback and to_loopback)
    ]
    return min(found, key=lambda port: not port.certain, default=None)


def _forwarding(into: Chosen, out: Chosen, host: PlannedHost, source: Address) -> tuple[str, ...]:
    """A note that this host does not forward at all, whatever policy says."""
    if host.host is None or into.name is None or out.name is None or host.host.forwards(source.family, into.name):
        return ()
    return (f"this host does not forward what comes in on {into.name} (sysctl forwarding is 0), whatever policy says",)


def _packet(query: PacketQuery, source: Address, destination: Address, into: str | None, out: str | None) -> Packet:
    family = source.family
    number = query.protocol_of(family).number
    is_icmp = number == (ICMP if family is Family.V4 else ICMPV6).number
    icmp_type, icmp_code = query.icmp_of(family) if is_icmp else (None, None)
    return Packet(
        family,
        number,
        source.value,
        destination.value,
        query.source_port,
        query.destination_port,
        icmp_type,
        icmp_code,
        _hops(destination, number, icmp_type),
        into,
        out,
        query.state,
        mac=query.mac if into else None,
        ipsec=query.ipsec and bool(into),
        answer=query.answer and bool(into),
        no_way_back=query.no_way_back and bool(into),
        over_limit=query.over_limit,
    )


def _hops(destination: Address, protocol: int, icmp_type: int | None) -> int:
    """The hop limit that a packet of that kind is sent with."""
    of_groups = destination.family is Family.V4 and protocol == IGMP.number and is_any(TO_MANY, destination)
    if of_groups or (destination.family is Family.V6 and icmp_type in _LISTENER_TYPES):
        return _MEMBERSHIP_HOPS
    on_link = destination.family is Family.V6 and icmp_type in _NEIGHBOUR_DISCOVERY_TYPES
    return _NEIGHBOUR_DISCOVERY_HOPS if on_link else _HOPS
