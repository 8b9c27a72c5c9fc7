"""Feeds without a file of their own: the bounds of those that other programs fill, and the source of a download."""

from dataclasses import dataclass

from hostfw.model.positions import NOWHERE, Position

DOWNLOAD_BYTES = 32 * 1024 * 1024
"""Most bytes of a download, unless its Feed says otherwise: two million addresses."""

EXTERNAL_SIZE = 65_536
"""Most addresses of a family in an external set, and most prefixes, unless its Feed says otherwise."""


@dataclass(frozen=True, slots=True)
class External:
    """The bounds of a Feed that other programs fill: members of each kind, and seconds that one stays (None: for ever).

    The time is for members that are put in without one of their own. With `of`, they belong to the GlobalNetworkSet or
    Feed of that name: its labels count, and not the Feed's.
    """

    size: int = EXTERNAL_SIZE
    timeout_s: int | None = None
    of: str = ""
    of_position: Position = NOWHERE


@dataclass(frozen=True, slots=True)
class Download:
    """The source that `hostfwctl feed update` asks for the addresses of a Feed: a `url`, or else names of hosts.

    `sha256` is the digest that the answer must have, or the URL of a file that begins with it; empty is any. An answer
    of more than `most_bytes` bytes is refused.
    """

    url: str = ""
    hostnames: tuple[str, ...] = ()
    sha256: str = ""
    most_bytes: int = DOWNLOAD_BYTES

    @property
    def origin(self) -> str:
        """The source in a line."""
        return self.url or ", ".join(self.hostnames)
