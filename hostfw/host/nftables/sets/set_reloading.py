"""Sets and maps emptied and filled again in one transaction, whatever another program has added or deleted.

Their names say what they hold, so they can be given that back without a look at what they hold now. A packet meets
the content of before or that of after. A commit costs some 10 ms whatever it holds, so what goes together is sent so.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

from hostfw.host.netlink.batch import BatchSocket, Request
from hostfw.host.netlink.messages import NLM_F_CREATE, attribute, nested, text, u32
from hostfw.host.nftables.nf_tables import DELSETELEM, NEWSETELEM
from hostfw.host.nftables.sets.elements import LIST_ELEMENTS, NEW, Keys, element_requests, list_head
from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import Family, PortRange, TableFamily
from hostfw.nft.objects import TABLE, Element, ElementType, KeyType, Set, VerdictMap
from hostfw.nft.rules import SCRATCH_SHIFT, Accept, Drop, Goto, Jump, Return, Verdict

Contents = tuple[TableFamily, Set | VerdictMap]
"""A set or map, with what it is to hold."""

TIMEOUT_S = 60.0
"""Time limit for the kernel."""

_LIST_ELEM = 1
_KEY, _DATA, _FLAGS, _USERDATA = 1, 2, 3, 6
_VALUE, _VERDICT = 1, 2
_CODE, _CHAIN = 1, 2
_INTERVAL_END = 1
_DROP, _ACCEPT, _JUMP, _GOTO, _RETURN = 0, 1, 0xFFFFFFFD, 0xFFFFFFFC, 0xFFFFFFFB
_LAST_PORT = 0xFFFF
_OPEN = struct.pack("=BBI", 1, 4, 1)
"""libnftnl's note that a range has no end (udata.h; NFTNL_SET_ELEM_F_INTERVAL_OPEN)."""
_IFNAME_BYTES = 16
_MESSAGE_BYTES = 32 * 1024
_U16 = struct.Struct("!H")


def reload_sets(batches: BatchSocket, contents: Sequence[Contents]) -> None:
    """Let sets and maps that are there hold exactly this, all or none. Raises NetlinkError, which names them."""
    if contents:
        names = ", ".join(f"{one.name} of {family.nft} {TABLE}" for family, one in contents)
        requests = (request for family, one in contents for request in _reload(family, one))
        batches.send(requests, f"filling {names} again")


def reload_sets_directly(contents: Sequence[Contents]) -> None:
    """Let sets and maps hold exactly this, by a socket of its own. Raises NetlinkError."""
    batches = BatchSocket(TIMEOUT_S)
    try:
        reload_sets(batches, contents)
    finally:
        batches.close()


def _reload(family: TableFamily, contents: Set | VerdictMap) -> Iterator[Request]:
    yield Request(DELSETELEM, 0, [list_head(family, contents.name)])
    if isinstance(contents, Set) and isinstance(contents.elements, PackedAddresses):
        keys = Keys(contents.elements.data, contents.elements.width)
        yield from element_requests(NEW, family, contents.name, keys)
    else:
        yield from _requests(family, contents.name, _elements(family, contents))


def _requests(family: TableFamily, name: str, elements: Iterable[bytes]) -> Iterator[Request]:
    """Messages of a size that the 16 bits of an attribute's length can say."""
    parts: list[bytes] = []
    size = 0
    for element in elements:
        if size + len(element) > _MESSAGE_BYTES:
            yield Request(NEWSETELEM, NLM_F_CREATE, [list_head(family, name), nested(LIST_ELEMENTS, *parts)])
            parts, size = [], 0
        parts.append(element)
        size += len(element)
    if parts:
        yield Request(NEWSETELEM, NLM_F_CREATE, [list_head(family, name), nested(LIST_ELEMENTS, *parts)])


def _elements(family: TableFamily, contents: Set | VerdictMap) -> Iterator[bytes]:
    if isinstance(contents, VerdictMap):
        entries = [(key, _verdict(verdict)) for key, verdict in contents.elements]
    else:
        entries = [(key, b"") for key in contents.elements]
    if contents.interval:
        yield from _ranges(entries)
        return
    for key, data in entries:
        yield nested(_LIST_ELEM, _key(_packed(family, contents.type, key)), data)


def _ranges(entries: Iterable[tuple[Element, bytes]]) -> Iterator[bytes]:
    """Ranges of ports as nft sends them: where each begins and where it has ended, and that zero is in none."""
    bounds: list[tuple[int, int, bytes]] = [(*_bounds(key), data) for key, data in entries]
    if bounds and all(first for first, _, _ in bounds):
        yield _end_of_range(0)
    for first, last, data in bounds:
        if last == _LAST_PORT:
            yield nested(_LIST_ELEM, _key(_U16.pack(first)), data, attribute(_USERDATA, _OPEN))
        else:
            yield nested(_LIST_ELEM, _key(_U16.pack(first)), data)
            yield _end_of_range(last + 1)


def _bounds(key: Element) -> tuple[int, int]:
    match key:
        case PortRange(first=first, last=last):
            return first, last
        case int():
            return key, key
        case _:
            raise ValueError(f"{key} is not a range of ports")


def _end_of_range(port: int) -> bytes:
    return nested(_LIST_ELEM, u32(_FLAGS, _INTERVAL_END), _key(_U16.pack(port)))


def _key(value: bytes) -> bytes:
    return nested(_KEY, attribute(_VALUE, value))


def _packed(family: TableFamily, element_type: KeyType, element: Element) -> bytes:
    """A key as the kernel holds it; the fields of a concatenation are padded to four bytes."""
    width = 4 if family is Family.V4 else 16
    if isinstance(element_type, tuple):
        fields: tuple[int | str, ...] = element if isinstance(element, tuple) else ()
        packed = (_packed(family, of, one) for one, of in zip(fields, element_type, strict=True))
        return b"".join(one.ljust(4, b"\0") for one in packed)
    match element:
        case str():
            return element.encode().ljust(_IFNAME_BYTES, b"\0")
        case (str() as interface, int() as address):
            return interface.encode().ljust(_IFNAME_BYTES, b"\0") + address.to_bytes(width, "big")
        case (address, protocol, port) if element_type is ElementType.SOCKET:
            return address.to_bytes(width, "big") + struct.pack("!B3xH2x", protocol, port)
        case int() if element_type is ElementType.ADDRESS:
            return element.to_bytes(width, "big")
        case int() if element_type is ElementType.IFINDEX:
            return struct.pack("=I", element)
        case int() if element_type is ElementType.MARK:
            return struct.pack("=I", element << SCRATCH_SHIFT)
        case int():
            return _U16.pack(element)
        case _:
            raise ValueError(f"{element} is not a key of this type")


def _verdict(verdict: Verdict) -> bytes:
    match verdict:
        case Accept():
            return _data(_ACCEPT)
        case Drop():
            return _data(_DROP)
        case Return():
            return _data(_RETURN)
        case Jump(chain=chain):
            return _data(_JUMP, text(_CHAIN, chain))
        case Goto(chain=chain):
            return _data(_GOTO, text(_CHAIN, chain))


def _data(code: int, target: bytes = b"") -> bytes:
    return nested(_DATA, nested(_VERDICT, u32(_CODE, code), target))
