"""From what the kernel holds to what it should hold: prepare, switch, sweep.

Chains, sets and maps carry the digest of their content in their names, so a name that is there needs nothing, and
nothing that a packet can meet is ever edited. *Prepare* adds what is new, not yet referred to. *Fill* puts the elements
into big sets, which the scripts only declare. *Switch* is one transaction that turns the base chains to the new
structure, for both families at once. *Sweep* deletes what nothing refers to any more. A crash between two of them, or
within fill, leaves the old or the new generation, and litter for the next sweep.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from hostfw.model.values import Family
from hostfw.nft.deletions import Deleted, Deletion
from hostfw.nft.installed import InstalledTable
from hostfw.nft.objects import BASE_CHAIN_NAMES, Ruleset, Set, Table
from hostfw.nft.render import Texts, additions, table_name
from hostfw.nft.switch import Switch, looked_up


class Fill(NamedTuple):
    """A big set that is to get its elements, between prepare and switch.

    A set apart may be `there` with another content: `marks` are those that it has now.
    """

    family: Family
    set: Set
    there: bool = False
    marks: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"{table_name(self.family)} {self.set.name}"
        number = len(self.set.elements)
        return f"edit {what} to hold {number} elements" if self.marks else f"add {number} elements to {what}"


@dataclass(frozen=True, slots=True)
class Change:
    """What leads to a ruleset: scripts, sets to fill and deletions; what is empty has nothing to do.

    Each script is one transaction, and so are the deletions. `fills` are of sets that nothing refers to yet;
    `edits` are of sets apart that packets may meet. Where the prepare could add the new rules of base chains behind
    the final one that is in force, `turn` deletes all that stands in front of them, and does what `switch` does.
    """

    prepare: str = ""
    fills: tuple[Fill, ...] = ()
    edits: tuple[Fill, ...] = ()
    switch: str = ""
    turn: tuple[Deletion, ...] = ()
    sweep: tuple[Deletion, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the kernel already holds exactly the ruleset."""
        return not (self.prepare or self.fills or self.edits or self.switch or self.sweep)

    def __str__(self) -> str:
        fill = "".join(f"# {fill}\n" for fill in (*self.fills, *self.edits))
        turn, sweep = ("".join(f"{deletion}\n" for deletion in part) for part in (self.turn, self.sweep))
        steps = (("prepare", self.prepare), ("fill", fill), ("switch", turn or self.switch), ("sweep", sweep))
        return "\n".join(f"# {name}\n{script}" for name, script in steps if script)


def change(desired: Ruleset, installed: Iterable[InstalledTable], texts: Texts | None = None) -> Change:
    """The change from the installed tables to a ruleset; what is in `texts` is not written again."""
    by_family = {table.family: table for table in installed}
    pairs = [(table, by_family.get(table.family)) for table in desired.tables]
    present = [(table, there) for table, there in pairs if there is not None]
    contents = [fill for table, there in pairs for fill in _fills(table, there)]
    switches = [Switch(table, there) for table, there in pairs]
    turns = all(switch.turns for switch in switches)
    prepared = [_prepare(table, there, texts) for table, there in pairs]
    behind = [switch.behind() if turns else "" for switch in switches]
    return Change(
        prepare="".join((*prepared, *behind)),
        fills=tuple(fill for fill in contents if not (fill.there and fill.marks)),
        edits=tuple(fill for fill in contents if fill.there and fill.marks),
        switch="".join(switch.script() for switch in switches),
        turn=tuple(deletion for switch in switches for deletion in switch.turn()) if turns else (),
        sweep=tuple(deletion for table, there in present for deletion in _sweep(table, there)),
    )


def _prepare(desired: Table, installed: InstalledTable | None, texts: Texts | None) -> str:
    if installed is None:
        return additions(replace(desired, base_chains=()), Table(desired.family), texts)
    missing = Table(
        desired.family,
        tuple(name for name in desired.counters if name not in installed.counters),
        tuple(s for s in desired.sets if s.name not in installed.sets),
        tuple(m for m in desired.maps if m.name not in installed.maps),
        tuple(c for c in desired.chains if c.name not in installed.chains),
    )
    if missing == Table(desired.family):
        return ""
    return additions(missing, looked_up(missing.chains, desired, missing), texts)


def _fills(desired: Table, installed: InstalledTable | None) -> Iterator[Fill]:
    there = InstalledTable(desired.family) if installed is None else installed
    filled = there.sets - there.unfilled
    for wanted in desired.sets:
        if wanted.apart:
            marks = tuple(sorted(_marks(wanted, there)))
            if wanted.name not in there.sets or marks != (wanted.mark,):
                yield Fill(desired.family, wanted, wanted.name in there.sets, marks)
        elif wanted.is_big and wanted.name not in filled:
            yield Fill(desired.family, wanted)


def _marks(contents: Set, installed: InstalledTable) -> set[str]:
    """What tells which content a set apart has: one mark, or as many as another hand left."""
    return {name for name in installed.sets if name.startswith(f"{contents.name}/")}


def _sweep(desired: Table, installed: InstalledTable) -> Iterator[Deletion]:
    """Deletions in an order that leaves nothing referred to: rules first, then maps, and only then chains."""
    # A base chain that is none of ours was put there by another's hand, and decides beside ours.
    foreign = installed.base_chains.keys() - BASE_CHAIN_NAMES
    chains = sorted((installed.chains - {chain.name for chain in desired.chains}) | foreign)
    maps = sorted(installed.maps - {m.name for m in desired.maps})
    marks = {mark for s in desired.sets if s.apart for mark in _marks(s, installed)}
    sets = sorted(installed.sets - {s.name for s in desired.sets} - marks)
    counters = sorted(installed.counters - set(desired.counters))
    for what, names in (
        (Deleted.RULES, chains),
        (Deleted.MAP, maps),
        (Deleted.CHAIN, chains),
        (Deleted.SET, sets),
        (Deleted.COUNTER, counters),
    ):
        yield from (Deletion(desired.family, what, name) for name in names)
