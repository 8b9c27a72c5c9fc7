"""From what the kernel holds to what it should hold: prepare, switch, sweep.

Chains, sets and maps carry the digest of their content in their names, so a name that is there needs nothing, and
nothing that a packet can meet is ever edited. *Prepare* adds what is new, not yet referred to. *Fill* puts the elements
into big sets, which the scripts only declare. *Switch* is one transaction that turns the base chains to the new
structure, for all tables at once. *Sweep* deletes what nothing refers to any more. A crash between two of them, or
within fill, leaves the old or the new generation, and litter for the next sweep.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from hostfw.model.values import TableFamily
from hostfw.nft.amendment import Renaming, WakeUp
from hostfw.nft.declarations import fixed_contents
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.installed import InstalledTable, missing_objects
from hostfw.nft.object_text import CommandCache, additions, table_name
from hostfw.nft.objects import BASE_CHAIN_NAMES, Ruleset, Set, Table, VerdictMap
from hostfw.nft.switch import Switch, looked_up


class SetLoad(NamedTuple):
    """A big set that is to get its elements, between prepare and switch.

    A set apart may be `there` with another content: `marks` are those that it has now. It is edited as a `whole` where
    another program has changed that content.
    """

    family: TableFamily
    set: Set
    there: bool = False
    marks: tuple[str, ...] = ()
    whole: bool = False

    def __str__(self) -> str:
        what = f"{table_name(self.family)} {self.set.name}"
        number = len(self.set.elements)
        return f"edit {what} to hold {number} elements" if self.marks else f"add {number} elements to {what}"


class SetReload(NamedTuple):
    """A set or map to which another program gave other elements than its name says, and which gets these back."""

    family: TableFamily
    contents: Set | VerdictMap

    def __str__(self) -> str:
        kind = "set" if isinstance(self.contents, Set) else "map"
        number = len(self.contents.elements)
        return f"give the {kind} {table_name(self.family)} {self.contents.name} its {number} elements again"


@dataclass(frozen=True, slots=True)
class Change:
    """The steps to a ruleset: scripts, sets to load, and deletions; an empty one has nothing to do.

    Each script is one transaction, and so are the deletions. `set_loads` are of sets that nothing refers to yet;
    `set_edits` are of sets apart that packets may meet, and `set_reloads` of any set or map. Where the prepare could
    add the new rules of base chains behind the final one that is in force, `activation` deletes all that stands in
    front of them, and does what `switch` does. Just before the switch `renamings` make way for base chains at their
    right places, and just after it `wakings` let packets meet a table that somebody has put to sleep.
    """

    prepare: str = ""
    set_loads: tuple[SetLoad, ...] = ()
    set_edits: tuple[SetLoad, ...] = ()
    set_reloads: tuple[SetReload, ...] = ()
    renamings: tuple[Renaming, ...] = ()
    switch: str = ""
    activation: tuple[Deletion, ...] = ()
    wakings: tuple[WakeUp, ...] = ()
    sweep: tuple[Deletion, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if the kernel already holds exactly the ruleset."""
        return not any(
            (
                *(self.prepare, self.set_loads, self.set_edits, self.set_reloads, self.renamings),
                *(self.switch, self.activation, self.wakings, self.sweep),
            )
        )

    def __str__(self) -> str:
        load = "".join(f"# {load}\n" for load in (*self.set_loads, *self.set_edits, *self.set_reloads))
        parts = (self.renamings, self.activation, self.wakings, self.sweep)
        aside, activation, wake, sweep = ("".join(f"{one}\n" for one in part) for part in parts)
        switch = f"{aside}{activation or self.switch}{wake}"
        steps = (("prepare", self.prepare), ("fill", load), ("switch", switch), ("sweep", sweep))
        return "\n".join(f"# {name}\n{script}" for name, script in steps if script)


def change(desired: Ruleset, installed: Iterable[InstalledTable], texts: CommandCache | None = None) -> Change:
    """The change from the installed tables to a ruleset; what is in `texts` is not written again."""
    found = tuple(installed)
    renamings = tuple(renaming for table in found for renaming in renamings_of(table))
    by_family = {table.family: _renamed(table, renamings) for table in found}
    pairs = [(table, by_family.get(table.family)) for table in desired.tables]
    wanted = {table.family for table in desired.tables}
    present = [(table, there) for table, there in pairs if there is not None]
    contents = [load for table, there in pairs for load in _set_loads(table, there)]
    switches = [Switch(table, there) for table, there in pairs]
    by_deletion = all(switch.by_deletion for switch in switches)
    prepared = [_prepare(table, there, texts) for table, there in pairs]
    appended = [switch.appended_rules() if by_deletion else "" for switch in switches]
    return Change(
        prepare="".join((*prepared, *appended)),
        set_loads=tuple(load for load in contents if not (load.there and load.marks)),
        set_edits=tuple(load for load in contents if load.there and load.marks),
        set_reloads=tuple(reload for table, there in present for reload in _set_reloads(table, there)),
        renamings=renamings,
        switch="".join(switch.script() for switch in switches),
        activation=tuple(deletion for switch in switches for deletion in switch.deletions()) if by_deletion else (),
        wakings=tuple(WakeUp(table.family) for table in found if table.dormant),
        sweep=(
            *(deletion for table, there in present for deletion in _sweep(table, there)),
            *(Deletion(table.family, DeletionKind.TABLE) for table in found if table.family not in wanted),
        ),
    )


def renamings_of(installed: InstalledTable) -> Iterator[Renaming]:
    """The renamings of chains that have the name of a base chain and are not as it should be."""
    for name, chain in sorted(installed.base_chains.items()):
        if chain.misplaced:
            yield Renaming(installed.family, chain.handle, name, f"{name}/misplaced.{chain.handle}")


def _renamed(installed: InstalledTable, renamings: Iterable[Renaming]) -> InstalledTable:
    """A table as it is after the renamings, which make a base chain of ours one that is none."""
    names = {renaming.old: renaming.new for renaming in renamings if renaming.family is installed.family}
    if not names:
        return installed
    chains = {names.get(name, name): chain for name, chain in installed.base_chains.items()}
    return replace(installed, base_chains=chains)


def _prepare(desired: Table, installed: InstalledTable | None, texts: CommandCache | None) -> str:
    if installed is None:
        return additions(replace(desired, base_chains=()), Table(desired.family), texts)
    missing = missing_objects(desired, installed)
    if missing == Table(desired.family):
        return ""
    return additions(missing, looked_up(missing.chains, desired, missing), texts)


def _set_loads(desired: Table, installed: InstalledTable | None) -> Iterator[SetLoad]:
    there = InstalledTable(desired.family) if installed is None else installed
    filled = there.sets - there.unfilled
    for wanted in desired.sets:
        if wanted.edited_in_place:
            marks = tuple(sorted(_marks(wanted, there)))
            if wanted.name not in there.sets or marks != (wanted.mark,):
                is_there = wanted.name in there.sets
                yield SetLoad(desired.family, wanted, is_there, marks, wanted.name in there.altered)
        elif wanted.is_big and wanted.name not in filled:
            yield SetLoad(desired.family, wanted)


def _set_reloads(desired: Table, installed: InstalledTable) -> Iterator[SetReload]:
    """The sets to reload; a set edited in place that is to be edited gets all of its content by that."""
    for contents in fixed_contents(desired):
        edited = (
            isinstance(contents, Set) and contents.edited_in_place and _marks(contents, installed) != {contents.mark}
        )
        if contents.name in installed.altered and not edited:
            yield SetReload(desired.family, contents)


def _marks(contents: Set, installed: InstalledTable) -> set[str]:
    """The marks of a set edited in place, which name its content: one, or as many as another program left."""
    return {name for name in installed.sets if name.startswith(f"{contents.name}/")}


def _sweep(desired: Table, installed: InstalledTable) -> Iterator[Deletion]:
    """Deletions in an order that leaves nothing referred to: rules first, then maps, and only then chains."""
    # A base chain that is none of ours was put there by another program, and decides in addition to ours.
    foreign = installed.base_chains.keys() - BASE_CHAIN_NAMES
    names = desired.names
    chains = sorted((installed.chains - names.chains) | foreign)
    maps = sorted(installed.maps - names.maps)
    marks = {mark for s in desired.sets if s.edited_in_place for mark in _marks(s, installed)}
    sets = sorted(installed.sets - names.sets - marks)
    counters = sorted(installed.counters - names.counters)
    for what, going in (
        (DeletionKind.RULES, chains),
        (DeletionKind.MAP, maps),
        (DeletionKind.CHAIN, chains),
        (DeletionKind.SET, sets),
        (DeletionKind.COUNTER, counters),
    ):
        yield from (Deletion(desired.family, what, name) for name in going)
    yield from (Deletion(desired.family, what, name) for what, name in installed.others)
