"""The question if any rules of ours are in force, apart from what these are, which takes longer."""

from collections.abc import Callable

from hostfw.engine.context import Directories, Host
from hostfw.engine.reading.deadline import is_due
from hostfw.host.nftables.tables import KernelTable, KernelTables, Names
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.objects import BASE_CHAIN_NAMES, BASE_CHAIN_PLACES, DROPPING_CHAINS


def read_in_force(directories: Directories, host: Host, expire: Callable[[], object]) -> tuple[Family, ...]:
    """The IP versions whose packets meet rules of ours; 3 ms. Raises HostError.

    A trial that should have been rolled back by now is first brought to its end by `expire`.
    """
    if is_due(directories, host):
        expire()
    return families_in_force(host.read_some(dict.fromkeys(FAMILIES, Names(chains=tuple(sorted(BASE_CHAIN_NAMES))))))


def families_in_force(tables: KernelTables) -> tuple[Family, ...]:
    """The IP versions whose packets meet rules of ours: both, unless another program has been at our tables."""
    return tuple(family for family in FAMILIES if _is_met(tables.of(family)))


def are_in_force(tables: KernelTables) -> bool:
    """True if the packets of both IP versions meet rules of ours."""
    return families_in_force(tables) == FAMILIES


def _is_met(table: KernelTable) -> bool:
    """True if what comes in and what goes out meets a table: it is awake, and attached to both hooks."""
    hooks = {chain.name: chain.base.hook for chain in table.chains if chain.base is not None}
    attached = all(hooks.get(name) == BASE_CHAIN_PLACES[name].hook for name in DROPPING_CHAINS)
    return table.exists and attached and not table.is_dormant
