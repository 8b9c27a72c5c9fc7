"""`hostfwctl status`: what is in force, and whether it still is what hostfw put there."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.first_apply import first_apply
from hostfw.cli.outcomes import complain_of, directories_of, extent, load_accepted_of, this_host
from hostfw.cli.output.console import Console, ExitCode, Style
from hostfw.cli.output.documents import Document, document, document_text, problem_item
from hostfw.cli.output.durations import duration_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.reports.not_followed import NotFollowed, not_followed
from hostfw.cli.output.reports.service_lines import Line, Service, age, line, service_item, service_lines
from hostfw.cli.quick.feed_state import feed_troubles
from hostfw.control.messages import ServiceReport
from hostfw.engine.outcomes import UNRECORDED, Failed, RolledBack, Status
from hostfw.engine.reading.block_state import BlockContext, BlockState, block_state
from hostfw.engine.reading.deadline import has_expired
from hostfw.engine.reading.status import read_status
from hostfw.host.store.configuration.feed_files import read_own_feeds
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.store.generations.generations import Accepted
from hostfw.host.store.generations.last_event import Event, EventKind
from hostfw.host.workloads.noted_bridges import has_bridge_netfilter, noted_bridges
from hostfw.model.kinds.metadata import EXPIRES
from hostfw.model.sources import Configuration
from hostfw.model.time.moments import moment_text
from hostfw.model.values import Family
from hostfw.model.wording import counted, unmet_by

_LABEL_COLUMNS = 15
_TELLING = frozenset({EventKind.ROLLED_BACK, EventKind.REFUSED, EventKind.FAILED, EventKind.DISABLED})
"""Events that the rest of the page does not say already."""
_MOST_EXPIRED = 5
_MOST_DRIFT = 10


USAGE = "[-o table|json|yaml]"
HELP = Page(
    """\
Show the generation in force, when it was applied, for which node, how much it governs,
what waits to be confirmed and for how long, what was last refused or rolled back, and
whatever in the kernel differs from what hostfw put there (drift). With nothing in force
it says what a first `apply` would govern. Where the service does not run, interfaces are
named that a HostEndpoint governs and no rule in force is for yet.

A change whose time to be confirmed has passed, as after a reboot, is rolled back
first.

With -o json or yaml this is a document of kind Status (hostfw.io/v1).""",
    """\
hostfwctl status
hostfwctl status -o json | jq -e '.drift == []'""",
    """\
0  a generation is in force
1  the kernel could not be asked
4  nothing is in force, or for one IP version alone, or not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_output(parser.add_argument, Output.TABLE, Output.JSON, Output.YAML)


def run(options: Options, console: Console) -> ExitCode:
    """Print the state of the host's firewall for people or programs."""
    directories = directories_of(options)
    service = Service(directories)
    host = replace(this_host(options), only_ours=service.only_ours)
    if has_expired(directories, host):
        _end_expired(options)
    status = read_status(directories, host, partial(_expire, options))
    if isinstance(status, Failed):
        return complain_of(status, console)
    accepted = load_accepted_of(options, with_scripts=False)
    is_pending = accepted is not None and _is_active(accepted, status) and _is_pending(accepted.configuration, options)
    blocked = block_state(BlockContext(directories, host))
    is_followed = isinstance(service.report(), ServiceReport)
    missed = NotFollowed() if is_followed else not_followed(options, host, status, accepted)
    if options.output is Output.TABLE:
        if blocked is not None:
            _print(("BLOCKED", _blocked(blocked), Style.ERROR), console)
        lines = [
            *_lines(status, accepted, host.now(), missed, whole=console.verbosity > 0),
            *service_lines(service.report(), host.now()),
        ]
        if status.record is None and not status.families:
            lines.insert(1, line("Governs", first_apply(options).text))
        if accepted is not None:
            for _, trouble, _ in feed_troubles(accepted.configuration, options.state_dir, host.now()):
                lines.append(line("Feed", trouble, Style.WARNING))
        bridges = ", ".join(sorted(noted_bridges(options.run_dir)))
        if bridges:
            lines.append(_bridges(bridges))
        if is_pending:
            where = options.config_dir
            lines.append(line("Pending", f"{where} has changes that are not in force; `hostfwctl diff` shows them"))
        for one in lines:
            _print(one, console)
    else:
        feeds = () if accepted is None else feed_troubles(accepted.configuration, options.state_dir, host.now())
        beside: Document = {
            "service": service_item(service.report()),
            "block": _block_item(blocked),
            "bridges": sorted(noted_bridges(options.run_dir)),
            "feeds": [{"feed": name, "trouble": trouble} for name, trouble, _ in feeds],
        }
        would = None if status.families else first_apply(options).interfaces
        first: Document = {"wouldGovern": None if would is None else list(would)}
        content = {**_content(status, accepted, missed, is_pending=is_pending), **first, **beside}
        console.data(document_text(document("Status", content), options.output))
    return ExitCode.DONE if status.in_force else ExitCode.UNAVAILABLE


def _expire(options: Options) -> RolledBack | Failed | None:
    # The engine and the compiler, 0.1 s: only for a trial whose time is over.
    from hostfw.cli.engine import open_engine

    return open_engine(options).expire()


def _end_expired(options: Options) -> None:
    from hostfw.cli.engine import open_engine

    open_engine(options).end_expired()


def _bridges(names: str) -> Line:
    """The line about what is between the ports of bridges of workloads."""
    if has_bridge_netfilter():
        return line("Bridges", f"what is between ports of {names} meets policy, by a flag of each bridge")
    why = "this kernel runs without br_netfilter; `modprobe br_netfilter` loads it"
    return line("Bridges", f"what is between ports of {names} meets no policy: {why}", Style.WARNING)


def _lines(
    status: Status, accepted: Accepted | None, now: datetime, missed: NotFollowed, *, whole: bool
) -> Iterator[Line]:
    record = status.record
    yield _state(status)
    if record is not None:
        yield line("Generation", record.id)
        if record.node:
            yield line("Node", record.node)
        if (name := status.other_name) is not None:
            step = "`hostfwctl apply` takes that name, if HostEndpoints have it"
            yield line("", f"this host is called {name} now; {step}", Style.WARNING)
        yield line("Applied", f"{moment_text(record.applied_at)} ({age(record.applied_at, now)})")
        counts = dict(record.counts)
        governs = extent(*(counts.get(noun, 0) for noun in ("policies", "endpoints", "interfaces")))
        if status.unmet:
            governs = f"over {_versions(status.families)} alone: {governs}"
        yield line("Governs", governs if status.families else f"nothing: {governs} are out of force")
        for number, kept in enumerate(status.kept):
            since = f" since {moment_text(kept.since)}" if kept.since else ""
            text = f"{kept.name} under HostEndpoint {kept.endpoint}, which no longer claims it{since}: {kept.kept}"
            yield line("Kept" if number == 0 else "", text, Style.WARNING)
        yield from missed.lines
        yield from _expiry_lines(accepted, status, now, whole=whole)
    elif status.unrecorded:
        yield line("Generation", "not on record: the run directory is mounted read-only")
    elif status.families and status.begun:
        yield line("Generation", "not on record: the rules may be those of base protection, or of a change midway")
    elif status.families:
        yield line("Generation", "not on record, as after a boot; `hostfwctl apply` makes it known")
    if accepted is not None and (record is None or accepted.id != record.id):
        yield line("Accepted", f"generation {accepted.id}, which the next boot enforces")
    if record is not None and status.in_force and status.trial is None:
        if not record.saved:
            unsaved = "the next boot enforces another generation; `hostfwctl apply` once there is room"
            yield line("Not saved", unsaved, Style.WARNING)
        elif accepted is None:
            unsaved = "no accepted generation is stored, so the next boot enforces the failsafes alone"
            yield line("Not saved", f"{unsaved}; `hostfwctl apply` stores it", Style.WARNING)
    if status.trial is not None:
        left = f"generation {status.trial.id} is rolled back in {duration_text(status.left_s)}"
        confirm = f"{left}, unless `hostfwctl confirm` is run in a new ssh connection"
        yield line("Confirm", confirm, Style.WARNING)
    if status.event is not None and status.event.kind in _TELLING:
        yield line("Last event", f"{_event(status.event)} ({age(status.event.at, now)})", Style.WARNING)
    for number, warning in enumerate(status.warnings):
        yield line("Warning" if number == 0 else "", warning, Style.WARNING)
    shown = status.drift if whole else status.drift[:_MOST_DRIFT]
    for number, sentence in enumerate(shown):
        yield line("Drift" if number == 0 else "", sentence)
    if len(shown) < len(status.drift):
        yield line("", f"and {len(status.drift) - len(shown)} more differences, which -v lists")
    for number, problem in enumerate(status.problems):
        yield line("Problems" if number == 0 else "", f"{problem.position.path}: {problem.message}")


def _state(status: Status) -> Line:
    """The line that says whether rules are in force, and whether they are ours."""
    if not status.families:
        return line("State", "nothing in force", Style.ERROR)
    if status.unmet:
        unmet = " and ".join(map(unmet_by, status.unmet))
        return line("State", f"in force for {_versions(status.families)} alone: {unmet}", Style.ERROR)
    if status.begun and (status.drift or status.record is None):
        step = "`hostfwctl reload` ends it"
        return line("State", f"in force, with parts of a change by hostfw that did not end; {step}", Style.WARNING)
    if status.drift and status.unrecorded:
        return line("State", f"in force, but {UNRECORDED}", Style.WARNING)
    if status.drift:
        return line("State", "in force, but changed by another program", Style.WARNING)
    return line("State", "in force", Style.GOOD)


def _versions(families: Iterable[Family]) -> str:
    return " and ".join(f"IPv{family}" for family in families)


def _expiry_lines(accepted: Accepted | None, status: Status, now: datetime, *, whole: bool) -> Iterator[Line]:
    """The next moment at which something expires, and the resources that have."""
    if accepted is None:
        return
    # All of a big configuration would take seconds to read.
    sources = tuple(source for source in accepted.configuration.resources if EXPIRES in source.text)
    if not sources:
        return
    from hostfw.manifest.decode import decode
    from hostfw.policy.expiry import in_time

    timely = in_time(decode(Configuration(resources=sources)).resources, now, status.governance)
    if timely.next_expiry is not None:
        left = duration_text((timely.next_expiry - now).total_seconds())
        yield line("Next expiry", f"in {left} ({moment_text(timely.next_expiry)}); `hostfwctl rules` says what")
    if timely.expired:
        shown = timely.expired if whole else timely.expired[:_MOST_EXPIRED]
        rest = len(timely.expired) - len(shown)
        more = f" and {rest} more" if rest else ""
        yield line("Expired", f"{', '.join(map(str, shown))}{more}")


def _blocked(state: BlockState) -> str:
    """The first lines about a blocked host."""
    since = f" since {moment_text(state.record.at)}" if state.record is not None else ""
    if state.table is None:
        return f"no longer, although it was{since}: another program took the block away; `hostfwctl lockdown` again"
    kept = "nothing but lo" if state.record is None or not state.record.kept else ", ".join(state.record.kept)
    packets = counted(sum(dict(state.table.dropped).values()), "packet")
    ends = state.record.until if state.record is not None else None
    until = f"it ends at {moment_text(ends)}, or with" if ends is not None else ""
    ending = f"{until} `hostfwctl unblock`" if until else "`hostfwctl unblock` ends it"
    return f"nothing passes{since} ({packets} dropped), kept: {kept}; {ending}"


def _block_item(state: BlockState | None) -> Document | None:
    if state is None:
        return None
    return {
        "inForce": state.table is not None,
        "since": state.record.at.isoformat() if state.record is not None else None,
        "until": state.record.until.isoformat()
        if state.record is not None and state.record.until is not None
        else None,
        "kept": list(state.record.kept) if state.record is not None else [],
        "dropped": dict(state.table.dropped) if state.table is not None else {},
    }


def _event(event: Event) -> str:
    generation = f"generation {event.generation}" if event.generation else "a configuration"
    what = {
        EventKind.APPLIED: "was put into force",
        EventKind.AWAITING: "was put into force until it is confirmed",
        EventKind.CONFIRMED: "was confirmed",
        EventKind.ROLLED_BACK: "was rolled back",
        EventKind.REFUSED: "was refused",
        EventKind.FAILED: "could not be put into force",
        EventKind.DISABLED: "was taken out of force, and out of every boot",
    }[event.kind]
    return f"{generation} {what}" + (f": {event.reason}" if event.reason else "")


def _print(one: Line, console: Console) -> None:
    label, text, style = one
    console.labelled(f"{label}:" if label else "", text, _LABEL_COLUMNS, style)


def _content(status: Status, accepted: Accepted | None, missed: NotFollowed, *, is_pending: bool) -> Document:
    record = status.record
    return {
        "inForce": status.in_force,
        "ipVersions": [family.value for family in status.families],
        "generation": record.id if record else None,
        "node": record.node if record else None,
        "hostName": status.host_name,
        "keptInterfaces": [
            {
                "interface": kept.name,
                "endpoint": kept.endpoint,
                "since": kept.since.isoformat() if kept.since else None,
                "reason": kept.kept,
            }
            for kept in status.kept
        ]
        + list(missed.kept),
        "ungovernedInterfaces": list(missed.ungoverned),
        "appliedAt": record.applied_at.isoformat() if record else None,
        "saved": record.saved if record else None,
        "counts": dict(record.counts) if record else {},
        "drift": list(status.drift),
        "accepted": accepted.id if accepted else None,
        "pending": is_pending,
        "confirmation": _confirmation(status),
        "lastEvent": _event_item(status.event),
        "warnings": list(status.warnings),
        "problems": [problem_item(problem) for problem in status.problems],
    }


def _confirmation(status: Status) -> Document | None:
    if status.trial is None:
        return None
    trial = status.trial
    return {
        "generation": trial.id,
        "number": trial.number,
        "previous": trial.previous,
        "deadline": trial.deadline.isoformat(),
        "secondsLeft": int(status.left_s),
    }


def _event_item(event: Event | None) -> Document | None:
    if event is None:
        return None
    return {
        "kind": event.kind.value,
        "at": event.at.isoformat(),
        "generation": event.generation,
        "reason": event.reason,
    }


def _differ(accepted: Configuration, read: Configuration) -> bool:
    """True if the files say something else; where they are does not matter."""
    as_accepted = accepted.resources == read.resources and accepted.settings == read.settings
    return not as_accepted and _digests(accepted) != _digests(read)


def _is_active(accepted: Accepted, status: Status) -> bool:
    """True if what is in force is of the accepted files: not if a full disk kept it from being accepted."""
    return status.record is None or status.record.id == accepted.id or status.trial is not None


def _is_pending(accepted: Configuration, options: Options) -> bool:
    """True if the directory, or a file that an accepted Feed names, is another than what was accepted."""
    configuration, _ = read_configuration(options.config_dir)
    feeds, _ = read_own_feeds(
        options.config_dir, [source.path for source in accepted.feeds], state_dir=options.state_dir
    )
    return feeds != accepted.feeds or _differ(accepted, configuration)


def _digests(configuration: Configuration) -> tuple[str | None, list[str]]:
    settings = configuration.settings.digest if configuration.settings else None
    return settings, sorted(source.digest for source in configuration.resources)
