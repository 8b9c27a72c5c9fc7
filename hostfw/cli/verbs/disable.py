"""`hostfwctl disable`: take every rule out of force, and out of every boot."""

from hostfw.cli.engine import complain_of, failure, open_engine
from hostfw.cli.options import Options, Output
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.verbs.block import announcing
from hostfw.control.client import report
from hostfw.engine.disable import Disabled, disable
from hostfw.engine.outcomes import Failed


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
    running = report(open_engine(options))
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
