"""Transactions of nftables that touched our tables, as data and in words."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from hostfw.host.nftables.writing.worker import NAME
from hostfw.model.values import TABLE_FAMILIES, TableFamily
from hostfw.nft.objects import TABLE, is_external

_WORKER_NAMES = frozenset({NAME, Path(sys.executable).name[:15]})
"""That of a worker, and where it could not give itself that name, that of its interpreter."""
_CHANGES = 5
"""Most changes of a transaction that are named; the rest is counted."""


class What(StrEnum):
    """The kinds of object that a transaction touches."""

    TABLE = "table"
    CHAIN = "chain"
    RULE = "rule"
    SET = "set"
    COUNTER = "counter"
    ELEMENT = "element"
    FLOWTABLE = "flowtable"
    OBJECT = "object"


class Touched(NamedTuple):
    """Objects of ours that a transaction touched.

    `name` is theirs, of rules that of their chain, of elements that of their set or map. `came` counts those that are
    new or changed, which the kernel tells alike, and `went` those that are gone.
    """

    family: TableFamily
    what: What
    name: str
    came: int
    went: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that touched our tables.

    `port` is the netlink port of whoever sent it, which for a process with one socket is its id in its own PID
    namespace; `pid` is the thread's id in the initial one, and `process` its name. `is_batch` marks the batches of
    `host.elements` and `host.deletions`, of whatever process of ours. `more` counts the messages about objects beyond
    the first `nft_events.NAMES`, and `others_gone` the tables of others that went along, as in a flushed ruleset.
    """

    generation: int
    port: int
    pid: int
    process: str
    is_batch: bool
    touched: tuple[Touched, ...]
    more: int = 0
    others_gone: int = 0

    @property
    def tables_gone(self) -> frozenset[TableFamily]:
        """The families whose table of ours was deleted, whether or not it came back in the same transaction."""
        return frozenset(item.family for item in self.touched if item.what is What.TABLE and item.went)

    def is_ours(self, worker_pids: Collection[int]) -> bool:
        """True if we sent it ourselves: as a batch, or through one of the nft workers, given by process id.

        A worker's id may be another process's later, which has another name.
        """
        return self.is_batch or (self.port in worker_pids and self.process in _WORKER_NAMES)

    @property
    def is_harmless(self) -> bool:
        """True if it touched nothing but what other programs may: the members of external sets."""
        return not self.more and all(item.what is What.ELEMENT and is_external(item.name) for item in self.touched)

    def __str__(self) -> str:
        return f"{self.process or 'a process'} (pid {self.pid}) {_changes(self)}"


@dataclass(frozen=True, slots=True)
class NftNews:
    """News of nftables: transactions that touched our tables, in order, and the number of those that did not.

    `generation` is the newest one heard of, None where there was none. With `missed` the kernel had to throw something
    away, and our tables may be other than this tells: they are to be read.
    """

    generation: int | None = None
    transactions: tuple[Transaction, ...] = ()
    others: int = 0
    missed: bool = False


def _changes(transaction: Transaction) -> str:
    """The changes of a transaction, for people: of a deleted table the table alone."""
    gone = transaction.tables_gone
    changes = [_table_change(transaction)] if gone else []
    rest = [item for item in transaction.touched if item.family not in gone and item.what is not What.TABLE]
    changes += [_change(item) for item in rest[:_CHANGES]]
    more = len(rest[_CHANGES:]) + (0 if gone else transaction.more)
    if more:
        changes.append(f"touched {more} more")
    return "; ".join(changes) or "declared our tables"


def _table_change(transaction: Transaction) -> str:
    ours = [f"{family.nft} {TABLE}" for family in TABLE_FAMILIES if family in transaction.tables_gone]
    others = [f"{transaction.others_gone} of others"] if transaction.others_gone else []
    return f"deleted the tables {' and '.join((*ours, *others))}"


def _change(item: Touched) -> str:
    table = f"{item.family.nft} {TABLE}"
    holder = {What.RULE: "chain", What.ELEMENT: "set"}.get(item.what)
    number = item.came + item.went
    if holder:
        what = f"{number} {item.what}{'' if number == 1 else 's'} of the {holder} {item.name}"
    else:
        what = f"the {item.what} {item.name}"
    verbs = _verbs(item, ("added", "deleted") if holder else ("made or changed", "deleted"))
    return f"{' and '.join(verbs)} {what} of {table}"


def _verbs(item: Touched, words: tuple[str, str]) -> Iterator[str]:
    came, went = words
    if item.came:
        yield came
    if item.went:
        yield went
