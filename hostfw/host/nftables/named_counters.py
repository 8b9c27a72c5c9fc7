"""The named counters of our tables: a few of them, asked for one by one in 0.1 ms each, or all."""

import errno
from collections.abc import Iterable

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    text,
    u32,
)
from hostfw.host.nftables import nf_tables
from hostfw.host.nftables.nf_tables import KernelCounter
from hostfw.model.values import TABLE_FAMILIES, TableFamily
from hostfw.nft.objects import TABLE

_OBJ_NAME = 2


def read_packets(names: Iterable[str]) -> dict[str, int]:
    """The packets of the counters of these names in both tables together; absent names are left out.

    Raises NetlinkError without CAP_NET_ADMIN.
    """
    found: dict[str, int] = {}
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        for name in names:
            for family in TABLE_FAMILIES:
                packets = _packets(sock, family, name)
                if packets is not None:
                    found[name] = found.get(name, 0) + packets
    return found


def read_counters() -> dict[tuple[TableFamily, str], KernelCounter]:
    """Every counter of both tables, by family and name, none of a table that is not there. Raises NetlinkError.

    Each value is exact. What comes or goes meanwhile is in or out, unless it goes on for long.
    """
    found: dict[tuple[TableFamily, str], KernelCounter] = {}
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        for family in TABLE_FAMILIES:
            found |= {(family, counter.name): counter for counter in _all(sock, family)}
    return found


def _all(sock: NetlinkSocket, family: TableFamily) -> list[KernelCounter]:
    here = NFGENMSG.pack(nf_tables.NFPROTO[family], 0, 0) + text(nf_tables.TABLE_NAME, TABLE)
    wanted = here + u32(nf_tables.OBJ_TYPE, nf_tables.OBJECT_COUNTER)
    what = f"reading the counters of {family.nft} {TABLE}"
    try:
        return list(map(nf_tables.counter_of, sock.dump(nf_tables.GETOBJ, wanted, what)))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return []
        raise


def _packets(sock: NetlinkSocket, family: TableFamily, name: str) -> int | None:
    here = NFGENMSG.pack(nf_tables.NFPROTO[family], 0, 0) + text(nf_tables.TABLE_NAME, TABLE)
    asked = here + text(_OBJ_NAME, name) + u32(nf_tables.OBJ_TYPE, nf_tables.OBJECT_COUNTER)
    try:
        return nf_tables.counter_of(sock.ask(nf_tables.GETOBJ, asked, f"reading the counter {name}")).packets
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
