"""Where a verb speaks: data to standard output, messages to standard error, and how both look."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TextIO

from hostfw.cli.output.terminal import cell_width, printable


class ExitCode(IntEnum):
    """What a verb ends with; scripts rely on these. `INTERRUPTED` and `BROKEN_PIPE` are 128 and the signal's number."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    UNAVAILABLE = 4
    TAKEN_BACK = 5
    DENIED = 10
    INTERRUPTED = 130
    BROKEN_PIPE = 141


DIFFERS = ExitCode.FAILED
"""What `diff` ends with, as diff(1) does, when there is a difference."""

TROUBLE = ExitCode.USAGE
"""What `diff` ends with, as diff(1) does, when it cannot tell whether there is a difference."""

NO_MATCH = ExitCode.DENIED
"""What `selector` ends with when the labels are not selected."""


class Style(StrEnum):
    """A meaning that colour underlines, and its SGR parameters; nothing is said by colour alone."""

    WHERE = "1"
    ERROR = "1;31"
    WARNING = "1;33"
    GOOD = "32"
    REMOVED = "31"
    FAINT = "2"
    HEADING = "1"


@dataclass(frozen=True, slots=True)
class Console:
    """The two streams of a verb, which of them take colour, and how much is to be said (-1, 0 or 1)."""

    out: TextIO
    err: TextIO
    colour_out: bool = False
    colour_err: bool = False
    verbosity: int = 0

    def data(self, *lines: str) -> None:
        """Write what was asked for."""
        self.out.writelines(f"{line}\n" for line in lines)

    def say(self, message: str) -> None:
        """Tell a person what happened, unless they asked for quiet."""
        if self.verbosity >= 0:
            self.message(printable(message))

    def detail(self, text: str) -> None:
        """Tell a person who asked for more."""
        if self.verbosity > 0:
            self.message(text)

    def complain(self, message: str, hint: str = "") -> None:
        """Say what went wrong, quiet or not, and the next step if there is one."""
        name = painted("hostfwctl:", Style.ERROR, on=self.colour_err)
        self.message(f"{name} {printable(message)}")
        if hint:
            self.message(f"  hint: {printable(hint)}")

    def warn(self, message: str) -> None:
        """Say what is not as it should be and did not stop the verb."""
        if self.verbosity >= 0:
            label = painted("warning:", Style.WARNING, on=self.colour_err)
            self.message(f"{label} {printable(message)}")

    def message(self, *lines: str) -> None:
        """Write lines to standard error, after whatever data came before them."""
        self.out.flush()
        self.err.writelines(f"{line}\n" for line in lines)


def takes_colour(stream: TextIO, wish: str) -> bool:
    """True if a stream gets colour: `always`, `never`, or with `auto` the terminal of a person who does not mind.

    NO_COLOR is that of no-color.org: set and not empty, it asks for none.
    """
    if wish != "auto":
        return wish == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def painted(text: str, style: Style, *, on: bool) -> str:
    """The text in a style, or as it is."""
    return f"\033[{style}m{text}\033[0m" if on and text else text


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, colour: bool = False) -> list[str]:
    """Rows below their headings in aligned columns; the last column is as long as it is."""
    heading, *lines = columns((headings, *rows))
    return [painted(heading, Style.HEADING, on=colour), *lines]


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of as many cells each, in aligned columns; the last column is as long as it is."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    return [
        "   ".join(cell + " " * (width - cell_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
