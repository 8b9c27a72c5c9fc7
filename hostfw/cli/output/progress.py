"""A progress line on a terminal for work longer than a second; it vanishes when the work is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

from hostfw.cli.output.console import Console

PATIENCE_S = 1.0
"""Time before the line appears: most verbs are done by then."""

_STEP_S = 0.5
_ERASE = "\r\033[K"


@contextmanager
def progress(console: Console, patience_s: float = PATIENCE_S) -> Iterator[Callable[[str], None]]:
    """Give a function that takes what is being done from now on; only people at a terminal see it."""
    doing = [""]
    if console.verbosity < 0 or not console.err.isatty():
        yield lambda text: doing.__setitem__(0, text)
        return
    done = Event()
    ticker = Thread(target=_tell, args=(console, doing, done, patience_s), daemon=True)
    ticker.start()
    try:
        yield lambda text: doing.__setitem__(0, text)
    finally:
        done.set()
        ticker.join()


def _tell(console: Console, doing: list[str], done: Event, patience_s: float) -> None:
    started_s = monotonic()
    shown = False
    wait_s = patience_s
    while not done.wait(wait_s):
        console.err.write(f"{_ERASE}{doing[0]} ... {monotonic() - started_s:.0f} s")
        console.err.flush()
        shown, wait_s = True, _STEP_S
    if shown:
        console.err.write(_ERASE)
        console.err.flush()
