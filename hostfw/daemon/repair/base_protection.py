"""Base protection within milliseconds: a prepared script, and a running nft worker.

When another program has flushed or edited our tables, the host must not stay open until the whole generation is loaded.
The script only has the failsafes and established connections, and needs neither lock nor compiler. It is independent of
the engine, whose next commit replaces it.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from hostfw.engine.kernel.state.installed import amendments, unprotected
from hostfw.engine.outcomes import UNKNOWN, Failed, refusal
from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import KernelTables, Names, read_some
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.model.values import TABLE_FAMILIES, TableFamily
from hostfw.nft.amendment import deletions_after
from hostfw.nft.object_text import table_name
from hostfw.nft.objects import BASE_CHAIN_NAMES

TIMEOUT_S = 5.0


def read_base_chains(read: Callable[[Mapping[TableFamily, Names]], KernelTables] = read_some) -> KernelTables:
    """Our base chains and the flags of our tables, in 3 ms. Raises HostError."""
    names = Names(chains=tuple(sorted(BASE_CHAIN_NAMES)))
    return read(dict.fromkeys(TABLE_FAMILIES, names))


class BaseProtection:
    """Restores base protection, on a thread of its own."""

    def __init__(self, worker: Nftables, read: Callable[[], KernelTables] = read_base_chains) -> None:
        """The worker must be able to answer within `TIMEOUT_S`; `read` reads our base chains back."""
        self._worker = worker
        self._read = read
        self._thread = ThreadPoolExecutor(1, "protection")
        self._script = ""

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The thread that `protect` is to be called on."""
        return self._thread

    def make_ready(self, script: str) -> None:
        """From now on protect with this script."""
        self._script = script

    def protect(self) -> Failed | None:
        """Put base protection into force; None if the kernel, read back, holds its base chains.

        A script changes neither the hook of a base chain that is there nor the flags of a table: where that is what
        keeps it from protecting, the chain gets another name, the script is sent once more, and the chain goes. Where
        the script is refused, as over a set that another program declared otherwise, the tables go with it.
        """
        if not self._script:
            return Failed("there is no base protection yet", in_force=UNKNOWN)
        try:
            result = self._worker.commit(self._script)
            tables = self._read()
            lacking = unprotected(tables)
            if result.ok and not lacking:
                return None
            renamings, wakings = amendments(tables)
            self._worker.amend(renamings)
            there = [table for table in tables.every if table.exists and not table.owner]
            going = (table.family for table in there if table.is_abandoned or not result.ok)
            gone = "".join(f"delete table {table_name(family)}\n" for family in going)
            result = self._worker.commit(f"{gone}{self._script}")
            self._worker.amend(wakings)
            # The repair that follows takes away what something still leads to; what went with its table is gone.
            with suppress(NetlinkError):
                self._worker.delete(deletions_after(renamings))
            tables = self._read()
            lacking = unprotected(tables)
        except HostError as error:
            return Failed(error.message, error.hint, in_force=UNKNOWN)
        if not (result.ok or any(table.owner for table in tables.every)):
            return Failed(f"nft refused base protection: {refusal(result)}", in_force=UNKNOWN)
        return Failed(f"base protection is not in force: {lacking[0]}", in_force=UNKNOWN) if lacking else None

    def close(self) -> None:
        """Let the thread and the worker go."""
        self._thread.shutdown()
        self._worker.close()
