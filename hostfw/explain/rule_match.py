"""Matching: whether a packet meets the criteria of a policy rule."""

from bisect import bisect_right
from collections.abc import Iterator

from hostfw.model.packets.packet import Packet
from hostfw.model.plan import AddressSet, PlannedRule, PlannedSide, PortMember, PortSet
from hostfw.model.prefixes import CidrSet
from hostfw.model.values import Cidr, Family, Icmp, PortRange

Criterion = tuple[str, bool]
"""A criterion in the words of the manifest, and whether it holds."""


def first_mismatch(rule: PlannedRule, packet: Packet) -> str:
    """The first criterion of the rule that does not hold for the packet, or "" if all do."""
    return next((criterion for criterion, holds in _criteria(rule, packet) if not holds), "")


def _criteria(rule: PlannedRule, packet: Packet) -> Iterator[Criterion]:
    yield "ipVersion", packet.family in rule.families
    if rule.protocol is not None:
        yield (
            "protocol",
            any(one.family in (None, packet.family) and packet.protocol == one.number for one in rule.protocols),
        )
    if rule.not_protocol is not None:
        yield "notProtocol", packet.protocol != rule.not_protocol.number
    if rule.icmp is not None:
        yield "icmp", _is_icmp(rule.icmp, packet)
    if rule.not_icmp is not None:
        yield "notICMP", not _is_icmp(rule.not_icmp, packet)
    if rule.ipsec is not None:
        yield "ipsec", packet.ipsec is rule.ipsec
    if rule.source.macs:
        yield "source.macs", packet.mac in rule.source.macs
    came, goes = packet.in_interface, packet.out_interface
    yield from _side_criteria("source", rule.source, packet, (came, packet.source), packet.source_port)
    yield from _side_criteria(
        "destination", rule.destination, packet, (goes, packet.destination), packet.destination_port
    )


def _is_icmp(icmp: Icmp, packet: Packet) -> bool:
    """Type and code of the packet's own family; negated, it is the conjunction that is negated."""
    return packet.is_icmp and packet.icmp_type == icmp.type and icmp.code in (None, packet.icmp_code)


def _side_criteria(
    name: str, side: PlannedSide, packet: Packet, peer: tuple[str | None, int], port: int | None
) -> Iterator[Criterion]:
    family, (interface, address) = packet.family, peer
    if side.nets is not None:
        yield f"{name}.nets", any(_within(net, family, address) for net in side.nets)
    if side.local is not None:
        yield f"{name}.nets", side.local.holds(interface, family, address)
    if side.not_nets or side.not_local is not None:
        listed = any(_within(net, family, address) for net in side.not_nets)
        on_link = side.not_local is not None and side.not_local.holds(interface, family, address)
        yield f"{name}.notNets", not (listed or on_link)
    if side.address_set is not None:
        yield f"{name}.selector", _is_member(side.address_set, family, address)
    if side.not_address_set is not None:
        yield f"{name}.notSelector", not _is_member(side.not_address_set, family, address)

    if side.restricts_ports:
        in_ranges = _in_ranges(side.ports or (), packet, port)
        yield f"{name}.ports", in_ranges or _in_sets(side.port_sets, packet, address, port)
    if side.not_ports or side.not_port_sets:
        in_ranges = _in_ranges(side.not_ports, packet, port)
        yield f"{name}.notPorts", not (in_ranges or _in_sets(side.not_port_sets, packet, address, port))


def _within(net: Cidr, family: Family, address: int) -> bool:
    return net.family is family and net.contains(address)


def _is_member(addresses: AddressSet, family: Family, address: int) -> bool:
    """True if an address is in a set. Its prefixes are sorted and disjoint, so only the last before it can hold it."""
    if isinstance(addresses.cidrs, CidrSet):
        return addresses.cidrs.covers(family, address)
    place = bisect_right(addresses.cidrs, Cidr(family, address, family.bits))
    return place > 0 and _within(addresses.cidrs[place - 1], family, address)


def _in_ranges(ranges: tuple[PortRange, ...], packet: Packet, port: int | None) -> bool:
    return packet.has_ports and port is not None and any(r.first <= port <= r.last for r in ranges)


def _in_sets(sets: tuple[PortSet, ...], packet: Packet, address: int, port: int | None) -> bool:
    """A port name is addresses with their protocol and port: all three of one member must be the packet's."""
    return port is not None and any(
        PortMember(packet.family, address, packet.protocol, port) in ports.members for ports in sets
    )
