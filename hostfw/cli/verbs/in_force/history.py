"""`hostfwctl history`: the generations that are stored, and which of them is accepted and in force."""

from argparse import ArgumentParser
from contextlib import suppress

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.outcomes import directories_of
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column, Gives
from hostfw.engine.reading.history import History, history
from hostfw.host.store.generations.generations import Stored
from hostfw.model.time.moments import moment_text

_COLUMNS = (
    Column("NUMBER", right=True),
    Column("GENERATION", rank=2, least=12, gives=Gives.END),
    Column("APPLIED", rank=1, least=19, gives=Gives.LINES),
    Column("POLICIES", rank=3, right=True, optional=True),
    Column("ENDPOINTS", rank=4, right=True, optional=True),
    Column("STATE", rank=5, least=11, gives=Gives.LINES),
)


USAGE = "[-o table|json|yaml]"
HELP = Page(
    """\
List the latest generations with their numbers, and which of them is accepted, in force
or waits to be confirmed.

With -o json or yaml this is a document of kind GenerationList (hostfw.io/v1).""",
    """\
hostfwctl history
hostfwctl history -o json | jq '.items[] | select(.accepted).number'""",
    """\
0  listed, even if there are none
1  the accepted one, or all of them, cannot be read
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_output(parser.add_argument, Output.TABLE, Output.JSON, Output.YAML)


def run(options: Options, console: Console) -> ExitCode:
    """List them, the latest first. Raises OSError where they cannot be looked at, as for one who may not know."""
    with suppress(FileNotFoundError):
        next(options.state_dir.iterdir(), None)
    found = history(directories_of(options))
    latest_first = tuple(reversed(found.generations))
    if options.output is Output.TABLE:
        console.table(_COLUMNS, [_row(stored, found) for stored in latest_first])
    else:
        items = [_item(stored, found) for stored in latest_first]
        console.data(document_text(document("GenerationList", {"items": items}), options.output))
    if found.accepted is not None and found.accepted not in {stored.number for stored in found.generations}:
        console.complain(
            f"generation {found.accepted}, which is accepted, cannot be read: its record is damaged",
            "`hostfwctl apply` writes it again",
        )
        return ExitCode.FAILED
    return ExitCode.DONE


def _row(stored: Stored, history: History) -> tuple[str, ...]:
    counts = dict(stored.counts)
    numbers = (str(counts.get(noun, "-")) for noun in ("policies", "endpoints"))
    return (
        str(stored.number),
        stored.id,
        moment_text(stored.applied_at),
        *numbers,
        _state(stored, history),
    )


def _state(stored: Stored, history: History) -> str:
    states = (
        (history.accepted, "accepted"),
        (history.in_force, "in force"),
        (history.on_trial, "waits for `hostfwctl confirm`"),
    )
    return ", ".join(name for number, name in states if number == stored.number) or "-"


def _item(stored: Stored, history: History) -> Document:
    return {
        "number": stored.number,
        "generation": stored.id,
        "appliedAt": stored.applied_at.isoformat(),
        "counts": dict(stored.counts),
        "accepted": stored.number == history.accepted,
        "inForce": stored.number == history.in_force,
        "pending": stored.number == history.on_trial,
    }
