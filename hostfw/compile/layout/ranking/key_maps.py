"""The keys of a list's maps, and the ways to rules behind each, brought up to date by what changed.

A list of ten thousand rules has tens of thousands of keys; a rule that comes or goes touches a few of them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter

from hostfw.compile.layout.ranking.ways import Placement, Shape, Spot
from hostfw.compile.layout.ranking.widths import Width, cut, written_out
from hostfw.nft.rules import Goto

Maps = dict[Shape, tuple[Shape, Shape] | None]
"""For each shape of keys: what they are cut to, and the map in which they are written out; None for too few of them."""
Entry = tuple[Placement, Spot | None, int]
"""A way to a rule behind a key, the spot where that key is a shorter prefix of it, and the rank of the rule."""
Entries = tuple[Entry, ...]
LookupKey = tuple[int, ...]
Ranked = Mapping[int, tuple[Goto | None, tuple[Placement, ...]]]
"""Rules by their ranks, first to last: the chain to go to at once where one is found, and the ways that lead to it."""
_RANK = itemgetter(2)


@dataclass(slots=True, eq=False)
class KeyMaps:
    """The ways behind each key of each map, those of the first rule first; equal ones may be one object.

    `few` are the ways of keys that have no map, by the ranks of their rules.
    """

    into: Maps
    width: Width
    ranked: Ranked
    of: dict[Shape, dict[LookupKey, Entries]]
    few: dict[int, list[Entry]] = field(default_factory=dict)

    @classmethod
    def fresh(cls, into: Maps, width: Width, ranked: Ranked) -> "KeyMaps":
        """The maps of a list."""
        shapes = sorted({target[1] for target in into.values() if target})
        maps = cls(into, width, ranked, {shape: {} for shape in shapes})
        crowded: dict[Shape, dict[LookupKey, list[Entry]]] = {shape: {} for shape in shapes}
        for shape, keys, one in maps._entries(ranked):
            there, behind, (entry,) = maps.of[shape], crowded[shape], one
            # Wide ranges of ports come to millions of these.
            for key in keys:
                alone = there.setdefault(key, one)
                if alone is one:
                    continue
                several = behind.get(key)
                if several is None:
                    behind[key] = [alone[0], entry]
                else:
                    several.append(entry)
        for shape, keys in crowded.items():
            maps.of[shape].update((key, tuple(entries)) for key, entries in keys.items())
        return maps

    def update(self, ranked: Ranked) -> dict[Shape, set[LookupKey]]:
        """Bring the maps up to date with a list, and tell which keys have other ways behind them now."""
        before, self.ranked = self.ranked, ranked
        gone = {rank: rule for rank, rule in before.items() if ranked.get(rank) != rule}
        come = {rank: rule for rank, rule in ranked.items() if before.get(rank) != rule}
        touched: dict[Shape, set[LookupKey]] = {shape: set() for shape in self.of}
        for shape, keys, _ in self._entries(gone):
            touched[shape].update(keys)
        for rank in gone:
            self.few.pop(rank, None)
        for shape, keys in touched.items():
            there = self.of[shape]
            for key in keys:
                there[key] = tuple([entry for entry in there[key] if entry[2] not in gone])
        for shape, keys_of_it, one in self._entries(come):
            touched[shape].update(keys_of_it)
            there = self.of[shape]
            for key in keys_of_it:
                entries = [*there.get(key, ()), *one]
                entries.sort(key=_RANK, reverse=True)
                there[key] = tuple(entries)
        for shape, keys in touched.items():
            there = self.of[shape]
            for key in keys:
                if not there[key]:
                    del there[key]
        return touched

    def _entries(self, ranked: Ranked) -> Iterator[tuple[Shape, Collection[LookupKey], Entries]]:
        """The map of each way to some rules, its keys there, and the entry; those without a map are put down as few."""
        for rank, (_, ways) in ranked.items():
            for way in ways:
                alone: Entries = ((way, None, rank),)
                if len(way.keys) == 1 and (found := next(iter(way.keys.items())))[0] in self.of:
                    shape, keys = found
                    if self.into[shape] == (shape, shape):
                        yield shape, keys, alone
                        continue
                yield from self._widened(way, rank, alone)

    def _widened(
        self, way: Placement, rank: int, alone: Entries
    ) -> Iterator[tuple[Shape, Collection[LookupKey], Entries]]:
        """The same of one way, each key cut to a shorter prefix, written out as longer ones, or both."""
        seen: dict[Shape, dict[LookupKey, None]] = {}
        for shape, keys in way.keys.items():
            target = self.into[shape]
            if target is None:
                self.few.setdefault(rank, []).extend((way, (shape, key), rank) for key in keys)
                continue
            shorter, longer = target
            if shorter == shape:
                # A /23 and a /24 in it may come to the same key.
                seen.setdefault(longer, {}).update(dict.fromkeys(self._written(shape, keys, longer)))
                continue
            for whole in keys:
                key = cut((shape, whole), shorter, self.width)
                yield longer, list(self._written(shorter, (key,), longer)), ((way, (shape, whole), rank),)
        for longer, every in seen.items():
            yield longer, every, alone

    def _written(self, shape: Shape, keys: Iterable[LookupKey], longer: Shape) -> Iterable[LookupKey]:
        """The keys of a map that say what some of a shorter one say."""
        if shape == longer:
            return keys
        return chain.from_iterable(written_out((shape, key), longer, self.width) for key in keys)


def met(entries: Entries) -> Entries:
    """The entries up to the first that matches whatever is looked up: no other behind it is met."""
    for place, entry in enumerate(entries):
        if holds(entry):
            return entries[: place + 1]
    return entries


def holds(entry: Entry) -> bool:
    """True if whatever is looked up there matches."""
    way, spot, _ = entry
    return spot is None and way.holds
