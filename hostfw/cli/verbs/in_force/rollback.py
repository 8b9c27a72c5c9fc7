"""`hostfwctl rollback`: roll back what nobody confirmed yet, or go back to an earlier generation."""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_accept_lockout, add_accept_loss, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.input.active_plan import plan_now
from hostfw.cli.outcomes import complain_of, failure, saved
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.reports.exposure_change import changes_between, tell
from hostfw.control.channel import TIMEOUT_S
from hostfw.control.client import ask
from hostfw.control.messages import Reply, Request, Rollback, RollbackTo
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed, NoTrial, RolledBack
from hostfw.host.errors import HostError
from hostfw.model.plan import Plan

_DEADLINE_TIMEOUT_S = 20.0
"""Time that the deadline's command waits for the service before it rolls back by itself."""


USAGE = "[--to NUMBER [--accept-lockout]] [-o text|json]"
HELP = Page(
    """\
Roll back a change that waits to be confirmed: what was accepted last is in force again.

With --to put a stored generation into force and accept it: its configuration is
compiled anew for the host as it is now. It is refused if most of the policies would be
lost, as by `apply`, or if the generation can no longer be compiled, since nothing shows
what its stored script would lose. The configuration directory stays as it is;
`hostfwctl diff` shows how it differs.

Either way, a rollback that would leave no interface, or no default route, with a
HostEndpoint, where there were some, is refused. To accept such losses, add --accept-loss. One
that would cut off connections the host depends on is refused too; to do it anyway, add
--accept-lockout. At its deadline a trial is rolled back whatever is lost by it.

With -o json the outcome is a document of kind RollbackResult (hostfw.io/v1): result is
rolled-back, unchanged or failed (with message and hint).""",
    """\
hostfwctl rollback
hostfwctl history
hostfwctl rollback --to 12""",
    """\
0  done
1  failed, or there was nothing to roll back
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--to", type=int, metavar="NUMBER", help="go back to a stored generation, and accept it")
    which.add_argument(
        "--if-pending",
        metavar="TOKEN",
        help="only if the trial with this token still waits to be confirmed; used at the deadline",
    )
    add_accept_loss(parser)
    add_accept_lockout(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Roll back, and show the active generation and its state now."""
    engine = open_engine(options)
    at_deadline = options.if_pending is not None
    baseline = None if at_deadline else engine.host.baseline()
    request: Request = Rollback(options.if_pending, options.accept_lockout, baseline, options.accept_loss)
    if options.to is not None:
        request = RollbackTo(options.to, options.accept_lockout, baseline, options.accept_loss)
    before = () if at_deadline else _plans(options)
    outcome = ask(engine, request, _DEADLINE_TIMEOUT_S if at_deadline else TIMEOUT_S, insist=at_deadline)
    if options.output is Output.JSON:
        console.data(json_text(document("RollbackResult", _result(outcome))))
    match outcome:
        case RolledBack():
            for warning in outcome.warnings:
                console.warn(warning)
            after = _plans(options) if before else ()
            if before and after:
                tell(changes_between(before[0], after[0], options), console)
            if not outcome.from_sources:
                console.warn("its sources no longer build on this host: its script is in force as it was stored")
            console.say(_sentence(outcome, rolled_back=options.to is None))
            return saved(outcome.unsaved, console)
        case NoTrial() if options.if_pending is not None:
            console.detail("nothing to roll back")
            return ExitCode.DONE
        case NoTrial():
            console.complain("there is nothing to roll back: the active generation is accepted", _earlier(engine))
            return ExitCode.FAILED
        case Failed():
            return complain_of(outcome, console, in_force=True)
        case _:
            raise AssertionError(f"{type(outcome).__name__} does not answer a rollback")


def _plans(options: Options) -> tuple[Plan | None, ...]:
    """The plan of what is in force as the only item, None where no rules are; no item where it cannot be known."""
    try:
        now = plan_now(options)
    except (HostError, PermissionError):
        return ()
    return (None if now is None else now[0],)


def _sentence(back: RolledBack, *, rolled_back: bool) -> str:
    now = "nothing is in force" if back.generation is None else f"generation {back.generation} in force"
    if not rolled_back:
        return now if back.unsaved else f"{now}, and accepted"
    gone = f"generation {back.event.generation} rolled back" if back.event.generation else "rolled back"
    return f"{gone} ({back.event.reason}): {now}"


def _earlier(engine: Engine) -> str:
    """The hint that names the generation before the accepted one."""
    history = engine.history()
    before = [stored.number for stored in history.generations if stored.number < (history.accepted or 0)]
    if not before:
        return ""
    return f"`hostfwctl rollback --to {before[-1]}` goes back to the generation before it; `history` lists them all"


def _result(outcome: Reply) -> Document:
    """A RollbackResult: `result` says which of the other fields there are."""
    match outcome:
        case RolledBack(generation, event, from_sources, warnings, unsaved):
            return {
                "result": "rolled-back",
                "generation": generation,
                "takenBack": event.generation,
                "reason": event.reason,
                "fromSources": from_sources,
                "warnings": [*warnings, *unsaved],
                "saved": not unsaved,
            }
        case NoTrial():
            return {"result": "unchanged"}
        case Failed():
            return failure(outcome)
        case _:
            return {}
