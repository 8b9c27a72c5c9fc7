"""`hostfwctl unblock`: end a block, and leave the rest to policy again."""

from argparse import ArgumentParser

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.outcomes import complain_of, failure, saved
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.verbs.host.lockdown import block_context
from hostfw.engine.block import Unblocked, unblock
from hostfw.engine.outcomes import Failed
from hostfw.model.time.moments import moment_text
from hostfw.model.wording import counted

USAGE = "[--if-until TIME] [-o text|json]"
HELP = Page(
    """\
Take away what `lockdown` put in the way, at one moment, and let policy decide again.

With -o json the outcome is a document of kind UnblockResult (hostfw.io/v1): result is
unblocked (with the packets that were dropped), unchanged or failed.""",
    """\
hostfwctl unblock""",
    """\
0  done, whether or not there was a block
1  failed: the host is still blocked, or the next boot blocks it again
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument(
        "--if-until",
        metavar="TIME",
        help="only a block that ends at TIME, as its timer has it: later blocks stay",
    )
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Unblock, and say what was dropped meanwhile."""
    outcome = unblock(block_context(options), options.if_until)
    if options.output is Output.JSON:
        console.data(json_text(document("UnblockResult", _result(outcome))))
    match outcome:
        case Unblocked(None, None):
            console.say("there was no block")
            return ExitCode.DONE
        case Unblocked():
            console.say(f"unblocked: {_dropped(outcome)}; policy decides again")
            return saved(outcome.unsaved, console)
        case Failed():
            return complain_of(outcome, console, in_force=True)


def _dropped(unblocked: Unblocked) -> str:
    counts = dict(unblocked.before.dropped) if unblocked.before is not None else {}
    packets = counted(sum(counts.values()), "packet")
    since = f" since {moment_text(unblocked.since)}" if unblocked.since is not None else ""
    return f"{packets} dropped{since}" if unblocked.before is not None else "the kernel held no block any more"


def _result(outcome: Unblocked | Failed) -> Document:
    """An UnblockResult: `result` says which of the other fields there are."""
    match outcome:
        case Unblocked(before, since, unsaved):
            return {
                "result": "unchanged" if before is None and since is None else "unblocked",
                "since": since.isoformat() if since is not None else None,
                "dropped": dict(before.dropped) if before is not None else {},
                "warnings": list(unsaved),
                "saved": not unsaved,
            }
        case Failed():
            return failure(outcome)
