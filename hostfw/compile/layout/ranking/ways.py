"""Ways to find a rule: where it stands in hash maps, and what remains to be tested of a packet that is found there.

A condition holds if one of its ways leads to the rule and the rest of it holds. An aspect of a condition is a list of
keys: prefixes of an address, or runs of ports whose first bits are the same. Whichever aspects a rule is looked up by,
the verdict is the same; the fewer rules stand at one key, the less is left to be tested.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from hostfw.compile.layout.cuts.cells import FIRST_PORT, LAST_PORT, Cell
from hostfw.compile.layout.nft_rules.matches import Alternative, is_within, lists_of, tests_of
from hostfw.compile.program import Condition
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.plan import PlannedSide
from hostfw.model.prefixes import CidrSet
from hostfw.model.values import PORT_PROTOCOLS, PortRange
from hostfw.nft.rules import Key

PORT_BITS = 16
_STRIDE = 4
"""Runs of ports have their first 4, 8, 12 or all bits in common: the fewer lengths there are, the fewer lookups."""
_EXACT = 16
"""Most ports of a range that are keys of their own."""
_NOT_PORTS = "not_ports"
_PARTS = (Key.SADDR, Key.DADDR, Key.SPORT, Key.DPORT)
"""The parts of a packet in the order of a concatenation."""

Bits = tuple[int, int]
"""The number of first bits that count, and an address or port in which no other is set."""
Shape = tuple[tuple[Key, int], ...]
"""A map: the parts of the packet that it is asked for, each with the number of its first bits that count."""
Spot = tuple[Shape, tuple[int, ...]]
"""A map, and a key in it."""
Keys = Mapping[Shape, Sequence[tuple[int, ...]]]
"""Keys by the map that they are in."""
Crowds = dict[Shape, Counter[tuple[int, ...]]]
"""The number of rules that may stand at each key of each map."""


@dataclass(frozen=True, slots=True, eq=False)
class Aspect:
    """Keys of some parts of a packet, one of which has to hold: what a criterion `name` of a side comes to."""

    source: bool
    name: str
    parts: tuple[Key, ...]
    keys: Keys
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Keys behind each of which the same remains to be tested: any of the alternatives. Compared by identity."""

    keys: Keys
    tests: tuple[Alternative, ...]

    @property
    def holds(self) -> bool:
        """True if nothing remains to be tested."""
        return () in self.tests


@dataclass(slots=True)
class Variant:
    """A condition, or the half of it that is for ports by number or by name, with all the aspects that it has."""

    condition: Condition
    cell: Cell
    aspects: tuple[Aspect, ...]
    _made: dict[tuple[tuple[bool, str], ...], Placement | None] = field(default_factory=dict)

    def usable(self, room: int) -> list[Aspect]:
        """The aspects that have no more keys than that; all but some ports says too little to be asked with others."""
        found = [aspect for aspect in self.aspects if aspect.count <= room]
        return [aspect for aspect in found if aspect.name != _NOT_PORTS] or found

    def is_quiet(self, crowds: Crowds, limit: int, room: int) -> bool:
        """True if few other rules share one of the aspects that have no more keys than `room`."""
        return any(crowd_of(one, crowds) <= limit for one in self.usable(room))

    def quiet(self, crowds: Crowds, limit: int, room: int) -> tuple[Aspect, ...]:
        """The aspects to look a rule up by: one that few others share, ports first, or as many as `room` is for.

        None at all where each has more keys than that.
        """
        usable = self.usable(room)
        crowd = {id(aspect): crowd_of(aspect, crowds) for aspect in usable}
        for aspect in sorted(usable, key=lambda one: (Key.DPORT not in one.parts, one.count)):
            if crowd[id(aspect)] <= limit:
                return (aspect,)
        chosen: list[Aspect] = []
        keys, parts = 1, set[Key]()
        for aspect in sorted(usable, key=lambda one: crowd[id(one)]):
            if keys * aspect.count <= room and parts.isdisjoint(aspect.parts):
                chosen.append(aspect)
                keys *= aspect.count
                parts.update(aspect.parts)
        return tuple(chosen)

    def way(self, by: tuple[Aspect, ...], builder: TableBuilder) -> Placement | None:
        """The way by some aspects, None where no packet takes it."""
        names = tuple((aspect.source, aspect.name) for aspect in by)
        if names not in self._made:
            self._made[names] = self._way(by, builder)
        return self._made[names]

    def _way(self, by: tuple[Aspect, ...], builder: TableBuilder) -> Placement | None:
        rest = self.condition
        for aspect in by:
            side = _without(rest.source if aspect.source else rest.destination, aspect.name)
            rest = replace(rest, source=side) if aspect.source else replace(rest, destination=side)
        tests = tests_of(rest, self.cell, builder)
        if tests is None:
            return None
        return Placement(_joined(by), tuple(tests.alternatives()))


def variants_of(condition: Condition, cell: Cell, builder: TableBuilder) -> tuple[Variant, ...]:
    """The variants of a condition, of which one has to hold."""
    sources = _variants(condition.source, cell, has_cell=False)
    destinations = _variants(condition.destination, cell, has_cell=cell.ports is not None)
    found = []
    for source, destination in product(sources, destinations):
        variant = replace(condition, source=source, destination=destination)
        aspects = (
            *_aspects(source, cell, builder, source=True),
            *_aspects(destination, cell, builder, source=False),
        )
        found.append(Variant(variant, cell, aspects))
    return tuple(found)


def _variants(side: PlannedSide, cell: Cell, *, has_cell: bool) -> list[PlannedSide]:
    """Ports by number and ports by name apart, where the cell does not know the number."""
    if has_cell or not side.port_sets or not side.ports or cell.protocol not in PORT_PROTOCOLS:
        return [side]
    return [replace(side, port_sets=()), replace(side, ports=None)]


def _aspects(side: PlannedSide, cell: Cell, builder: TableBuilder, *, source: bool) -> Iterator[Aspect]:
    address, port = (Key.SADDR, Key.SPORT) if source else (Key.DADDR, Key.DPORT)
    region = cell.source if source else cell.destination
    names = [name for name, given in (("nets", side.nets), ("address_set", side.address_set)) if given is not None]
    for name, (cidrs, selected) in zip(names, lists_of(side.nets, side.address_set, builder.family), strict=True):
        from_feed = selected is not None and selected.from_feed and len(cidrs) > builder.costs.dispatched_prefixes
        if selected is not None and selected.external:
            continue
        if isinstance(cidrs, CidrSet) or from_feed or is_within(cidrs, region, builder) is not None:
            continue
        yield _one_part(source, name, address, [(cidr.length, cidr.address) for cidr in cidrs])
    if cell.protocol not in PORT_PROTOCOLS or (cell.ports is not None and not source):
        return
    if side.port_sets and side.ports is None:
        members = sorted(
            {
                (member.address, member.port)
                for port_set in side.port_sets
                for member in port_set.of(builder.family)
                if member.protocol == cell.protocol
            }
        )
        shape = ((address, builder.family.bits), (port, PORT_BITS))
        yield Aspect(source, "port_sets", (address, port), {shape: members} if members else {}, len(members))
    elif side.ports:
        yield _one_part(source, "ports", port, [run for one in side.ports for run in runs(one)])
    elif side.not_ports and not side.restricts_ports:
        others = _complement(side.not_ports)
        yield _one_part(source, _NOT_PORTS, port, [run for one in others for run in runs(one)])


def _one_part(source: bool, name: str, part: Key, keys: Sequence[Bits]) -> Aspect:  # noqa: FBT001 -- as of `Aspect`
    """The aspect of keys of one part of a packet."""
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for bits, value in keys:
        there = by_length.get(bits)
        if there is None:
            by_length[bits] = [(value,)]
        else:
            there.append((value,))
    return Aspect(source, name, (part,), {((part, bits),): of for bits, of in by_length.items()}, len(keys))


def _without(side: PlannedSide, name: str) -> PlannedSide:
    match name:
        case "nets":
            return replace(side, nets=None)
        case "address_set":
            return replace(side, address_set=None)
        case "ports":
            return replace(side, ports=None)
        case "port_sets":
            return replace(side, port_sets=())
        case _:
            return replace(side, not_ports=())


def crowd_of(aspect: Aspect, crowds: Crowds) -> int:
    """The most rules that share one of an aspect's keys."""
    most = 0
    for shape, keys in aspect.keys.items():
        there = crowds.get(shape)
        if there:
            most = max(most, *map(there.__getitem__, keys))
    return most


def _joined(by: tuple[Aspect, ...]) -> Keys:
    """Where a rule stands that is looked up by several aspects at once."""
    if len(by) == 1:
        return by[0].keys
    parts = [part for aspect in by for part in aspect.parts]
    order = sorted(range(len(parts)), key=lambda place: _PARTS.index(parts[place]))
    found: dict[Shape, list[tuple[int, ...]]] = {}
    for chosen in product(*(aspect.keys.items() for aspect in by)):
        joined = [part for shape, _ in chosen for part in shape]
        shape = tuple([joined[place] for place in order])
        keys = (sum(key, ()) for key in product(*(keys for _, keys in chosen)))
        found.setdefault(shape, []).extend(tuple([key[place] for place in order]) for key in keys)
    return found


def runs(ports: PortRange) -> Iterator[Bits]:
    """A range as runs that have their first bits in common: at most 30 of each length but the shortest."""
    if ports.last - ports.first < _EXACT:
        yield from ((PORT_BITS, port) for port in range(ports.first, ports.last + 1))
        return
    start = ports.first
    while start <= ports.last:
        free = 0
        while free < PORT_BITS - _STRIDE:
            wider = 1 << free + _STRIDE
            if start % wider or start + wider - 1 > ports.last:
                break
            free += _STRIDE
        yield PORT_BITS - free, start
        start += 1 << free


def _complement(ranges: tuple[PortRange, ...]) -> Iterator[PortRange]:
    start = FIRST_PORT
    for ports in sorted(ranges):
        if start < ports.first:
            yield PortRange(start, ports.first - 1)
        start = max(start, ports.last + 1)
    if start <= LAST_PORT:
        yield PortRange(start, LAST_PORT)
