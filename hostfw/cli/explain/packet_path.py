"""The way of a packet through a host: addresses for names, what is for the host itself, and interfaces.

On this host the kernel's routing says what an address is and where it leads, and its tables what other programs
translate; a packet is taken to come in where the route back to its source leads. The facts of another host hold no
routes but the default one, so what they do not tell is asked for, unless every answer comes to the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from hostfw.cli.explain.packet_query import HOST, Address, PacketQuery, Party, QueryError
from hostfw.cli.facts import PlannedHost
from hostfw.cli.parser import closest
from hostfw.explain.governing import NOBODY, governing_endpoint
from hostfw.exposure.services import target_on
from hostfw.exposure.wording import target_text
from hostfw.host.network.routing import Routed, RouteKind
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.host.services import PublishedPort
from hostfw.model.packet import ConntrackState, Original, Packet
from hostfw.model.settings import ReversePathFilter
from hostfw.model.values import FAMILIES, ICMP, ICMPV6, IGMP, Cidr, Family, address_text, parse_cidr


def _nets(*texts: str) -> tuple[Cidr, ...]:
    return tuple(cidr for text in texts if (cidr := parse_cidr(text)) is not None)


_LINK_LOCAL = _nets("169.254.0.0/16", "fe80::/10")
_LOOPBACK_NETS = _nets("127.0.0.0/8", "::1/128")
_TO_MANY = _nets("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
"""Multicast, and the broadcast of a link: what comes in with such a destination is for the host."""

_MASTERS_THAT_RECEIVE = frozenset(("bond", "bridge", "team"))
"""Kinds of masters that take the packets of their members for their own before policy sees them."""

_TO_SOURCE = "where the route back to its source leads"
_TO_DESTINATION = "where the route to its destination leads"

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


class _Chosen(NamedTuple):
    """An interface, if there is one, and why it is this one where nobody said so."""

    name: str | None = None
    note: str = ""


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
        if into not in (None, LOOPBACK) and not _is_any(_LINK_LOCAL, source):
            back = _routed(source, host)
            none = back is None or back.kind is RouteKind.NONE
            lacks = none or (wanted is ReversePathFilter.STRICT and back is not None and back.interface != into)
            packets.append(replace(packet, no_way_back=packet.no_way_back or lacks))
        else:
            packets.append(packet)
    return path._replace(packets=tuple(packets))


def _found(query: PacketQuery, host: PlannedHost) -> PacketPath:
    source, destination = _addresses(query, host)
    # What has no address yet (DHCP) sends from the unspecified one, which the routing takes for the host's own.
    from_here = _is_local(source, host) and (source.value != 0 or query.in_interface is None)
    to_here = _is_local(destination, host)
    if from_here and to_here and not {query.in_interface, query.out_interface} - {None, LOOPBACK}:
        sent = _packet(query, source, destination, None, LOOPBACK)
        received = _packet(query, source, destination, LOOPBACK, None)
        return PacketPath((sent, received), ("what the host says to itself is sent on lo and received there",))
    broadcast = _broadcast_on(destination, host)
    to_all = broadcast is not None or _is_any(_TO_MANY, destination)
    if to_here or (to_all and not from_here and query.out_interface is None):
        what = "an address of this host" if to_here else "received by the host itself"
        out = _none_but(query.out_interface, "--out", f"{_text(destination)} is {what}")
        into = _interface_in(query, host, source, broadcast)
        return _received(query, host, source, destination, into)
    if from_here:
        into = _none_but(query.in_interface, "--in", f"{_text(source)} is an address of this host")
        out = _interface_out(query, host, source, destination)
    else:
        into, out = _interfaces_through(query, host, source, destination)
    notes = [chosen.note for chosen in (into, out) if chosen.note]
    notes += [*_routeless(query, destination, host), *_forwarding(into, out, host, source)]
    return PacketPath((_packet(query, source, destination, into.name, out.name),), tuple(notes))


def _received(
    query: PacketQuery, host: PlannedHost, source: Address, destination: Address, into: _Chosen
) -> PacketPath:
    """The way of what is for the host, or for the target of a port that another program publishes."""
    packet = _packet(query, source, destination, into.name, None)
    notes = [into.note] if into.note else []
    if _is_any(_LOOPBACK_NETS, destination) and into.name != LOOPBACK:
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


def _published(packet: Packet, host: PlannedHost) -> PublishedPort | None:
    """The port of another program that a packet to this host is for, what is certain first."""
    if host.host is None or packet.state is not ConntrackState.NEW or not packet.has_ports:
        return None
    found = [
        port
        for port in host.host.published()
        if (port.family, port.protocol) == (packet.family, packet.protocol)
        and port.port in (0, packet.destination_port)
        and port.address in (None, packet.destination)
        and port.holds_on(packet.in_interface or "")
        and (port.local or port.out_interface)
    ]
    return min(found, key=lambda port: not port.certain, default=None)


def _routeless(query: PacketQuery, destination: Address, host: PlannedHost) -> tuple[str, ...]:
    """A note that the kernel has nowhere to send the packet, whatever policy says."""
    found = _routed(destination, host) if query.out_interface is None else None
    if found is None or found.kind is not RouteKind.NONE:
        return ()
    return (f"this host has no route to {_text(destination)}, so nothing is sent there, whatever policy says",)


def _forwarding(into: _Chosen, out: _Chosen, host: PlannedHost, source: Address) -> tuple[str, ...]:
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
    of_groups = destination.family is Family.V4 and protocol == IGMP.number and _is_any(_TO_MANY, destination)
    if of_groups or (destination.family is Family.V6 and icmp_type in _LISTENER_TYPES):
        return _MEMBERSHIP_HOPS
    on_link = destination.family is Family.V6 and icmp_type in _NEIGHBOUR_DISCOVERY_TYPES
    return _NEIGHBOUR_DISCOVERY_HOPS if on_link else _HOPS


def _none_but(given: str | None, option: str, why: str) -> _Chosen:
    if given is not None:
        raise QueryError(f"{why}, so {option} means nothing", f"leave out {option}")
    return _Chosen()


# ------------------------------------------------------------------------------------------------------ addresses


def _addresses(query: PacketQuery, host: PlannedHost) -> tuple[Address, Address]:
    """Both addresses; a name stands for an address of the family that the rest of the question has."""
    families = FAMILIES if query.family is None else (query.family,)
    for family in families:
        source = _address(query.source, family, query.out_interface, host)
        destination = _address(query.destination, family, query.in_interface, host)
        if source is not None and destination is not None:
            if query.source == HOST and query.out_interface is None:
                source = _preferred_source(destination, host) or source
            return source, destination
    for party, interface in ((query.source, query.out_interface), (query.destination, query.in_interface)):
        if all(_address(party, family, interface, host) is None for family in families):
            which = f"IPv{families[0]:d} address" if len(families) == 1 else "address"
            where = f" on {interface}" if party == HOST and interface is not None else ""
            raise QueryError(f"{party} has no {which}{where}", "write the address")
    raise QueryError("SRC and DST have no IP version in common", "write the addresses")


def _preferred_source(destination: Address, host: PlannedHost) -> Address | None:
    """The address that the host sends from to another one, as its routing has it; None where that is not known."""
    found = _routed(destination, host)
    usable = found is not None and found.kind is not RouteKind.LOCAL and found.source is not None
    return Address(destination.family, found.source) if found is not None and usable and found.source else None


def _address(party: Party, family: Family, interface: str | None, host: PlannedHost) -> Address | None:
    """The address that a party stands for in a family; that of an interface, if one is given and it is this host's."""
    if isinstance(party, Address):
        return party if party.family is family else None
    if party == HOST:
        usable = [i for i in host.facts.interfaces if interface in (None, i.name)]
        return _best([i for i in usable if i.name == interface or i.name != LOOPBACK], family)
    endpoint = next((e for e in host.candidate.resources.endpoints if e.metadata.name == party), None)
    if endpoint is None:
        names = [e.metadata.name for e in host.candidate.resources.endpoints]
        known = closest(party, (HOST, *names))
        raise QueryError(
            f'there is no HostEndpoint "{party}"',
            known or f"SRC and DST are addresses, names of HostEndpoints, or {HOST} for this host",
        )
    governed = [i for i in host.facts.interfaces if governing_endpoint(i.name, host.plan).endpoint == party]
    expected = next((Address(c.family, c.address) for c in endpoint.expected_ips if c.family is family), None)
    return _best(governed, family) or expected


def _best(interfaces: Iterable[Interface], family: Family) -> Address | None:
    """The address that others would use: one with the default route first, one of the link alone last."""
    candidates = [
        (not interface.default_route, address)
        for interface in interfaces
        for address in (Address(cidr.family, cidr.address) for cidr in interface.addresses)
        if address.family is family
    ]
    ranked = sorted(candidates, key=lambda candidate: (_is_any(_LINK_LOCAL, candidate[1]), candidate[0]))
    return ranked[0][1] if ranked else None


def _is_local(address: Address, host: PlannedHost) -> bool:
    """True if an address is one of the host, by its routing where that can be asked."""
    held = {(cidr.family, cidr.address) for interface in host.facts.interfaces for cidr in interface.addresses}
    if address in held or _is_any(_LOOPBACK_NETS, address):
        return True
    found = _routed(address, host)
    return found is not None and found.kind in (RouteKind.LOCAL, RouteKind.ANYCAST)


def _broadcast_on(address: Address, host: PlannedHost) -> str | None:
    """The interface whose network an address is the broadcast of, if it is any."""
    found = _routed(address, host)
    return found.interface if found is not None and found.kind is RouteKind.BROADCAST else None


def _routed(address: Address, host: PlannedHost) -> Routed | None:
    """The route to an address, None where none is known but the default one of the facts."""
    return None if host.host is None else host.host.routed(address.family, address.value)


def _is_any(nets: Iterable[Cidr], address: Address) -> bool:
    return any(net.family is address.family and net.contains(address.value) for net in nets)


def _text(address: Address) -> str:
    return address_text(address.family, address.value)


# ----------------------------------------------------------------------------------------------------- interfaces


def _interface_in(query: PacketQuery, host: PlannedHost, source: Address, broadcast: str | None = None) -> _Chosen:
    if query.in_interface is not None:
        return _Chosen(query.in_interface)
    back = _routed(source, host)
    if broadcast is not None and (back is None or back.kind is not RouteKind.UNICAST or back.interface == broadcast):
        return _Chosen(broadcast, f"in on {broadcast}, whose broadcast it is")
    chosen = _by_route(source, host, _TO_SOURCE)
    if chosen is not None:
        return chosen._replace(note=f"in on {chosen.name}, {chosen.note}")
    candidates = _carriers(host.facts)
    chosen = _indifferent(candidates, host)
    if chosen is None:
        raise QueryError(
            f"the facts of the host do not tell where a packet from {_text(source)} comes in",
            f"give --in: {_listed(candidates, host)}",
        )
    return chosen._replace(note=f"in on {chosen.name}, {chosen.note}")


def _interface_out(
    query: PacketQuery, host: PlannedHost, source: Address, destination: Address, after: str | None = None
) -> _Chosen:
    """The interface that a packet goes out on; `after` is the one that it came in on, if it is forwarded."""
    if query.out_interface is not None:
        return _Chosen(query.out_interface)
    names = {interface.name for interface in _carriers(host.facts)}
    if after is not None and host.host is not None:
        # The kernel is asked with source and interface, which rules of policy routing look at.
        found = host.host.routed_through(destination.family, destination.value, source.value, after)
        if found is not None and found.kind is RouteKind.UNICAST and found.interface in names:
            return _Chosen(found.interface, f"out on {found.interface}, {_TO_DESTINATION}")
    if destination.family is Family.V4 and _is_any(_TO_MANY, destination):
        found = _routed(destination, host)
        if found is not None and found.interface in names:
            return _Chosen(found.interface, f"out on {found.interface}, unless the program names another interface")
    chosen = _by_route(destination, host, _TO_DESTINATION, after)
    if chosen is not None:
        return chosen._replace(note=f"out on {chosen.name}, {chosen.note}")
    candidates = [interface for interface in _carriers(host.facts) if interface.name != after]
    chosen = _indifferent(candidates, host)
    if chosen is None:
        raise QueryError(
            f"the facts of the host do not tell where a packet to {_text(destination)} goes out",
            f"give --out: {_listed(candidates, host)}",
        )
    return chosen._replace(note=f"out on {chosen.name}, {chosen.note}")


def _interfaces_through(
    query: PacketQuery, host: PlannedHost, source: Address, destination: Address
) -> tuple[_Chosen, _Chosen]:
    """Both interfaces of a forwarded packet; a question that names neither is often about another host."""
    into = _Chosen(query.in_interface)
    if query.in_interface is None:
        found = _by_route(source, host, _TO_SOURCE)
        out = _by_route(destination, host, _TO_DESTINATION)
        out = out if query.out_interface is None else _Chosen(query.out_interface)
        if found is None or out is None or found.name == out.name:
            why = "and what it forwards comes in somewhere"
            if _routeless(query, destination, host):
                why = f"and it has no route to {_text(destination)}, so nothing is sent there"
            elif found is not None and out is not None and (found.note, out.note) == (_TO_SOURCE, _TO_DESTINATION):
                why = f"and the routes to both lead to {found.name}, so that their packets do not come through here"
            raise QueryError(
                f"neither SRC nor DST is an address of this host, {why}",
                f"write {HOST} for this host, or give --in: {_listed(_carriers(host.facts), host)}",
            )
        into = found._replace(note=f"in on {found.name}, {found.note}")
    return into, _interface_out(query, host, source, destination, into.name)


def _by_route(address: Address, host: PlannedHost, why: str, after: str | None = None) -> _Chosen | None:
    """The interface that the route to an address leads to; where that is not known, that of the only default route.

    An address of the link alone is on every link.
    """
    if _is_any((*_LINK_LOCAL, *_TO_MANY), address):
        return None
    candidates = [interface for interface in _carriers(host.facts) if interface.name != after]
    found = _routed(address, host)
    if found is not None and found.interface in {interface.name for interface in _carriers(host.facts)}:
        return _Chosen(found.interface, why)
    defaults = [interface for interface in candidates if interface.default_route]
    return _Chosen(defaults[0].name, "which has the default route") if len(defaults) == 1 else None


def _carriers(facts: HostFacts) -> list[Interface]:
    """The interfaces that packets of others come in on and go out on."""
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    return [
        interface
        for interface in facts.interfaces
        if interface.name != LOOPBACK and kinds.get(interface.master or "") not in _MASTERS_THAT_RECEIVE
    ]


def _indifferent(interfaces: Sequence[Interface], host: PlannedHost) -> _Chosen | None:
    """An interface where it makes no difference which: there is but one, or the same policy governs all of them."""
    if len(interfaces) == 1:
        return _Chosen(interfaces[0].name, "the only interface that it can be")
    if len({governing_endpoint(interface.name, host.plan).endpoint for interface in interfaces}) != 1:
        return None
    first = min(interfaces, key=lambda interface: (not interface.default_route, interface.name))
    return _Chosen(first.name, "all interfaces being governed alike")


def _listed(interfaces: Iterable[Interface], host: PlannedHost) -> str:
    """The interfaces with what governs them, for people who choose one."""
    governors = ((interface.name, governing_endpoint(interface.name, host.plan).endpoint) for interface in interfaces)
    return ", ".join(f"{name} ({'unmanaged' if who == NOBODY else who})" for name, who in governors) or "there is none"
