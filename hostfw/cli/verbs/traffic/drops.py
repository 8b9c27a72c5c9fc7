"""`hostfwctl drops`: what was denied and logged, and what is, as it happens."""

import signal
from argparse import ArgumentParser
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from hostfw.audit.aggregate import Aggregate
from hostfw.audit.packet_event import IDENTIFIER, PacketEvent
from hostfw.cli.command_line.arguments import LOGGED_REASONS, add_output, cidr, positive
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.active_plan import active_plan, mark_of
from hostfw.cli.input.log_events import LogEvents, attributed
from hostfw.cli.outcomes import directories_of
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.durations import duration_s, since
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.reports.drops_report import JsonLines, Report, Table, Top
from hostfw.control.channel import DaemonError
from hostfw.control.channel import report as ask_for_a_report
from hostfw.host.journal.reader import History, open_history, why_no_history
from hostfw.host.nftables.nflog import NflogReader
from hostfw.host.time import clock
from hostfw.journal.message_ids import PACKETS
from hostfw.journal.packet_entry import event_of
from hostfw.model.settings import Logging
from hostfw.model.wording import counted

_NO_HISTORY = "without a journal there is no history: showing new events until Ctrl-C"
_POLL_S = 0.25
"""Longest wait for the journal, since its own waiting notices no signal."""


USAGE = "[--since TIME] [--follow] [--top] [OPTION...] [-o table|json]"
HELP = Page(
    """\
Print denied packets, and those that Log rules and staged policies log: what they are,
the rule that denied them and the file and line that it is written in. Similar packets
within a second are one event with their number.

Events come out of the journal, where the service writes them: since the last boot, or
since another TIME. With --follow or --for they are those that come from now on. Where
no service runs, these are read from the log itself, and where there is no journal,
there is no history.

The kernel logs only so many packets a second of one source, and of all (`logging`):
`hostfwctl counters` has them all.

With -o json each event is a line of JSON with the fields of the journal (docs/audit.md);
with --top as well, a document of kind TopDrops (hostfw.io/v1).""",
    """\
hostfwctl drops --since 1h --top
hostfwctl drops --follow --policy web
hostfwctl drops --src 10.0.0.0/8 --count 20
hostfwctl drops --for 30s -o json | jq -r .HOSTFW_ORIGIN""",
    """\
0  printed: all of it, or until the time was up, enough was seen, or Ctrl-C or SIGTERM came
1  the journal or the log could not be read
4  not permitted, another program reads the log, or there is no journal to look back in""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument(
        "--since", type=since, metavar="TIME", help="show events since TIME: 1h, 7d or '2030-01-31 12:00'"
    )
    parser.add_argument("--follow", action="store_true", help="show new events until Ctrl-C")
    parser.add_argument(
        "--for", dest="for_s", type=duration_s, metavar="TIME", help="show new events for TIME, such as 10s or 5m"
    )
    parser.add_argument(
        "--count", dest="most", type=positive, metavar="N", help="show only the last N events, or the first N new ones"
    )
    parser.add_argument("--policy", metavar="NAME", help="only by this policy: NAME, TIER/NAME or profile/NAME")
    for end, where in (("src", "source"), ("dst", "destination")):
        what = f"only where the {where} is this address or within this prefix"
        parser.add_argument(f"--{end}", dest=f"{where}_net", type=cidr, metavar="CIDR", help=what)
    reasons = [reason.value for reason in LOGGED_REASONS]
    parser.add_argument(
        "--reason", choices=reasons, metavar="REASON", help=f"only for this reason: {', '.join(reasons)}"
    )
    parser.add_argument("--top", action="store_true", help="print only a summary of the most frequent at the end")
    add_output(parser.add_argument, Output.TABLE, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Print events out of the journal, or where nobody writes them there out of the log itself."""
    live = options.follow or options.for_s is not None
    serviced = _is_serviced(options)
    history = open_history(IDENTIFIER, PACKETS, _since(options, live=live)) if serviced or not live else None
    if history is not None:
        return _from_journal(history, options, console, live=live)
    if options.since is not None:
        console.complain(
            f"there is no journal here to look back in: {why_no_history()}", "it takes journald and python3-systemd"
        )
        return ExitCode.UNAVAILABLE
    if serviced:
        console.complain(
            "the service reads the log, and there is no journal here that it writes to",
            "what it writes are lines of JSON on its standard error",
        )
        return ExitCode.UNAVAILABLE
    return _from_log(options, console)


def _is_serviced(options: Options) -> bool:
    """True if a service runs that reads the log: also one that tells us nothing, or nothing any more."""
    try:
        return ask_for_a_report(directories_of(options)) is not None
    except (DaemonError, PermissionError):
        return True


def _since(options: Options, *, live: bool) -> datetime | None:
    """From when on: what was said, or now for what is to come, or the start of this boot."""
    match options.since:
        case timedelta() as ago:
            return clock.now() - ago
        case None:
            return clock.now() if live else None
        case moment:
            return moment


# ------------------------------------------------------------------------------------------------- out of the journal


def _from_journal(history: History, options: Options, console: Console, *, live: bool) -> ExitCode:
    report = _report(options, console, dated=not live or options.since is not None)
    with _ended_by_signals(), suppress(KeyboardInterrupt):
        report.begin()
        if live:
            _follow_journal(history, report, options)
        else:
            # All there is, or the last of it.
            last = deque(_events(history, options), maxlen=options.most)
            for event in last:
                report.take(event)
    report.end()
    console.say(f"{counted(report.packets, 'packet')} logged, {counted(report.events, 'event')}")
    return ExitCode.DONE


def _follow_journal(history: History, report: Report, options: Options) -> None:
    end_s = None if options.for_s is None else clock.monotonic() + options.for_s
    while True:
        _give(report, _events(history, options), options)
        left_s = None if end_s is None else end_s - clock.monotonic()
        if _is_enough(report, options) or (left_s is not None and left_s <= 0):
            return
        history.wait(_POLL_S if left_s is None else min(_POLL_S, left_s))


def _events(history: History, options: Options) -> Iterator[PacketEvent]:
    events = (event_of(entry) for entry in history.entries())
    return (event for event in events if event is not None and _is_wanted(event, options))


# ----------------------------------------------------------------------------------------------------- out of the log


def _from_log(options: Options, console: Console) -> ExitCode:
    """Print events until the time is up, enough were seen, or a signal comes."""
    mark = mark_of(options)
    known = active_plan(options)
    logging = known.plan.settings.logging if known else Logging()
    if known is None:
        console.warn("the active generation is not on record: names are as in the log, without file and line")
    with NflogReader(logging.group, logging.snaplen_bytes) as reader, _ended_by_signals():
        if not (options.follow or options.for_s or options.most):
            console.say(_NO_HISTORY)
        events = LogEvents(options, reader, attributed(known), mark)
        report = _report(options, console)
        fold = Aggregate()
        with suppress(KeyboardInterrupt):
            _follow(events, fold, report, options)
        _give(report, fold.flush(), options)
        report.end()
    _sum_up(report, events, logging.group, console)
    return ExitCode.DONE


def _report(options: Options, console: Console, *, dated: bool = False) -> Report:
    if options.top:
        return Top(console, as_json=options.output is Output.JSON)
    return JsonLines(console) if options.output is Output.JSON else Table(console, dated=dated)


def _follow(events: LogEvents, fold: Aggregate, report: Report, options: Options) -> None:
    """Read until the time is up or enough was reported."""
    end_s = None if options.for_s is None else clock.monotonic() + options.for_s
    report.begin()
    while not _is_enough(report, options):
        now_s = clock.monotonic()
        if end_s is not None and now_s >= end_s:
            return
        waits_s = (fold.wait_s(now_s), None if end_s is None else end_s - now_s)
        events.reader.wait(min((wait_s for wait_s in waits_s if wait_s is not None), default=None))
        now_s = clock.monotonic()
        for event in events.read():
            if _is_wanted(event, options):
                _give(report, fold.add(event, now_s), options)
        _give(report, fold.due(now_s), options)


def _give(report: Report, events: Iterable[PacketEvent], options: Options) -> None:
    for event in events:
        if not _is_enough(report, options):
            report.take(event)


def _is_enough(report: Report, options: Options) -> bool:
    return options.most is not None and report.events >= options.most


def _is_wanted(event: PacketEvent, options: Options) -> bool:
    """True if the event passes every filter."""
    packet = event.packet
    ends = ((options.source_net, packet.source), (options.destination_net, packet.destination))
    names = (event.policy, f"{event.tier or 'profile'}/{event.policy}")
    return (
        (options.policy is None or (event.policy != "" and options.policy in names))
        and (options.reason is None or event.reason == options.reason)
        and all(
            net is None or (address is not None and packet.family is net.family and net.contains(address))
            for net, address in ends
        )
    )


def _sum_up(report: Report, events: LogEvents, group: int, console: Console) -> None:
    """Say how much was reported, and what was not."""
    console.say(f"{counted(report.packets, 'packet')} logged, {counted(report.events, 'event')}")
    if events.foreign:
        console.say(f"{counted(events.foreign, 'record')} of other programs in NFLOG group {group} left out")
    if events.reader.lost or events.reader.overruns:
        lost = counted(events.reader.lost, "record") if events.reader.lost else "some records"
        console.warn(f"{lost} lost: they came faster than they were read; `hostfwctl counters` has every packet")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, as timeout(1) sends it, end the look at the log as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
