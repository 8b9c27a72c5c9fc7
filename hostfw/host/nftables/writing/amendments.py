"""Amendments by netlink: chains renamed and tables woken, one batch, one transaction.

Before a `rename` libnftables (1.0.6) reads the sets of every table on the host, as before a `delete`.
"""

from collections.abc import Iterable

from hostfw.host.netlink.batch import Request, sealed
from hostfw.host.netlink.messages import NETLINK_NETFILTER, NFGENMSG, NetlinkError, NetlinkSocket, text, u32, u64
from hostfw.host.nftables.nf_tables import (
    CHAIN_HANDLE,
    CHAIN_NAME,
    FIRST_SEQUENCE,
    NEWCHAIN,
    NEWTABLE,
    NFPROTO,
    TABLE_FLAGS,
    TABLE_NAME,
)
from hostfw.nft.amendment import Amendment, Renaming, WakeUp
from hostfw.nft.objects import TABLE

TIMEOUT_S = 60.0
"""Time limit for the kernel."""


def amend(amendments: Iterable[Amendment]) -> None:
    """Make amendments in order, all or none. Raises NetlinkError, which names the first that was refused."""
    every = tuple(amendments)
    if not every:
        return
    batch, last = sealed(map(_request, every))
    with NetlinkSocket(NETLINK_NETFILTER, TIMEOUT_S) as sock:
        sock.make_room(len(batch))
        try:
            sock.transact(batch, last, "putting our tables right")
        except NetlinkError as error:
            refused = error.sequence - FIRST_SEQUENCE - 1
            if not 0 <= refused < len(every):
                raise
            raise NetlinkError(error.errno, str(every[refused]), error.hint) from error


def _request(amendment: Amendment) -> Request:
    body = [NFGENMSG.pack(NFPROTO[amendment.family], 0, 0), text(TABLE_NAME, TABLE)]
    match amendment:
        case Renaming(handle=handle, new=new):
            return Request(NEWCHAIN, 0, [*body, u64(CHAIN_HANDLE, handle), text(CHAIN_NAME, new)])
        case WakeUp():
            return Request(NEWTABLE, 0, [*body, u32(TABLE_FLAGS, 0)])
