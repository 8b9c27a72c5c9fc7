"""The process of the service: its command line, its event loop, and its exit status."""

import asyncio
import os
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from hostfw.daemon import collector
from hostfw.daemon.dependencies import Dependencies
from hostfw.daemon.service import Service
from hostfw.engine.context import Directories
from hostfw.host.errors import HostError
from hostfw.host.journal.writer import open_journal
from hostfw.host.lock import only_service
from hostfw.host.process import signals
from hostfw.host.process.allocator import return_large_blocks
from hostfw.host.store.generations.decoded import decoder_mark

_LAST_WORDS_S = 2.0
_DESCRIPTION = """\
Keep hostfw's policy in force on this host. systemd runs this as hostfw.service;
`hostfwctl` is what people use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 1 if that could not even begin or go on. What is in force stays so in either case."""
    directories = _directories(sys.argv[1:] if arguments is None else arguments)
    signals.hear_nothing()
    # Before anybody can replace the code that runs.
    decoder_mark()
    return_large_blocks()
    # What is kept is kept for long, and a collector that walks through ten thousand policies finds nothing in them.
    collector.freeze()
    ended: list[bool] = []
    status = 0
    try:
        asyncio.run(_serve(directories, ended))
    except HostError as error:
        hint = f"; {error.hint}" if error.hint else ""
        status = 1
        _say(f"hostfwd: {error.message}{hint}\n")
    except Exception:  # noqa: BLE001  the end of the process
        status = 1
        _say(traceback.format_exc())
    signals.end_in_peace()
    if not all(ended):
        # A thread that hangs in a stream which nobody reads would hang the end of the interpreter as well.
        os._exit(status)
    return status


async def _serve(directories: Directories, ended: list[bool]) -> None:
    with only_service(directories.run):
        service = Service(directories, Dependencies(open_journal()))
        try:
            await service.run()
        finally:
            ended.append(service.has_ended)


def _say(text: str) -> None:
    """Write to standard error, for a moment at most: nobody may read it."""
    words = Thread(target=_write, args=(text.encode(errors="replace"),), daemon=True)
    words.start()
    words.join(_LAST_WORDS_S)


def _write(text: bytes) -> None:
    # Past the stream, whose lock a thread that hangs may hold.
    with suppress(OSError):
        os.write(sys.stderr.fileno(), text)


def _directories(arguments: Sequence[str]) -> Directories:
    defaults = Directories()
    parser = ArgumentParser(prog="hostfwd", description=_DESCRIPTION, allow_abbrev=False)
    for name, default, what in (
        ("--config-dir", defaults.config, "the configuration"),
        ("--state-dir", defaults.state, "state that survives a reboot"),
        ("--run-dir", defaults.run, "state of this boot"),
    ):
        parser.add_argument(name, type=Path, default=default, metavar="DIR", help=f"{what} (default: {default})")
    given = parser.parse_args(arguments)
    return Directories(given.config_dir, given.state_dir, given.run_dir)
