"""Every reader of the kernel beside a program that commits to nftables without pause."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import pytest

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NetlinkSocket,
    message,
    text,
)
from hostfw.host.nftables.base_chains import read_noted_sets, read_others
from hostfw.host.nftables.named_counters import read_counters
from hostfw.host.nftables.nf_tables import FIRST_SEQUENCE, SUBSYSTEM, TABLE_NAME
from hostfw.host.nftables.tables import KernelTables, read_names, read_tables
from hostfw.host.nftables.writing.block_table import read_block
from lab.namespace import Namespace, inside, namespace, run

OBJECTS = 400
"""More than one part of a dump has room for, so that a commit can come between two."""
_NEWTABLE, _DELTABLE = 0, 2
_BEGIN, _END = 0x10, 0x11


def script() -> str:
    """Our tables, a block, and a table of another program, with many of everything."""
    counters = "".join(f"counter c{number} {{ }}\n" for number in range(OBJECTS))
    chains = "".join(f"chain leaf{number} {{ counter accept; }}\n" for number in range(OBJECTS))
    sets = "".join(f"set s{number} {{ type ipv4_addr; }}\n" for number in range(OBJECTS))
    base = "chain input { type filter hook input priority filter; policy accept; }"
    return "".join(
        f"table {name} {{\n{counters}{chains}{sets}{base}\n}}\n"
        for name in ("ip hostfw", "ip6 hostfw", "inet hostfw-block", "ip another")
    )


def toggle(kind: int, flags: int) -> bytes:
    """A batch that makes or deletes a table of nobody's."""
    head = NFGENMSG.pack(2, 0, 0)
    edge = NFGENMSG.pack(0, 0, SUBSYSTEM >> 8)
    body = head + text(TABLE_NAME, "passing")
    return (
        message(_BEGIN, NLM_F_REQUEST, FIRST_SEQUENCE, edge)
        + message(SUBSYSTEM | kind, NLM_F_REQUEST | NLM_F_ACK | flags, FIRST_SEQUENCE + 1, body)
        + message(_END, NLM_F_REQUEST, FIRST_SEQUENCE + 2, edge)
    )


@contextmanager
def commits(place: Namespace, pause_s: float) -> Iterator[None]:
    """Somebody who commits, and waits for a moment, and commits."""
    done = threading.Event()

    def commit() -> None:
        with inside(place), NetlinkSocket(NETLINK_NETFILTER) as sock:
            for batch in cycle((toggle(_NEWTABLE, 0x400), toggle(_DELTABLE, 0))):
                if done.wait(pause_s):
                    return
                sock.transact(batch, FIRST_SEQUENCE + 1, "committing")

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "read",
    [read_block, read_counters, read_others, read_noted_sets, read_names, read_tables],
    ids=lambda read: read.__name__,
)
def test_a_reader_outlasts_a_program_that_commits(read: Callable[[], object]) -> None:
    """Each reading gives everything, time after time, and none ends in an error."""
    with namespace("dumps") as place:
        run(place, ("nft", "-f", "-"), text=script())
        with inside(place):
            expected = read()
            with commits(place, 0.02):
                found = [read() for _ in range(25)]

    quiet = _without_generation(expected)
    assert [one for one in found if _without_generation(one) != quiet] == []


def _without_generation(found: object) -> object:
    return (found.ip, found.ip6) if isinstance(found, KernelTables) else found
