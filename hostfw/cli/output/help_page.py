"""A page of help: the text that `hostfwctl VERB --help` and the manual have beside a verb's arguments."""

import re
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import NamedTuple

from hostfw.cli.output.terminal import columns_of_terminal

WIDTH = 80
"""Help is never wider, however wide the terminal is: long lines of prose are hard to read."""

_INDENT = "  "
_GLUE = "\0"


class Page(NamedTuple):
    """A description in paragraphs, in which indented lines stay as they are, commands to type, and exit statuses.

    An exit status is a number, two blanks and its meaning, which may go on in lines that begin with blanks.
    """

    description: str
    examples: str
    exits: str

    def description_text(self, width: int) -> str:
        """The description, its paragraphs filled to a width."""
        return "\n\n".join(_paragraphs(self.description, width))

    def epilog_text(self, width: int) -> str:
        """The examples and exit statuses, which follow the options in the help."""
        examples = "\n".join(f"{_INDENT}{line}".rstrip() for line in self.examples.strip().splitlines())
        exits = "\n".join(_exits(self.exits, width))
        return f"examples:\n{examples}\n\nexit status:\n{exits}"


class HelpFormatter(RawDescriptionHelpFormatter):
    """argparse's formatter on at most 80 columns, for texts that are filled already."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=help_width())

    def _format_action_invocation(self, action: Action) -> str:
        """The options of an argument with its value once, as Python 3.13 has them: one page of help on every Debian."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def help_width() -> int:
    """The columns that a page of help may take here."""
    return min(columns_of_terminal() or WIDTH, WIDTH)


def usage_text(prog: str, usage: str, width: int) -> str:
    """The usage of a verb after the word `usage: `; what is in brackets stays on one line."""
    head = f"usage: {prog} "
    if len(head + usage) <= width and "\n" not in usage:
        return f"{prog} {usage}"
    whole = re.sub(r"\[[^][]*\]", lambda found: found[0].replace(" ", _GLUE), usage)
    return _filled(head + whole, width, later=" " * len(head)).removeprefix("usage: ").replace(_GLUE, " ")


def _paragraphs(text: str, width: int) -> Iterator[str]:
    for block in text.strip("\n").split("\n\n"):
        yield block if block.startswith(" ") else _filled(block, width)


def _exits(text: str, width: int) -> Iterator[str]:
    entries: list[tuple[str, str]] = []
    for line in text.strip().splitlines():
        found = re.fullmatch(r"(?P<status>\d+ +)(?P<text>\S.*)", line)
        if found is not None:
            entries.append((found["status"], found["text"]))
        else:
            status, meaning = entries.pop()
            entries.append((status, f"{meaning} {line.strip()}"))
    for status, meaning in entries:
        yield _filled(meaning, width, _INDENT + status, " " * len(_INDENT + status))


def _filled(text: str, width: int, first: str = "", later: str = "") -> str:
    # Most runs print no help, and its modules take 2 ms to load.
    from textwrap import fill

    filled = fill(
        re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _GLUE), " ".join(text.split())),
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_GLUE, " ")
