"""Elements in netlink batches, byte for byte, and how they are split; the kernel has its say in tests/kernel."""

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.host.netlink import messages as netlink
from hostfw.host.netlink.messages import (
    HEADER,
    Message,
    NetlinkError,
    attribute,
    attribute_list,
    attributes,
    message,
    messages,
    nested,
    text,
    u32,
)
from hostfw.host.nftables.nf_tables import FIRST_SEQUENCE
from hostfw.host.nftables.sets import elements
from hostfw.host.nftables.sets.elements import (
    BATCH_ELEMENTS,
    DELETE,
    NEW,
    Edit,
    Keys,
    add_elements,
    batches,
    is_loaded,
    replace_elements,
)
from hostfw.model.values import Family

BEGIN, END, NEW_ELEMENTS, DELETE_ELEMENTS = 0x10, 0x11, 10 << 8 | 12, 10 << 8 | 14
REQUEST, ACK, CREATE = 0x1, 0x4, 0x400


def keys(*texts: str) -> Keys:
    """Addresses as keys."""
    packed = [ip_address(text).packed for text in texts]
    return Keys(b"".join(packed), len(packed[0]))


def reference(kind: int, flags: int, family: int, name: str, one_by_one: list[bytes], genid: bytes = b"") -> bytes:
    """The batch of one message, written attribute by attribute as <linux/netfilter/nf_tables.h> has them."""
    subsystem = struct.pack("!BBH", 0, 0, 10)
    listed = [nested(1, nested(1, attribute(1, key))) for key in one_by_one]
    body = struct.pack("!BBH", family, 0, 0) + text(1, "hostfw") + text(2, name) + nested(3, *listed)
    return (
        message(BEGIN, REQUEST, FIRST_SEQUENCE, subsystem + genid)
        + message(kind, flags, FIRST_SEQUENCE + 1, body)
        + message(END, REQUEST, FIRST_SEQUENCE + 2, subsystem)
    )


SOCKET = bytes.fromhex("c0000201 06000000 01bb0000")
CASES = [
    ("IPv4", NEW, Family.V4, keys("192.0.2.1", "198.51.100.7"), NEW_ELEMENTS, REQUEST | ACK | CREATE, 2),
    ("IPv6", NEW, Family.V6, keys("2001:db8::1", "::"), NEW_ELEMENTS, REQUEST | ACK | CREATE, 10),
    ("a concatenation", NEW, Family.V4, Keys(SOCKET * 2, 12), NEW_ELEMENTS, REQUEST | ACK | CREATE, 2),
    ("deletion", DELETE, Family.V4, keys("192.0.2.1"), DELETE_ELEMENTS, REQUEST | ACK, 2),
]


@pytest.mark.parametrize(
    ("verb", "family", "given_keys", "kind", "flags", "number"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_batch_is_what_the_kernel_takes(
    verb: elements.Verb, family: Family, given_keys: Keys, kind: int, flags: int, number: int
) -> None:
    """Against the same written attribute by attribute, with and without a generation to be at."""
    width = given_keys.width
    one_by_one = [given_keys.data[start : start + width] for start in range(0, len(given_keys.data), width)]

    assert list(batches(verb, family, "nets/32.abc", given_keys, 100)) == [
        (reference(kind, flags, number, "nets/32.abc", one_by_one), FIRST_SEQUENCE + 1)
    ]
    assert list(batches(verb, family, "nets/32.abc", given_keys, 100, 258)) == [
        (reference(kind, flags, number, "nets/32.abc", one_by_one, u32(1, 258)), FIRST_SEQUENCE + 1)
    ]


@dataclass(slots=True)
class Sent:
    """The elements of a batch in order, the flags and element counts of its messages, and its longest attribute."""

    keys: bytes = b""
    counts: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    longest: int = 0


def read_back(batch: bytes) -> Sent:
    """The content of a batch, by the reader of the kernel's own messages."""
    sent = Sent()
    for sequence, (kind, flags, payload) in messages(batch):
        assert sequence == FIRST_SEQUENCE or kind in (NEW_ELEMENTS, END)
        if kind != NEW_ELEMENTS:
            continue
        (element_list,) = [value for number, value in attribute_list(payload, 4) if number == 3]
        found = [attributes(attributes(one)[1])[1] for _, one in attribute_list(element_list)]
        sent.keys += b"".join(found)
        sent.counts.append(len(found))
        sent.flags.append(flags)
        sent.longest = max(sent.longest, len(element_list) + 4)
    return sent


@pytest.mark.parametrize(
    ("width", "count", "expected"),
    [
        (4, 4095, [4095]),
        (4, 4096, [4095, 1]),
        (4, 10_000, [4095, 4095, 1810]),
        (16, 2340, [2340]),
        (16, 2341, [2340, 1]),
        (12, 2731, [2730, 1]),
    ],
)
def test_no_attribute_is_longer_than_its_length_can_say(width: int, count: int, expected: list[int]) -> None:
    """65,535 bytes; only the last message of a batch asks for an acknowledgement."""
    data = b"".join(number.to_bytes(width, "big") for number in range(count))
    ((batch, last),) = batches(NEW, Family.V4, "s", Keys(data, width), BATCH_ELEMENTS)
    sent = read_back(batch)

    assert (sent.keys, sent.counts) == (data, expected)
    assert sent.longest <= 0xFFFF
    assert [bool(flags & ACK) for flags in sent.flags] == [False] * (len(expected) - 1) + [True]
    assert last == FIRST_SEQUENCE + len(expected)


@given(st.integers(0, 50), st.integers(1, 20))
def test_batches_hold_every_element_once_and_in_order(count: int, limit: int) -> None:
    """Order is what tells a complete set from one that was cut short."""
    data = b"".join(number.to_bytes(4, "big") for number in range(count))
    found = [read_back(batch) for batch, _ in batches(NEW, Family.V4, "s", Keys(data, 4), limit)]

    assert b"".join(sent.keys for sent in found) == data
    assert all(sum(sent.counts) <= limit for sent in found)


def test_only_the_first_batch_asks_for_a_generation() -> None:
    """Its own commit moves it."""
    first, second = (batch for batch, _ in batches(NEW, Family.V4, "s", keys("::1", "::2"), 1, 7))

    assert u32(1, 7) in first
    assert u32(1, 7) not in second


@pytest.mark.parametrize(("data", "width"), [(b"\0" * 7, 4), (b"\0" * 6, 2), (b"", 0)])
def test_keys_are_whole_words(data: bytes, width: int) -> None:
    """Anything else would be read as other keys."""
    with pytest.raises(ValueError, match="are not keys of"):
        Keys(data, width)


class Kernel:
    """A socket that answers as it is told."""

    def __init__(self, answers: list[int], granted: int = 1 << 30) -> None:
        self.answers = iter(answers)
        self.granted = granted
        self.sent: list[bytes] = []

    def __call__(self, _: int, timeout_s: float = 0) -> Self:  # noqa: ARG002 -- the socket has it
        """Stand in for the socket that is opened."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def make_room(self, _: int) -> int:
        """As much as the system grants."""
        return self.granted

    def transact(self, batch: bytes, _: int, what: str) -> None:
        """Take a batch, or refuse it."""
        self.sent.append(batch)
        refusal = next(self.answers, 0)
        if refusal:
            raise NetlinkError(refusal, what)

    def ask(self, _: int, body: bytes, what: str) -> bytes:
        """Answer, or refuse."""
        self.sent.append(body)
        refusal = next(self.answers, 0)
        if refusal:
            raise NetlinkError(refusal, what)
        return b""


def kernel(monkeypatch: pytest.MonkeyPatch, *answers: int, granted: int = 1 << 30) -> Kernel:
    """A kernel that gives these answers, 0 for an acknowledgement."""
    made = Kernel(list(answers), granted)
    monkeypatch.setattr(elements, "NetlinkSocket", made)
    return made


ERRORS = [
    (errno.ENOENT, "the set, or an element of it, is gone", "another program changes our tables"),
    (errno.ENFILE, "the set is full", "another program has put elements into it"),
    (errno.ERESTART, "another program has committed to nftables in between", "run it again"),
    (errno.EINVAL, "the set is of another type", "another program has made a set of this name"),
    (errno.ENOMEM, "Cannot allocate memory", ""),
]


@pytest.mark.parametrize(("number", "reason", "hint"), ERRORS)
def test_an_error_names_the_set_and_what_it_means(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: str, hint: str
) -> None:
    """The system's own words speak of files and system calls."""
    kernel(monkeypatch, number)

    with pytest.raises(NetlinkError) as caught:
        add_elements(Family.V6, "nets/64.abc", keys("::1", "::2"))

    assert caught.value.message == f"adding 2 elements to the set nets/64.abc of ip6 hostfw: {reason}"
    assert (caught.value.hint, caught.value.errno) == (hint, number)


def test_nothing_follows_a_refused_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the last element could be there without those before it."""
    monkeypatch.setattr(elements, "BATCH_ELEMENTS", 1)
    told = kernel(monkeypatch, 0, errno.ENFILE)

    with pytest.raises(NetlinkError):
        add_elements(Family.V4, "s", keys("192.0.2.1", "192.0.2.2", "192.0.2.3"))

    assert len(told.sent) == 2


def test_a_small_socket_gets_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system grants no more, as in a user namespace."""
    told = kernel(monkeypatch, granted=10_000)
    data = keys(*(f"10.0.{n >> 8}.{n & 255}" for n in range(2000)))
    add_elements(Family.V4, "nets/32.0123456789ab", data)

    assert len(told.sent) > 3
    assert all(len(batch) <= 10_000 for batch in told.sent)
    assert b"".join(read_back(batch).keys for batch in told.sent) == data.data


@pytest.mark.parametrize(("answer", "expected"), [(0, True), (errno.ENOENT, False)])
def test_the_last_element_tells_whether_a_set_is_filled(
    monkeypatch: pytest.MonkeyPatch, answer: int, expected: bool
) -> None:
    """It is asked for alone."""
    told = kernel(monkeypatch, answer)

    assert is_loaded(Family.V4, "s", keys("192.0.2.1", "192.0.2.9")) is expected
    assert ip_address("192.0.2.9").packed in told.sent[0]
    assert ip_address("192.0.2.1").packed not in told.sent[0]


def test_what_cannot_be_asked_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses to say leaves it open; an empty set is always complete."""
    kernel(monkeypatch, errno.EPERM)

    assert is_loaded(Family.V4, "s", Keys(b"", 4))
    with pytest.raises(NetlinkError):
        is_loaded(Family.V4, "s", keys("192.0.2.1"))


def answers(*pairs: tuple[int, int]) -> Iterator[tuple[int, netlink.Message]]:
    """Error messages: sequence number and errno."""
    for sequence, number in pairs:
        yield sequence, netlink.Message(netlink.NLMSG_ERROR, 0, struct.pack("=i", -number) + bytes(HEADER.size))


@pytest.mark.parametrize(
    ("pairs", "refusal"),
    [
        (((3, 0),), None),
        (((2, errno.ENFILE), (3, 0)), errno.ENFILE),
        (((1, errno.ERESTART),), errno.ERESTART),
        (((9, 0), (3, 0)), None),
    ],
)
def test_a_batch_is_done_when_its_last_message_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch, pairs: tuple[tuple[int, int], ...], refusal: int | None
) -> None:
    """Any error before that refuses it, of the batch's beginning too."""
    with netlink.NetlinkSocket(netlink.NETLINK_ROUTE) as sock:
        monkeypatch.setattr(sock, "_received", lambda _, **__: answers(*pairs))
        if refusal is None:
            sock.transact(message(1, 0, 1, b""), 3, "trying")
            return
        with pytest.raises(NetlinkError) as caught:
            sock.transact(message(1, 0, 1, b""), 3, "trying")
    assert caught.value.errno == refusal


def test_an_edit_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletions, additions, and the marks that name the content, in this order; the last message asks for an ACK."""
    told = kernel(monkeypatch)
    edit = Edit(keys("192.0.2.2"), keys("192.0.2.1"), ("s/old",), "s/new")
    replace_elements(Family.V4, "s", edit)

    (batch,) = told.sent
    head = struct.pack("!BBH", 2, 0, 0) + text(1, "hostfw")

    def element(key: bytes) -> bytes:
        return head + text(2, "s") + nested(3, nested(1, nested(1, attribute(1, key))))

    mark = head + text(2, "s/new") + u32(4, 13) + u32(5, 2) + u32(10, 1)
    subsystem = struct.pack("!BBH", 0, 0, 10)
    assert list(messages(batch)) == [
        (FIRST_SEQUENCE, Message(BEGIN, REQUEST, subsystem)),
        (FIRST_SEQUENCE + 1, Message(DELETE_ELEMENTS, REQUEST, element(edit.deleted.data if edit.deleted else b""))),
        (FIRST_SEQUENCE + 2, Message(NEW_ELEMENTS, REQUEST | CREATE, element(edit.added.data))),
        (FIRST_SEQUENCE + 3, Message(10 << 8 | 11, REQUEST, head + text(2, "s/old"))),
        (FIRST_SEQUENCE + 4, Message(10 << 8 | 9, REQUEST | CREATE | ACK, mark)),
        (FIRST_SEQUENCE + 5, Message(END, REQUEST, subsystem)),
    ]


def test_a_content_that_is_not_known_is_flushed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion that names no element means all."""
    told = kernel(monkeypatch)
    replace_elements(Family.V4, "s", Edit(keys("192.0.2.2"), None, (), "s/new"))

    found = list(messages(told.sent[0]))
    assert found[1] == (
        FIRST_SEQUENCE + 1,
        Message(DELETE_ELEMENTS, REQUEST, struct.pack("!BBH", 2, 0, 0) + text(1, "hostfw") + text(2, "s")),
    )
    assert [kind for _, (kind, _, _) in found[2:]] == [NEW_ELEMENTS, 10 << 8 | 9, END]
