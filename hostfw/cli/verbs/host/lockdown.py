"""`hostfwctl lockdown`: block all traffic except current ssh sessions."""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.outcomes import complain_of, directories_of, failure, saved, this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.durations import duration_s
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.journal import announcing
from hostfw.engine.block import Blocked, block, session_text
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.block_state import BlockContext
from hostfw.model.host.baseline import Baseline
from hostfw.model.time.moments import moment_text
from hostfw.model.wording import counted

USAGE = "[--all] [--for TIME] [-o text|json]"
HELP = Page(
    """\
The panic button. At once nothing comes in, goes out or is forwarded any more,
whatever policy says, except traffic on lo, the current ssh sessions, and what these
need to go on (neighbour discovery, path MTU discovery, the renewal of DHCP leases).
With --all everything but lo is blocked.

Without any ssh session it is refused, since nobody could get in any more to end it;
to do it anyway, add --all. With --for it ends by itself after a time, also if the
service is stopped meanwhile; after a reboot the service ends it.

It needs neither the daemon nor a valid configuration, and stands beside the ruleset:
`apply` and `reload` work as usual, and take effect once `unblock` is run. A reboot
does not end it; the addresses that had an ssh session may begin another after it.

What one container says to another on the same bridge does not pass this host's
network, and goes on.

With -o json the outcome is a document of kind BlockResult (hostfw.io/v1): result is
blocked (with what was kept) or failed (with message and hint).""",
    """\
hostfwctl lockdown
hostfwctl lockdown --for 30m
hostfwctl lockdown --all
hostfwctl unblock""",
    """\
0  blocked
1  failed or refused: the host is not blocked, or a reboot ends the block
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("--all", action="store_true", help="block current ssh sessions too, or block without any")
    parser.add_argument(
        "--for", dest="for_s", type=duration_s, metavar="TIME", help="end the block after TIME, such as 30m or 2h"
    )
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Block, and say what still passes."""
    on = block_context(options)
    baseline = Baseline() if options.all else on.host.baseline()
    outcome = block(on, baseline, everything=options.all, for_s=options.for_s)
    if options.output is Output.JSON:
        console.data(json_text(document("BlockResult", _result(outcome))))
    match outcome:
        case Blocked():
            for warning in outcome.warnings:
                console.warn(warning)
            console.say(f"blocked: {_extent(outcome)}")
            for session in outcome.kept:
                console.say(f"  kept: ssh from {session_text(session)}")
            until = outcome.record.until
            time = "" if until is None else f"{moment_text(until)} or "
            console.say(f"it lasts until {time}`hostfwctl unblock`{'' if outcome.unsaved else ', also over a reboot'}")
            return saved(outcome.unsaved, console)
        case Failed():
            return complain_of(outcome, console, in_force=True)


def block_context(options: Options) -> BlockContext:
    """The dependencies of a block, for the directories of a command line."""
    return BlockContext(directories_of(options), announcing(this_host()))


def _extent(blocked: Blocked) -> str:
    if blocked.record.everything:
        return "nothing passes but lo"
    return f"nothing passes but lo and {counted(len(blocked.kept), 'ssh session')}"


def _result(outcome: Blocked | Failed) -> Document:
    """A BlockResult: `result` says which of the other fields there are."""
    match outcome:
        case Blocked(record, _, warnings, unsaved):
            return {
                "result": "blocked",
                "at": record.at.isoformat(),
                "until": record.until.isoformat() if record.until is not None else None,
                "everything": record.everything,
                "kept": list(record.kept),
                "warnings": [*warnings, *unsaved],
                "saved": not unsaved,
            }
        case Failed():
            return failure(outcome)
