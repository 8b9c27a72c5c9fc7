"""Changes of objects that are there, as data: the kernel is told by netlink, and people in nft's words.

A base chain keeps its type, hook and priority for good, and a regular chain never becomes a base chain. One that stands
at another place than its name says is given another name, so that the switch makes a new one at the right place. It
goes with the sweep, after the new one is in force: no packet passes in between.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hostfw.model.values import TableFamily
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.objects import TABLE


@dataclass(frozen=True, slots=True)
class Renaming:
    """A chain that gets another name, found by its handle, which no other chain of the table ever has."""

    family: TableFamily
    handle: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"rename chain {self.family.nft} {TABLE} {self.old} {self.new}"


@dataclass(frozen=True, slots=True)
class WakeUp:
    """A table whose `dormant` flag goes: its base chains meet packets again."""

    family: TableFamily

    def __str__(self) -> str:
        return f"add table {self.family.nft} {TABLE}"


Amendment = Renaming | WakeUp


def deletions_after(renamings: Iterable[Renaming]) -> tuple[Deletion, ...]:
    """The deletions of chains that have been renamed out of the way."""
    return tuple(
        Deletion(renaming.family, what, renaming.new)
        for what in (DeletionKind.RULES, DeletionKind.CHAIN)
        for renaming in renamings
    )
