"""An nft worker that starts when it is first needed: a reload that changes nothing needs none."""

from collections.abc import Callable, Iterable, Sequence

from hostfw.host.nftables.sets.elements import Edit, Keys
from hostfw.host.nftables.sets.set_reloading import Contents
from hostfw.host.nftables.writing.script_runner import Nftables, NftResult
from hostfw.model.values import TableFamily
from hostfw.nft.amendment import Amendment
from hostfw.nft.deletion import Deletion


class LazyNftables:
    """An `Nftables` that is made by the first request, or by `start`."""

    def __init__(self, make: Callable[[], Nftables]) -> None:
        self._make = make
        self._made: Nftables | None = None

    def start(self) -> Nftables:
        """Make it if it is not yet made, so that its start overlaps with the work before the first request."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def check(self, script: str) -> NftResult:
        """Check with the kernel that it would take the script now; changes nothing."""
        return self.start().check(script)

    def commit(self, script: str) -> NftResult:
        """Put the script into force as one transaction."""
        return self.start().commit(script)

    def add_elements(self, family: TableFamily, set_name: str, keys: Keys) -> int:
        """Put elements into a set in order; those that are there stay. Gives the commits. Raises NetlinkError."""
        return self.start().add_elements(family, set_name, keys)

    def is_loaded(self, family: TableFamily, set_name: str, keys: Keys) -> bool:
        """True if the set holds what `add_elements` of these keys puts there. Raises NetlinkError."""
        return self.start().is_loaded(family, set_name, keys)

    def replace_elements(self, family: TableFamily, set_name: str, edit: Edit) -> None:
        """Edit a set in one transaction. Raises NetlinkError."""
        self.start().replace_elements(family, set_name, edit)

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Let sets and maps that are there hold exactly this, all in one transaction. Raises NetlinkError."""
        self.start().reload_sets(contents)

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Rename chains and wake tables in one transaction. Raises NetlinkError."""
        self.start().amend(amendments)

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Delete rules at a generation, so that packets meet those behind them. Raises NetlinkError."""
        self.start().activate(deletions, generation)

    def delete(self, deletions: Iterable[Deletion]) -> None:
        """Delete objects of ours in one transaction. Raises NetlinkError."""
        self.start().delete(deletions)

    def close(self) -> None:
        """Give back what is held."""
        if self._made is not None:
            self._made.close()
