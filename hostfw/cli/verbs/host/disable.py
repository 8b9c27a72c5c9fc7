"""`hostfwctl disable`: take every rule out of force, and out of every boot."""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.outcomes import complain_of, directories_of, failure
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.journal import announcing
from hostfw.control.channel import report
from hostfw.engine.disable import Disabled, disable
from hostfw.engine.outcomes import Failed

USAGE = "--remove-rules [-o text|json]"
HELP = Page(
    """\
Turn hostfw off. Stopping its service leaves the rules in force; this removes them:
the units are stopped and disabled, nothing waits to be confirmed or is loaded by a
boot any more, and then the tables ip hostfw and ip6 hostfw are deleted at once, a
block with them. Every packet passes that no other program denies.

The configuration and the stored generations stay: `hostfwctl apply`, and
`systemctl enable --now hostfw-boot hostfw`, turn it on again. It asks for
--remove-rules, so that nobody opens a host by mistake.

With -o json the outcome is a document of kind DisableResult (hostfw.io/v1): result is
disabled (with the steps that were taken) or failed (with message and hint).""",
    """\
hostfwctl disable --remove-rules""",
    """\
0  nothing of hostfw is in force
1  failed; the rules are still in force
2  --remove-rules is missing
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("--remove-rules", action="store_true", help="required, since nothing is denied afterwards")
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Disable, and say what that took and how it is undone."""
    if not options.remove_rules:
        console.complain(
            "this removes every rule of hostfw: nothing is denied afterwards",
            "`hostfwctl disable --remove-rules` does it; `systemctl stop hostfw` stops the service and keeps the rules",
        )
        return ExitCode.USAGE
    engine = open_engine(options)
    outcome = disable(engine.directories, announcing(engine.host), still_running=lambda: _service(options))
    if options.output is Output.JSON:
        console.data(json_text(document("DisableResult", _result(outcome))))
    match outcome:
        case Disabled():
            for step in outcome.steps:
                console.say(step)
            console.say(_sentence(outcome))
            return ExitCode.DONE
        case Failed():
            return complain_of(outcome, console, in_force=True)


def _service(options: Options) -> int | None:
    """The pid of a service that runs nevertheless, as in a container; it would put everything back."""
    running = report(directories_of(options))
    return running.pid if running is not None else None


def _sentence(disabled: Disabled) -> str:
    what = "hostfw is off: it denies nothing any more"
    if disabled.number is None:
        return what
    return f"{what}; `hostfwctl rollback --to {disabled.number}` puts back what was in force"


def _result(outcome: Disabled | Failed) -> Document:
    """A DisableResult: `result` says which of the other fields there are."""
    match outcome:
        case Disabled(removed, number, steps):
            return {"result": "disabled", "generation": removed, "number": number, "steps": list(steps)}
        case Failed():
            return failure(outcome)
