"""`hostfwctl confirm`: accept the generation that is in force until it is confirmed."""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.outcomes import complain_of, failure, saved
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.control.client import ask
from hostfw.control.messages import Confirm, Reply
from hostfw.engine.outcomes import Confirmed, Failed, TooLate
from hostfw.model.time.moments import moment_text

USAGE = "[--console] [-o text|json]"
HELP = Page(
    """\
Accept what `apply --confirm-within` put into force. It counts only in an ssh session
that began afterwards: an established connection survives every change, so it proves
nothing about the next one. The session is found through the processes above
hostfwctl, also under sudo, but not within tmux or screen. It has to come from
another host, over an interface that a HostEndpoint governs: neither over lo, as a
port that an old session forwards does, nor through a tunnel.

On a console, or if you know that new connections can be made, use --console.

With -o json the outcome is a document of kind ConfirmResult (hostfw.io/v1): result is
accepted, unchanged, taken-back (with reason) or failed (with message and hint).""",
    """\
hostfwctl confirm
ssh web1 sudo hostfwctl confirm
hostfwctl confirm --console""",
    """\
0  accepted, or there was nothing left to confirm
1  refused, with the reason; it still waits to be confirmed
4  not permitted
5  too late: it was rolled back""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument(
        "--console",
        action="store_true",
        help="confirm without a new ssh connection, such as on a console",
    )
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Confirm, and say whether it counted."""
    engine = open_engine(options)
    outcome = ask(engine, Confirm(engine.host.ancestors(), console=options.console))
    if options.output is Output.JSON:
        console.data(json_text(document("ConfirmResult", _result(outcome))))
    match outcome:
        case Confirmed():
            for warning in outcome.warnings:
                console.warn(warning)
            what = "is accepted" if outcome.trial is not None else "was accepted already; there is nothing to confirm"
            console.say(f"generation {outcome.generation} {what}")
            return saved(outcome.unsaved, console)
        case TooLate(event):
            what = f"generation {event.generation}" if event.generation else "what was to be confirmed"
            console.complain(
                f"{what} was rolled back at {moment_text(event.at)}: {event.reason}",
                "`hostfwctl status` shows what is in force",
            )
            return ExitCode.ROLLED_BACK
        case Failed():
            return complain_of(outcome, console, in_force=True)
        case _:
            raise AssertionError(f"{type(outcome).__name__} does not answer a confirm")


def _result(outcome: Reply) -> Document:
    """A ConfirmResult: `result` says which of the other fields there are."""
    match outcome:
        case Confirmed(trial, generation, warnings, unsaved):
            result = "accepted" if trial is not None else "unchanged"
            return {
                "result": result,
                "generation": generation,
                "warnings": [*warnings, *unsaved],
                "saved": not unsaved,
            }
        case TooLate(event):
            return {
                "result": "taken-back",
                "generation": event.generation,
                "at": event.at.isoformat(),
                "reason": event.reason,
            }
        case Failed():
            return failure(outcome)
        case _:
            return {}
