"""The streams of a verb: data to standard output, messages to standard error, and their style."""

import os
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple, TextIO

from hostfw.cli.output.terminal import printable, wrapped

if TYPE_CHECKING:
    # Few verbs write a table, and each loads what lays it out.
    from hostfw.cli.output.tables import Column

_LEAST_ROOM = 20
"""A text beside a label is as wide as this on any terminal."""


class ExitCode(IntEnum):
    """Exit codes of verbs; scripts rely on these. `INTERRUPTED` and `BROKEN_PIPE` are 128 and the signal's number."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    UNAVAILABLE = 4
    ROLLED_BACK = 5
    DENIED = 10
    INTERRUPTED = 130
    BROKEN_PIPE = 141


DIFFERS = ExitCode.FAILED
"""The exit code of `diff`, as of diff(1), where there is a difference."""

TROUBLE = ExitCode.USAGE
"""The exit code of `diff`, as of diff(1), where it cannot compare."""

NO_MATCH = ExitCode.DENIED
"""The exit code of `selector` where the labels are not selected."""


class Style(StrEnum):
    """A meaning that colour underlines, and its SGR parameters; nothing is said by colour alone."""

    WHERE = "1"
    ERROR = "1;31"
    WARNING = "1;33"
    GOOD = "32"
    REMOVED = "31"
    FAINT = "2"
    HEADING = "1"


class Console(NamedTuple):
    """The two streams of a verb, which of them take colour, how much is to be said (-1, 0 or 1), and their columns.

    `width_out` and `width_err` are None for what is no terminal: there a row or a sentence is one line, and whole.
    """

    out: TextIO
    err: TextIO
    colour_out: bool = False
    colour_err: bool = False
    verbosity: int = 0
    width_out: int | None = None
    width_err: int | None = None

    def data(self, *lines: str) -> None:
        """Write what was asked for."""
        self.out.writelines(f"{line}\n" for line in lines)

    def table(
        self, columns: "Sequence[Column]", rows: Iterable[Sequence[str]], whole: str = "-o json", *, wide: bool = False
    ) -> None:
        """Write a table that fits the terminal, or with `wide` a whole one; `whole` is the option that shows all."""
        from hostfw.cli.output.tables import table

        laid_out = table(columns, rows, None if wide else self.width_out)
        headings = (painted(line, Style.HEADING, on=self.colour_out) for line in laid_out.headings)
        self.data(*headings, *laid_out.lines)
        if laid_out.left_out:
            self.say(f"not shown on {self.width_out} columns: {', '.join(laid_out.left_out)}; {whole} shows them")

    def labelled(self, label: str, text: str, columns: int, style: Style | None = None) -> None:
        """Write a text beside a label that takes so many columns, filled to the terminal."""
        room = None if self.width_out is None else max(self.width_out - columns, _LEAST_ROOM)
        for number, line in enumerate(wrapped(printable(text), room)):
            shown = painted(line, style, on=self.colour_out) if style else line
            self.data(f"{label if number == 0 else '':{columns}}{shown}".rstrip())

    def filled(self, text: str, indent: str = "") -> list[str]:
        """Give the lines of a sentence on the terminal; what does not fit on the first is indented by two more."""
        return wrapped(printable(f"{indent}{text}"), self.width_out, f"{indent}  ")

    def say(self, message: str) -> None:
        """Tell a person what happened, unless they asked for quiet."""
        if self.verbosity >= 0:
            self._sentence("", message)

    def detail(self, text: str) -> None:
        """Tell a person who asked for more."""
        if self.verbosity > 0:
            self.message(text)

    def complain(self, message: str, hint: str = "") -> None:
        """Say what went wrong, quiet or not, and the next step if there is one."""
        self._sentence("hostfwctl:", message, Style.ERROR)
        if hint:
            self._sentence("  hint:", hint)

    def warn(self, message: str) -> None:
        """Say what is not as it should be and did not stop the verb."""
        if self.verbosity >= 0:
            self._sentence("warning:", message, Style.WARNING)

    def message(self, *lines: str) -> None:
        """Write lines to standard error, after whatever data came before them."""
        self.out.flush()
        self.err.writelines(f"{line}\n" for line in lines)

    def _sentence(self, label: str, text: str, style: Style | None = None) -> None:
        """Write a sentence to standard error, filled to the terminal, after a label in colour."""
        later = " " * (2 + len(label) - len(label.lstrip()))
        first, *more = wrapped(printable(f"{label} {text}" if label else text), self.width_err, later)
        if style is not None:
            first = painted(label, style, on=self.colour_err) + first[len(label) :]
        self.message(first, *more)


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
