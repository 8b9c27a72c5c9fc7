"""The process of the service: its command line, its event loop, and its exit status."""

import asyncio
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from hostfw.daemon import collector
from hostfw.daemon.outside import Outside
from hostfw.daemon.service import Service
from hostfw.engine.host import Directories
from hostfw.host.errors import HostError
from hostfw.host.journal import open_journal

_DESCRIPTION = """\
Keep hostfw's policy in force on this host. systemd runs this as hostfw.service;
`hostfwctl` is what people use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 1 if that could not even begin. What is in force stays so in either case."""
    directories = _directories(sys.argv[1:] if arguments is None else arguments)
    # What is kept is kept for long, and a collector that walks through ten thousand policies finds nothing in them.
    collector.freeze()
    try:
        asyncio.run(_serve(directories))
    except HostError as error:
        hint = f"; {error.hint}" if error.hint else ""
        sys.stderr.write(f"hostfwd: {error.message}{hint}\n")
        return 1
    return 0


async def _serve(directories: Directories) -> None:
    await Service(directories, Outside(open_journal())).run()


def _directories(arguments: Sequence[str]) -> Directories:
    defaults = Directories()
    parser = ArgumentParser(prog="hostfwd", description=_DESCRIPTION, allow_abbrev=False)
    for name, default, what in (
        ("--config-dir", defaults.config, "the configuration"),
        ("--state-dir", defaults.state, "what survives a reboot"),
        ("--run-dir", defaults.run, "what does not"),
    ):
        parser.add_argument(name, type=Path, default=default, metavar="DIR", help=f"{what} (default: {default})")
    given = parser.parse_args(arguments)
    return Directories(given.config_dir, given.state_dir, given.run_dir)
