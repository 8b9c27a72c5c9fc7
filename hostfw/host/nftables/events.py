"""Transactions of nftables that touched our tables, as the kernel reports them.

The kernel tells a transaction object by object and closes it with its generation and who committed it (NEWGEN).
Elements, of which there may be a million, are only counted. While anybody listens a commit takes longer, since the
kernel writes all of this down within it: a million elements take 1.9 s in place of 0.6 (6.18), see `paused`.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NamedTuple, Protocol

from hostfw.host.netlink.listening import ListeningSocket
from hostfw.host.netlink.messages import (
    HEADER,
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    aligned,
    attribute_list,
    attributes,
    text,
    text_of,
    u32_of,
)
from hostfw.host.nftables import nf_tables
from hostfw.host.nftables.nf_tables import NFPROTO, OWN_SEQUENCES, SUBSYSTEM, TABLE_NAME
from hostfw.host.nftables.writing.transactions import NftNews, Touched, Transaction, What
from hostfw.model.values import TableFamily
from hostfw.nft.objects import TABLE

RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024
"""Room for a transaction of some 400,000 elements, of which the kernel puts 62 into a datagram (6.18)."""
READ_DATAGRAMS = 128
"""Most datagrams of one read: 10 ms of work, after which an event loop gets its turn."""
NAMES = 256
"""Most objects of one transaction that are told apart; nobody reads more of a flushed ruleset of 20,000."""

_WHAT = "listening to nftables"
_GROUP = 7
"""NFNLGRP_NFTABLES."""
_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 270, 1, 2
_NEWGEN = SUBSYSTEM | 15
_GEN_PID, _GEN_NAME = 2, 3
_FAMILIES = {number: family for family, number in NFPROTO.items()}
_OUR_TABLE = text(TABLE_NAME, TABLE)
_MARK = slice(2, 4)
"""The resource id in struct nfgenmsg: the last 16 bits of the generation."""


class NftListener(Protocol):
    """A source of transactions, such as `NftEvents`."""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""

    def read(self) -> NftNews:
        """The transactions since the last call, or a bounded part of them; never waits."""

    def paused(self) -> AbstractContextManager[None]:
        """Hear nothing for the length of the block; the next read says that something was missed."""

    def close(self) -> None:
        """Stop listening."""


class NftEvents(ListeningSocket):
    """Listens to the transactions of the network namespace that the caller is in. Raises NetlinkError."""

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self._transaction = _Open()
        self._missed = False
        self._deaf: OSError | None = None
        try:
            super().__init__(NETLINK_NETFILTER, receive_buffer_bytes, _join)
        except OSError as error:
            hint = "this needs root, or CAP_NET_ADMIN" if error.errno in (errno.EPERM, errno.EACCES) else ""
            raise NetlinkError(error.errno or errno.EIO, _WHAT, hint) from error

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hear nothing for the length of the block, in which big sets are filled at the kernel's own speed.

        The next read says that something was missed, whether or not the descriptor is readable. Where the kernel will
        not have us again the next read fails, and the work in the block goes on.
        """
        with suppress(OSError):
            self._socket.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, _GROUP)
        self._missed = True
        try:
            yield
        finally:
            try:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
            except OSError as error:
                self._deaf = error

    def read(self) -> NftNews:
        """The transactions of at most `READ_DATAGRAMS` datagrams; never waits.

        What is left keeps the descriptor readable, and a transaction that has not ended is told with its end. Raises
        NetlinkError.
        """
        if self._deaf is not None:
            raise NetlinkError(self._deaf.errno or errno.EIO, _WHAT) from self._deaf
        received = _Received(missed=self._missed)
        self._missed = False
        for data in self._datagrams(READ_DATAGRAMS, _WHAT):
            if data is None:
                received.missed = True
                self._transaction = _Open()
                continue
            self._transaction = _receive(data, self._transaction, received)
        return NftNews(received.generation, tuple(received.transactions), received.others, received.missed)


def _join(sock: socket.socket) -> None:
    sock.bind((0, 0))
    sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)


class _Received:
    """The results of one read."""

    __slots__ = ("generation", "missed", "others", "transactions")

    def __init__(self, *, missed: bool) -> None:
        self.generation: int | None = None
        self.transactions: list[Transaction] = []
        self.others = 0
        self.missed = missed


class _Open:
    """A transaction whose end has not been heard: numbers that came and went by family, kind and name."""

    __slots__ = ("counts", "head", "mark", "more", "others_gone", "tally")

    def __init__(self, mark: bytes = b"") -> None:
        # The end of the generation's number, which every message carries.
        self.mark = mark
        self.counts: dict[tuple[TableFamily, What, str], list[int]] = {}
        self.more = 0
        self.others_gone = 0
        # What the messages of the elements of one set begin with, all alike, and where they are counted.
        self.head = b""
        self.tally: list[int] = []


class _Kind(NamedTuple):
    """The object of a message, the attribute that names it, and whether it is deleted (1) or added (0)."""

    what: What
    name: int
    goes: int


_KINDS: dict[int, _Kind] = {
    SUBSYSTEM | number: _Kind(what, name, goes)
    for what, name, came, *went in (
        # NEW, DEL and (kernel 6.3 and later) DESTROY.
        (What.TABLE, 1, 0, 2, 26),
        (What.CHAIN, 3, 3, 5, 27),
        (What.RULE, 2, 6, 8, 28),
        (What.SET, 2, 9, 11, 29),
        (What.ELEMENT, 2, 12, 14, 30),
        (What.COUNTER, 2, 18, 20, 31),
        (What.FLOWTABLE, 2, 22, 24, 32),
    )
    for number, goes in ((came, 0), *((number, 1) for number in went))
}


def _receive(data: bytes, transaction: _Open, received: _Received) -> _Open:
    """Take in one datagram; gives the transaction that is open after it."""
    offset = 0
    while offset + HEADER.size + NFGENMSG.size <= len(data):
        length, kind, _, sequence, port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            break
        body = offset + HEADER.size
        if kind in _KINDS or kind == _NEWGEN:
            transaction = _of_generation(data[body + _MARK.start : body + _MARK.stop], transaction, received)
        if kind == _NEWGEN:
            _close(data[body : offset + length], (sequence, port), transaction, received)
            transaction = _Open()
        elif kind in _KINDS:
            _count(data, body, offset + length, _KINDS[kind], transaction)
        offset += aligned(length)
    return transaction


def _of_generation(mark: bytes, transaction: _Open, received: _Received) -> _Open:
    """The open transaction if that is what a message belongs to; one whose end was lost gives way to the next."""
    if transaction.mark == mark:
        return transaction
    received.missed |= bool(transaction.mark)
    return _Open(mark)


def _count(data: bytes, start: int, end: int, kind: _Kind, transaction: _Open) -> None:
    if kind.what is What.ELEMENT and transaction.head and data.startswith(transaction.head, start):
        transaction.tally[kind.goes] += 1
        return
    family = _FAMILIES.get(data[start])
    attributes_start = start + NFGENMSG.size
    # The kernel puts the table's name first into every message.
    if family is None or not data.startswith(_OUR_TABLE, attributes_start):
        transaction.others_gone += kind.what is What.TABLE and kind.goes
        return
    name_start = attributes_start + len(_OUR_TABLE)
    name = TABLE if kind.what is What.TABLE else _name(data[name_start:end], kind.name)
    what = What.OBJECT if kind.what is What.COUNTER and not _is_counter(data[name_start:end]) else kind.what
    key = (family, what, name)
    tally = transaction.counts.get(key)
    if tally is None:
        if len(transaction.counts) >= NAMES and kind.what is not What.TABLE:
            transaction.more += 1
            return
        tally = transaction.counts[key] = [0, 0]
    tally[kind.goes] += 1
    if kind.what is What.ELEMENT:
        transaction.head = data[start : name_start + len(text(kind.name, name))]
        transaction.tally = tally


def _is_counter(data: bytes) -> bool:
    """True if a stateful object is a counter; hostfw makes no other."""
    kinds = [u32_of(payload) for kind, payload in attribute_list(data) if kind == nf_tables.OBJ_TYPE]
    return kinds in ([], [nf_tables.OBJECT_COUNTER])


def _name(data: bytes, wanted: int) -> str:
    return next((text_of(payload) for kind, payload in attribute_list(data) if kind == wanted), "")


def _close(payload: bytes, sender: tuple[int, int], transaction: _Open, received: _Received) -> None:
    fields = attributes(payload, NFGENMSG.size)
    generation = u32_of(fields[nf_tables.GEN_ID])
    received.generation = generation
    if not transaction.counts:
        received.others += 1
        return
    sequence, port = sender
    received.transactions.append(
        Transaction(
            generation=generation,
            port=port,
            pid=u32_of(fields.get(_GEN_PID, bytes(4))),
            process=text_of(fields.get(_GEN_NAME, b"")),
            is_batch=sequence in OWN_SEQUENCES,
            touched=tuple(Touched(*key, *tally) for key, tally in transaction.counts.items()),
            more=transaction.more,
            others_gone=transaction.others_gone,
        )
    )
