"""Dispatch by address: which rules a packet from or to an address can match.

Prefixes are nested or disjoint, so those that a list of rules names cut the addresses into regions, one for each
prefix: the prefix without the longer ones in it. Every test of an address is constant within a region, and the
longest prefix that holds an address tells its region.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from hostfw.compile.incremental.rule_changes import changes
from hostfw.compile.program import Condition, ProgramRule, Segment, by_segment, with_staged
from hostfw.model.plan import AddressSet, PlannedSide
from hostfw.model.prefixes import Cidrs, CidrSet
from hostfw.model.values import Cidr, Family, of_family


@dataclass(frozen=True, slots=True)
class Region:
    """A prefix without its longer ones, the region around it (None for all addresses), and what may match in it."""

    prefix: Cidr
    parent: Cidr | None
    segments: tuple[Segment, ...]


def side_of(condition: Condition, *, source: bool) -> PlannedSide:
    """The source or the destination side."""
    return condition.source if source else condition.destination


_Lists = tuple[list[tuple[Cidr, ...]], list[tuple[Cidr, ...]]]


@dataclass(slots=True)
class ShortLists:
    """The lists of prefixes of one family that are short enough to be told apart, at most `limit`, known by side."""

    family: Family
    limit: int
    _known: dict[int, tuple[PlannedSide, _Lists]] = field(default_factory=dict)

    def of(self, side: PlannedSide) -> _Lists:
        """The positive and the negative lists of a side."""
        known = self._known.get(id(side))
        if known is None:
            # The side is kept, so that its identity stays its own.
            known = self._known[id(side)] = side, _lists_of(side, self.family, self.limit)
        return known[1]


_NONE: _Lists = ([], [])


def _lists_of(side: PlannedSide, family: Family, limit: int) -> _Lists:
    if side.nets is None and side.address_set is None and not side.not_nets and side.not_address_set is None:
        return _NONE
    positive: list[Cidrs | None] = [side.nets, _known(side.address_set, family)]
    negative: list[Cidrs | None] = [side.not_nets, _known(side.not_address_set, family)]
    return _short(positive, family, limit), _short(negative, family, limit)


def _known(selected: AddressSet | None, family: Family) -> Cidrs | None:
    """The members of a set that do not change, if those are all that it has."""
    return None if selected is None or selected.external else selected.of(family)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Every prefix that some rules tell apart on one side, and how many lists have it."""

    segments: tuple[Segment, ...]
    lists: Counter[Cidr]

    @classmethod
    def of(
        cls, segments: tuple[Segment, ...], short: ShortLists, before: "Prefixes | None" = None, *, source: bool
    ) -> "Prefixes":
        """The prefixes of some rules: those of before, which are changed, by what differs."""
        changed = None if before is None else changes(before.segments, segments)
        gone, come = ([], segments) if changed is None else (changed[0], (tuple(changed[1]),))
        lists = Counter[Cidr]() if before is None or changed is None else before.lists
        for rule in with_staged(gone):
            for of_kind in short.of(side_of(rule.condition, source=source)):
                for cidrs in of_kind:
                    lists.subtract(cidrs)
                    for cidr in cidrs:
                        if not lists[cidr]:
                            lists.pop(cidr, None)
        for segment in come:
            for rule in with_staged(segment):
                for of_kind in short.of(side_of(rule.condition, source=source)):
                    for cidrs in of_kind:
                        lists.update(cidrs)
        return cls(segments, lists)


def regions(
    segments: tuple[Segment, ...], prefixes: Collection[Cidr], short: ShortLists, *, source: bool
) -> Iterator[Region]:
    """The regions of one side, each after the one around it, with the rules that may match there.

    A rule belongs to the prefixes of its shortest positive list and all within them; without one, everywhere.
    """
    everything = Cidr(short.family, 0, 0)
    numbered = [(place, rule) for place, segment in enumerate(segments) for rule in segment]
    attached: dict[Cidr, list[int]] = defaultdict(list)
    for number, (_, rule) in enumerate(numbered):
        positive, _ = short.of(side_of(rule.condition, source=source))
        for cidr in min(positive, key=len, default=(everything,)):
            attached[cidr].append(number)
    around: list[tuple[Cidr, list[int]]] = []
    for prefix in sorted({*prefixes, everything}):
        while around and not _within(prefix, around[-1][0]):
            around.pop()
        inherited = around[-1][1] if around else []
        numbers = _in_order(inherited, attached[prefix]) if attached[prefix] else inherited
        yield Region(prefix, around[-1][0] if around else None, _gathered(numbered, numbers))
        around.append((prefix, numbers))


def _in_order(one: list[int], other: list[int]) -> list[int]:
    """Two ascending lists as one; a sort knows them for two runs."""
    return sorted([*one, *other])


def _gathered(numbered: list[tuple[int, ProgramRule]], numbers: list[int]) -> tuple[Segment, ...]:
    """Rules by their ascending numbers, of which several in a row may be the same."""
    return by_segment(numbered[number] for number, _ in groupby(numbers))


def denied_nets(condition: Condition, family: Family, limit: int, *, source: bool) -> tuple[Cidr, ...]:
    """The prefixes of one side that are all that a condition asks for, if they are few enough to be told apart."""
    side = side_of(condition, source=source)
    if side.nets is None or len(side.nets) > limit or family not in condition.families:
        return ()
    alone = PlannedSide(side.nets)
    whole = Condition(condition.families, source=alone) if source else Condition(condition.families, destination=alone)
    return tuple(net for net in side.nets if net.family is family) if condition == whole else ()


def _short(lists: list[Cidrs | None], family: Family, limit: int) -> list[tuple[Cidr, ...]]:
    listed = [cidrs for cidrs in lists if cidrs is not None and not isinstance(cidrs, CidrSet)]
    return [found for cidrs in listed if len(found := of_family(cidrs, family)) <= limit]


def _within(inner: Cidr, outer: Cidr) -> bool:
    return outer.length <= inner.length and outer.contains(inner.address)
