"""The question if any rules of ours are in force, apart from what these are, which takes longer."""

from collections.abc import Callable

from hostfw.engine.context import Directories, Host
from hostfw.engine.reading.deadline import is_due
from hostfw.host.nftables.tables import KernelTables


def read_in_force(directories: Directories, host: Host, expire: Callable[[], object]) -> bool:
    """True if rules of ours are in force; 1 ms. Raises HostError.

    A trial that should have been rolled back by now is first brought to its end by `expire`.
    """
    if is_due(directories, host):
        expire()
    return are_in_force(host.read_some({}))


def are_in_force(tables: KernelTables) -> bool:
    """True if packets of both families meet our tables."""
    return tables.ip.exists and tables.ip6.exists and not (tables.ip.is_dormant and tables.ip6.is_dormant)
