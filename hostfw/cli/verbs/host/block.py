"""`hostfwctl block`: let nothing pass but what holds on to the host."""

from argparse import ArgumentParser
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from hostfw.cli.arguments import add_output
from hostfw.cli.options import Options, Output
from hostfw.cli.outcomes import complain_of, directories_of, failure, saved, this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.engine.block import Blocked, block, session_text
from hostfw.engine.context import Host
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.block_state import BlockContext
from hostfw.host.errors import HostError
from hostfw.host.journal.writer import SOCKET, open_journal
from hostfw.model.host.baseline import Baseline
from hostfw.model.wording import counted

USAGE = "[--all] [-o text|json]"
HELP = Page(
    """\
The panic button. From one moment to the next nothing comes in, goes out or is
forwarded any more, whatever policy says: only lo, the ssh sessions that there are
now, and what these need to go on (neighbour discovery, path MTU discovery, the
renewal of DHCP leases). With --all not even those.

It needs neither the daemon nor a valid configuration, and stands beside the ruleset:
`apply` and `reload` work as ever, and count once `unblock` is run. A reboot does not
end it; the addresses that had an ssh session may begin another after it.

What one container says to another on the same bridge does not pass this host's
network, and goes on.

With -o json the outcome is a document of kind BlockResult (hostfw.io/v1): result is
blocked (with what was kept) or failed (with message and hint).""",
    """\
hostfwctl block
hostfwctl block --all
hostfwctl unblock""",
    """\
0  blocked
1  failed: the host is not blocked, or a reboot ends the block
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("--all", action="store_true", help="block current ssh sessions too")
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Block, and say what still passes."""
    on = block_context(options)
    outcome = block(on, Baseline() if options.all else on.host.baseline(), everything=options.all)
    if options.output is Output.JSON:
        console.data(json_text(document("BlockResult", _result(outcome))))
    match outcome:
        case Blocked():
            for warning in outcome.warnings:
                console.warn(warning)
            console.say(f"blocked: {_extent(outcome)}")
            for session in outcome.kept:
                console.say(f"  kept: ssh from {session_text(session)}")
            ends = "`hostfwctl unblock` ends it"
            console.say(ends if outcome.unsaved else f"{ends}; a reboot does not")
            return saved(outcome.unsaved, console)
        case Failed():
            return complain_of(outcome, console, in_force=True)


def block_context(options: Options) -> BlockContext:
    """The dependencies of a block, for the directories of a command line."""
    return BlockContext(directories_of(options), announcing(this_host()))


def announcing(host: Host) -> Host:
    """The same host, with a journal of its own, since no service takes part in it."""
    return replace(host, announce=_to_journal)


def _to_journal(entry: Mapping[str, str]) -> None:
    # Without journald there is nobody to tell but the caller, who is told anyway.
    if SOCKET.is_socket():
        with suppress(HostError):
            open_journal().send(entry)


def _extent(blocked: Blocked) -> str:
    if blocked.record.everything:
        return "nothing passes but lo"
    sessions = counted(len(blocked.kept), "ssh session")
    return (
        f"nothing passes but lo and {sessions}" if blocked.kept else "nothing passes but lo: no ssh session was found"
    )


def _result(outcome: Blocked | Failed) -> Document:
    """A BlockResult: `result` says which of the other fields there are."""
    match outcome:
        case Blocked(record, _, warnings, unsaved):
            return {
                "result": "blocked",
                "at": record.at.isoformat(),
                "everything": record.everything,
                "kept": list(record.kept),
                "warnings": [*warnings, *unsaved],
                "saved": not unsaved,
            }
        case Failed():
            return failure(outcome)
