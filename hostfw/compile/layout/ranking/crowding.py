"""The rules that stand at each key of each map, counted from list to list, and the maps that these keys go into."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hostfw.compile.layout.costs import CostModel
from hostfw.compile.layout.ranking.key_maps import Maps
from hostfw.compile.layout.ranking.ways import PORT_BITS, Crowds, Keys, Placement, Shape
from hostfw.compile.layout.ranking.widths import PORTS, merged_shapes, shortened_shapes, width_of
from hostfw.model.values import Family
from hostfw.nft.rules import Key

Ways = tuple[Placement, ...]
"""The ways to one rule."""


@dataclass(slots=True, eq=False)
class Crowding:
    """The ways to some rules, the compares behind each of their keys, and the number of keys of all of them."""

    ways: dict[int, Ways] = field(default_factory=dict)
    crowds: Crowds = field(default_factory=dict)
    spots: int = 0

    def count(self, ways: Iterable[Ways]) -> None:
        """Count those ways, which are told by their identity, in the place of those that were counted before."""
        now = {id(one): one for one in ways}
        gone = [one for which, one in self.ways.items() if which not in now]
        come = [one for which, one in now.items() if which not in self.ways]
        self.ways = now
        for some, sign in ((gone, -1), (come, 1)):
            for way in [way for ways in some for way in ways]:
                self.spots += sign * sum(map(len, way.keys.values()))
                self._add(way.keys, sign * len(way.tests))

    def maps(self, costs: CostModel, family: Family, rules: int) -> Maps:
        """The maps that so many rules are found in."""

        def width(key: Key) -> int:
            return width_of(family, key)

        crowds = self.crowds
        shorter = shortened_shapes(crowds, lambda *shapes: _most_compares(costs, family, *shapes), width)
        counts, compares = Counter[Shape](), Counter[Shape]()
        for shape, target in shorter.items():
            counts[target] += len(crowds[shape])
            compares[target] += sum(crowds[shape].values())
        few = {target for target, count in compares.items() if count <= costs.compares_a_lookup}
        counts = Counter({target: count for target, count in counts.items() if target not in few})
        room = min(costs.keys_a_rule + costs.widened * self.spots, costs.room_of(rules))
        longer = merged_shapes(counts, costs.lookups, room)
        return {shape: None if target in few else (target, longer[target]) for shape, target in shorter.items()}

    def _add(self, keys: Keys, count: int) -> None:
        """Add so many for each key, or take them away."""
        for shape, of_shape in keys.items():
            there = self.crowds.get(shape)
            if there is None:
                there = self.crowds[shape] = Counter()
            if count == 1:
                there.update(of_shape)
                continue
            for key in of_shape:
                there[key] += count
                if not there[key]:
                    del there[key]
            if not there:
                del self.crowds[shape]


def _most_compares(costs: CostModel, family: Family, shape: Shape, shorter: Shape) -> int:
    """The most compares behind a key of a map that the keys of another one go into."""
    tested = [key for (key, bits), (_, fewer) in zip(shape, shorter, strict=True) if fewer < bits]
    exact = all((key, PORT_BITS) in shape if key in PORTS else family is Family.V4 for key in tested)
    return costs.shortened_inline if exact else costs.shortened
