"""Fewer maps for the same rules: keys of a shorter prefix written as all keys of a longer one.

Each length of a prefix, and each pair of lengths of two parts, is a map and a lookup for every packet. A /23 is two
/24, and a run of ports with 12 bits in common is 16 ports: where that takes few elements, it is a lookup less.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from hostfw.compile.layout.ways import Shape, Spot
from hostfw.nft.rules import Key

_MOST_BITS = 8
"""Most bits by which one key is written out: 256 keys."""


def merged_shapes(counts: Mapping[Shape, int], most: int, room: int) -> dict[Shape, Shape]:
    """The map that each map's keys go into, so that at most so many maps are left, with `room` for more elements.

    `counts` has the number of keys in each. Where there is no room the maps stay.
    """
    left = dict(sorted(counts.items()))
    target = {shape: shape for shape in left}
    while len(left) > most:
        costs = [
            (left[one] * ((1 << bits) - 1), one, other)
            for one in left
            for other in left
            if one is not other and (bits := _more_bits(one, other)) is not None
        ]
        if not costs or min(costs)[0] > room:
            break
        cost, one, other = min(costs)
        room -= cost
        left[other] += left.pop(one) + cost
        target = {shape: other if into == one else into for shape, into in target.items()}
    return target


def _more_bits(one: Shape, other: Shape) -> int | None:
    """The bits that a key of another map says more; None where it is asked for other parts, or says less of one."""
    if [key for key, _ in one] != [key for key, _ in other]:
        return None
    more = [longer - shorter for (_, shorter), (_, longer) in zip(one, other, strict=True)]
    return sum(more) if min(more) >= 0 and sum(more) <= _MOST_BITS else None


def written_out(spot: Spot, target: Shape, width: Callable[[Key], int]) -> Iterator[tuple[int, ...]]:
    """The keys of a map that say what one key of a shorter map says; `width` is the number of bits of a part."""
    shape, values = spot
    parts = []
    for (key, shorter), (_, longer), value in zip(shape, target, values, strict=True):
        step = width(key) - longer
        parts.append([value | more << step for more in range(1 << longer - shorter)])
    return product(*parts)
