"""The kernel's content of `ip hostfw`, `ip6 hostfw` and `bridge hostfw`, read by raw netlink dumps.

Never through libnftables, whose listings read every set and end badly on tables of others (1.0.6), and never the
elements of a set: a dump of a million takes seconds to a minute. Names, rules and counters of 20,000 rules take a
quarter of a second. What the kernel cannot filter for us (chains) is filtered here.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    text,
    u32,
)
from hostfw.host.nftables import nf_tables
from hostfw.host.nftables.nf_tables import KernelChain, KernelCounter, KernelObject, KernelSet
from hostfw.model.values import BRIDGE, TABLE_FAMILIES, Family, TableFamily
from hostfw.nft.objects import TABLE

_PATIENCE_S = 5.0
_PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class KernelTable:
    """Our table of one family, each kind of object in the kernel's order, or `exists` False and nothing.

    `flags` are NFT_TABLE_F_*; `others` are objects of kinds that hostfw never makes. With an `owner`, the program of
    that name, no other program may change the table.
    """

    family: TableFamily
    exists: bool = False
    chains: tuple[KernelChain, ...] = ()
    sets: tuple[KernelSet, ...] = ()
    counters: tuple[KernelCounter, ...] = ()
    flags: int = 0
    others: tuple[KernelObject, ...] = ()
    owner: str = ""
    comment: str = ""

    @property
    def is_abandoned(self) -> bool:
        """True if it outlived its owner: nobody can change its flags, and we may only delete it."""
        return bool(self.flags & nf_tables.PERSISTENT and not self.owner)

    @property
    def is_commented(self) -> bool:
        """True if another program made it, or a chain of it, with a comment: that goes with the table alone."""
        return bool(self.comment) or any(chain.comment for chain in self.chains)

    @property
    def is_dormant(self) -> bool:
        """True if its base chains are attached nowhere, so that no packet meets any of it."""
        return bool(self.flags & nf_tables.DORMANT)

    @property
    def chain_digests(self) -> dict[str, str]:
        """The digest of each chain whose rules were read, by name."""
        return {chain.name: chain.digest for chain in self.chains if chain.digest is not None}

    def chain(self, name: str) -> KernelChain | None:
        """The chain of that name, if there is one."""
        return next((chain for chain in self.chains if chain.name == name), None)


@dataclass(frozen=True, slots=True)
class KernelTables:
    """Our tables as they were at one nftables generation of the network namespace; that of bridges need not exist."""

    generation: int
    ip: KernelTable
    ip6: KernelTable
    bridge: KernelTable = KernelTable(BRIDGE)

    @property
    def every(self) -> tuple[KernelTable, ...]:
        """All of them, whether they exist or not."""
        return self.ip, self.ip6, self.bridge

    def of(self, family: TableFamily) -> KernelTable:
        """The table of one family."""
        if family is BRIDGE:
            return self.bridge
        return self.ip if family is Family.V4 else self.ip6


@dataclass(frozen=True, slots=True)
class Names:
    """The objects of one table that somebody wants to know about; `sets` are maps as well."""

    chains: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()


class Tables(Protocol):
    """A reader of our tables; this module is one."""

    def read_tables(self) -> KernelTables:
        """Everything but elements."""

    def read_names(self) -> KernelTables:
        """The same, but of regular chains only their names."""

    def read_sets(self) -> KernelTables:
        """The sets and maps alone."""

    def read_some(self, names: Mapping[TableFamily, Names]) -> KernelTables:
        """Only these, as far as they are there."""

    def read_generation(self) -> int:
        """The nftables generation of the network namespace."""


def read_tables() -> KernelTables:
    """Our tables with everything but elements, at one moment.

    Raises NetlinkError without CAP_NET_ADMIN, or if the tables kept changing for five seconds.
    """
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        return _consistent(sock, partial(_read, sock, every_rule=True))


def read_names() -> KernelTables:
    """As `read_tables`, without the rules of regular chains: what an apply needs, at a fifth of the time."""
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        return _consistent(sock, partial(_read, sock, every_rule=False))


def read_sets() -> KernelTables:
    """As `read_tables`, but of the sets and maps alone: 1 ms, however many policies there are."""
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        return _consistent(sock, partial(_read_sets, sock))


def read_some(names: Mapping[TableFamily, Names]) -> KernelTables:
    """As `read_tables`, but only these, as far as they are there: 0.1 ms each, however much else there is."""
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        return _consistent(sock, lambda family: _read_named(sock, family, names.get(family, Names())))


def read_generation() -> int:
    """The nftables generation of the network namespace: moves with every commit of anyone. 0.1 ms."""
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        return _generation(sock)


def _consistent(sock: NetlinkSocket, read: Callable[[TableFamily], KernelTable | None]) -> KernelTables:
    """Our tables at a moment when nobody committed.

    The generation is that of the whole namespace, so another program that commits every few milliseconds would keep
    us reading for ever. Two reads in a row that agree on everything but counter values are as good: what went and
    came back in between would have a new handle.
    """
    deadline = monotonic() + _PATIENCE_S
    before: KernelTables | None = None
    while monotonic() < deadline:
        generation = _generation(sock)
        found = [table for table in map(read, TABLE_FAMILIES) if table is not None]
        tables = KernelTables(generation, *found) if len(found) == len(TABLE_FAMILIES) else None
        if tables and (_generation(sock) == generation or (before and _shape(tables) == _shape(before))):
            return tables
        before = tables or before
        sleep(_PAUSE_S)
    raise NetlinkError(
        errno.EAGAIN,
        f"reading the tables {TABLE}",
        "something on this host changes nftables without pause; `nft monitor` shows what",
    )


def _read(sock: NetlinkSocket, family: TableFamily, *, every_rule: bool) -> KernelTable | None:
    """One table, or None if it went away while it was read."""
    here = NFGENMSG.pack(nf_tables.NFPROTO[family], 0, 0)
    mine = here + text(nf_tables.TABLE_NAME, TABLE)
    what = f"reading the table {family.nft} {TABLE}"
    try:
        table = sock.ask(nf_tables.GETTABLE, mine, what)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return KernelTable(family)
        raise
    try:
        chains = nf_tables.chains_of(sock.dump(nf_tables.GETCHAIN, here, what), TABLE)
        sets = sock.dump(nf_tables.GETSET, mine, what)
        counters, others = nf_tables.objects_of(sock.dump(nf_tables.GETOBJ, mine, what))
        flowtables = nf_tables.flowtables_of(sock.dump(nf_tables.GETFLOWTABLE, mine, what), TABLE)
        if every_rule:
            found = tuple(nf_tables.with_rules(chains, sock.dump(nf_tables.GETRULE, mine, what)))
        else:
            found = tuple(_with_base_rules(sock, chain, mine, what) for chain in chains)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return KernelTable(
        family,
        exists=True,
        chains=found,
        sets=tuple(map(nf_tables.set_of, sets)),
        counters=counters,
        flags=nf_tables.table_flags_of(table),
        owner=_owner(table),
        comment=nf_tables.table_comment_of(table),
        others=(*others, *flowtables),
    )


def _read_sets(sock: NetlinkSocket, family: TableFamily) -> KernelTable | None:
    mine = NFGENMSG.pack(nf_tables.NFPROTO[family], 0, 0) + text(nf_tables.TABLE_NAME, TABLE)
    what = f"reading the sets of the table {family.nft} {TABLE}"
    try:
        sock.ask(nf_tables.GETTABLE, mine, what)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return KernelTable(family)
        raise
    try:
        sets = sock.dump(nf_tables.GETSET, mine, what)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return KernelTable(family, exists=True, sets=tuple(map(nf_tables.set_of, sets)))


def _read_named(sock: NetlinkSocket, family: TableFamily, names: Names) -> KernelTable:
    head = NFGENMSG.pack(nf_tables.NFPROTO[family], 0, 0)
    mine = head + text(nf_tables.TABLE_NAME, TABLE)
    what = f"reading the table {family.nft} {TABLE}"

    def found(kind: int, *attributes: bytes) -> list[bytes]:
        try:
            return [sock.ask(kind, b"".join((mine, *attributes)), what)]
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    there = found(nf_tables.GETTABLE)
    if not there:
        return KernelTable(family)
    counter = u32(nf_tables.OBJ_TYPE, nf_tables.OBJECT_COUNTER)
    chains = nf_tables.chains_of(
        (one for name in names.chains for one in found(nf_tables.GETCHAIN, text(nf_tables.CHAIN_NAME, name))), TABLE
    )
    rules = (
        rule
        for chain in chains
        for rule in sock.dump(nf_tables.GETRULE, mine + text(nf_tables.RULE_CHAIN, chain.name), what)
    )
    return KernelTable(
        family,
        exists=True,
        chains=tuple(nf_tables.with_rules(chains, rules)),
        sets=tuple(
            nf_tables.set_of(one)
            for name in names.sets
            for one in found(nf_tables.GETSET, text(nf_tables.SET_NAME, name))
        ),
        counters=tuple(
            nf_tables.counter_of(one)
            for name in names.counters
            for one in found(nf_tables.GETOBJ, text(nf_tables.OBJ_NAME, name), counter)
        ),
        flags=nf_tables.table_flags_of(there[0]),
        owner=_owner(there[0]),
        comment=nf_tables.table_comment_of(there[0]),
    )


def _owner(table: bytes) -> str:
    """The program that a table belongs to, in words; nothing where it is anybody's."""
    if not nf_tables.table_flags_of(table) & nf_tables.OWNED:
        return ""
    port = nf_tables.table_owner_of(table)
    try:
        name = Path(f"/proc/{port}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return f"another program (netlink port {port})"
    return f"{name} (pid {port})"


def _with_base_rules(sock: NetlinkSocket, chain: KernelChain, mine: bytes, what: str) -> KernelChain:
    if chain.base is None:
        return chain
    rules = sock.dump(nf_tables.GETRULE, mine + text(nf_tables.RULE_CHAIN, chain.name), what)
    return next(nf_tables.with_rules((chain,), rules))


def _generation(sock: NetlinkSocket) -> int:
    return nf_tables.generation_of(sock.ask(nf_tables.GETGEN, NFGENMSG.pack(0, 0, 0), "reading the generation"))


def _shape(tables: KernelTables) -> tuple[object, ...]:
    """Everything but counter values."""
    return tuple(
        (table.exists, table.flags, table.chains, table.sets, table.others, [one.name for one in table.counters])
        for table in tables.every
    )
