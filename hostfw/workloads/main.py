"""The process of a reader: `python3 -m hostfw.workloads docker`, as `hostfw-workloads@docker.service` runs it."""

import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hostfw.host.errors import HostError
from hostfw.workloads.alias import AliasReader
from hostfw.workloads.docker import SOCKETS, Docker
from hostfw.workloads.files import WorkloadFolder
from hostfw.workloads.incus import IncusReader
from hostfw.workloads.libvirt import LibvirtReader
from hostfw.workloads.machines import MachinesReader
from hostfw.workloads.watch import Engine, Log, Watch

FOLDER = Path("/run/hostfw/workloads")
_DESCRIPTION = """\
Write down the workloads of one engine for hostfw, and keep that up to date.
systemd runs this as hostfw-workloads@READER.service."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read and write until SIGTERM, which removes the files; SIGHUP begins anew. 1 if that could not even begin."""
    parser = ArgumentParser(prog="hostfw-workloads", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("reader", choices=sorted((*READERS, *READERS_OF_SOCKETS)), help="the engine")
    parser.add_argument("--socket", metavar="PATH", help="the socket of the engine, if it is not at the usual place")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"for the files (default: {FOLDER})")
    given = parser.parse_args(arguments)
    if given.socket is not None and given.reader not in READERS_OF_SOCKETS:
        parser.error(f"--socket is for {', '.join(sorted(READERS_OF_SOCKETS))}: {given.reader} asks no socket")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGHUP, _begin_anew)
    try:
        made = READERS.get(given.reader)
        engine = READERS_OF_SOCKETS[given.reader](given.socket) if made is None else made()
        folder = WorkloadFolder(given.folder, given.reader)
        try:
            Watch(engine, folder, Log()).run()
        except SystemExit:
            # Whoever stops a reader does not want its word to count any more.
            folder.publish(())
            raise
    except (OSError, HostError) as error:
        print(f"<3>hostfw-workloads: {error}", file=sys.stderr)  # noqa: T201  the journal
        return 1
    return 0


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _begin_anew(_number: int, _frame: FrameType | None) -> NoReturn:
    """Run the program that is installed now, and leave the files to it."""
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606  our own command line


READERS: Mapping[str, Callable[[], Engine]] = {
    "ifalias": AliasReader,
    "libvirt": LibvirtReader,
    "machines": MachinesReader,
}
"""The readers that ask files and the kernel."""
READERS_OF_SOCKETS: Mapping[str, Callable[[str | None], Engine]] = {
    **{name: partial(Docker, name) for name in SOCKETS},
    "incus": IncusReader,
}
"""The readers that ask an engine, each made for a socket, or for the usual one."""
