"""Loading big sets with the listener paused: otherwise the kernel reports every element, at triple the time (6.18)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from hostfw.host.nftables.sets.elements import Edit, Keys
from hostfw.host.nftables.sets.set_reloading import Contents
from hostfw.host.nftables.writing.script_runner import Nftables, NftResult
from hostfw.model.values import TableFamily
from hostfw.nft.amendment import Amendment
from hostfw.nft.deletion import Deletion

FROM_ELEMENTS = 50_000
"""Fewer are reported in a tenth of a second, in which the listener loses no event."""

Pause = Callable[[], AbstractContextManager[None]]


class PausingNftables:
    """An `Nftables` that has the listener pause for what is big."""

    def __init__(self, nftables: Nftables, pause: Pause) -> None:
        """`pause` is asked for each time."""
        self._nftables = nftables
        self._pause = pause

    def check(self, script: str) -> NftResult:
        """Check with the kernel that it would take the script now; changes nothing."""
        return self._nftables.check(script)

    def commit(self, script: str) -> NftResult:
        """Put the script into force as one transaction."""
        return self._nftables.commit(script)

    def add_elements(self, family: TableFamily, set_name: str, keys: Keys) -> int:
        """Put elements into a set in order; those that are there stay. Gives the commits. Raises NetlinkError."""
        with self._paused(len(keys)):
            return self._nftables.add_elements(family, set_name, keys)

    def is_loaded(self, family: TableFamily, set_name: str, keys: Keys) -> bool:
        """True if the set holds what `add_elements` of these keys puts there. Raises NetlinkError."""
        return self._nftables.is_loaded(family, set_name, keys)

    def replace_elements(self, family: TableFamily, set_name: str, edit: Edit) -> None:
        """Edit a set in one transaction. Raises NetlinkError."""
        # With everything replaced, the old elements, of an unknown number, go as well.
        elements = FROM_ELEMENTS if edit.deleted is None else len(edit.added) + len(edit.deleted)
        with self._paused(elements):
            self._nftables.replace_elements(family, set_name, edit)

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Let sets and maps that are there hold exactly this, all in one transaction. Raises NetlinkError."""
        with self._paused(sum(len(one.elements) for _, one in contents)):
            self._nftables.reload_sets(contents)

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Rename chains and wake tables in one transaction. Raises NetlinkError."""
        self._nftables.amend(amendments)

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Delete rules at a generation, so that packets meet those behind them. Raises NetlinkError."""
        self._nftables.activate(deletions, generation)

    def delete(self, deletions: Iterable[Deletion]) -> None:
        """Delete objects of ours in one transaction. Raises NetlinkError."""
        self._nftables.delete(deletions)

    def close(self) -> None:
        """Give back what is held."""
        self._nftables.close()

    def _paused(self, elements: int) -> AbstractContextManager[None]:
        return self._pause() if elements >= FROM_ELEMENTS else nullcontext()
