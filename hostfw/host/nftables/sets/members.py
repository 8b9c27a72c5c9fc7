"""Members of sets that other programs fill, with the time that each has left, as the kernel has them.

A dump takes half a microsecond a member; such a set is bounded.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hostfw.host.netlink.messages import NFGENMSG, attribute_list, attributes, u32_of, u64_of
from hostfw.host.nftables.sets.set_digests import dumped
from hostfw.model.plan import Member
from hostfw.model.ranges import cidrs_of
from hostfw.model.values import Cidr, Family, ip_version
from hostfw.nft.declarations import SetName
from hostfw.nft.objects import is_external_nets

_LIST_ELEMENTS = 3
_KEY, _FLAGS, _TIMEOUT, _EXPIRATION, _VALUE = 1, 3, 4, 5, 1
_INTERVAL_END = 1


class _Element(NamedTuple):
    """One element; `ends` is whether it is only the end of a range."""

    key: int
    ends: bool
    left_s: float | None
    given_s: float | None


def read_members(sets: Iterable[SetName]) -> Mapping[SetName, tuple[Member, ...]]:
    """The members of each of these sets, sorted; a set that is not there is left out. Raises NetlinkError."""
    found: dict[SetName, tuple[Member, ...]] = {}
    for (family, name), messages in dumped(sets):
        elements = (element for message in messages for element in _elements(message))
        if is_external_nets(name):
            found[family, name] = tuple(sorted(_of_ranges(ip_version(family), elements)))
        else:
            found[family, name] = tuple(
                sorted(
                    Member(Cidr(ip_version(family), one.key, family.bits), one.left_s, one.given_s) for one in elements
                )
            )
    return found


def _elements(message: bytes) -> Iterator[_Element]:
    listed = attributes(message, NFGENMSG.size).get(_LIST_ELEMENTS, b"")
    for _, element in attribute_list(listed):
        fields = attributes(element)
        if _KEY not in fields:
            continue
        key = int.from_bytes(attributes(fields[_KEY]).get(_VALUE, b""), "big")
        ends = bool(u32_of(fields[_FLAGS]) & _INTERVAL_END) if _FLAGS in fields else False
        yield _Element(key, ends, _seconds(fields, _EXPIRATION), _seconds(fields, _TIMEOUT))


def _seconds(fields: Mapping[int, bytes], kind: int) -> float | None:
    return u64_of(fields[kind]) / 1000 if kind in fields else None


def _of_ranges(family: Family, elements: Iterable[_Element]) -> Iterator[Member]:
    """The prefixes of ranges, which are told by where each begins and where it has ended.

    At one address the end of a range comes before the beginning of the next.
    """
    start: _Element | None = None
    for one in sorted(elements, key=lambda element: (element.key, not element.ends)):
        if start is not None:
            yield from _range(family, start, one.key)
        start = None if one.ends else one
    if start is not None:
        yield from _range(family, start, 1 << family.bits)


def _range(family: Family, start: _Element, stop: int) -> Iterator[Member]:
    for cidr in cidrs_of((start.key, stop), family):
        is_whole = not cidr.is_host and stop - start.key == 1 << (family.bits - cidr.length)
        yield Member(cidr, start.left_s, start.given_s, None if is_whole else (start.key, stop - 1))
