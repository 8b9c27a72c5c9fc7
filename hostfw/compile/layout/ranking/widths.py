"""Fewer maps for the same rules: keys that are cut to a shorter prefix, or written as all keys of a longer one.

Each length of a prefix, and each pair of lengths of two parts, is a map and a lookup for every packet. Where few rules
stand behind a key, a /64 can stand under its first 48 bits, and the rest of it is tested behind the key. A /23 is two
/24, and a run of ports with 12 bits in common is 16 ports: where that takes few elements, it is a lookup less as well.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from hostfw.compile.layout.ranking.ways import PORT_BITS, Shape, Spot
from hostfw.model.values import Family
from hostfw.nft.rules import Key

_MOST_BITS = 8
"""Most bits by which one key is written out: 256 keys."""


Width = Callable[[Key], int]
"""The number of bits of a part of a packet."""
PORTS = frozenset((Key.SPORT, Key.DPORT))


def width_of(family: Family, key: Key) -> int:
    """The number of bits of a part of the packets of a family."""
    return PORT_BITS if key in PORTS else family.bits


def shortened_shapes(
    crowds: Mapping[Shape, Mapping[tuple[int, ...], int]], limit: Callable[[Shape, Shape], int], width: Width
) -> dict[Shape, Shape]:
    """The map of shorter prefixes that each map's keys go into, or itself.

    `crowds` has the compares behind each key of each map. A map goes into another as a whole, where no more compares
    stand behind any of the keys that it comes to than `limit` says of both.
    """
    left = {shape: dict(keys) for shape, keys in sorted(crowds.items())}
    target = {shape: shape for shape in left}
    for one in sorted(left, key=lambda shape: (len(left[shape]), shape)):
        for other in sorted((other for other in left if _says_less(other, one)), reverse=True):
            more = _cut_keys(one, left[one], other, left[other], limit(one, other), width)
            if more is not None:
                left[other] |= more
                del left[one]
                target = {shape: other if into == one else into for shape, into in target.items()}
                break
    return target


def _says_less(one: Shape, other: Shape) -> bool:
    """True if a map is asked for the same parts as another, and for fewer bits of them."""
    pairs = list(zip(one, other, strict=False))
    return len(one) == len(other) and one != other and all(a[0] is b[0] and a[1] <= b[1] for a, b in pairs)


def _cut_keys(
    one: Shape,
    keys: Mapping[tuple[int, ...], int],
    other: Shape,
    there: Mapping[tuple[int, ...], int],
    limit: int,
    width: Width,
) -> dict[tuple[int, ...], int] | None:
    """The compares behind the keys of another map once the keys of a map are there too; None for too many."""
    found: dict[tuple[int, ...], int] = {}
    for key, count in keys.items():
        short = cut((one, key), other, width)
        found[short] = found.get(short, there.get(short, 0)) + count
        if found[short] > limit:
            return None
    return found


def cut(spot: Spot, target: Shape, width: Width) -> tuple[int, ...]:
    """The key of a map of shorter prefixes under which a key stands."""
    return tuple(
        [value >> width(key) - bits << width(key) - bits for (key, bits), value in zip(target, spot[1], strict=True)]
    )


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


def written_out(spot: Spot, target: Shape, width: Width) -> Iterator[tuple[int, ...]]:
    """The keys of a map that say what one key of a shorter map says; `width` is the number of bits of a part."""
    shape, values = spot
    parts = []
    for (key, shorter), (_, longer), value in zip(shape, target, values, strict=True):
        step = width(key) - longer
        parts.append([value | more << step for more in range(1 << longer - shorter)])
    return product(*parts)
