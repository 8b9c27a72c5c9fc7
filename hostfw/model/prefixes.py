"""Addresses and prefixes by the hundred thousand, packed: four bytes for an IPv4 prefix, sixteen for one of IPv6.

A `Cidr` with its integers takes 170 bytes. What is packed here goes into the kernel's messages as it is.
"""

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge as merged_in_order
from itertools import chain
from typing import NamedTuple

from hostfw.model.values import FAMILIES, Cidr, Family, mask_of

PACKED_FROM = 4096
"""Fewest prefixes that are packed and loaded by `host.elements`; fewer are tuples, sent as nft text.

At 4,096 libnftables takes 26 ms to check and commit the text, and the kernel 2 ms for the packed batch; at 512 it is 14
and 0.4 (kernel 6.18, nft 1.0.6). Below, a readable script is worth the milliseconds.
"""

EDITED_IN_PLACE_FROM = 65_536
"""Fewest prefixes of one length, a Feed's among them, that make a set which is edited in place."""

_LENGTH_BITS = 8
_LENGTH_MASK = 0xFF
_BYTES = {Family.V4: 4, Family.V6: 16}


@dataclass(frozen=True, slots=True)
class PackedAddresses:
    """Different addresses of one family in ascending order, each in network byte order, one after the other."""

    family: Family
    data: bytes

    def __len__(self) -> int:
        return len(self.data) // _BYTES[self.family]

    def __iter__(self) -> Iterator[int]:
        if self.family is Family.V4:
            return chain.from_iterable(struct.iter_unpack("!I", self.data))
        return (high << 64 | low for high, low in struct.iter_unpack("!QQ", self.data))

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, int) or not 0 <= address < 1 << self.family.bits:
            return False
        wanted = address.to_bytes(self.width, "big")
        place = bisect_left(range(len(self)), wanted, key=self.packed)
        return place < len(self) and self.packed(place) == wanted

    def between(self, first: int, last: int) -> Iterator[int]:
        """The addresses from `first` to `last`, both included."""
        low = bisect_left(range(len(self)), first.to_bytes(self.width, "big"), key=self.packed)
        high = bisect_right(range(len(self)), last.to_bytes(self.width, "big"), key=self.packed)
        return iter(PackedAddresses(self.family, self.data[low * self.width : high * self.width]))

    def has_between(self, first: int, last: int) -> bool:
        """True if there is an address from `first` to `last`, both included."""
        low = bisect_left(range(len(self)), first.to_bytes(self.width, "big"), key=self.packed)
        return low < len(self) and self.packed(low) <= last.to_bytes(self.width, "big")

    @property
    def width(self) -> int:
        """The bytes of one address: 4 or 16."""
        return _BYTES[self.family]

    def packed(self, place: int) -> bytes:
        """One address as it is packed."""
        start = place * self.width
        return self.data[start : start + self.width]


class Part(NamedTuple):
    """The prefixes of one family and length."""

    family: Family
    length: int
    addresses: PackedAddresses


@dataclass(frozen=True, slots=True)
class CidrSet:
    """Disjoint prefixes, by family and then length, shortest first; made by `cidr_set`.

    Two halves stay two, unlike what `values.merge` does: their whole would be one more prefix length in the set, and
    each length costs every packet a lookup.
    """

    parts: tuple[Part, ...] = ()

    def __len__(self) -> int:
        return sum(len(part.addresses) for part in self.parts)

    def __iter__(self) -> Iterator[Cidr]:
        """Every prefix, in the order of `Cidr`."""
        for family in FAMILIES:
            parts = [_cidrs(part) for part in self.parts if part.family is family]
            yield from merged_in_order(*parts)

    def covers(self, family: Family, address: int) -> bool:
        """True if a prefix holds the address."""
        return any(
            part.family is family and Cidr(family, address, part.length).mask & address in part.addresses
            for part in self.parts
        )

    def of(self, family: Family) -> "tuple[Cidr, ...] | CidrSet":
        """The prefixes of one family, as a tuple where they are few."""
        return unpacked(CidrSet(tuple(part for part in self.parts if part.family is family)))


Cidrs = tuple[Cidr, ...] | CidrSet
"""Prefixes: a sorted tuple of few, or packed."""


def includes(cidrs: Cidrs, net: Cidr) -> bool:
    """True if one of the prefixes holds all of a prefix."""
    if isinstance(cidrs, CidrSet):
        return any(
            part.family is net.family
            and part.length <= net.length
            and net.address & mask_of(net.family, part.length) in part.addresses
            for part in cidrs.parts
        )
    return any(one.family is net.family and one.length <= net.length and one.contains(net.address) for one in cidrs)


def overlaps(cidrs: Cidrs, net: Cidr) -> bool:
    """True if one of the prefixes and a prefix have an address in common."""
    if isinstance(cidrs, CidrSet):
        last = net.address | (1 << net.family.bits - net.length) - 1
        within = (p for p in cidrs.parts if p.family is net.family and p.length > net.length)
        return includes(cidrs, net) or any(part.addresses.has_between(net.address, last) for part in within)
    return includes(cidrs, net) or any(one.family is net.family and net.contains(one.address) for one in cidrs)


def unpacked(cidrs: CidrSet) -> Cidrs:
    """The set as it is, or as a tuple where it holds fewer than `PACKED_FROM`."""
    return tuple(cidrs) if len(cidrs) < PACKED_FROM else cidrs


def cidr_set(found: Mapping[tuple[Family, int], Iterable[int]]) -> CidrSet:
    """The prefixes with these network addresses by family and length, without repeats and what others cover.

    A million in any order takes 0.8 s.
    """
    parts: list[Part] = []
    for family in FAMILIES:
        of_family = {length: addresses for (of, length), addresses in found.items() if of is family}
        # Hosts alone cover nothing but themselves.
        alone = len(of_family) == 1
        kept = {n: sorted(set(one)) for n, one in of_family.items()} if alone else _uncovered(of_family, family)
        parts.extend(Part(family, length, pack(family, kept[length])) for length in sorted(kept) if kept[length])
    return CidrSet(tuple(parts))


def packed_cidrs(cidrs: Iterable[Cidr]) -> CidrSet:
    """The same from prefixes in any order."""
    found: defaultdict[tuple[Family, int], list[int]] = defaultdict(list)
    for family, address, length in cidrs:
        found[family, length].append(address)
    return cidr_set(found)


def union(sets: Iterable[Cidrs]) -> CidrSet:
    """The union of sets."""
    found: defaultdict[tuple[Family, int], list[Iterable[int]]] = defaultdict(list)
    for one in sets:
        for family, length, addresses in (one if isinstance(one, CidrSet) else packed_cidrs(one)).parts:
            found[family, length].append(addresses)
    return cidr_set({key: chain.from_iterable(parts) for key, parts in found.items()})


def pack(family: Family, addresses: Iterable[int]) -> PackedAddresses:
    """Addresses in ascending order as bytes."""
    if family is Family.V6:
        return PackedAddresses(family, b"".join([address.to_bytes(16, "big") for address in addresses]))
    words = array("I", addresses)
    if sys.byteorder == "little":
        words.byteswap()
    return PackedAddresses(family, words.tobytes())


def difference(old: bytes, new: bytes, width: int) -> tuple[bytes, bytes] | None:
    """The added and the deleted keys between two sorted contents; None where that is most of them.

    Stretches that are alike are compared by memory, twice as long each time, so ten keys in a million take no time.
    """
    came, went = bytearray(), bytearray()
    limit = max(len(old), len(new)) // 4
    at_old = at_new = 0
    while at_old < len(old) and at_new < len(new):
        mine, other = old[at_old : at_old + width], new[at_new : at_new + width]
        if mine == other:
            alike = _alike(old, at_old, new, at_new, width)
            at_old, at_new = at_old + alike, at_new + alike
        elif mine < other:
            went += mine
            at_old += width
        else:
            came += other
            at_new += width
        if len(came) + len(went) > limit:
            return None
    came += new[at_new:]
    went += old[at_old:]
    return None if len(came) + len(went) > limit else (bytes(came), bytes(went))


def _alike(old: bytes, at_old: int, new: bytes, at_new: int, width: int) -> int:
    """The number of bytes in whole keys that are the same from two places on."""
    alike, step = 0, width
    longest = min(len(old) - at_old, len(new) - at_new)
    while step >= width:
        if (
            alike + step <= longest
            and old[at_old + alike : at_old + alike + step] == new[at_new + alike : at_new + alike + step]
        ):
            alike += step
            step *= 2
        else:
            step = step // 2 if step > width else 0
    return alike


def _uncovered(found: Mapping[int, Iterable[int]], family: Family) -> dict[int, list[int]]:
    """The network addresses by length that no other prefix covers, ascending.

    Sorted by address and then length, a prefix comes right before all that it covers.
    """
    # Plain integers: a tuple for each would take twice the time and memory.
    keys = [address << _LENGTH_BITS | length for length in found for address in found[length]]
    keys.sort()
    kept: dict[int, list[int]] = {length: [] for length in found}
    keep = {length: addresses.append for length, addresses in kept.items()}
    host_masks = [(1 << family.bits - length) - 1 for length in range(family.bits + 1)]
    end = -1
    for key in keys:
        address = key >> _LENGTH_BITS
        if address > end:
            length = key & _LENGTH_MASK
            end = address | host_masks[length]
            keep[length](address)
    return kept


def _cidrs(part: Part) -> Iterator[Cidr]:
    return (Cidr(part.family, address, part.length) for address in part.addresses)
