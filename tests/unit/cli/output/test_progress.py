"""Progress of long work is shown to people on a terminal only."""

from contextlib import suppress
from io import StringIO
from time import sleep

import pytest

from hostfw.cli.output.console import Console
from hostfw.cli.output.progress import progress


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is none."""
        return True


def told(err: StringIO, *, patience_s: float, takes_s: float, verbosity: int = 0) -> str:
    """The output on a stream while something takes its time."""
    with progress(Console(StringIO(), err, verbosity=verbosity), patience_s) as doing:
        doing("reading")
        sleep(takes_s)
    return err.getvalue()


def test_a_terminal_is_told_and_cleaned() -> None:
    """The line says what is done and for how long, and is gone at the end."""
    assert told(Terminal(), patience_s=0.2, takes_s=0.4) == "\r\033[Kreading ... 0 s\r\033[K"


@pytest.mark.parametrize(
    ("err", "patience_s", "verbosity"),
    [(Terminal(), 10, 0), (Terminal(), 0.01, -1), (StringIO(), 0.01, 0)],
    ids=["done in time", "quiet", "no terminal"],
)
def test_otherwise_nothing_is_said(err: StringIO, patience_s: float, verbosity: int) -> None:
    """Logs and pipes get no such lines."""
    assert told(err, patience_s=patience_s, takes_s=0.05, verbosity=verbosity) == ""


def test_what_fails_leaves_a_clean_line() -> None:
    """The message comes where the progress was."""
    err = Terminal()
    with suppress(ZeroDivisionError), progress(Console(StringIO(), err), 0.01):
        sleep(0.1)
        _ = 1 / 0

    assert err.getvalue().endswith("\r\033[K")
