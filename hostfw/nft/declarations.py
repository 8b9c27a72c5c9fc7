"""Declarations of sets and maps in the kernel: another program changes them only by replacing the object."""

from collections.abc import Iterator
from dataclasses import dataclass

from hostfw.model.values import BRIDGE, Family, TableFamily
from hostfw.nft.objects import ElementType, KeyType, Set, Table, VerdictMap

INTERVAL, MAP, TIMEOUT, DYNAMIC = 0x4, 0x8, 0x10, 0x20
"""NFT_SET_*: the flags that ours may have (<linux/netfilter/nf_tables.h>)."""
VERDICT = 0xFFFFFF00
"""NFT_DATA_VERDICT, the type of what our maps map to."""

SetName = tuple[TableFamily, str]
"""A set or map of ours: the table that it is in, and its name."""

_ADDRESS: dict[TableFamily, tuple[int, int]] = {Family.V4: (7, 4), Family.V6: (8, 16), BRIDGE: (9, 6)}
_PROTOCOL, _PORT, _IFNAME, _IFINDEX, _USER, _INTEGER = 12, (13, 2), (41, 16), (20, 4), (24, 4), (4, 4)
_MARK = (19, 4)
_BITS = 6
"""nft's numbers of its datatypes (datatype.h), a concatenation's six bits each, and the bytes of a key."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A set or map without its elements; `size` is None without a bound, and `timeout_ms` 0 where elements stay.

    `more` is what none of ours has, in words: an interval of its own for the removal of elements, a statement that each
    new element gets, another choice of its structure. A statement (a counter, a limit, a quota) is run for each packet
    that finds the element, and may end the rule there.
    """

    flags: int
    key_type: int
    key_bytes: int
    data_type: int = 0
    size: int | None = None
    timeout_ms: int = 0
    comment: str = ""
    more: str = ""

    def __str__(self) -> str:
        numbers = self.flags, self.key_type, self.key_bytes, self.data_type, self.size, self.timeout_ms
        return "/".join((f"{numbers[0]:#x}", *map(str, numbers[1:]), self.more, self.comment))


def declaration(contents: Set | VerdictMap, family: TableFamily) -> Declaration:
    """The kernel's view of a set or map that our script declares."""
    key_type, key_bytes = key_type_of(contents.type, family)
    if isinstance(contents, VerdictMap):
        size = None if contents.interval else len(contents.elements)
        return Declaration(MAP | (INTERVAL if contents.interval else 0), key_type, key_bytes, VERDICT, size)
    flags, timeout_ms = (INTERVAL if contents.interval else 0), 0
    if contents.dynamic is not None:
        flags |= TIMEOUT if contents.dynamic.external else DYNAMIC
        if contents.dynamic.timeout_s is not None:
            flags |= TIMEOUT
            timeout_ms = 1000 * contents.dynamic.timeout_s
    unbounded = contents.interval and contents.dynamic is None
    size = None if unbounded else contents.size
    return Declaration(flags, key_type, key_bytes, 0, size, timeout_ms, contents.comment)


def fixed_contents(table: Table) -> Iterator[Set | VerdictMap]:
    """The sets and maps of a table whose content a generation says."""
    yield from (contents for contents in table.sets if contents.dynamic is None)
    yield from table.maps


def declarations_of(table: Table) -> Iterator[tuple[str, Declaration]]:
    """The declarations of the sets and maps of a table, with the marks of sets that are edited in place."""
    for contents in table.sets:
        yield contents.name, declaration(contents, table.family)
        if contents.edited_in_place:
            yield contents.mark, mark_declaration()
    for mapped in table.maps:
        yield mapped.name, declaration(mapped, table.family)


def mark_declaration() -> Declaration:
    """The declaration of the mark of a set that is edited in place."""
    return Declaration(0, *_PORT)


def key_type_of(element_type: KeyType, family: TableFamily) -> tuple[int, int]:
    """The number that nft has for a type of key, and the bytes of one."""
    if isinstance(element_type, tuple):
        number, total = 0, 0
        for one in element_type:
            field, width = key_type_of(one, family)
            # Each field is padded to four bytes.
            number, total = number << _BITS | field, total + max(width, 4)
        return number, total
    address, width = _ADDRESS[family]
    match element_type:
        case ElementType.ADDRESS:
            return address, width
        case ElementType.PORT:
            return _PORT
        case ElementType.IFNAME:
            return _IFNAME
        case ElementType.IFINDEX:
            return _IFINDEX
        case ElementType.USER:
            return _USER
        case ElementType.MARK:
            return _MARK
        case ElementType.CT_ID:
            return _INTEGER
        case ElementType.NETWORK:
            return _IFNAME[0] << _BITS | address, _IFNAME[1] + width
        case ElementType.QUESTION:
            return (_IFNAME[0] << _BITS | address) << _BITS | _PORT[0], _IFNAME[1] + width + 4
        case ElementType.SOCKET:
            # Each field is padded to four bytes.
            return ((address << _BITS | _PROTOCOL) << _BITS) | _PORT[0], width + 8
