"""Elements read back: the digest that the name of a set or map would carry if it held what it holds.

A name carries the digest of a content, so a set that another program has emptied, filled or given other verdicts is
told by its own name, without a record. A dump takes 0.5 us an element of a small set, and as long again to read here.
It grows with the square of their number (a million: 6 to 13 s, 6.18), so beyond `READ_WHOLE` it is the caller's to ask
for single ones.
"""

import errno
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter

from hostfw.host.netlink.messages import (
    ATTRIBUTE,
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    attribute_list,
    attributes,
    text,
    text_of,
    u32_of,
)
from hostfw.host.nftables import nf_tables
from hostfw.host.nftables.nf_tables import GETSETELEM, NFPROTO, TABLE_NAME, KernelSet
from hostfw.model.prefixes import PACKED_FROM, PackedAddresses
from hostfw.model.values import TABLE_FAMILIES, PortRange, TableFamily, ip_version
from hostfw.nft.declarations import INTERVAL, SetName, key_type_of
from hostfw.nft.object_text import elements_digest
from hostfw.nft.objects import CONCATENATIONS, TABLE, Element, ElementType, KeyType, Set, VerdictMap
from hostfw.nft.rules import SCRATCH_SHIFT, Accept, Drop, Goto, Jump, Return, Verdict

READ_WHOLE = 131_072
"""The most elements of a set that are read: 0.2 s."""
UNREADABLE = "unreadable"
"""The digest of what no set or map of ours ever holds."""

_LIST_SET, _LIST_ELEMENTS = 2, 3
_ELEMENT, _TYPE_MASK = 1, 0x3FFF
_KIND_HIGH = 3 if sys.byteorder == "little" else 2
"""The place of the byte in an attribute's header that has the flags above its kind."""
_UNFLAGGED = bytes(byte & (_TYPE_MASK >> 8) for byte in range(256))
_WORD = 4
_KEY, _DATA, _FLAGS = 1, 2, 3
_VALUE, _VERDICT, _CODE, _CHAIN = 1, 2, 1, 2
_INTERVAL_END = 0x1
_INDEX_BYTES = 4
_PADDED = 4
_IFNAME_BYTES = 16
_USERDATA, _PAD = 6, 8
_HARMLESS = frozenset((_KEY, _DATA, _FLAGS, _USERDATA, _PAD))
"""Attributes of an element that ours may have; no timeout, counter, quota or catch-all is ours."""
_LAST_PORT = 0xFFFF
_TYPES: Mapping[tuple[int, int], KeyType] = {
    (7, 4): ElementType.ADDRESS,
    (8, 16): ElementType.ADDRESS,
    (13, 2): ElementType.PORT,
    (41, 16): ElementType.IFNAME,
    (0x730D, 12): ElementType.SOCKET,
    (0x830D, 24): ElementType.SOCKET,
    **{key_type_of(ElementType.NETWORK, family): ElementType.NETWORK for family in TABLE_FAMILIES},
    (19, 4): ElementType.MARK,
    **{key_type_of(fields, family): fields for fields in CONCATENATIONS for family in TABLE_FAMILIES},
}
"""nft's numbers of the datatypes that ours have, with the bytes of a key."""


class _Foreign(Exception):
    """The set holds something that none of ours ever holds."""


def read_digests(sets: Iterable[tuple[TableFamily, KernelSet]]) -> Mapping[SetName, str]:
    """The digest of what each of these holds now; of one that is gone, none. Raises NetlinkError."""
    wanted = {(family, one.name): one for family, one in sets}
    return {(family, name): digest_of(family, wanted[family, name], found) for (family, name), found in dumped(wanted)}


def read_links(sets: Iterable[SetName]) -> Mapping[SetName, tuple[int, ...]]:
    """The interface indices that each set of ours holds, sorted; a set that is not there is left out.

    Raises NetlinkError.
    """
    found: dict[SetName, tuple[int, ...]] = {}
    for name, messages in dumped(sets):
        with suppress(_Foreign):
            keys = (key for message in messages for key, _, _ in _entries(message, _INDEX_BYTES))
            found[name] = tuple(sorted(int.from_bytes(key, sys.byteorder) for key in keys))
    return found


def dumped(sets: Iterable[SetName]) -> Iterator[tuple[SetName, Iterable[bytes]]]:
    """The messages in which the kernel tells the elements of each set; a set that is not there is left out.

    Raises NetlinkError.
    """
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        for family, name in sets:
            head = NFGENMSG.pack(NFPROTO[family], 0, 0) + text(TABLE_NAME, TABLE) + text(_LIST_SET, name)
            try:
                messages = sock.dump(GETSETELEM, head, f"reading {name} of {family.nft} {TABLE}")
            except NetlinkError as error:
                if error.errno == errno.ENOENT:
                    continue
                raise
            yield (family, name), messages


def digest_of(family: TableFamily, one: KernelSet, messages: Iterable[bytes]) -> str:
    """The digest of what a dump of elements says that a set or map holds."""
    try:
        return elements_digest(_contents(family, one, messages), family)
    except _Foreign:
        return UNREADABLE


def _contents(family: TableFamily, one: KernelSet, messages: Iterable[bytes]) -> Set | VerdictMap:
    element_type = _TYPES.get((one.key_type, one.key_bytes))
    if element_type is None or (one.flags & nf_tables.SET_FLAGS_OF_CONTENT) != one.flags:
        raise _Foreign
    interval = bool(one.flags & INTERVAL)
    if element_type is ElementType.ADDRESS and not one.is_map:
        return _addresses(family, one, messages)
    raw = [entry for message in messages for entry in _entries(message, one.key_bytes)]
    if interval:
        entries = list(_ranges(raw))
    elif any(ends for _, ends, _ in raw):
        raise _Foreign
    else:
        # Keys of one width: their bytes are in the order of their values, interface names among them.
        raw.sort(key=itemgetter(0))
        entries = [(_element(element_type, key), verdict) for key, _, verdict in raw]
    if element_type is ElementType.MARK:
        # Its bytes are in the order of the machine.
        entries.sort(key=lambda entry: entry[0] if isinstance(entry[0], int) else 0)
    if one.is_map:
        pairs = tuple((key, verdict) for key, verdict in entries if verdict is not None)
        if len(pairs) != len(entries):
            raise _Foreign
        return VerdictMap("", element_type, pairs, interval)
    if isinstance(element_type, tuple):
        raise _Foreign
    return Set("", element_type, tuple(key for key, _ in entries), interval, one.comment)


def _addresses(family: TableFamily, one: KernelSet, messages: Iterable[bytes]) -> Set:
    """A set of addresses, of which there are many: every element is the same three headers and its key.

    So they are looked at by columns, each byte of all elements of a message at once.
    """
    width = one.key_bytes
    head = b"".join(
        ATTRIBUTE.pack(ATTRIBUTE.size * (3 - depth) + width, kind)
        for depth, kind in enumerate((_ELEMENT, _KEY, _VALUE))
    )
    size = len(head) + width
    keys = bytearray()
    for message in messages:
        elements = attributes(message, NFGENMSG.size).get(_LIST_ELEMENTS, b"")
        count, rest = divmod(len(elements), size)
        if rest or any(_without_flags(elements[at::size], at) != head[at : at + 1] * count for at in range(len(head))):
            raise _Foreign
        found = bytearray(count * width)
        for at in range(width):
            found[at::width] = elements[len(head) + at :: size]
        keys += found
    ordered = _in_order(bytes(keys), width)
    if len(ordered) < PACKED_FROM * width:
        each = (ordered[start : start + width] for start in range(0, len(ordered), width))
        return Set("", ElementType.ADDRESS, tuple(int.from_bytes(key, "big") for key in each), comment=one.comment)
    return Set("", ElementType.ADDRESS, PackedAddresses(ip_version(family), ordered), comment=one.comment)


def _without_flags(column: bytes, at: int) -> bytes:
    """A byte of the headers of all elements; nested attributes may be flagged as such, with NLA_F_NESTED."""
    return column.translate(_UNFLAGGED) if at % ATTRIBUTE.size == _KIND_HIGH else column


def _in_order(keys: bytes, width: int) -> bytes:
    """Keys of one width, sorted by their bytes."""
    if width == _WORD:
        words = array("I", keys)
        if sys.byteorder == "little":
            words.byteswap()
        words = array("I", sorted(words))
        if sys.byteorder == "little":
            words.byteswap()
        return words.tobytes()
    return b"".join(sorted(keys[start : start + width] for start in range(0, len(keys), width)))


def _entries(message: bytes, width: int) -> Iterator[tuple[bytes, bool, Verdict | None]]:
    """Each element's key, whether it is only the end of a range, and its verdict."""
    elements = attributes(message, NFGENMSG.size).get(_LIST_ELEMENTS, b"")
    for _, element in attribute_list(elements):
        fields = attributes(element)
        if not _HARMLESS.issuperset(fields) or _KEY not in fields:
            raise _Foreign
        key = attributes(fields[_KEY]).get(_VALUE, b"")
        if len(key) != width:
            raise _Foreign
        flags = u32_of(fields[_FLAGS]) if _FLAGS in fields else 0
        if flags & ~_INTERVAL_END:
            raise _Foreign
        yield key, bool(flags), _verdict(fields[_DATA]) if _DATA in fields else None


@lru_cache(maxsize=4096)
def _verdict(data: bytes) -> Verdict:
    fields = attributes(attributes(data).get(_VERDICT, b""))
    target = text_of(fields[_CHAIN]) if _CHAIN in fields else ""
    match u32_of(fields[_CODE]) if _CODE in fields else None:
        case 0:
            return Drop()
        case 1:
            return Accept()
        case 0xFFFFFFFD:
            return Jump(target)
        case 0xFFFFFFFC:
            return Goto(target)
        case 0xFFFFFFFB:
            return Return()
        case _:
            raise _Foreign


def _element(element_type: KeyType, key: bytes) -> Element:
    match element_type:
        case tuple():
            return tuple(_fields(element_type, key))
        case ElementType.MARK:
            mark = int.from_bytes(key, sys.byteorder)
            if mark & ((1 << SCRATCH_SHIFT) - 1):
                raise _Foreign
            return mark >> SCRATCH_SHIFT
        case ElementType.IFNAME:
            return text_of(key)
        case ElementType.NETWORK:
            return text_of(key[:_IFNAME_BYTES]), int.from_bytes(key[_IFNAME_BYTES:], "big")
        case ElementType.SOCKET:
            return int.from_bytes(key[:-8], "big"), key[-8], int.from_bytes(key[-4:-2], "big")
        case _:
            return int.from_bytes(key, "big")


def _fields(element_type: tuple[ElementType, ...], key: bytes) -> Iterator[int]:
    """The fields of a concatenation, each padded to four bytes."""
    address_bytes = (len(key) - _PADDED * element_type.count(ElementType.PORT)) // (
        element_type.count(ElementType.ADDRESS) or 1
    )
    start = 0
    for one in element_type:
        width = address_bytes if one is ElementType.ADDRESS else 2
        yield int.from_bytes(key[start : start + width], "big")
        start += max(width, _PADDED)


def _ranges(entries: Iterable[tuple[bytes, bool, Verdict | None]]) -> Iterator[tuple[Element, Verdict | None]]:
    """Ranges of ports from where each begins and where it has ended, or the next begins."""
    bounds = sorted(((int.from_bytes(key, "big"), not ends, verdict) for key, ends, verdict in entries), key=_bound)
    for place, (first, begins, verdict) in enumerate(bounds):
        if begins:
            following = bounds[place + 1][0] - 1 if place + 1 < len(bounds) else _LAST_PORT
            yield PortRange(first, following), verdict


def _bound(entry: tuple[int, bool, Verdict | None]) -> tuple[int, bool]:
    return entry[:2]
