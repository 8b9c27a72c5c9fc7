"""`make try`: the examples put in force on a throw-away host, one after the other, and packets sent through them.

    python3 -m lab.tryout [EXAMPLE...]

The host and its neighbours are network namespaces that end with this program, however it ends. Exit status: 0 if every
flow went as its example says, 1 if not, 2 for an example that does not exist, 4 without root, 130 after Ctrl-C.
"""

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from textwrap import indent
from time import monotonic
from types import FrameType

from lab.namespace import LabError
from lab.stories.flows import Story, stories
from lab.stories.report import Style, audit_record, heading, rows, style_of, summary, total
from lab.stories.story import Shown, in_force, show

_PREFIX = "hostfw-try-"
_NOT_PERMITTED = 4
_INTERRUPTED = 130


def main() -> int:
    """Show the examples that the command line names, or all. Returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        return _try(sys.argv[1:])
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left behind", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read along has seen enough; Python must not try once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _try(arguments: list[str]) -> int:
    every = {story.name: story for story in stories()}
    parser = argparse.ArgumentParser(
        prog="python3 -m lab.tryout",
        description="Put the examples in force on a throw-away host and send packets through them.",
    )
    parser.add_argument("examples", metavar="EXAMPLE", nargs="*", help=f"{', '.join(every)} (default: all)")
    wanted: list[str] = parser.parse_args(arguments).examples or list(every)
    unknown = [name for name in wanted if name not in every]
    if unknown:
        parser.error(f"no example {unknown[0]!r}; there are {', '.join(every)}")
    if os.geteuid() != 0:
        print("make try: making network namespaces takes root: sudo make try", file=sys.stderr)
        return _NOT_PERMITTED
    _sweep()
    return _show_all([every[name] for name in wanted], style_of())


def _leave(number: int, _frame: FrameType | None) -> None:
    """End in order: what was built is taken down, and the temporary directory goes."""
    raise SystemExit(128 + number)


def _sweep() -> None:
    """Remove the directories of earlier runs that were killed: all that such a run can leave."""
    for directory in Path(gettempdir()).glob(f"{_PREFIX}*"):
        pid = directory.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(directory, ignore_errors=True)


def _show_all(wanted: list[Story], style: Style) -> int:
    began = monotonic()
    everything: list[Shown] = []
    failures = 0
    for story in wanted:
        shown = _show(story, style)
        failures += shown is None
        everything += shown or ()
    print(total(everything, failures, monotonic() - began, style))
    return 0 if not failures and all(shown.as_expected for shown in everything) else 1


def _show(story: Story, style: Style) -> tuple[Shown, ...] | None:
    """Show one story; None if it could not be put in force."""
    began = monotonic()
    print(heading(story, style), flush=True)
    try:
        with (
            TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as directory,
            in_force(story, Path(directory)) as running,
        ):
            shown = show(story, *running)
    except LabError as error:
        print(f"{indent(str(error), '  ')}\n", file=sys.stderr, flush=True)
        return None
    for line in (*rows(shown, style), *audit_record(shown, style)):
        print(line)
    print(summary(shown, monotonic() - began, style), flush=True)
    return shown


if __name__ == "__main__":
    sys.exit(main())
