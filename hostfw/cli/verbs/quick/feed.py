"""`hostfwctl feed`: Feeds that hostfw downloads."""

from argparse import ArgumentParser

from hostfw.build.candidate import check_candidate
from hostfw.cli.command_line.argument_parser import closest
from hostfw.cli.command_line.arguments import add_accept_lockout, add_output, add_words
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.outcomes import load_accepted_of
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.journal import to_journal
from hostfw.cli.output.tables import Column
from hostfw.cli.quick.feed_state import state_of
from hostfw.cli.quick.feed_update import Updated, update
from hostfw.host.download.files import DownloadRecord, load_record
from hostfw.host.errors import HostError
from hostfw.model.kinds.sets import Feed
from hostfw.model.time.moments import moment_text
from hostfw.model.wording import counted

USAGE = "list | update [NAME...] [--accept-shrink] [--accept-lockout] [-o text|json]"
HELP = Page(
    """\
Download Feeds with a `url` or `hostnames` that are in force, all or those named,
and put their new addresses into force. Nothing else of /etc/hostfw is read: what
was accepted stays. `systemctl enable --now hostfw-feed@NAME.timer` has it done for
one Feed every hour.

A download that fails or is not plausible leaves the last good list in force,
now and after a reboot: a server that is gone, slow or sends half, a page of HTML,
a list above maxSize, without the right sha256 or with 0.0.0.0/0, and one that lost
more than maxShrink. A list that would cut off a connection which this host
depends on is refused. `list` says for each Feed how the last attempt went.""",
    """\
hostfwctl feed update drop
hostfwctl feed update drop --accept-shrink
hostfwctl feed list""",
    """\
0  every Feed is up to date
1  a Feed could not be updated; what was in force of it still is
2  the words mean nothing
4  not permitted""",
)
_VERBS = ("list", "update")


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_words(parser, "what to do: list, or update and the names of Feeds")
    parser.add_argument(
        "--accept-shrink", action="store_true", help="believe a download that lost more than its Feed's maxShrink"
    )
    add_accept_lockout(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Update Feeds, or list them."""
    verb, *names = options.words
    if verb not in _VERBS or (verb == "list" and names):
        hint = closest(verb, _VERBS) or f"expected: {USAGE.partition(' [-')[0]}; `hostfwctl feed --help` explains it"
        console.complain(f'"{" ".join(options.words)}" is nothing that can be done to Feeds', hint)
        return ExitCode.USAGE
    try:
        feeds = _downloaded(options)
    except PermissionError:
        console.complain("only root may see what is in force", "run it as root")
        return ExitCode.UNAVAILABLE
    except HostError as error:
        console.complain(error.message, error.hint)
        return ExitCode.FAILED
    if verb == "list":
        return _listed(feeds, options, console)
    unknown = [name for name in names if name not in feeds]
    if unknown:
        hint = closest(unknown[0], tuple(feeds)) or "`hostfwctl apply` puts one into force"
        console.complain(f'no Feed "{unknown[0]}" with a url or hostnames is in force', hint)
        return ExitCode.FAILED
    engine = open_engine(options)
    results = [
        update(
            engine, feeds[name], to_journal, accept_shrink=options.accept_shrink, accept_lockout=options.accept_lockout
        )
        for name in names or feeds
    ]
    if options.output is Output.JSON:
        console.data(json_text(document("FeedUpdate", {"items": [_item(result) for result in results]})))
    for result in results:
        _say(result, console)
    return ExitCode.FAILED if any(result.problem for result in results) else ExitCode.DONE


def _downloaded(options: Options) -> dict[str, Feed]:
    """The Feeds in force that are downloaded, by name. Raises PermissionError and HostError."""
    accepted = load_accepted_of(options)
    feeds = () if accepted is None else check_candidate(accepted.configuration).resources.feeds
    return {feed.metadata.name: feed for feed in feeds if feed.download is not None}


def _say(result: Updated, console: Console) -> None:
    if result.problem:
        console.complain(f"Feed {result.name} was not updated: {result.problem}", result.hint)
    elif result.changed:
        console.say(f"Feed {result.name} was updated: {counted(result.elements, 'prefix', 'prefixes')}")
    else:
        console.say(f"Feed {result.name} is up to date: {counted(result.elements, 'prefix', 'prefixes')}")


def _item(result: Updated) -> Document:
    return {
        "feed": result.name,
        "elements": result.elements,
        "changed": result.changed,
        "problem": result.problem,
        "hint": result.hint,
    }


def _listed(feeds: dict[str, Feed], options: Options, console: Console) -> ExitCode:
    records = {name: load_record(options.state_dir, name) for name in feeds}
    if options.output is Output.JSON:
        items = [_record_item(feed, records[name]) for name, feed in feeds.items()]
        console.data(json_text(document("FeedList", {"items": items})))
        return ExitCode.DONE
    columns = (Column("FEED"), Column("ELEMENTS"), Column("UPDATED"), Column("SOURCE"), Column("STATE"))
    console.table(
        columns,
        [
            (
                name,
                str(len(feed.cidrs)),
                _when(records[name]),
                "" if feed.download is None else feed.download.origin,
                state_of(records[name]),
            )
            for name, feed in feeds.items()
        ],
    )
    return ExitCode.DONE


def _when(record: DownloadRecord) -> str:
    return "never" if record.checked is None else moment_text(record.checked)


def _record_item(feed: Feed, record: DownloadRecord) -> Document:
    moments = {"tried": record.tried, "checked": record.checked, "changed": record.changed}
    return {
        "feed": feed.metadata.name,
        "elements": len(feed.cidrs),
        "source": "" if feed.download is None else feed.download.origin,
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
        "problem": record.problem,
    }
