"""A program that makes the table `ip hostfw` its own, as an argument of flags says, until its input ends."""

import sys

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NetlinkSocket,
    message,
    text,
    u32,
)
from hostfw.host.nftables.nf_tables import NEWTABLE, SUBSYSTEM, TABLE_FLAGS, TABLE_NAME

_BEGIN, _END, _DELTABLE, _FIRST = 0x10, 0x11, SUBSYSTEM | 2, 1


def main(flags: int) -> None:
    """Delete the table and make it again with flags, in one transaction; then wait."""
    batch_head = NFGENMSG.pack(0, 0, SUBSYSTEM >> 8)
    name = NFGENMSG.pack(2, 0, 0) + text(TABLE_NAME, "hostfw")
    parts = (
        message(_BEGIN, NLM_F_REQUEST, _FIRST, batch_head),
        message(_DELTABLE, NLM_F_REQUEST, _FIRST + 1, name),
        message(NEWTABLE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK, _FIRST + 2, name + u32(TABLE_FLAGS, flags)),
        message(_END, NLM_F_REQUEST, _FIRST + 3, batch_head),
    )
    with NetlinkSocket(NETLINK_NETFILTER, 5) as sock:
        sock.transact(b"".join(parts), _FIRST + 2, "owning the table")
        print("owned", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
