"""DHCP clients at work: what they may have given, and have written into no lease file yet, or never write.

dhclient runs its script, which sets the address, before it writes the lease (ISC dhcp 4.4, bind_lease in dhclient.c);
busybox's udhcpc writes none. An address without an end looks like an administrator's for as long.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hostfw.host.process.processes import PROC, process

CLIENTS = frozenset({"dhclient", "dhcpcd", "udhcpc"})
"""The names of programs that ask for the links that their arguments name, or for all if they name none."""
RUN = Path("/run")
"""Where ifupdown has udhcpc write its process, in udhcpc.eth0.pid."""

_NEVER_WRITES = "udhcpc"


def links_being_asked_for(links: frozenset[str], proc: Path = PROC) -> frozenset[str]:
    """The links for which a DHCP client of root runs in the network namespace that we are in.

    It looks at every process: 10 us each. A process that goes meanwhile asks for nothing.
    """
    found: set[str] = set()
    with suppress(OSError):
        own = (proc / "self/ns/net").stat()
        for folder in _folders(proc):
            with suppress(OSError):
                if (folder / "comm").read_text(encoding="utf-8", errors="replace").strip() not in CLIENTS:
                    continue
                client = process(int(folder.name), CLIENTS, proc)
                if client is not None and client.trusted and os.path.samestat((folder / "ns/net").stat(), own):
                    found |= _named(folder, links)
    return frozenset(found)


def links_without_leases(links: frozenset[str], run: Path = RUN, proc: Path = PROC) -> frozenset[str]:
    """The links for which a client runs that writes down no lease; by its file, as ifupdown names it."""
    with suppress(OSError):
        # Of thousands of links hardly one has such a file.
        names = {f"{_NEVER_WRITES}.{link}.pid": link for link in links}
        with os.scandir(run) as entries:
            there = [entry.name for entry in entries if entry.name in names]
        return frozenset(names[name] for name in there if _runs(run / name, proc))
    return frozenset()


def _runs(pid_file: Path, proc: Path) -> bool:
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return process(pid, (_NEVER_WRITES,), proc) is not None


def _folders(proc: Path) -> Iterator[Path]:
    with os.scandir(proc) as entries:
        yield from (proc / entry.name for entry in entries if entry.name.isdigit())


def _named(folder: Path, links: frozenset[str]) -> frozenset[str]:
    words = frozenset((folder / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0"))
    return words.intersection(links) or links
