"""The policy rules that are about a port, found for many ports at once, and the sources that each of them matches."""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from hostfw.exposure.sources import LargeSet, Part
from hostfw.model.plan import AddressSet, PlannedRule, PlannedSide, PortSet
from hostfw.model.prefixes import CidrSet
from hostfw.model.ranges import difference, every_address, intersection, ranges_of
from hostfw.model.values import Action, Family, PortRange, merge

DYNAMIC_PORT = 49_152
"""The port that new connections are taken to come from: the first of the dynamic ones (RFC 6335)."""

_Key = TypeVar("_Key", bound=Hashable)


class EntryPoint(NamedTuple):
    """An entry for new connections: an interface, and their destination there after routing.

    What is destination-NATed has `original`, the address and port that the sender knows, and if it is then forwarded
    `out_interface`.
    """

    family: Family
    protocol: int
    address: int
    port: int
    interface: str
    out_interface: str | None = None
    original: tuple[int, int] | None = None

    @property
    def arriving(self) -> "EntryPoint":
        """The same before destination NAT."""
        if self.original is None:
            return self
        return self._replace(address=self.original[0], port=self.original[1], original=None)


def is_of_some(rule: PlannedRule) -> bool:
    """True if a rule asks for what no address tells: a way through IPsec, or a neighbour's Ethernet address."""
    return rule.ipsec is not None or bool(rule.source.macs)


class RuleIndex:
    """Some doors, and what the rules of a plan say about each. Sets of doors are bits, the first door's being 1."""

    def __init__(self, doors: Sequence[EntryPoint]) -> None:
        self._doors = doors
        self._all = (1 << len(doors)) - 1
        self._by_family = _masks([entry_point.family for entry_point in doors])
        self._by_protocol = _masks([entry_point.protocol for entry_point in doors])
        self._by_port = _masks([entry_point.port for entry_point in doors])
        self._by_address = _masks([(entry_point.family, entry_point.address) for entry_point in doors])
        self._ports = sorted(self._by_port)
        self._port_masks: dict[tuple[PortRange, ...], int] = {}
        self._address_masks: dict[int, int] = {}
        self._source_parts: dict[tuple[int, Family, int, str], Part | None] = {}
        self._large: dict[int, LargeSet] = {}
        # The caches go by identity, so what they were made for must not be freed meanwhile.
        self._kept: list[object] = []

    def met(self, rule: PlannedRule) -> int:
        """The doors whose connections a rule matches, as far as their destination decides that."""
        mask = 0
        for family in rule.families:
            mask |= self._by_family.get(family, 0)
        if rule.protocol is not None:
            of_protocols = 0
            for protocol in rule.protocols:
                of_one = self._by_protocol.get(protocol.number, 0)
                of_protocols |= of_one if protocol.family is None else of_one & self._by_family.get(protocol.family, 0)
            mask &= of_protocols
        if rule.not_protocol is not None:
            mask &= ~self._by_protocol.get(rule.not_protocol.number, 0)
        if rule.icmp is not None:
            return 0
        # An Allow of some of the connections is open, and a Deny closes none for sure.
        if is_of_some(rule) and rule.action is Action.DENY:
            return 0
        side = rule.destination
        if side.restricts_ports and mask:
            mask &= self._in_ports(side.ports or (), side.port_sets)
        if (side.not_ports or side.not_port_sets) and mask:
            mask &= ~self._in_ports(side.not_ports, side.not_port_sets)
        if mask and _names_addresses(side):
            mask &= self._at_addresses(side)
        if mask and (side.local is not None or side.not_local is not None):
            mask &= self._on_links(side)
        return mask

    def sources(self, rule: PlannedRule, place: int) -> Part | None:
        """The sources from which connections to a door match a rule that the door meets; None for none at all."""
        entry_point = self._doors[place]
        on_link = rule.source.local is not None or rule.source.not_local is not None
        interface = entry_point.interface if on_link else ""
        key = id(rule.source), entry_point.family, entry_point.protocol, interface
        if key not in self._source_parts:
            self._kept.append(rule.source)
            self._source_parts[key] = self._source_part(rule.source, entry_point, interface)
        return self._source_parts[key]

    def _in_ports(self, ranges: tuple[PortRange, ...], sets: tuple[PortSet, ...]) -> int:
        mask = self._port_masks.get(ranges)
        if mask is None:
            mask = 0
            for first, last in ranges:
                for port in self._ports[bisect_left(self._ports, first) : bisect_right(self._ports, last)]:
                    mask |= self._by_port[port]
            self._port_masks[ranges] = mask
        for ports in sets:
            for family, address, protocol, port in ports.members:
                at_port = self._by_port.get(port, 0) & self._by_protocol.get(protocol, 0)
                mask |= at_port and at_port & self._by_address.get((family, address), 0)
        return mask

    def _at_addresses(self, side: PlannedSide) -> int:
        mask = self._address_masks.get(id(side))
        if mask is None:
            self._kept.append(side)
            mask = 0
            for (family, address), doors in self._by_address.items():
                part = self._address_part(side, family)
                if part is not None and part.holds(family, address):
                    mask |= doors
            self._address_masks[id(side)] = mask
        return mask

    def _on_links(self, side: PlannedSide) -> int:
        """The doors whose destination is, or is not, in a network of the interface that their connections go out on."""
        mask = 0
        for number, door in enumerate(self._doors):
            place = door.out_interface, door.family, door.address
            listed = side.local is None or side.local.holds(*place)
            if listed and not (side.not_local is not None and side.not_local.holds(*place)):
                mask |= 1 << number
        return mask

    def _address_part(self, side: PlannedSide, family: Family, interface: str = "") -> Part | None:
        """The addresses that a side stands for, its ports left aside; `interface` is the one that they come in on."""
        ranges = every_address(family) if side.nets is None else ranges_of(side.nets, family)
        if interface and side.local is not None:
            ranges = ranges_of(merge((*side.local.nets, *side.local.links.of(interface, family))), family)
        on_link = () if not interface or side.not_local is None else side.not_local.of(interface, family)
        ranges = difference(ranges, ranges_of(merge((*side.not_nets, *on_link)), family))
        inside: frozenset[LargeSet] = frozenset()
        outside: frozenset[LargeSet] = frozenset()
        if side.address_set is not None:
            members = self._members(side.address_set, family)
            if isinstance(members, LargeSet):
                inside = frozenset((members,))
            else:
                ranges = intersection(ranges, members)
        if side.not_address_set is not None:
            members = self._members(side.not_address_set, family)
            if isinstance(members, LargeSet):
                outside = frozenset((members,))
            else:
                ranges = difference(ranges, members)
        return Part(ranges, inside, outside) if ranges and not inside & outside else None

    def _members(self, addresses: AddressSet, family: Family) -> tuple[int, ...] | LargeSet:
        if not isinstance(addresses.cidrs, CidrSet):
            return ranges_of(addresses.cidrs, family)
        large = self._large.get(id(addresses))
        if large is None:
            large = LargeSet(addresses, addresses.cidrs)
            large = next((known for known in self._large.values() if known == large), large)
            self._kept.append(addresses)
            self._large[id(addresses)] = large
        return large

    def _source_part(self, side: PlannedSide, entry_point: EntryPoint, interface: str) -> Part | None:
        family, protocol = entry_point.family, entry_point.protocol
        part = self._address_part(side, family, interface)
        if part is None:
            return None
        ranges = part.ranges
        if side.restricts_ports and not _in_ranges(side.ports or ()):
            ranges = intersection(ranges, _named(side.port_sets, family, protocol))
        if side.not_ports or side.not_port_sets:
            if _in_ranges(side.not_ports):
                return None
            ranges = difference(ranges, _named(side.not_port_sets, family, protocol))
        return Part(ranges, part.inside, part.outside) if ranges else None


def _names_addresses(side: PlannedSide) -> bool:
    return (
        side.nets is not None or bool(side.not_nets) or side.address_set is not None or side.not_address_set is not None
    )


def _in_ranges(ranges: tuple[PortRange, ...]) -> bool:
    return any(first <= DYNAMIC_PORT <= last for first, last in ranges)


def _named(sets: tuple[PortSet, ...], family: Family, protocol: int) -> tuple[int, ...]:
    """The addresses that send from the dynamic port as one of the members."""
    members = (member for ports in sets for member in ports.of(family))
    found = {m.address for m in members if m.protocol == protocol and m.port == DYNAMIC_PORT}
    edges: list[int] = []
    for address in sorted(found):
        if edges and edges[-1] == address:
            edges[-1] = address + 1
        else:
            edges += (address, address + 1)
    return tuple(edges)


def _masks(values: Sequence[_Key]) -> dict[_Key, int]:
    masks: dict[_Key, int] = {}
    for number, value in enumerate(values):
        masks[value] = masks.get(value, 0) | 1 << number
    return masks


def numbers_of(mask: int) -> Iterator[int]:
    """The numbers of the doors in a set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
