"""Elements of big sets, packed straight into netlink batches.

libnftables takes 1.9 s and 370 MB for a million addresses, and 7 s and 750 MB in an interval set; these batches take
what the kernel takes, 0.6 s, and the size of one batch. A set is filled before anything refers to it, in batches of at
most 250,000 elements, each a transaction of its own that is acknowledged before the next is sent.

Elements go in the order of the set, so the last one is in the kernel only if all are: `is_loaded` asks for that one,
which tells a complete set from one whose filling was cut short, without any record that could be lost, and for a few of
the others, which another program may have taken out.
"""

import errno
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hostfw.host.netlink.batch import Request, sealed
from hostfw.host.netlink.messages import (
    ATTRIBUTE,
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_CREATE,
    NetlinkError,
    NetlinkSocket,
    text,
    u32,
)
from hostfw.host.nftables.nf_tables import (
    DELSET,
    DELSETELEM,
    GETSETELEM,
    NEWSET,
    NEWSETELEM,
    NFPROTO,
    TABLE_NAME,
)
from hostfw.model.values import TableFamily
from hostfw.nft.objects import TABLE
from hostfw.nft.timed_edit import TimedEdit

BATCH_ELEMENTS = 250_000
"""The most elements in one transaction: 4 MB of IPv4 addresses, and 0.2 s in which nobody else can commit."""

TIMEOUT_S = 60.0
"""Time limit for the kernel for one batch."""

_NESTED = 0x8000
_LIST_SET = 2
LIST_ELEMENTS = 3
"""NFTA_SET_ELEM_LIST_ELEMENTS, which holds elements and has no more room than its length can say."""
_SET_KEY_TYPE, _SET_KEY_LEN, _SET_ID = 4, 5, 10
_PORT_TYPE = 13
"""nft's number of `inet_service` (datatype.h)."""
_LIST_ELEM, _ELEM_KEY, _DATA_VALUE = 1, 1, 1
_ELEM_TIMEOUT = 4
_TIMEOUT = struct.Struct("=HH8s")
"""An attribute of milliseconds."""
_TIMED_A_MESSAGE = 1_000
"""Elements with times in one message: 40 bytes each at most."""
_ATTRIBUTE_BYTES = 0xFFFF
"""The most that the 16 bits of an attribute's length can say: 4,095 IPv4 addresses, or 2,340 of IPv6."""
_WORD = 4
_LOOKS = 32
"""Number of elements of a big set that are looked up beside the last."""
_HEADERS = 3
"""Headers, of a word each, before the key of an element: list element, key, value."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Elements of a set without data: keys of `width` bytes each, as the kernel holds them, one after the other.

    An address is 4 or 16 bytes in network byte order. In a concatenation each field is padded with zeros to four
    bytes, so a port is 4 of which the first two count.
    """

    data: bytes
    width: int

    def __post_init__(self) -> None:
        if self.width % _WORD or not self.width or len(self.data) % self.width:
            raise ValueError(f"{len(self.data)} bytes are not keys of {self.width} bytes")

    def __len__(self) -> int:
        return len(self.data) // self.width

    def part(self, first: int, end: int) -> "Keys":
        """Some of them."""
        return Keys(self.data[first * self.width : end * self.width], self.width)


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a set: elements to delete and to add; `deleted` None replaces all.

    Empty sets beside it say which content it has: `unmark` are those that go, `mark` is the one that comes.
    """

    added: Keys
    deleted: Keys | None
    unmark: tuple[str, ...]
    mark: str


def add_elements(family: TableFamily, set_name: str, keys: Keys, *, generation: int | None = None) -> int:
    """Put elements into a set of our table; those that are there already stay. Gives the number of transactions.

    More than `BATCH_ELEMENTS` go in several transactions, in order. `generation` is the one that nftables must still
    be at: the first batch is refused if anybody committed since. Raises NetlinkError, which names the set.
    """
    what = f"adding {len(keys)} elements to the set {set_name} of {family.nft} {TABLE}"
    element_bytes = _HEADERS * _WORD + keys.width
    commits = 0
    with NetlinkSocket(NETLINK_NETFILTER, TIMEOUT_S) as sock:
        # A set of a few elements needs no more room than a socket has.
        granted = sock.make_room(min(len(keys), BATCH_ELEMENTS) * element_bytes * 9 // 8)
        limit = min(BATCH_ELEMENTS, max(granted * 8 // 9 // element_bytes, 1))
        for batch, last in batches(NEW, family, set_name, keys, limit, generation):
            _transact(sock, batch, last, what)
            commits += 1
    return commits


def replace_elements(family: TableFamily, set_name: str, edit: Edit) -> None:
    """Edit a set in one transaction, however big: a packet meets the content of before or that of after."""
    what = f"editing the set {set_name} of {family.nft} {TABLE}"
    requests: list[Request] = []
    if edit.deleted is None:
        # A deletion that names no element means all.
        requests.append(Request(DELSETELEM, 0, [list_head(family, set_name)]))
    else:
        requests.extend(element_requests(DELETE, family, set_name, edit.deleted))
    requests.extend(element_requests(NEW, family, set_name, edit.added))
    requests.extend(Request(DELSET, 0, [list_head(family, mark)]) for mark in edit.unmark)
    requests.append(Request(NEWSET, NLM_F_CREATE, [_mark(family, edit.mark)]))
    batch, last = sealed(requests)
    with NetlinkSocket(NETLINK_NETFILTER, TIMEOUT_S) as sock:
        sock.make_room(len(batch))
        _transact(sock, batch, last, what)


def edit_timed(edits: Iterable[TimedEdit]) -> None:
    """Take addresses out of sets of our table and put others in with their times, in one transaction.

    Past libnftables, which would read every chain of ours first: 0.4 s with 10,000 policies. Raises NetlinkError.
    """
    requests = [request for edit in edits for request in _timed_requests(edit)]
    batch, last = sealed(requests)
    with NetlinkSocket(NETLINK_NETFILTER, TIMEOUT_S) as sock:
        sock.make_room(len(batch))
        _transact(sock, batch, last, f"changing members of the tables {TABLE}")


def _timed_requests(edit: TimedEdit) -> Iterator[Request]:
    head, width = list_head(edit.family, edit.set_name), edit.family.bits // 8
    gone = ((address, None) for address in edit.gone)
    for verb, elements in ((DELETE, gone), (NEW, edit.new)):
        packed = [_timed_element(address.to_bytes(width, "big"), seconds) for address, seconds in elements]
        for first in range(0, len(packed), _TIMED_A_MESSAGE):
            data = b"".join(packed[first : first + _TIMED_A_MESSAGE])
            header = ATTRIBUTE.pack(ATTRIBUTE.size + len(data), LIST_ELEMENTS | _NESTED)
            yield Request(verb.kind, verb.flags, [head, header, data])


def _timed_element(key: bytes, seconds: int | None) -> bytes:
    value = ATTRIBUTE.pack(ATTRIBUTE.size + len(key), _DATA_VALUE) + key
    content = ATTRIBUTE.pack(ATTRIBUTE.size + len(value), _ELEM_KEY | _NESTED) + value
    if seconds is not None:
        content += _TIMEOUT.pack(_TIMEOUT.size, _ELEM_TIMEOUT, (seconds * 1000).to_bytes(8, "big"))
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(content), _LIST_ELEM | _NESTED) + content


def is_loaded(family: TableFamily, set_name: str, keys: Keys) -> bool:
    """True if the last element is in a set, and so all that went in before; False where there is no such set.

    Of those some are asked for as well, 0.1 ms each: any of them may have been taken out since.
    """
    what = f"looking into the set {set_name} of {family.nft} {TABLE}"
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        for place in _looked_at(len(keys)):
            body = list_head(family, set_name) + _elements_attribute(_element_words(keys.part(place, place + 1)))
            try:
                sock.ask(GETSETELEM, body, what)
            except NetlinkError as error:
                if error.errno == errno.ENOENT:
                    return False
                raise
    return True


def _looked_at(count: int) -> tuple[int, ...]:
    """Places in a set of so many elements: the last, then others evenly from the first on."""
    if not count:
        return ()
    return tuple(dict.fromkeys((count - 1, *(count * number // _LOOKS for number in range(_LOOKS)))))


@dataclass(frozen=True, slots=True)
class Verb:
    """An operation on elements: the type and flags of the messages."""

    kind: int
    flags: int


NEW = Verb(NEWSETELEM, NLM_F_CREATE)
DELETE = Verb(DELSETELEM, 0)


def batches(
    verb: Verb, family: TableFamily, set_name: str, keys: Keys, limit: int, generation: int | None = None
) -> Iterator[tuple[bytes, int]]:
    """The transactions that take at most `limit` elements each, with the sequence number that is acknowledged."""
    for first in range(0, len(keys), limit):
        yield sealed(element_requests(verb, family, set_name, keys.part(first, first + limit)), generation)
        generation = None


def _transact(sock: NetlinkSocket, batch: bytes, last: int, what: str) -> None:
    try:
        sock.transact(batch, last, what)
    except NetlinkError as error:
        reason, hint = _REASONS.get(error.errno, ("", ""))
        raise NetlinkError(error.errno, what, error.hint or hint, reason) from error


def element_requests(verb: Verb, family: TableFamily, set_name: str, keys: Keys) -> Iterator[Request]:
    """The messages for elements, as few as the length of an attribute allows."""
    head = list_head(family, set_name)
    words = memoryview(_element_words(keys)).cast("B")
    step = _HEADERS * _WORD + keys.width
    step *= (_ATTRIBUTE_BYTES - ATTRIBUTE.size) // step
    for start in range(0, len(words), step):
        elements = words[start : start + step]
        header = ATTRIBUTE.pack(ATTRIBUTE.size + len(elements), LIST_ELEMENTS | _NESTED)
        yield Request(verb.kind, verb.flags, [head, header, elements])


def _mark(family: TableFamily, name: str) -> bytes:
    """An empty set of ports, as `set NAME { type inet_service; }` declares it."""
    return list_head(family, name) + u32(_SET_KEY_TYPE, _PORT_TYPE) + u32(_SET_KEY_LEN, 2) + u32(_SET_ID, 1)


def list_head(family: TableFamily, set_name: str) -> bytes:
    """The part of a message before its elements."""
    return NFGENMSG.pack(NFPROTO[family], 0, 0) + text(TABLE_NAME, TABLE) + text(_LIST_SET, set_name)


def _elements_attribute(words: "array[int]") -> bytes:
    data = words.tobytes()
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(data), LIST_ELEMENTS | _NESTED) + data


def _element_words(keys: Keys) -> "array[int]":
    """The attributes of the elements, of 32 bits words: the same headers for each, and its key put between them."""
    width = keys.width // _WORD
    headers = struct.unpack(
        f"={_HEADERS}I",
        ATTRIBUTE.pack(3 * ATTRIBUTE.size + keys.width, _LIST_ELEM | _NESTED)
        + ATTRIBUTE.pack(2 * ATTRIBUTE.size + keys.width, _ELEM_KEY | _NESTED)
        + ATTRIBUTE.pack(ATTRIBUTE.size + keys.width, _DATA_VALUE),
    )
    words = array("I", (*headers, *(0,) * width)) * len(keys)
    values = array("I", keys.data)
    for word in range(width):
        words[_HEADERS + word :: _HEADERS + width] = values[word::width]
    return words


_REASONS = {
    errno.ENOENT: ("the set, or an element of it, is gone", "another program changes our tables"),
    errno.ENFILE: ("the set is full", "another program has put elements into it"),
    errno.ERESTART: ("another program has committed to nftables in between", "run it again"),
    errno.EINVAL: ("the set is of another type", "another program has made a set of this name"),
}
"""Meaning of the kernel's errors here, where errno's own words mislead, and the next step."""
