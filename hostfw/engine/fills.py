"""Big sets between prepare and switch: which of them lack elements, and putting them in.

A set that a crash left half filled has its final name, which says what it should hold and not that it does. Elements
go in order, each batch a transaction, so the last one is there only if all are: the kernel is asked for that one.
"""

from collections.abc import Iterable

from hostfw.host.elements import Keys
from hostfw.host.nftables import Nftables
from hostfw.host.tables import KernelTables
from hostfw.model.cidr_set import PackedAddresses
from hostfw.model.values import Family
from hostfw.nft.change import Fill
from hostfw.nft.objects import Ruleset, Set

SetName = tuple[Family, str]


def unfilled(ruleset: Ruleset, tables: KernelTables, nftables: Nftables) -> frozenset[SetName]:
    """The big sets of a ruleset that the kernel has, but not with all their elements. Raises HostError."""
    return frozenset(
        (table.family, wanted.name)
        for table in ruleset.tables
        for wanted in table.sets
        if wanted.is_big
        and any(there.name == wanted.name for there in tables.of(table.family).sets)
        and not nftables.is_filled(table.family, wanted.name, _keys(wanted))
    )


def fill(fills: Iterable[Fill], nftables: Nftables) -> None:
    """Put the elements into big sets that nothing refers to yet; what is there already stays. Raises HostError."""
    for family, contents in fills:
        nftables.add_elements(family, contents.name, _keys(contents))


def _keys(contents: Set) -> Keys:
    if not isinstance(contents.elements, PackedAddresses):
        raise TypeError(f"the set {contents.name} goes with its script")
    return Keys(contents.elements.data, contents.elements.width)
