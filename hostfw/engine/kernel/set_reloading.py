"""Repair of sets and maps of which another program has changed the elements and nothing else."""

from collections.abc import Collection
from errno import ETIMEDOUT

from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.script_runner import Nftables
from hostfw.nft.declarations import SetName, fixed_contents
from hostfw.nft.objects import Ruleset


def reload_sets(ruleset: Ruleset, names: Collection[SetName], nftables: Nftables) -> tuple[SetName, ...] | Failed:
    """Give these sets and maps the content that a ruleset has for them; gives those that it knows, in its order.

    Each is one transaction. What the ruleset does not name, and dynamic sets, which rules fill, are left alone.
    """
    reloaded: list[SetName] = []
    wanted = ((table.family, contents) for table in ruleset.tables for contents in fixed_contents(table))
    for family, contents in wanted:
        if (family, contents.name) not in names:
            continue
        try:
            nftables.reload_sets(((family, contents),))
        except NetlinkError as error:
            unchanged = error.errno != ETIMEDOUT and not reloaded
            return Failed(error.message, error.hint, UNCHANGED if unchanged else UNKNOWN)
        reloaded.append((family, contents.name))
    return tuple(reloaded)
