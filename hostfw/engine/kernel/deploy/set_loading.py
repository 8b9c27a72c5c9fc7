"""Loading of big sets between prepare and switch.

After a crash a set may have its final name and only a part of its elements. Elements are added in order, a batch in
each transaction, so the last one is there only if all are: the kernel is asked for that one.

A set that is edited in place keeps its name. Its mark, which changes in the same transaction as its content, names the
content; the content itself is kept in the run directory, so the next one is sent as a difference.
"""

from collections.abc import Iterable
from pathlib import Path

from hostfw.host.nftables.sets.elements import Edit, Keys
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.store.members.set_contents import load_content, save_contents
from hostfw.model.prefixes import PackedAddresses, difference
from hostfw.nft.change import SetLoad
from hostfw.nft.declarations import SetName
from hostfw.nft.objects import Ruleset, Set


def not_loaded(
    ruleset: Ruleset, tables: KernelTables, nftables: Nftables, altered: frozenset[SetName] = frozenset()
) -> frozenset[SetName]:
    """The big sets named by content that the kernel has, but not with all their elements. Raises HostError.

    Those that are `altered` are filled anew instead.
    """
    return frozenset(
        (table.family, wanted.name)
        for table in ruleset.tables
        for wanted in table.sets
        if wanted.is_big
        and not wanted.edited_in_place
        and (table.family, wanted.name) not in altered
        and any(there.name == wanted.name for there in tables.of(table.family).sets)
        and not nftables.is_loaded(table.family, wanted.name, keys_of(wanted))
    )


def load_sets(loads: Iterable[SetLoad], nftables: Nftables, run_dir: Path) -> int:
    """Put the elements into big sets; what is there already stays, or is edited to what is wanted.

    Gives the number of commits. Raises HostError.
    """
    commits = 0
    for one in loads:
        family, contents, there, marks, _ = one
        if contents.edited_in_place and there:
            nftables.replace_elements(family, contents.name, _edit(one, run_dir))
            commits += 1
            continue
        commits += nftables.add_elements(family, contents.name, keys_of(contents))
        if contents.edited_in_place:
            nothing = keys_of(contents).part(0, 0)
            nftables.replace_elements(family, contents.name, Edit(nothing, nothing, marks, contents.mark))
            commits += 1
    return commits


def remember_contents(ruleset: Ruleset, run_dir: Path) -> None:
    """Keep the contents of the sets apart for their next difference; what cannot be kept costs time and no more."""
    in_place = (contents for table in ruleset.tables for contents in table.sets if contents.edited_in_place)
    save_contents(run_dir, {_content_of(contents.mark): keys_of(contents).data for contents in in_place})


def _edit(wanted: SetLoad, run_dir: Path) -> Edit:
    """The difference to what a set holds, or everything where that is not known or is another altogether."""
    keys = keys_of(wanted.set)
    known = len(wanted.marks) == 1 and not wanted.whole
    old = load_content(run_dir, _content_of(wanted.marks[0])) if known else None
    found = None if old is None else difference(old, keys.data, keys.width)
    if found is None:
        return Edit(keys, None, wanted.marks, wanted.set.mark)
    added, deleted = found
    return Edit(Keys(added, keys.width), Keys(deleted, keys.width), wanted.marks, wanted.set.mark)


def _content_of(mark: str) -> str:
    return mark.rpartition("/")[2]


def keys_of(contents: Set) -> Keys:
    """The elements of a big set as the kernel has them."""
    if not isinstance(contents.elements, PackedAddresses):
        raise TypeError(f"the set {contents.name} goes with its script")
    return Keys(contents.elements.data, contents.elements.width)
