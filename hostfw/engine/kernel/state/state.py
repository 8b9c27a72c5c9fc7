"""Our tables as the kernel holds them now: read in full, or known from our last commit and what was sent since.

Every commit in any table changes nftables' generation of the network namespace. As long as it is the one after our last
commit, the kernel holds what was read back then. If only our own commits have changed it, the kernel holds that and
what they sent, so only that is read back; likewise if others have committed and are known not to have touched our
tables. In any other case everything is read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hostfw.build.cache import EngineCache
from hostfw.engine.context import Directories, Host
from hostfw.engine.kernel.deploy.set_loading import not_loaded
from hostfw.engine.kernel.state.contents import altered, is_unchanged_since, misdeclared
from hostfw.engine.kernel.state.installed import (
    Digests,
    digests,
    has_foreign_hooks,
    in_sentences,
    installed_tables,
    missing,
)
from hostfw.host.nftables.tables import KernelTables, Names
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.store.generations.active import ActiveGeneration, load_active, record_stamp
from hostfw.model.values import BRIDGE, TABLE_FAMILIES, Family, TableFamily
from hostfw.nft.declarations import SetName
from hostfw.nft.installed import InstalledTable, missing_objects
from hostfw.nft.objects import BASE_CHAIN_NAMES, Ruleset, Table

READ_ONE_BY_ONE = 500
"""Most objects that are read back by name whatever there is; beyond that, at most a share of all objects."""
READ_SHARE = 8
"""To read an object by its name takes as long as to read so many of all: 0.1 ms."""


@dataclass(frozen=True, slots=True)
class KernelState:
    """Our tables in the kernel, and the record of them.

    `ruleset` is the cached one, None where the kernel was read; `lacking` are objects of the sent ruleset that the
    kernel lacks, in sentences. `changed_by_others` is True if another program edited a chain meanwhile. `certain` is
    False if another program committed something, not known what, after our chains were written; `miscounted` are then
    the regular chains with another number of rules than was sent. `tables` are those that were read, None where not
    all was.
    """

    kernel_generation: int
    installed: tuple[InstalledTable, ...]
    chains: Digests
    record: ActiveGeneration | None
    ruleset: Ruleset | None = None
    lacking: tuple[str, ...] = ()
    changed_by_others: bool = False
    certain: bool = True
    miscounted: frozenset[tuple[TableFamily, str]] = frozenset()
    tables: KernelTables | None = None


def read_kernel_state(
    wanted: Ruleset, directories: Directories, host: Host, nftables: Nftables, cache: EngineCache | None
) -> KernelState:
    """Read the state of the kernel that a ruleset is to replace. Raises HostError."""
    known = None if cache is None else _cached(cache, directories, host)
    if known is not None:
        return known
    record, _ = load_active(directories.run)
    tables = host.read_tables()
    installed = installed_by(wanted, tables, record, host, nftables)
    lacking = missing(tables, wanted)
    return KernelState(tables.generation, installed, digests(tables), record, lacking=lacking, tables=tables)


def installed_by(
    wanted: Ruleset, tables: KernelTables, record: ActiveGeneration | None, host: Host, nftables: Nftables
) -> tuple[InstalledTable, ...]:
    """The installed tables, compared with the record and, where names do not suffice, with a ruleset. Raises HostError.

    Elements are looked at where somebody may have changed them since the commit on record.
    """
    others: frozenset[SetName] = frozenset()
    if not is_unchanged_since(tables, record):
        others = altered(tables, wanted, host, nftables)
    lacking = not_loaded(wanted, tables, nftables, others)
    return installed_tables(tables, record, lacking, others, misdeclared(tables, wanted))


def read_back(before: KernelState, wanted: Ruleset, host: Host, nftables: Nftables, commits: int | None) -> KernelState:
    """Read the kernel after so many commits of ours, None where they cannot be counted. Raises HostError.

    Elements are looked at where others have committed in between: nobody would ask for those of before any more.
    """
    if commits == 0:
        return before
    if before.ruleset is not None and commits is not None:
        known = _read_what_was_sent(before, wanted, host, commits)
        if known is not None:
            return known
    tables = host.read_tables()
    found = digests(tables)
    chains = _as_written(found, before)
    # What we have just written is what its names say.
    installed = tuple(replace(table, suspect=frozenset()) for table in installed_tables(tables, None))
    lacking = missing(tables, wanted)
    since = before.kernel_generation
    alone = commits is not None and tables.generation == since + commits
    certain = alone or host.only_ours(since, tables.generation)
    if not certain:
        lacking = (*lacking, *in_sentences(altered(tables, wanted, host, nftables)))
    changed_by_others = chains != found or has_foreign_hooks(installed)
    return KernelState(
        tables.generation,
        installed,
        chains,
        before.record,
        lacking=lacking,
        changed_by_others=changed_by_others,
        certain=certain,
        miscounted=frozenset() if certain else _miscounted(tables, wanted),
        tables=tables,
    )


def _miscounted(tables: KernelTables, wanted: Ruleset) -> frozenset[tuple[TableFamily, str]]:
    """The regular chains of a ruleset that have another number of rules."""
    rules = {(table.family, chain.name): len(chain.rules) for table in wanted.tables for chain in table.chains}
    there = ((family, chain) for family in TABLE_FAMILIES for chain in tables.of(family).chains)
    return frozenset(
        (family, chain.name)
        for family, chain in there
        if chain.base is None and rules.get((family, chain.name), chain.rules) != chain.rules
    )


def _as_written(found: Digests, before: KernelState) -> Digests:
    """The digests of the chains as they were written: of one that we have not touched, that of before.

    If somebody edited it in the meantime it differs from what is there, which the next look shows.
    """
    untouched = untouched_chains(before)
    return tuple((family, name, untouched.get((family, name), digest)) for family, name, digest in found)


def untouched_chains(before: KernelState) -> dict[tuple[TableFamily, str], str]:
    """The digests of the chains that a change from a state does not write."""
    suspect = {(table.family, name) for table in before.installed for name in table.suspect}
    return {
        (family, name): digest
        for family, name, digest in before.chains
        if name not in BASE_CHAIN_NAMES and (family, name) not in suspect
    }


def _cached(cache: EngineCache, directories: Directories, host: Host) -> KernelState | None:
    """The cached state, if nothing has been committed and the record has not been written since."""
    held, cache.last_commit = cache.last_commit, None
    if held is None or not held.stamp or record_stamp(directories.run) != held.stamp:
        return None
    generation = host.read_generation()
    if generation != held.kernel_generation and not host.only_ours(held.kernel_generation, generation):
        return None
    return KernelState(generation, held.installed, held.record.chains, held.record, held.ruleset)


def _read_what_was_sent(before: KernelState, wanted: Ruleset, host: Host, commits: int) -> KernelState | None:
    """Read back only what was sent, if no other program touched our tables; None if everything must be read."""
    there = {table.family: table for table in before.installed}
    new = tuple(_new(table, there.get(table.family)) for table in wanted.tables)
    if _objects(new) > max(READ_ONE_BY_ONE, _objects(wanted.tables) // READ_SHARE):
        return None
    tables = host.read_some({table.family: _names(table) for table in new})
    since, generation = before.kernel_generation, tables.generation
    if generation != since + commits and not host.only_ours(since, generation):
        return None
    chains = _digests_after(before, digests(tables), wanted)
    read = {table.family: table for table in installed_tables(tables, None)}
    installed = tuple(_after(table, read[table.family]) for table in wanted.tables if table.family in read)
    return KernelState(generation, installed, chains, before.record, lacking=missing(tables, Ruleset(new)))


def _objects(tables: Iterable[Table]) -> int:
    return sum(len(table.chains) + len(table.sets) + len(table.maps) + len(table.counters) for table in tables)


def _new(wanted: Table, there: InstalledTable | None) -> Table:
    """The objects of a table that are new, and its base chains."""
    if there is None:
        return wanted
    missing = missing_objects(wanted, there)
    edited = tuple(s for s in wanted.sets if s.name in there.sets and s.edited_in_place and s.mark not in there.sets)
    return replace(missing, sets=(*missing.sets, *edited), base_chains=wanted.base_chains)


def _names(table: Table) -> Names:
    """The names of a table's objects; base chains that are not used any more are still there, and empty."""
    return Names(
        (*(chain.name for chain in table.chains), *sorted(BASE_CHAIN_NAMES)),
        (*_set_names(table), *(m.name for m in table.maps)),
        table.counters,
    )


def _set_names(table: Table) -> Iterable[str]:
    for one in table.sets:
        yield one.name
        if one.edited_in_place:
            yield one.mark


def _digests_after(before: KernelState, read: Digests, wanted: Ruleset) -> Digests:
    """The digests of all chains, once those of `read` have been written and those that nobody wants are gone."""
    names = {table.family: table.names.chains for table in wanted.tables}
    gone: dict[TableFamily, set[str]] = {family: {*BASE_CHAIN_NAMES} for family in TABLE_FAMILIES}
    for table in before.installed:
        gone[table.family] |= table.chains - names.get(table.family, frozenset())
    for family, name, _ in read:
        gone[family].add(name)
    # Families apart: a member of an enumeration takes as long to look up as all else of this.
    gone_v4, others = gone[Family.V4], {Family.V6: gone[Family.V6], BRIDGE: gone[BRIDGE]}
    kept = [one for one in before.chains if one[1] not in (gone_v4 if one[0] is Family.V4 else others[one[0]])]
    return (*kept, *read)


def _after(wanted: Table, read: InstalledTable) -> InstalledTable:
    """A table as it is once a change to what is wanted has gone through, and what it does not need is swept."""
    names = wanted.names
    return InstalledTable(
        wanted.family,
        counters=names.counters,
        sets=frozenset(_set_names(wanted)),
        maps=names.maps,
        chains=names.chains,
        base_chains=read.base_chains,
    )
