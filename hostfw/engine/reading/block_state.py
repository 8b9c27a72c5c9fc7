"""The block of a host as it is read: in the kernel, and on record."""

from dataclasses import dataclass, field

from hostfw.engine.context import Directories, Host
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.store.block import BlockRecord, load_block


@dataclass(frozen=True, slots=True)
class BlockContext:
    """Dependencies of a block: its directories, and the effects on the host."""

    directories: Directories = field(default_factory=Directories)
    host: Host = field(default_factory=Host)


@dataclass(frozen=True, slots=True)
class BlockState:
    """A block as it is: `table` None where only the record says so, `record` None where only the kernel does."""

    table: BlockTable | None
    record: BlockRecord | None


def block_state(context: BlockContext) -> BlockState | None:
    """The block of the host, or None if there is none. Raises HostError."""
    table, record = context.host.read_block(), load_block(context.directories.state)
    return None if table is None and record is None else BlockState(table, record)
