"""The question if any rules of ours are in force, apart from what these are, which takes longer."""

from collections.abc import Callable

from hostfw.engine.context import Directories, Host
from hostfw.engine.reading.deadline import is_due
from hostfw.host.nftables.tables import KernelTable, KernelTables, Names
from hostfw.model.values import FAMILIES
from hostfw.nft.objects import BASE_CHAIN_NAMES


def read_in_force(directories: Directories, host: Host, expire: Callable[[], object]) -> bool:
    """True if rules of ours are in force; 3 ms. Raises HostError.

    A trial that should have been rolled back by now is first brought to its end by `expire`.
    """
    if is_due(directories, host):
        expire()
    return are_in_force(host.read_some(dict.fromkeys(FAMILIES, Names(chains=tuple(sorted(BASE_CHAIN_NAMES))))))


def are_in_force(tables: KernelTables) -> bool:
    """True if both our tables are there, and packets meet one of them at least."""
    both = tables.ip, tables.ip6
    return all(table.exists for table in both) and any(map(_is_met, both))


def _is_met(table: KernelTable) -> bool:
    """True if packets meet a table: base chains of ours are attached somewhere."""
    hooked = any(chain.base is not None and chain.name in BASE_CHAIN_NAMES for chain in table.chains)
    return hooked and not table.is_dormant
