"""`hostfwctl confirm`: accept the generation that is in force until it is confirmed."""

from hostfw.cli.engine import complain_of, failure, open_engine, saved
from hostfw.cli.options import Options, Output
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.control.client import ask
from hostfw.control.messages import Confirm, Reply
from hostfw.engine.outcomes import Confirmed, Failed, TooLate


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
            what = "is accepted" if outcome.pending is not None else "was accepted already; there is nothing to confirm"
            console.say(f"generation {outcome.generation} {what}")
            return saved(outcome.unsaved, console)
        case TooLate(event):
            what = f"generation {event.generation}" if event.generation else "what was to be confirmed"
            console.complain(
                f"{what} was taken back at {event.at:%Y-%m-%d %H:%M:%S %Z}: {event.reason}",
                "`hostfwctl status` shows what is in force",
            )
            return ExitCode.TAKEN_BACK
        case Failed():
            return complain_of(outcome, console, in_force=True)
        case _:
            raise AssertionError(f"{type(outcome).__name__} does not answer a confirm")


def _result(outcome: Reply) -> Document:
    """A ConfirmResult: `result` says which of the other fields there are."""
    match outcome:
        case Confirmed(pending, generation, warnings, unsaved):
            result = "accepted" if pending is not None else "unchanged"
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
