"""Netlink messages and attributes, and what nf_tables messages say."""

import errno
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import count, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.host.netlink import messages as netlink
from hostfw.host.netlink.messages import (
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attribute_list,
    attributes,
    error_of,
    message,
    messages,
    nested,
    text,
    text_of,
    u32,
    u32_of,
)
from hostfw.host.nftables import nf_tables, tables
from hostfw.host.nftables.nf_tables import KernelChain, KernelCounter
from hostfw.host.nftables.tables import KernelTable, KernelTables
from hostfw.model.values import Family, TableFamily

kinds = st.integers(0, 0x3FFF)


@given(st.lists(st.tuples(kinds, st.binary(max_size=40))))
def test_attributes_come_back_as_they_went(pairs: list[tuple[int, bytes]]) -> None:
    """Whatever their lengths, in order and with repeats."""
    data = b"".join(attribute(kind, payload) for kind, payload in pairs)

    assert len(data) % 4 == 0
    assert list(attribute_list(data)) == pairs


@given(st.binary(max_size=64))
def test_no_bytes_at_all_make_the_reader_fail(data: bytes) -> None:
    """Malformed attributes and messages end the reading."""
    assert all(len(payload) <= len(data) for _, payload in attribute_list(data))
    assert all(len(item.payload) <= len(data) for _, item in messages(data))


def test_attributes_are_laid_out_as_the_kernel_has_them() -> None:
    """Length with header in host order, the nested bit, integers in network order, strings with their end."""
    assert (
        nested(1, u32(2, 258), text(3, "ab"))
        == struct.pack("=HH", 20, 0x8001)
        + struct.pack("=HH", 8, 2)
        + b"\x00\x00\x01\x02"
        + struct.pack("=HH", 7, 3)
        + b"ab\0\0"
    )


def test_the_nested_bit_is_no_part_of_the_type() -> None:
    """The kernel sets it where it likes."""
    assert attributes(nested(5, u32(1, 7)))[5] == u32(1, 7)
    assert u32_of(attributes(attributes(nested(5, u32(1, 7)))[5])[1]) == 7


def test_names_that_are_not_utf_8_are_escaped() -> None:
    """Other programs choose names of chains, too."""
    assert text_of(b"a\xff\0") == "a\\xff"


def test_messages_of_one_datagram_come_apart() -> None:
    """Each with its sequence number and without its header."""
    data = message(16, 2, 7, b"abcd") + message(17, 0, 8, b"")

    assert list(messages(data)) == [(7, Message(16, 2, b"abcd")), (8, Message(17, 0, b""))]


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (NLMSG_ERROR, struct.pack("=i", -errno.EPERM), errno.EPERM),
        (NLMSG_ERROR, struct.pack("=i", 0), 0),
        (NLMSG_DONE, struct.pack("=i", -errno.EINTR), errno.EINTR),
        (NLMSG_DONE, b"", 0),
        (100, struct.pack("=i", -1), 0),
    ],
)
def test_errors_are_told_from_answers(kind: int, payload: bytes, expected: int) -> None:
    """A dump may end early with an errno in its last message."""
    assert error_of(Message(kind, 0, payload)) == expected


class Scripted:
    """A socket whose kernel says what a test wants it to: datagrams, or errors to raise."""

    def __init__(self, *answers: bytes | OSError, flags: int = 0) -> None:
        self.answers = list(answers)
        self.flags = flags
        self.sent: list[bytes] = []

    def settimeout(self, _: float) -> None:
        """Never wait."""

    def bind(self, _: object) -> None:
        """Be bound."""

    def close(self) -> None:
        """Be closed."""

    def send(self, data: bytes) -> None:
        """Take a request."""
        self.sent.append(data)

    def recvmsg(self, _: int) -> tuple[bytes, list[object], int, None]:
        """Give the next answer."""
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer, [], self.flags, None


def speaking_to(monkeypatch: pytest.MonkeyPatch, kernel: Scripted) -> NetlinkSocket:
    """A netlink socket of such a kernel."""
    monkeypatch.setattr(socket, "socket", lambda *_: kernel)
    return NetlinkSocket(0)


DONE = message(NLMSG_DONE, 0, 1, bytes(4))


def test_a_dump_comes_in_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of another request are no part of it."""
    parts = (
        message(16, 2, 1, b"aaaa") + message(16, 2, 1, b"bbbb"),
        message(16, 2, 7, b"xxxx"),
        message(16, 2, 1, b"cccc"),
        DONE,
    )
    kernel = Scripted(*parts)

    assert speaking_to(monkeypatch, kernel).dump(18, b"body", "reading") == [b"aaaa", b"bbbb", b"cccc"]
    assert list(messages(kernel.sent[0])) == [(1, Message(18, 0x301, b"body"))]


@pytest.mark.parametrize("interrupted", [0, 1, 2])
def test_a_dump_that_was_interrupted_is_read_again(monkeypatch: pytest.MonkeyPatch, interrupted: int) -> None:
    """Whichever of its messages carries NLM_F_DUMP_INTR; nothing of the first reading is kept."""
    flags = [0x10 if number == interrupted else 0 for number in range(3)]
    kernel = Scripted(
        message(16, flags[0], 1, b"a"),
        message(16, flags[1], 1, b"b"),
        message(NLMSG_DONE, flags[2], 1, bytes(4)),
        message(16, 0, 2, b"c"),
        message(NLMSG_DONE, 0, 2, bytes(4)),
    )

    assert speaking_to(monkeypatch, kernel).dump(18, b"", "reading") == [b"c"]
    assert len(kernel.sent) == 2


def test_a_dump_that_ends_with_eintr_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says the same as the flag."""
    kernel = Scripted(
        message(16, 0, 1, b"a"),
        message(NLMSG_DONE, 0, 1, struct.pack("=i", -errno.EINTR)),
        message(16, 0, 2, b"b"),
        message(NLMSG_DONE, 0, 2, bytes(4)),
    )

    assert speaking_to(monkeypatch, kernel).dump(18, b"", "reading") == [b"b"]


def test_a_dump_that_never_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what was read, and how to find who changes it."""
    monkeypatch.setattr(netlink, "_PATIENCE_S", 0.02)
    kernel = Scripted(*(message(NLMSG_DONE, 0x10, number, bytes(4)) for number in range(1, 50)))

    with pytest.raises(NetlinkError, match="reading the chains: it kept changing while it was read") as caught:
        speaking_to(monkeypatch, kernel).dump(18, b"", "reading the chains")

    assert caught.value.errno == errno.EAGAIN
    assert "nft monitor" in caught.value.hint


def test_a_request_that_cannot_be_sent_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when memory is short: an error of the host, like every other."""
    kernel = Scripted()
    monkeypatch.setattr(Scripted, "send", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOBUFS, "no room")))

    with pytest.raises(NetlinkError) as caught:
        speaking_to(monkeypatch, kernel).ask(18, b"", "reading the chains")

    assert caught.value.errno == errno.ENOBUFS


@pytest.mark.parametrize(
    ("name", "kernel", "expected"),
    [
        ("refused", Scripted(message(NLMSG_ERROR, 0, 1, struct.pack("=i", -errno.EPERM))), errno.EPERM),
        ("ended early", Scripted(message(NLMSG_DONE, 0, 1, struct.pack("=i", -errno.ENOMEM))), errno.ENOMEM),
        ("silent", Scripted(TimeoutError()), errno.ETIMEDOUT),
        ("overrun", Scripted(OSError(errno.ENOBUFS, "No buffer space available")), errno.ENOBUFS),
        ("too long", Scripted(b"", flags=socket.MSG_TRUNC), errno.EMSGSIZE),
    ],
)
def test_a_dump_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, name: str, kernel: Scripted, expected: int
) -> None:
    """With what was asked for; a part of a dump is never taken for the whole."""
    with pytest.raises(NetlinkError) as caught:
        speaking_to(monkeypatch, kernel).dump(18, b"", "reading the chains")

    assert caught.value.errno == expected, name
    assert caught.value.message == f"reading the chains: {os.strerror(expected)}"


def test_a_kernel_without_netlink_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that forbids the address family."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)

    with pytest.raises(NetlinkError, match="opening a netlink socket"):
        NetlinkSocket(0)


def expression(name: str, *fields: bytes) -> bytes:
    """One expression of a rule."""
    return nested(1, text(1, name), nested(2, *fields))


def rule(*expressions: bytes, chain: str = "c", handle: int = 1, comment: bytes = b"") -> bytes:
    """A message of a rule dump."""
    userdata = bytes((0, len(comment) + 1)) + comment + b"\0" if comment else b""
    return (
        b"\x02\0\0\0"
        + text(1, "hostfw")
        + text(2, chain)
        + attribute(3, struct.pack("!Q", handle))
        + nested(4, *expressions)
        + (attribute(7, userdata) if userdata else b"")
    )


def counter(packets: int, length: int) -> bytes:
    """An anonymous counter that traffic has passed."""
    return expression("counter", attribute(1, struct.pack("!Q", length)), attribute(2, struct.pack("!Q", packets)))


def verdict(code: int, chain: str = "") -> bytes:
    """An immediate verdict."""
    target = (text(2, chain),) if chain else ()
    return expression("immediate", u32(1, 0), nested(2, nested(2, u32(1, code & 0xFFFFFFFF), *target)))


ACCEPT, JUMP, GOTO = 1, -3, -4
QUOTA = (attribute(1, struct.pack("!Q", 1000)), u32(2, 0))
COMPARE = expression("cmp", u32(1, 1), u32(2, 0), nested(3, attribute(1, b"\x0a")))


def digest(*rules: bytes) -> str | None:
    """The digest of a chain with these rules."""
    (chain,) = nf_tables.with_rules([KernelChain("c", 1, 0)], rules)
    return chain.digest


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a counter counts", [rule(counter(0, 0))], [rule(counter(5, 300))]),
        (
            "a counter counts before a verdict",
            [rule(COMPARE, counter(0, 0), verdict(ACCEPT))],
            [rule(COMPARE, counter(1, 2), verdict(ACCEPT))],
        ),
        ("a handle", [rule(COMPARE, handle=4)], [rule(COMPARE, handle=9)]),
        (
            "a quota is used",
            [rule(expression("quota", *QUOTA, attribute(4, bytes(8))))],
            [rule(expression("quota", *QUOTA, attribute(4, b"\1" * 8)))],
        ),
        (
            "a rule was last hit",
            [rule(expression("last", u32(1, 0)))],
            [rule(expression("last", u32(1, 1), attribute(2, bytes(8))))],
        ),
    ],
)
def test_what_traffic_changes_is_not_in_the_digest(name: str, before: list[bytes], after: list[bytes]) -> None:
    """Drift is changes by other programs, not packets."""
    assert digest(*before) == digest(*after), name


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("a rule less", [rule(COMPARE), rule(verdict(ACCEPT))], [rule(verdict(ACCEPT))]),
        ("no rule at all", [rule(COMPARE)], []),
        ("another order", [rule(COMPARE), rule(verdict(ACCEPT))], [rule(verdict(ACCEPT)), rule(COMPARE)]),
        ("another verdict", [rule(verdict(ACCEPT))], [rule(verdict(0))]),
        ("another target", [rule(verdict(GOTO, "a"))], [rule(verdict(GOTO, "b"))]),
        ("one rule or two", [rule(COMPARE, verdict(ACCEPT))], [rule(COMPARE), rule(verdict(ACCEPT))]),
        ("a counter less", [rule(counter(1, 1), verdict(ACCEPT))], [rule(verdict(ACCEPT))]),
        ("behind a counter", [rule(counter(1, 1), verdict(ACCEPT))], [rule(counter(1, 1), verdict(0))]),
        (
            "another quota",
            [rule(expression("quota", *QUOTA))],
            [rule(expression("quota", attribute(1, struct.pack("!Q", 7)), u32(2, 0)))],
        ),
    ],
)
def test_what_decides_packets_is_in_the_digest(name: str, one: list[bytes], other: list[bytes]) -> None:
    """Every change of a chain's rules shows."""
    assert digest(*one) != digest(*other), name


def test_rules_of_a_base_chain_tell_where_they_lead() -> None:
    """Targets and lookups in order, and the comment among other user data."""
    base = nf_tables.BaseHook("filter", "input", 0, "drop")
    lookup = expression("lookup", text(1, "dispatch"), u32(2, 1))
    rules = [
        rule(COMPARE, verdict(JUMP, "first"), chain="input", handle=7),
        rule(lookup, chain="input", handle=8, comment=b"by interface"),
        rule(verdict(GOTO, "rest"), chain="input", handle=9),
        rule(verdict(ACCEPT), chain="other"),
    ]

    (chain,) = nf_tables.with_rules([KernelChain("input", 1, 4, base)], rules)

    assert chain.rules == 3
    assert chain.base_rules == (
        nf_tables.KernelRule(7, ("first",), (), ""),
        nf_tables.KernelRule(8, (), ("dispatch",), "by interface"),
        nf_tables.KernelRule(9, ("rest",), (), "", final=True),
    )


def test_what_stands_behind_a_final_rule_of_a_base_chain_is_not_counted() -> None:
    """No packet meets it: the chain is what it is without it."""
    base = nf_tables.BaseHook("filter", "input", 0, "drop")
    met = [rule(COMPARE, verdict(JUMP, "first"), chain="input"), rule(verdict(GOTO, "rest"), chain="input", handle=9)]
    behind = [rule(verdict(ACCEPT), chain="input", handle=10), rule(verdict(GOTO, "other"), chain="input", handle=11)]

    (alone,) = nf_tables.with_rules([KernelChain("input", 1, 4, base)], met)
    (chain,) = nf_tables.with_rules([KernelChain("input", 1, 4, base)], [*met, *behind])

    assert (chain.rules, chain.digest) == (alone.rules, alone.digest) == (2, alone.digest)
    assert [one.handle for one in chain.base_rules][1:] == [9, 10, 11]


def test_chains_of_other_tables_are_none_of_ours() -> None:
    """The kernel dumps the chains of every table of a family."""

    def chain(table: str, name: str) -> bytes:
        return b"\x02\0\0\0" + text(1, table) + attribute(2, struct.pack("!Q", 3)) + text(3, name) + u32(6, 2)

    found = nf_tables.chains_of([chain("nat", "a"), chain("hostfw", "b"), chain("hostfw2", "c")], "hostfw")

    assert found == [KernelChain("b", 3, 2)]


Reading = KernelTable | None
EMPTY = KernelTable(Family.V4)
OURS = KernelTable(Family.V4, exists=True, counters=(KernelCounter("k", 1, 60),))
COUNTED = KernelTable(Family.V4, exists=True, counters=(KernelCounter("k", 9, 540),))


def read_with(monkeypatch: pytest.MonkeyPatch, generations: Iterable[int], readings: Iterable[Reading]) -> KernelTables:
    """The tables as read from a kernel with these generations, one a look, and these tables `ip`, one a read."""
    looks, reads = iter(generations), iter(readings)

    def read(_: NetlinkSocket, family: TableFamily, *, every_rule: bool) -> KernelTable | None:
        assert every_rule
        return next(reads) if family is Family.V4 else KernelTable(family)

    monkeypatch.setattr(tables, "_generation", lambda _: next(looks))
    monkeypatch.setattr(tables, "_read", read)
    monkeypatch.setattr(tables, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(tables, "NetlinkSocket", lambda _: nullcontext())
    return tables.read_tables()


@pytest.mark.parametrize(
    ("name", "generations", "readings", "expected"),
    [
        ("nobody commits", [5, 5], [OURS], (5, OURS)),
        ("a table goes away meanwhile", [5, 6, 6], [None, OURS], (6, OURS)),
        ("somebody commits meanwhile", [5, 6, 6, 6], [EMPTY, OURS], (6, OURS)),
        ("others commit without pause, not in our tables", [5, 6, 7, 8], [OURS, COUNTED], (7, COUNTED)),
        ("a change amid others' commits", [5, 6, 7, 8, 9, 10], [EMPTY, OURS, OURS], (9, OURS)),
    ],
)
def test_tables_are_read_at_one_moment(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    generations: list[int],
    readings: list[Reading],
    expected: tuple[int, KernelTable],
) -> None:
    """Either the generation stood still, or two reads in a row agree but for what counters say."""
    read = read_with(monkeypatch, generations, readings)

    assert (read.generation, read.ip) == expected, name


def test_tables_that_never_stand_still_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading ends, and says who to look for."""
    with pytest.raises(NetlinkError, match="reading the tables hostfw") as caught:
        read_with(monkeypatch, count(), cycle((EMPTY, OURS)))

    assert caught.value.errno == errno.EAGAIN
    assert "nft monitor" in caught.value.hint
