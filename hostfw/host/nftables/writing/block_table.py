"""The table `inet hostfw-block` in the kernel, by raw netlink: is it there, what did it drop, and away with it."""

import errno
from typing import NamedTuple

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NetlinkError,
    NetlinkSocket,
    message,
    text,
    u32,
)
from hostfw.host.nftables import nf_tables
from hostfw.nft.block import BLOCK_TABLE

_INET = 1
"""NFPROTO_INET."""
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_DELTABLE = 2
_HERE = NFGENMSG.pack(_INET, 0, 0) + text(nf_tables.TABLE_NAME, BLOCK_TABLE)


class BlockTable(NamedTuple):
    """The block in force, and the packets that it has dropped by hook."""

    dropped: tuple[tuple[str, int], ...]


def read_block() -> BlockTable | None:
    """The block, or None if the host is not blocked. Raises NetlinkError without CAP_NET_ADMIN."""
    what = f"reading the table inet {BLOCK_TABLE}"
    of_counters = _HERE + u32(nf_tables.OBJ_TYPE, nf_tables.OBJECT_COUNTER)
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as sock:
            sock.ask(nf_tables.GETTABLE, _HERE, what)
            counters = map(nf_tables.counter_of, sock.dump(nf_tables.GETOBJ, of_counters, what))
            return BlockTable(tuple(sorted((counter.name, counter.packets) for counter in counters)))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def delete_block() -> bool:
    """Take the block away, whole and at once; False if there was none. Raises NetlinkError.

    Not through libnftables, whose `delete table` 1.0.6 does not survive beside tables of a newer nft.
    """
    begin, end = (NFGENMSG.pack(0, 0, nf_tables.SUBSYSTEM >> 8) for _ in range(2))
    batch = (
        message(_BATCH_BEGIN, NLM_F_REQUEST, nf_tables.FIRST_SEQUENCE, begin)
        + message(nf_tables.SUBSYSTEM | _DELTABLE, NLM_F_REQUEST | NLM_F_ACK, nf_tables.FIRST_SEQUENCE + 1, _HERE)
        + message(_BATCH_END, NLM_F_REQUEST, nf_tables.FIRST_SEQUENCE + 2, end)
    )
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as sock:
            sock.transact(batch, nf_tables.FIRST_SEQUENCE + 1, f"deleting the table inet {BLOCK_TABLE}")
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True
