"""Sets of source addresses, exact and cheap: ranges, and large address sets that stay names until somebody asks.

A rule may name a Feed of a million addresses. Cutting ranges at each of them would cost seconds for each service, so
such a set is kept as a condition: "these ranges, without what is in that set".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from hostfw.model.plan import AddressSet
from hostfw.model.prefixes import CidrSet, PackedAddresses
from hostfw.model.prefixes import difference as packed_difference
from hostfw.model.ranges import (
    Ranges,
    bounds,
    difference,
    every_address,
    holds,
    intersection,
    ranges_of,
    size,
    union,
)
from hostfw.model.values import Cidr, Family, mask_of

_TRIED = 64
"""Most members of a large set that are tried before all of them are compared."""


class LargeSet:
    """An address set that is too large for ranges. Equal sets hold the same addresses under the same selector."""

    __slots__ = ("addresses", "packed")

    def __init__(self, addresses: AddressSet, packed: CidrSet) -> None:
        self.addresses = addresses
        self.packed = packed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LargeSet):
            return NotImplemented
        return self.packed is other.packed or self.addresses == other.addresses

    def __hash__(self) -> int:
        # The contents take long to hash, and their number tells nearly as much.
        return hash((self.addresses.selector, len(self.packed)))

    @property
    def selector(self) -> str:
        """The rule selector that the set stands for."""
        return self.addresses.selector

    def holds(self, family: Family, address: int) -> bool:
        """True if an address is in the set."""
        return self.packed.covers(family, address)

    def some(self, family: Family) -> Iterator[Cidr]:
        """The first few prefixes of a family."""
        return islice((cidr for cidr in self.packed if cidr.family is family), _TRIED)

    def size(self, family: Family) -> int:
        """The number of addresses of a family."""
        parts = (part for part in self.packed.parts if part.family is family)
        return sum(len(part.addresses) << family.bits - part.length for part in parts)

    def within(self, ranges: Ranges, family: Family) -> Ranges:
        """The members in some ranges."""
        found: list[Cidr] = []
        for start, last in bounds(ranges):
            for part in self.packed.parts:
                if part.family is family:
                    first = start & mask_of(family, part.length)
                    found += (Cidr(family, address, part.length) for address in part.addresses.between(first, last))
        return intersection(ranges, ranges_of(found, family))

    def new_since(self, old: "LargeSet", family: Family) -> Ranges:
        """The prefixes that are no prefixes of an older version of the set: all that can be in this one alone."""
        before = {part.length: part.addresses for part in old.packed.parts if part.family is family}
        return ranges_of(
            (
                Cidr(family, address, part.length)
                for part in self.packed.parts
                if part.family is family
                for address in _new(before.get(part.length), part.addresses)
            ),
            family,
        )


def _new(old: PackedAddresses | None, new: PackedAddresses) -> PackedAddresses:
    changed = None if old is None else packed_difference(old.data, new.data, new.width)
    return new if changed is None else PackedAddresses(new.family, changed[0])


@dataclass(frozen=True, slots=True)
class Part:
    """Addresses in `ranges` that are in each large set of `inside` and in none of `outside`."""

    ranges: Ranges
    inside: frozenset[LargeSet] = frozenset()
    outside: frozenset[LargeSet] = frozenset()

    def holds(self, family: Family, address: int) -> bool:
        """True if an address is in the part."""
        return (
            holds(self.ranges, address)
            and all(large.holds(family, address) for large in self.inside)
            and not any(large.holds(family, address) for large in self.outside)
        )

    def size(self, family: Family) -> int:
        """The number of addresses, or a few more: what large sets take out is not counted."""
        return min(size(self.ranges), *(large.size(family) for large in self.inside), 1 << family.bits)

    def in_full(self, family: Family) -> Ranges:
        """The addresses, with the large sets in full. A million take a second."""
        left = self.ranges
        for large in self.inside:
            newer = (large.new_since(old, family) for old in self.outside if old.selector == large.selector)
            left = large.within(intersection(left, next(newer, left)), family)
        for large in self.outside:
            left = difference(left, large.within(left, family))
        return left

    def is_empty(self, family: Family) -> bool:
        """True if no address is in the part."""
        if not self.ranges:
            return True
        if not self.inside and size(self.ranges) > sum(large.size(family) for large in self.outside):
            return False
        some = (cidr.address for large in self.inside for cidr in large.some(family))
        return not any(self.holds(family, address) for address in some) and not self.in_full(family)


Sources = tuple[Part, ...]
"""A set of source addresses of one family, in parts that have no address in common."""


def everybody(family: Family) -> Part:
    """Every address of a family."""
    return Part(every_address(family))


def both(part: Part, other: Part) -> Part | None:
    """The intersection, or None where it is obviously empty."""
    ranges = intersection(part.ranges, other.ranges)
    inside, outside = part.inside | other.inside, part.outside | other.outside
    return Part(ranges, inside, outside) if ranges and not inside & outside else None


def common(sources: Sources, part: Part) -> Sources:
    """The intersection of a set with a part."""
    return tuple(met for one in sources if (met := both(one, part)) is not None)


def without(sources: Sources, part: Part) -> Sources:
    """A set without a part."""
    return tuple(left for one in sources for left in _without(one, part))


def difference_of(sources: Sources, others: Iterable[Part]) -> Sources:
    """A set without some parts."""
    for part in others:
        sources = without(sources, part)
    return sources


def joined(sources: Iterable[Part]) -> Sources:
    """The same set in as few parts as conditions."""
    ranges: dict[tuple[frozenset[LargeSet], frozenset[LargeSet]], Ranges] = {}
    for part in sources:
        conditions = part.inside, part.outside
        ranges[conditions] = union(ranges.get(conditions, ()), part.ranges)
    return tuple(Part(found, *conditions) for conditions, found in ranges.items())


def _without(one: Part, part: Part) -> Iterator[Part]:
    met = both(one, part)
    if met is None:
        yield one
        return
    left = difference(one.ranges, part.ranges)
    if left:
        yield Part(left, one.inside, one.outside)
    # Within its ranges: what fails its first condition, then what holds that and fails the second, and so on.
    inside, outside = one.inside, one.outside
    for large in sorted(part.inside - inside, key=_by_selector):
        yield Part(met.ranges, inside, outside | {large})
        inside |= {large}
    for large in sorted(part.outside - outside, key=_by_selector):
        yield Part(met.ranges, inside | {large}, outside)
        outside |= {large}


def _by_selector(large: LargeSet) -> str:
    return large.selector
