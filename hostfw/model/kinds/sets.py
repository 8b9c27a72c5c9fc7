"""Sets of addresses that rule selectors find by their labels."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.prefixes import Cidrs
from hostfw.model.values import Cidr

if TYPE_CHECKING:
    # Loaded with the first Feed that is downloaded or filled by others.
    from hostfw.model.kinds.feed_sources import Download, External


@dataclass(frozen=True, slots=True)
class _OfNets:
    """A resource that names addresses."""

    metadata: Metadata
    nets: tuple[Cidr, ...] = ()


class GlobalNetworkSet(_OfNets):
    """Addresses that rule selectors find by the set's labels."""

    __slots__ = ()


class NetworkSet(_OfNets):
    """Addresses that belong to a namespace; rule selectors find them by their labels and those of the namespace."""

    __slots__ = ()


DOWNLOADS = "/var/lib/hostfw/feeds"
"""The folder of the files of Feeds that hostfw downloads, as it is called in problems and in what was accepted."""


def downloaded_file(name: str) -> str:
    """The path of the file of a Feed that is downloaded, below DOWNLOADS: a state directory elsewhere has its own."""
    return f"{DOWNLOADS}/{name}.txt"


@dataclass(frozen=True, slots=True)
class Feed:
    """Addresses of a file beside the manifests, one a line, that rule selectors find by the feed's labels.

    `path` is as written, absolute or from the folder of the manifest. A file that lost more than `max_shrink` percent
    of what was accepted is not believed. `cidrs` is what the file holds, empty until it is read (`policy.feeds`). An
    `external` one has no file: its members are in the kernel alone. One with a `download` has the file that hostfw
    keeps of it.
    """

    metadata: Metadata
    path: str
    max_shrink: int = 50
    path_position: Position = NOWHERE
    cidrs: Cidrs = ()
    external: "External | None" = None
    download: "Download | None" = None

    @property
    def has_file(self) -> bool:
        """True if a file holds the addresses; an external Feed has none, nor has one whose path is wrong."""
        return bool(self.path) or self.download is not None

    @property
    def file(self) -> str:
        """The path of the file, from where the manifest's own path counts."""
        if self.download is not None:
            return downloaded_file(self.metadata.name)
        return str(PurePath(self.path_position.path).parent / self.path)
