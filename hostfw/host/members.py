"""Members of sets that other programs fill, with the time that each has left, as the kernel has them.

A dump takes half a microsecond a member; such a set is bounded.
"""

from collections.abc import Iterable, Iterator, Mapping

from hostfw.host.netlink.messages import NFGENMSG, attribute_list, attributes, u32_of, u64_of
from hostfw.host.nftables.set_digests import dumped
from hostfw.model.plan import Member
from hostfw.model.ranges import cidrs_of
from hostfw.model.values import Cidr, Family
from hostfw.nft.declarations import SetName
from hostfw.nft.objects import is_external_nets

_LIST_ELEMENTS = 3
_KEY, _FLAGS, _EXPIRATION, _VALUE = 1, 3, 5, 1
_INTERVAL_END = 1


def read_members(sets: Iterable[SetName]) -> Mapping[SetName, tuple[Member, ...]]:
    """The members of each of these sets, sorted; a set that is not there is left out. Raises NetlinkError."""
    found: dict[SetName, tuple[Member, ...]] = {}
    for (family, name), messages in dumped(sets):
        elements = (element for message in messages for element in _elements(message))
        if is_external_nets(name):
            found[family, name] = tuple(sorted(_of_ranges(family, elements)))
        else:
            found[family, name] = tuple(
                sorted(Member(Cidr(family, key, family.bits), left_s) for key, _, left_s in elements)
            )
    return found


def _elements(message: bytes) -> Iterator[tuple[int, bool, float | None]]:
    """Each element's key, whether it is only the end of a range, and the seconds that it has left."""
    listed = attributes(message, NFGENMSG.size).get(_LIST_ELEMENTS, b"")
    for _, element in attribute_list(listed):
        fields = attributes(element)
        if _KEY not in fields:
            continue
        key = int.from_bytes(attributes(fields[_KEY]).get(_VALUE, b""), "big")
        ends = bool(u32_of(fields[_FLAGS]) & _INTERVAL_END) if _FLAGS in fields else False
        yield key, ends, u64_of(fields[_EXPIRATION]) / 1000 if _EXPIRATION in fields else None


def _of_ranges(family: Family, elements: Iterable[tuple[int, bool, float | None]]) -> Iterator[Member]:
    """The prefixes of ranges, which are told by where each begins and where it has ended.

    At one address the end of a range comes before the beginning of the next.
    """
    start: int | None = None
    start_left_s: float | None = None
    for key, ends, left_s in sorted(elements, key=lambda element: (element[0], not element[1])):
        if start is not None:
            yield from (Member(cidr, start_left_s) for cidr in cidrs_of((start, key), family))
        start, start_left_s = (None, None) if ends else (key, left_s)
    if start is not None:
        yield from (Member(cidr, start_left_s) for cidr in cidrs_of((start, 1 << family.bits), family))
