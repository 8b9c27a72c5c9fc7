"""Ranges of addresses of one family, with the operations of sets.

A set is a tuple of edges in ascending order: the first address of a range, then the first one behind it, and so on. An
edge at an even place begins a range, one at an odd place ends it. Ranges are disjoint and do not touch each other.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from hostfw.model.values import Cidr, Family

Ranges = tuple[int, ...]

_CUT_ONE_BY_ONE = 64
"""Most edges that are cut out one range at a time, each of which copies all others."""


def every_address(family: Family) -> Ranges:
    """All addresses of a family."""
    return (0, 1 << family.bits)


def ranges_of(cidrs: Iterable[Cidr], family: Family) -> Ranges:
    """The addresses of the prefixes that are of a family, in any order."""
    edges: list[int] = []
    for _, address, length in sorted(cidr for cidr in cidrs if cidr.family is family):
        end = address + (1 << family.bits - length)
        if not edges or address > edges[-1]:
            edges += (address, end)
        elif end > edges[-1]:
            edges[-1] = end
    return tuple(edges)


def holds(ranges: Ranges, address: int) -> bool:
    """True if an address is in one of the ranges."""
    return bisect_right(ranges, address) % 2 == 1


def difference(ranges: Ranges, without: Ranges) -> Ranges:
    """The ranges of the first that are not in the second."""
    if len(without) > _CUT_ONE_BY_ONE:
        return intersection(ranges, _complement(without))
    for start, end in _pairs(without):
        low, high = bisect_left(ranges, start), bisect_right(ranges, end)
        if low != high or low % 2:
            cut = ((start,) if low % 2 else ()) + ((end,) if high % 2 else ())
            ranges = ranges[:low] + cut + ranges[high:]
    return ranges


def intersection(one: Ranges, other: Ranges) -> Ranges:
    """The ranges that are in both."""
    few, many = (one, other) if len(one) <= len(other) else (other, one)
    edges: list[int] = []
    for start, end in _pairs(few):
        low, high = bisect_right(many, start), bisect_left(many, end)
        edges += ((start,) if low % 2 else ()) + many[low:high] + ((end,) if high % 2 else ())
    return tuple(edges)


def union(one: Ranges, other: Ranges) -> Ranges:
    """The ranges that are in either."""
    few, many = (one, other) if len(one) <= len(other) else (other, one)
    for start, end in _pairs(few):
        low, high = bisect_left(many, start), bisect_right(many, end)
        many = many[:low] + (() if low % 2 else (start,)) + (() if high % 2 else (end,)) + many[high:]
    return many


def cidrs_of(ranges: Ranges, family: Family) -> Iterator[Cidr]:
    """The fewest prefixes that cover exactly the ranges, in ascending order."""
    for start, end in _pairs(ranges):
        address = start
        while address < end:
            # The largest prefix that begins here is limited by the zeros at the end of the address, and by the end.
            aligned = (address & -address).bit_length() - 1 if address else family.bits
            host_bits = min(aligned, (end - address).bit_length() - 1)
            yield Cidr(family, address, family.bits - host_bits)
            address += 1 << host_bits


def bounds(ranges: Ranges) -> Iterator[tuple[int, int]]:
    """The first and the last address of each range."""
    return ((start, end - 1) for start, end in _pairs(ranges))


def size(ranges: Ranges) -> int:
    """The number of addresses."""
    return sum(end - start for start, end in _pairs(ranges))


def _complement(ranges: Ranges) -> Ranges:
    """Every other address, of whichever family."""
    end = 1 << Family.V6.bits
    edges = ranges[1:] if ranges[:1] == (0,) else (0, *ranges)
    return edges[:-1] if edges[-1:] == (end,) else (*edges, end)


def _pairs(ranges: Ranges) -> Iterator[tuple[int, int]]:
    edges = iter(ranges)
    return zip(edges, edges, strict=True)
