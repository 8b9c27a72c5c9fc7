"""Streams and colour."""

from io import StringIO

import pytest

from hostfw.cli.output.console import Console, takes_colour
from hostfw.model.wording import counted


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


COLOUR = [
    ("a terminal gets colour", True, "auto", {}, True),
    ("a file does not", False, "auto", {}, False),
    ("NO_COLOR is heeded", True, "auto", {"NO_COLOR": "1"}, False),
    ("an empty NO_COLOR says nothing", True, "auto", {"NO_COLOR": ""}, True),
    ("a dumb terminal cannot", True, "auto", {"TERM": "dumb"}, False),
    ("always wins over a file", False, "always", {}, True),
    ("always wins over NO_COLOR", True, "always", {"NO_COLOR": "1"}, True),
    ("never wins over a terminal", True, "never", {}, False),
]


@pytest.mark.parametrize(
    ("terminal", "wish", "environment", "expected"), [c[1:] for c in COLOUR], ids=[c[0] for c in COLOUR]
)
def test_colour_is_for_people_who_want_it(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, wish: str, environment: dict[str, str], expected: bool
) -> None:
    """Colour needs a terminal and no objection, unless the command line decides."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert takes_colour(Terminal() if terminal else StringIO(), wish) is expected


COUNTS = [(0, "policies"), (1, "policy"), (2, "policies")]


@pytest.mark.parametrize(("number", "noun"), COUNTS)
def test_numbers_agree_with_their_nouns(number: int, noun: str) -> None:
    """One is singular, everything else plural."""
    assert counted(number, "policy", "policies") == f"{number} {noun}"


VERBOSITY = [
    (-1, "hostfwctl: failed\n  hint: try again\n"),
    (0, "done\nwarning: odd\nhostfwctl: failed\n  hint: try again\n"),
    (1, "done\nwarning: odd\nhow\nhostfwctl: failed\n  hint: try again\n"),
]


@pytest.mark.parametrize(("verbosity", "expected"), VERBOSITY, ids=["quiet", "normal", "verbose"])
def test_quiet_leaves_what_went_wrong(verbosity: int, expected: str) -> None:
    """Messages go to standard error, as many as were asked for, and never to standard output."""
    console = Console(StringIO(), err := StringIO(), verbosity=verbosity)
    console.say("done")
    console.warn("odd")
    console.detail("how")
    console.complain("failed", "try again")

    assert err.getvalue() == expected
