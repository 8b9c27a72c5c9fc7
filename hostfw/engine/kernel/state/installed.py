"""Comparison of the tables in the kernel with the record."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from operator import attrgetter

from hostfw.host.nftables.nf_tables import DORMANT, KernelChain
from hostfw.host.nftables.tables import KernelTable, KernelTables
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.model.values import BRIDGE, FAMILIES, TABLE_FAMILIES, TableFamily
from hostfw.model.wording import counted, listed
from hostfw.nft.amendment import Renaming, WakeUp
from hostfw.nft.change import renamings_of
from hostfw.nft.declarations import SetName
from hostfw.nft.installed import InstalledBaseChain, InstalledTable, as_installed
from hostfw.nft.object_text import table_name
from hostfw.nft.objects import BASE_CHAIN_NAMES, BASE_CHAIN_PLACES, DROPPING_CHAINS, Place, Ruleset, Table

Digests = tuple[tuple[TableFamily, str, str], ...]


def installed_tables(
    tables: KernelTables,
    record: ActiveGeneration | None,
    unfilled: frozenset[SetName] = frozenset(),
    altered: frozenset[SetName] = frozenset(),
    misdeclared: frozenset[SetName] = frozenset(),
) -> tuple[InstalledTable, ...]:
    """The tables that exist, with the chains that cannot be trusted to hold what their names say.

    `unfilled` are the big sets that lack elements, `altered` the sets and maps with other elements than they should
    have, and `misdeclared` those that are something else.
    """
    found = (tables.of(family) for family in TABLE_FAMILIES)
    return tuple(
        replace(
            _installed(table, record),
            unfilled=_of(table.family, unfilled),
            altered=_of(table.family, altered),
            misdeclared=_of(table.family, misdeclared),
        )
        for table in found
        if table.exists
    )


def _of(family: TableFamily, names: frozenset[SetName]) -> frozenset[str]:
    return frozenset(name for of, name in names if of is family)


def digests(tables: KernelTables) -> Digests:
    """The digest of every chain of ours, to be remembered; a base chain that is none of ours is by another program."""
    found: list[tuple[TableFamily, str, str]] = []
    for family in TABLE_FAMILIES:
        table = tables.of(family)
        foreign = {chain.name for chain in table.chains if chain.base is not None} - BASE_CHAIN_NAMES
        found.extend((family, name, digest) for name, digest in table.chain_digests.items() if name not in foreign)
    return tuple(found)


def declarations(tables: KernelTables) -> Digests:
    """The declarations of all our sets and maps, to be recorded."""
    return tuple(
        (family, one.name, str(one.declaration))
        for family in TABLE_FAMILIES
        for one in tables.of(family).sets
        if not one.is_anonymous
    )


def in_sentences(altered: Iterable[SetName]) -> tuple[str, ...]:
    """Sets and maps that do not hold what they should, in sentences."""
    return tuple(
        f"table {table_name(family)}: the elements of {name} were changed by another program"
        for family, name in sorted(altered)
    )


def has_foreign_hooks(installed: Iterable[InstalledTable]) -> bool:
    """True if our tables have a base chain that is none of ours, and decides beside them."""
    return any(table.base_chains.keys() - BASE_CHAIN_NAMES for table in installed)


def missing(tables: KernelTables, ruleset: Ruleset) -> tuple[str, ...]:
    """Objects of a ruleset that the kernel lacks, in sentences: empty after a successful commit."""
    return tuple(
        sentence for table in ruleset.tables for sentence in _missing(_installed(tables.of(table.family), None), table)
    )


def amendments(tables: KernelTables) -> tuple[tuple[Renaming, ...], tuple[WakeUp, ...]]:
    """Changes that no script can make: base chains to be renamed, and dormant tables to be woken."""
    found = installed_tables(tables, None)
    renamings = tuple(renaming for table in found for renaming in renamings_of(table))
    return renamings, tuple(WakeUp(table.family) for table in found if table.dormant)


def unprotected(tables: KernelTables) -> tuple[str, ...]:
    """Find what keeps our tables from denying what no rule of theirs allows, in sentences.

    That is a table that is gone, dormant or another program's, or a base chain that is gone, attached elsewhere, or
    accepts by policy.
    """
    sentences: list[str] = []
    for family in FAMILIES:
        table = tables.of(family)
        title = f"table {table_name(family)}"
        if not table.exists:
            sentences.append(f"{title} is gone")
            continue
        sentences.extend(f"{title} {sentence}" for sentence in _flagged(table))
        there = {chain.name: chain for chain in table.chains if chain.name in DROPPING_CHAINS}
        sentences.extend(f"{title}: chain {name} is gone" for name in sorted(DROPPING_CHAINS - there.keys()))
        sentences.extend(f"{title}: {sentence}" for sentence in _loosened(there))
    return tuple(sentences)


def drift(tables: KernelTables, record: ActiveGeneration | None) -> tuple[str, ...]:
    """Changes of other programs to our tables since we wrote them, in sentences; of chains as far as they were read.

    Without a record only what no generation of ours is like.
    """
    if record is None:
        return unprotected(tables)
    remembered = {(family, name): digest for family, name, digest in record.chains}
    sentences: list[str] = []
    for family in TABLE_FAMILIES:
        table = tables.of(family)
        title = f"table {table_name(family)}"
        mine = {name: digest for (of, name), digest in remembered.items() if of is family}
        if not table.exists:
            sentences.extend([f"{title} is gone"] if mine or family is not BRIDGE else [])
            continue
        sentences.extend(f"{title} {sentence}" for sentence in _flagged(table))
        there = {chain.name: chain for chain in table.chains}
        sentences.extend(f"{title}: chain {name} is gone" for name in sorted(mine.keys() - there.keys()))
        sentences.extend(f"{title}: chain {name} is not ours" for name in sorted(there.keys() - mine.keys()))
        changed = sorted(
            name
            for name, digest in mine.items()
            if digest and name in there and there[name].digest not in (None, digest)
        )
        sentences.extend(f"{title}: chain {name} was changed by another program" for name in changed)
        sentences.extend(
            f"{title}: {counted(chain.hidden, 'rule')} behind the last one of chain {chain.name} "
            f"{'was' if chain.hidden == 1 else 'were'} added by another program"
            for chain in sorted(table.chains, key=attrgetter("name"))
            # In front of others one moves our own to the end, and then the chain is changed.
            if chain.hidden and chain.name in mine and chain.name not in changed
        )
        sentences.extend(f"{title}: {sentence}" for sentence in _loosened(there))
        sentences.extend(f"{title}: {sentence}" for sentence in _commented(table))
        sentences.extend(f"{title}: {kind} {name} is not ours" for kind, name in table.others)
        if record.counters is not None:
            known = dict(record.counters).get(family, "")
            sentences.extend(f"{title}: {sentence}" for sentence in _recounted(table, known))
        if record.sets is not None:
            declared = {name: text for of, name, text in record.sets if of is family}
            sentences.extend(f"{title}: {sentence}" for sentence in _redeclared(table, declared))
    return tuple(sentences)


def counters_digest(names: Iterable[str]) -> str:
    """The number of counters and the digest of their names: all of the names would double the record."""
    every = sorted(names)
    return f"{len(every)}/{sha256(chr(10).join(every).encode()).hexdigest()[:16]}"


def _recounted(table: KernelTable, known: str) -> Iterator[str]:
    names = [counter.name for counter in table.counters]
    if not known or counters_digest(names) == known:
        return
    more = len(names) - int(known.partition("/")[0])
    if not more:
        yield "counters were exchanged by another program"
    else:
        was = "was" if abs(more) == 1 else "were"
        what = f"added by another program: {listed(names[-more:])}" if more > 0 else "deleted by another program"
        yield f"{counted(abs(more), 'counter')} {was} {what}"


def _redeclared(table: KernelTable, declared: Mapping[str, str]) -> Iterator[str]:
    there = {one.name: one for one in table.sets if not one.is_anonymous}
    kinds = {name: "map" if one.is_map else "set" for name, one in there.items()}
    yield from (f"set or map {name} is gone" for name in sorted(declared.keys() - there.keys()))
    yield from (f"{kinds[name]} {name} is not ours" for name in sorted(there.keys() - declared.keys()))
    for name in sorted(declared.keys() & there.keys()):
        if str(there[name].declaration) != declared[name]:
            yield f"{kinds[name]} {name} was declared otherwise by another program"


def _installed(table: KernelTable, record: ActiveGeneration | None) -> InstalledTable:
    trusted = {name: digest for family, name, digest in record.chains if family is table.family} if record else {}
    named = [item for item in table.sets if not item.is_anonymous]
    return InstalledTable(
        table.family,
        counters=frozenset(counter.name for counter in table.counters),
        sets=frozenset(item.name for item in named if not item.is_map),
        maps=frozenset(item.name for item in named if item.is_map),
        chains=frozenset(chain.name for chain in table.chains if not _is_base(chain)),
        base_chains={chain.name: _base_chain(chain) for chain in table.chains if _is_base(chain)},
        suspect=frozenset(chain.name for chain in table.chains if trusted.get(chain.name) != chain.digest),
        dormant=table.is_dormant,
        others=table.others,
        owner=table.owner,
        abandoned=table.is_abandoned,
        commented=table.is_commented,
    )


def _is_base(chain: KernelChain) -> bool:
    """True if it is a base chain, or should be one by its name."""
    return chain.base is not None or chain.name in BASE_CHAIN_PLACES


def _base_chain(chain: KernelChain) -> InstalledBaseChain:
    policy_drop = chain.base is not None and chain.base.policy == "drop"
    met = chain.rules or 0
    last = chain.base_rules[met - 1] if chain.base_rules and met else None
    return InstalledBaseChain(
        policy_drop,
        met,
        last.comment if last else "",
        final=last is not None and last.final,
        hidden=chain.hidden,
        handles=tuple(rule.handle for rule in chain.base_rules),
        misplaced=chain.name in BASE_CHAIN_PLACES
        and (_misplaced(chain) is not None or (policy_drop and chain.name not in DROPPING_CHAINS)),
        handle=chain.handle,
    )


def _misplaced(chain: KernelChain) -> str | None:
    """The wrong place where a base chain of ours is attached, in words; None if it is at the right one."""
    if chain.base is None:
        return "is attached to no hook any more"
    place = Place(chain.base.type, chain.base.hook, chain.base.priority)
    return None if place == BASE_CHAIN_PLACES[chain.name] else f"is attached elsewhere: {place}"


def _flagged(table: KernelTable) -> Iterator[str]:
    if table.is_dormant:
        yield "is dormant: no packet meets its rules"
    if table.owner:
        yield f"belongs to {table.owner}, which alone may change it"
    elif table.flags & ~DORMANT:
        yield f"was left behind by another program that it belonged to (flags {table.flags:#x})"


def _commented(table: KernelTable) -> Iterator[str]:
    """The table and chains that another program made again with a comment, in sentences."""
    if table.comment:
        yield "a comment was added by another program"
    for chain in sorted(table.chains, key=attrgetter("name")):
        if chain.comment:
            yield f"a comment was added to chain {chain.name} by another program"


def _missing(there: InstalledTable, wanted: Table) -> Iterator[str]:
    pairs = (
        ("counter", set(wanted.counters), there.counters),
        (
            "set",
            {name for s in wanted.sets for name in ((s.name, s.mark) if s.edited_in_place else (s.name,))},
            there.sets,
        ),
        ("map", {item.name for item in wanted.maps}, there.maps),
        ("chain", {chain.name for chain in wanted.chains}, there.chains),
    )
    title = table_name(wanted.family)
    if there.dormant:
        yield f"{title} awake"
    if there.owner or there.abandoned:
        yield f"{title} for everybody to change"
    if there.commented:
        yield f"{title} without a comment of another program"
    for kind, names, held in pairs:
        yield from (f"{kind} {name} of {title}" for name in sorted(names - held))
    for chain in wanted.base_chains:
        if there.base_chains.get(chain.name) != as_installed(chain):
            yield f"base chain {chain.name} of {title}"


def _loosened(there: Mapping[str, KernelChain]) -> Iterator[str]:
    """Base chains of another place or policy than their names say; digests are of rules alone."""
    for name in sorted(BASE_CHAIN_PLACES.keys() & there.keys()):
        chain = there[name]
        if misplaced := _misplaced(chain):
            yield f"chain {name} {misplaced}"
        if name in DROPPING_CHAINS and (chain.base is None or chain.base.policy != "drop"):
            yield f"chain {name} does not drop by policy any more"
        if name not in DROPPING_CHAINS and chain.base is not None and chain.base.policy != "accept":
            yield f"chain {name} drops by policy"
