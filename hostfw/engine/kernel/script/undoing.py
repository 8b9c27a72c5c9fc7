"""Changes of another program to our tables that a stored script leaves as they are, and what undoes them.

A script adds its objects to those that are there. It writes every rule anew, but takes out no element, changes no
declaration, and leaves what it does not name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hostfw.engine.context import Host
from hostfw.engine.kernel.state.contents import altered_by_name, altered_links, is_unchanged_since
from hostfw.engine.kernel.state.installed import counters_digest
from hostfw.host.nftables.tables import KernelTable, KernelTables
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.model.values import BRIDGE, FAMILIES, TABLE_FAMILIES, TableFamily
from hostfw.nft.declarations import SetName
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.object_text import table_name
from hostfw.nft.objects import BASE_CHAIN_NAMES, TABLE, is_external

_DECLARED = re.compile(
    rf"^add (set|map) (ip6?|bridge) {TABLE} (\S+) \{{\n((?:(?!\}}|\telements = ).*\n)*)(\telements = .*\n)?\}}$",
    re.MULTILINE,
)
"""A set or map as a script declares it: its kind, family, name, declaration and elements."""
_NAMED = re.compile(rf"^add (counter|set|map|chain) (ip6?|bridge) {TABLE} (\S+)", re.MULTILINE)
_OF_NFT = {family.nft: family for family in TABLE_FAMILIES}


@dataclass(frozen=True, slots=True)
class Undoing:
    """Commands that undo the changes of another program: deletions `first` and `last`, and text around the script.

    Tables that are `remade` can only be deleted and made again, which the `head` does in the script's transaction.
    If the first deletions are of what rules name, they leave no rule (`closes`): then nothing passes input and output,
    which drop by policy. Elements go before the script, and not in it: libnftables (1.0.6) reads the sets of every
    table on the host for that, and dies of what a newer nft noted there.
    """

    first: tuple[Deletion, ...] = ()
    remade: frozenset[TableFamily] = frozenset()
    tail: str = ""
    last: tuple[Deletion, ...] = ()
    closes: bool = False

    @property
    def head(self) -> str:
        """The text in front of the script."""
        return "".join(f"delete table {table_name(family)}\n" for family in TABLE_FAMILIES if family in self.remade)


def undoing(
    script: str,
    tables: KernelTables,
    record: ActiveGeneration | None,
    noted: Mapping[SetName, tuple[int, ...]],
    host: Host,
    run_dir: Path,
) -> Undoing:
    """Find what another program changed that a script leaves as it is. Raises HostError.

    Elements are looked at where somebody may have changed them since the commit on record. Interfaces, which no script
    knows, are put in again as they were `noted`.
    """
    gone = frozenset(f for f in TABLE_FAMILIES if tables.of(f).is_commented or tables.of(f).is_abandoned)
    redeclared = tuple(
        Deletion(family, DeletionKind.MAP if is_map else DeletionKind.SET, name)
        for family in TABLE_FAMILIES
        if family not in gone
        for name, is_map in _redeclared(tables.of(family), record)
    )
    rules = (
        Deletion(family, DeletionKind.RULES, chain.name)
        for family in TABLE_FAMILIES
        if family in {one.family for one in redeclared}
        for chain in tables.of(family).chains
    )
    altered = links = frozenset[SetName]()
    if not is_unchanged_since(tables, record):
        altered, links = altered_by_name(tables, host, run_dir), altered_links(tables, host, run_dir)
    made = {(one.family, one.name) for one in redeclared}
    emptied: list[Deletion] = []
    tail = ""
    for kind, nft, name, declaration, elements in _DECLARED.findall(script):
        place = _OF_NFT[nft], name
        is_new = place in made or place[0] in gone or not tables.of(place[0]).exists
        if not is_new and ((elements and place in altered) or place in links):
            emptied.append(Deletion(place[0], DeletionKind.ELEMENTS, name))
        if (is_new or place in links) and noted.get(place):
            indices = ", ".join(map(str, noted[place]))
            tail += f"add {kind} {nft} {TABLE} {name} {{\n{declaration}\telements = {{ {indices} }}\n}}\n"
    last = [one for f in FAMILIES if f not in gone for one in _foreign(script, tables.of(f), record)]
    if BRIDGE not in gone and tables.bridge.exists:
        unwanted = f"add table {table_name(BRIDGE)}\n" not in script
        of_bridges = (Deletion(BRIDGE, DeletionKind.TABLE),) if unwanted else _foreign(script, tables.bridge, record)
        last.extend(of_bridges)
    return Undoing((*rules, *redeclared, *emptied), gone, tail, tuple(last), closes=bool(redeclared))


def _redeclared(table: KernelTable, record: ActiveGeneration | None) -> Iterator[tuple[str, bool]]:
    """The sets and maps that are not declared as on record, and whether it is a map."""
    declared = {name: text for family, name, text in (record.sets if record else None) or () if family is table.family}
    for one in table.sets:
        if declared.get(one.name, str(one.declaration)) != str(one.declaration):
            yield one.name, one.is_map


def _foreign(script: str, table: KernelTable, record: ActiveGeneration | None) -> Iterator[Deletion]:
    """Deletions of what neither a script names nor the record; without a record, of what none of ours is ever like."""
    named = {(kind, name) for kind, nft, name in _NAMED.findall(script) if nft == table.family.nft}
    family = table.family
    chains = [chain for chain in table.chains if chain.name not in BASE_CHAIN_NAMES]
    sets = [one for one in table.sets if not one.is_anonymous and not is_external(one.name)]
    counters = [counter.name for counter in table.counters]
    if record is None or record.sets is None:
        chains, sets = [chain for chain in chains if chain.base is not None], []
    else:
        ours = {name for of, name, _ in (*record.chains, *record.sets) if of is family}
        chains = [chain for chain in chains if chain.name not in ours]
        sets = [one for one in sets if one.name not in ours]
    if record is None or dict(record.counters or ()).get(family, "") in ("", counters_digest(counters)):
        counters = []
    found = (
        (DeletionKind.RULES, "chain", [chain.name for chain in chains]),
        (DeletionKind.MAP, "map", [one.name for one in sets if one.is_map]),
        (DeletionKind.CHAIN, "chain", [chain.name for chain in chains]),
        (DeletionKind.SET, "set", [one.name for one in sets if not one.is_map]),
        (DeletionKind.COUNTER, "counter", counters),
    )
    for what, kind, names in found:
        yield from (Deletion(family, what, name) for name in names if (kind, name) not in named)
    yield from (Deletion(family, what, name) for what, name in table.others)
