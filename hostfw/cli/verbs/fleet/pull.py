"""`hostfwctl pull`: take the policy of a fleet from a signed bundle."""

from argparse import ArgumentParser, ArgumentTypeError
from functools import partial
from pathlib import Path

from hostfw.bundle.manifest import MOST_BUNDLE_BYTES, is_word
from hostfw.cli.command_line.arguments import add_accept_loss, add_output, positive
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.fleet.bundles.fetched import is_url
from hostfw.cli.fleet.bundles.pull import Wanted, pull
from hostfw.cli.fleet.bundles.status import Pulled, State, last_record, record, save_record
from hostfw.cli.fleet.bundles.tally import read_tally
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, json_text
from hostfw.cli.output.durations import duration_s
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.journal import to_journal
from hostfw.host.bundles.folders import only_one_pull
from hostfw.host.bundles.state import BundleState, load_state
from hostfw.host.errors import HostError
from hostfw.journal.bundle_notices import bundle_not_taken, bundle_taken

SIGNERS = Path("/etc/hostfw/allowed_signers")
WITHIN_S = 60
USAGE = "URL|FILE [OPTION...]"
HELP = Page(
    """\
Fetch a bundle that `hostfwctl bundle` made, and put its policies into force, if it is
signed by one of the allowed signers (ssh-keygen(1), ALLOWED SIGNERS; the namespace is
hostfw), its number is higher than that of the last, and its wave for this host has begun.
Nothing is unpacked before. A bundle that was changed on its way, an older one, and a
different one with the number of the last are refused, whoever serves them.

The files are put into a folder of their own, to which /etc/hostfw/bundle is a link; other files of
/etc/hostfw, above all hostfw.yaml, stay the host's, as they were accepted last. A
bundle passes all that `hostfwctl apply` checks. It is in force on trial first: it is kept if
its server still answers a new connection and the command of --confirm-by ends with 0,
and is rolled back otherwise, at the deadline even if hostfwctl is killed. One that was rolled
back is not tried again; --retry does.

Where the endpoints of a bundle are separate, the host takes those that its rules ask for, from
URL.d/. If they ask for more than was chosen for it, it takes the endpoints of all hosts and
says why; --all-endpoints always takes them all.

The result is written to /var/lib/hostfw/bundles/status.json, as a document of kind
BundleStatus (hostfw.io/v1), and printed with -o json: state is applied, current, waiting,
stopped, changed, refused, failed or unreached. `hostfw-pull.timer` does it every five
minutes, with the words of /etc/default/hostfw-pull.""",
    """\
hostfwctl pull https://fleet.example/web.hostfw --ring canary
hostfwctl pull https://fleet.example/web.hostfw --confirm-by 'pg_isready'
hostfwctl pull web.hostfw --signers allowed_signers --confirm-by true""",
    """\
0  it is in force, was already, or waits for its time
1  it could not be fetched, or something of this host did not work
2  the command line is wrong
3  it was refused: it is not to be believed, or older than what is in force
4  not permitted
5  it failed: a check refused it, or it was rolled back""",
)
_STATUSES = {
    State.UNREACHED: ExitCode.FAILED,
    State.REFUSED: ExitCode.INVALID,
    State.FAILED: ExitCode.ROLLED_BACK,
    State.STOPPED: ExitCode.ROLLED_BACK,
}


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("source", metavar="URL|FILE", help="where the bundle is: http, https or a file")
    parser.add_argument("--signers", type=Path, default=SIGNERS, help=f"the allowed signers (default: {SIGNERS})")
    parser.add_argument("--ring", type=_word, metavar="RING", help="the ring of this host")
    parser.add_argument("--name", dest="bundle_name", type=_word, metavar="NAME", help="whose bundles this host takes")
    parser.add_argument(
        "--confirm-by", default="", metavar="COMMAND", help="a command for /bin/sh that ends with 0 if all is well"
    )
    parser.add_argument(
        "--confirm-within",
        dest="confirm_within_s",
        type=duration_s,
        default=WITHIN_S,
        metavar="TIME",
        help="roll it back unless confirmed within TIME (default: 60s)",
    )
    parser.add_argument("--tally", default="", metavar="URL|FILE", help="the results of other hosts, as a tally")
    parser.add_argument(
        "--most-bytes", type=positive, default=MOST_BUNDLE_BYTES, metavar="N", help="the largest bundle to read"
    )
    parser.add_argument("--retry", action="store_true", help="try a bundle again that failed here, or was replaced")
    parser.add_argument("--now", action="store_true", help="take it whatever its waves say")
    parser.add_argument(
        "--all-endpoints", action="store_true", help="take the endpoints of all hosts, where they are separate"
    )
    add_accept_loss(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Pull, write the record, and say how it went."""
    if "://" in options.source and not is_url(options.source):
        console.complain(f"{options.source} is neither a file nor a URL of http or https", f"expected: {USAGE}")
        return ExitCode.USAGE
    if not is_url(options.source) and not options.confirm_by:
        console.complain(
            "a bundle from a file has no server to prove that the host is well",
            "give --confirm-by COMMAND; `--confirm-by true` asks nothing",
        )
        return ExitCode.USAGE
    engine = open_engine(options)
    with only_one_pull(options.state_dir):
        node = engine.host.host_name()
        pulled = pull(engine, _wanted(options, node), engine.host.now())
        try:
            known = load_state(options.state_dir)
        except HostError:
            known = BundleState()
        before = last_record(options.state_dir)
        content = record(pulled, known, node, options.ring or "", options.source, engine.host.now())
        unsaved = _unsaved(options, content)
    _announce(pulled, options.source, is_new=any(before.get(key) != content[key] for key in ("state", "message")))
    if options.output is Output.JSON:
        console.data(json_text(content))
    status = _said(pulled, console)
    if unsaved is not None:
        console.complain(unsaved.message, unsaved.hint)
    return status if unsaved is None or status else ExitCode.FAILED


def _announce(pulled: Pulled, source: str, *, is_new: bool) -> None:
    """Tell the journal of a bundle that came into force, and once of a reason why none did."""
    number = pulled.offered.number if pulled.offered is not None else None
    if pulled.state is State.APPLIED:
        to_journal(bundle_taken(source, number, pulled.signer, pulled.generation))
    elif pulled.state in _STATUSES and is_new:
        to_journal(bundle_not_taken(source, number, pulled.state, pulled.message, pulled.hint))


def _unsaved(options: Options, content: Document) -> HostError | None:
    """Write the record; the reason why it could not be."""
    try:
        save_record(options.state_dir, content)
    except HostError as error:
        return error
    return None


def _wanted(options: Options, node: str) -> Wanted:
    return Wanted(
        options.source,
        options.signers,
        node,
        options.most_bytes,
        options.confirm_within_s or WITHIN_S,
        options.ring or "",
        options.bundle_name or "",
        options.confirm_by,
        options.retry,
        options.now,
        options.accept_loss,
        options.all_endpoints,
        partial(read_tally, options.tally, state_dir=options.state_dir) if options.tally else lambda _: None,
    )


def _said(pulled: Pulled, console: Console) -> ExitCode:
    for one in pulled.tell:
        console.warn(one)
    if pulled.state in (State.APPLIED, State.CURRENT):
        signed = f", signed by {pulled.signer}" if pulled.signer else ""
        console.say(f"{pulled.message}{signed}")
    elif pulled.state in (State.WAITING, State.CHANGED):
        console.say("; ".join(filter(None, (pulled.message, pulled.hint))))
    else:
        console.complain(pulled.message, pulled.hint)
    return ExitCode.UNAVAILABLE if pulled.not_permitted else _STATUSES.get(pulled.state, ExitCode.DONE)


def _word(text: str) -> str:
    if not is_word(text):
        raise ArgumentTypeError(f'"{text}" is no name; expected letters, digits, dots and hyphens')
    return text
