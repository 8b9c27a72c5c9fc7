"""Repair of what sets and maps hold, where another hand has touched their elements and nothing else."""

from collections.abc import Collection, Iterator
from errno import ETIMEDOUT

from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed
from hostfw.host.netlink import NetlinkError
from hostfw.host.nftables import Nftables
from hostfw.model.values import Family
from hostfw.nft.objects import Ruleset, Set, VerdictMap

Name = tuple[Family, str]
"""A set or map of ours."""


def refill(ruleset: Ruleset, names: Collection[Name], nftables: Nftables) -> tuple[Name, ...] | Failed:
    """Give these sets and maps the content that a ruleset has for them; gives those that it knows, in its order.

    Each is one transaction. What the ruleset does not name, and dynamic sets, which rules fill, are left alone.
    """
    refilled: list[Name] = []
    for family, contents in _fixed(ruleset):
        if (family, contents.name) not in names:
            continue
        try:
            nftables.refill(family, contents)
        except NetlinkError as error:
            unchanged = error.errno != ETIMEDOUT and not refilled
            return Failed(error.message, error.hint, UNCHANGED if unchanged else UNKNOWN)
        refilled.append((family, contents.name))
    return tuple(refilled)


def _fixed(ruleset: Ruleset) -> Iterator[tuple[Family, Set | VerdictMap]]:
    for table in ruleset.tables:
        yield from ((table.family, contents) for contents in table.sets if contents.dynamic is None)
        yield from ((table.family, contents) for contents in table.maps)
