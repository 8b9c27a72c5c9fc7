"""The table of everyday tasks is one that bench.everyday wrote, and no task takes hostfw more commands than others."""

import re

from bench.everyday import FIREWALLS, TASKS
from hostfw.cli.command_line.parser import parse
from tests.unit.project.documentation import ROOT

TABLE = (ROOT / "docs/everyday.md").read_text().partition("<!-- bench.everyday -->\n")[2].partition("<!-- end -->")[0]


def test_the_table_has_every_task_with_the_commands_that_it_takes_now() -> None:
    """Commands and keystrokes are those of the tasks; the seconds are of the run that wrote it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines()[2:]]
    measured = {row[0]: dict(zip(FIREWALLS, row[1:4], strict=True)) for row in rows if not row[0].startswith("**")}

    assert list(measured) == [task.name for task in TASKS]
    for task in TASKS:
        for firewall in FIREWALLS:
            commands = task.commands.get(firewall, ())
            keystrokes = sum(len(command.partition(";")[0]) + 1 for command in commands)
            figures = rf"{len(commands)} / {keystrokes} / \d+\.\d\d s" if commands else "no"
            assert re.fullmatch(figures, measured[task.name][firewall]), f"{task.name}: {firewall}"


def test_no_task_takes_more_commands_than_with_the_better_of_the_others() -> None:
    """Every one can be done at all, by commands that can be typed."""
    for task in TASKS:
        ours, *others = (task.commands.get(firewall) for firewall in FIREWALLS)
        assert ours is not None
        assert len(ours) <= min((len(each) for each in others if each), default=len(ours)), task.name
        for command in ours:
            parse(command.partition(";")[0].split()[1:])
