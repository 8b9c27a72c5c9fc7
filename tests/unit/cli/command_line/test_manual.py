"""The manual says what the command line does."""

import re
from pathlib import Path

from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.output.console import ExitCode

MANUAL = (Path(__file__).parents[4] / "docs" / "hostfwctl.md").read_text()


def test_the_manual_has_every_verb_in_order() -> None:
    """No verb is missing from its first table, and none is made up."""
    table = MANUAL.partition("| verb |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [verb.name for verb in VERBS]


def test_the_manual_has_every_exit_status() -> None:
    """Scripts find each of them."""
    table = MANUAL.partition("| status |")[2].partition("\n\n")[0]

    assert [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(ExitCode)
