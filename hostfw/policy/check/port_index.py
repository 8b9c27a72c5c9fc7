"""Failsafe ports, looked up by what a rule names, so that a check does not ask each rule about each port."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache

from hostfw.model.resources import Rule
from hostfw.model.settings import FailsafePort
from hostfw.model.values import Cidr, Family, PortRange, mask_of

FEW = 16
"""Failsafe ports of which each rule is asked about every one: to sort them would take longer, and so would it to gather
what thousands of selectors stand for."""

Asked = tuple[Rule, Sequence[PortRange | str], Sequence[Cidr] | None]
"""A rule, the ports that it names, and the nets beyond which it is for nobody; None if it may be for others too."""


class _Lookup:
    """Failsafe ports found by what a rule names: each is known by its place."""

    def __init__(self, ports: Sequence[FailsafePort]) -> None:
        self._by_number = _by_number(ports)
        self._by_net: defaultdict[Cidr, list[int]] = defaultdict(list)
        self._everywhere: list[int] = []
        for place, port in enumerate(ports):
            (self._everywhere if port.net is None else self._by_net[port.net]).append(place)
        self._nets = {family: sorted(net for net in self._by_net if net.family is family) for family in Family}
        self._lengths = {family: sorted({net.length for net in nets}) for family, nets in self._nets.items()}

    def matched(self, rule: Rule, ports: Sequence[PortRange | str], nets: Sequence[Cidr] | None) -> set[int]:
        """The places of ports that a rule may match which names `ports`, and those open to any of `nets` at least."""
        numbers = {one.number for one in rule.protocols} or set(self._by_number)
        spans = list(self._spans(numbers, ports))
        few = sum(last - first for _, first, last in spans)
        if nets is not None and few > len(nets):
            of_nets = set(self._meeting(nets))
            if len(of_nets) < few:
                return of_nets
        return {place for number, first, last in spans for _, place in self._by_number[number][first:last]}

    def _spans(self, numbers: Iterable[int | None], ports: Sequence[PortRange | str]) -> Iterator[tuple[int, int, int]]:
        for number in numbers:
            if number not in self._by_number:
                continue
            known = self._by_number[number]
            if not ports:
                yield number, 0, len(known)
            for one in ports:
                if isinstance(one, PortRange):
                    yield number, bisect_left(known, (one.first, 0)), bisect_left(known, (one.last + 1, 0))

    def _meeting(self, nets: Iterable[Cidr]) -> Iterator[int]:
        """The ports whose net has an address in common with some nets, and those that are open to everybody."""
        yield from self._everywhere
        for net in nets:
            for length in self._lengths[net.family]:
                if length > net.length:
                    break
                wider = Cidr(net.family, net.address & mask_of(net.family, length), length)
                yield from self._by_net.get(wider, ())
            within = self._nets[net.family]
            last = net.address | (1 << net.family.bits - net.length) - 1
            begin = bisect_left(within, (net.family, net.address, 0))
            end = bisect_left(within, (net.family, last + 1, 0))
            for one in within[begin:end]:
                yield from self._by_net[one]


class FailsafePorts:
    """The failsafe ports of one direction, sorted once for all policies."""

    def __init__(self, ports: Sequence[FailsafePort]) -> None:
        self.ports = tuple(ports)
        self._lookup = _Lookup(self.ports) if len(ports) > FEW else None

    def met(self, asked: Iterable[Asked]) -> tuple[FailsafePort, ...]:
        """The ports that some rules may match, in the order of the settings; others may be among them."""
        if self._lookup is None:
            return self.ports
        found: set[int] = set()
        for rule, ports, nets in asked:
            if len(found) == len(self.ports):
                break
            found |= self._lookup.matched(rule, ports, nets)
        return tuple(self.ports[place] for place in sorted(found))


class PortIndex:
    """Failsafe ports in groups, each known by its number: the ports of a group are alike to every one of some rules.

    They have the protocol and the net in common, and no rule names one of them without the others. `alone` are the
    ports that have a group each, as all have where there are few.
    """

    def __init__(
        self, ports: Sequence[FailsafePort], rules: Iterable[Rule], alone: Collection[tuple[int, int]] = ()
    ) -> None:
        self._ports = ports
        self._is_short = len(ports) <= FEW
        self._groups = _each(len(ports)) if self._is_short else _groups(ports, rules, alone)
        self.first = tuple(ports) if self._is_short else tuple(ports[group[0]] for group in self._groups)
        """A port of each group."""
        if not self._is_short:
            self._lookup = _Lookup(self.first)

    def __len__(self) -> int:
        return len(self._groups)

    def ports_of(self, groups: Iterable[int]) -> tuple[FailsafePort, ...]:
        """The ports of some groups, in the order of the settings."""
        return tuple(self._ports[place] for place in sorted(place for group in groups for place in self._groups[group]))

    def matched(
        self, rule: Rule, ports: Sequence[PortRange | str], nets: Sequence[Cidr] | None = None
    ) -> Iterable[int]:
        """The groups that a rule may match which names `ports`, and of those that are open to any of `nets` at least.

        Others may be among them; without ports and nets it is every group of its protocols.
        """
        return range(len(self._groups)) if self._is_short else sorted(self._lookup.matched(rule, ports, nets))


@cache
def _each(count: int) -> tuple[tuple[int, ...], ...]:
    """A group for each of some ports."""
    return tuple((place,) for place in range(count))


def _groups(
    ports: Sequence[FailsafePort], rules: Iterable[Rule], alone: Collection[tuple[int, int]]
) -> tuple[tuple[int, ...], ...]:
    """The places of ports that no rule tells apart."""
    sides = (side for rule in rules for side in (rule.source, rule.destination))
    ranges = {one for side in sides for one in (*side.ports, *side.not_ports) if isinstance(one, PortRange)}
    cuts = sorted({cut for one in ranges for cut in (one.first, one.last + 1)})
    found: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, port in enumerate(ports):
        known = (port.protocol.number, port.port)
        own = known if known in alone else None
        found[port.protocol.number, port.net, bisect_right(cuts, port.port), own].append(place)
    return tuple(map(tuple, found.values()))


def _by_number(ports: Sequence[FailsafePort]) -> dict[int, list[tuple[int, int]]]:
    """The groups of each protocol by their ports, in order."""
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for group, port in enumerate(ports):
        found[port.protocol.number].append((port.port, group))
    return {number: sorted(of_number) for number, of_number in found.items()}
