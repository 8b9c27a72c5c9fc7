"""`hostfwctl doctor`: what is not as it should be with this host and its firewall, and the next step for each."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.feed_shrink import keep_accepted_feeds
from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.input.configuration import read
from hostfw.cli.outcomes import complain_of
from hostfw.cli.output.console import Console, ExitCode, Style, painted
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.quick.feed_state import feed_troubles
from hostfw.control.channel import DaemonError, report
from hostfw.doctor.environment import UNIT_NAMES
from hostfw.doctor.findings import Finding, Weight
from hostfw.doctor.host import HostReport, Service, examine, long_lists
from hostfw.doctor.workloads import ENGINE_UNITS
from hostfw.engine.engine import Engine
from hostfw.engine.members.external_members import with_members_now
from hostfw.engine.outcomes import Failed, Status
from hostfw.engine.reading.block_state import BlockContext, block_state
from hostfw.engine.reading.standing import standing
from hostfw.host.errors import HostError
from hostfw.host.journal.reader import why_no_history
from hostfw.host.store.atomic_files import is_full, is_read_only
from hostfw.host.store.generations.generations import load_accepted
from hostfw.host.systemd.surroundings import look_around, unloadable
from hostfw.host.systemd.units import runs_here
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.model.wording import counted
from hostfw.nft.worst_packet import TYPICAL
from hostfw.policy.resolve.plan import resolve

Seen = TypeVar("Seen")


USAGE = "[-o text|json]"
HELP = Page(
    """\
Look for whatever keeps policy from meaning what it says on this host, and print each
finding in a line, with the next step: rules that are not in force or were changed, a
block or a confirmation that waits, a configuration that is invalid or of another host,
ports of ssh that no failsafe opens, other firewalls that deny packets as well, their
units and ours, old versions, wrong permissions, a log that another program reads, and
connection tracking that is nearly full. Nothing is changed.

A finding is a problem, or a note about something that may be intended, such as the
bans of fail2ban or the rules of Docker. Notes alone are no failure.

With -o json this is a document of kind FindingList (hostfw.io/v1), whose items have
check, weight (problem or note), message and next.""",
    """\
hostfwctl doctor
hostfwctl doctor -o json | jq -r '.items[].message'""",
    """\
0  no problems
1  there are problems, or the kernel could not be asked
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Examine the host, and say everything that was found."""
    engine = open_engine(options)
    status = engine.status()
    if isinstance(status, Failed):
        return complain_of(status, console)
    findings = sorted(examine(_host_report(options, engine, status)), key=lambda finding: finding.weight is Weight.NOTE)
    problems = sum(finding.weight is Weight.PROBLEM for finding in findings)
    if options.output is Output.JSON:
        console.data(json_text(document("FindingList", _content(findings))))
    else:
        for finding in findings:
            _print(finding, console)
    console.say(_summary(problems, len(findings) - problems))
    return ExitCode.FAILED if problems else ExitCode.DONE


def _host_report(options: Options, engine: Engine, status: Status) -> HostReport:
    candidate = read(options)
    with suppress(FileNotFoundError):
        # Where it cannot be looked at, as in a circle of links, nothing that is said of it would be true.
        next(options.state_dir.iterdir(), None)
    accepted, accepted_problems = load_accepted(options.state_dir)
    shrunk = set(keep_accepted_feeds(candidate, options.state_dir).problems) - set(candidate.problems)
    directories = engine.directories
    in_force = None if accepted is None else check_candidate(accepted.configuration)
    facts = _unless_refused(lambda: engine.observe((in_force or candidate).settings))
    return HostReport(
        directories,
        status,
        candidate,
        accepted=in_force,
        accepted_problems=accepted_problems,
        shrunk_feeds=tuple(sorted(shrunk, key=lambda problem: problem.position)),
        feed_troubles=_feed_troubles(options, engine, in_force),
        boots=(options.state_dir / "last-good.nft").exists(),
        full=tuple(path for path in (directories.state, directories.run) if is_full(path)),
        read_only=tuple(path for path in (directories.state, directories.run) if is_read_only(path)),
        blocked=block_state(BlockContext(directories, engine.host)),
        plan=_plan(engine, in_force, facts),
        facts=facts,
        baseline=_unless_refused(engine.host.baseline),
        services=_unless_refused(engine.host.services),
        unloadable=unloadable(options.state_dir / "last-good.nft"),
        no_history=why_no_history(),
        has_systemd=runs_here(),
        service=_service(engine),
        prices=engine.host.packet_prices() if any(True for _ in long_lists(status)) else TYPICAL,
        surroundings=look_around((*UNIT_NAMES, *ENGINE_UNITS), (directories.state, directories.run)),
    )


def _feed_troubles(options: Options, engine: Engine, candidate: Candidate | None) -> tuple[tuple[str, str], ...]:
    """The troubles of Feeds in force that are downloaded, each with the next step."""
    if candidate is None:
        return ()
    found = feed_troubles(candidate.configuration, options.state_dir, engine.host.now())
    return tuple((trouble, step) for _, trouble, step in found)


def _plan(engine: Engine, candidate: Candidate | None, facts: HostFacts | None) -> Plan | None:
    """The plan of a configuration on this host; None where it is unknown or invalid."""
    if candidate is None or facts is None or not candidate.is_valid:
        return None
    governance = standing(engine.directories, engine.host)
    plan, _ = resolve(candidate.resources, candidate.settings, facts, governance=governance)
    return _unless_refused(lambda: with_members_now(engine.host, plan)) or plan


def _unless_refused(look: Callable[[], Seen]) -> Seen | None:
    """The result of a look, or None where the host refuses it: checks that need it are left out."""
    try:
        return look()
    except HostError:
        return None


def _service(engine: Engine) -> Service | None:
    try:
        found = report(engine.directories)
    except DaemonError as error:
        return Service(listening=False, trouble=error.message)
    except PermissionError:
        return None
    return None if found is None else Service(found.listening, found.trouble)


def _summary(problems: int, notes: int) -> str:
    if not problems and not notes:
        return "no problems found"
    found = [counted(problems, "problem") if problems else "no problems"]
    found += [counted(notes, "note")] if notes else []
    return ", ".join(found)


def _print(finding: Finding, console: Console) -> None:
    """Write a finding: on a terminal with the next step below it, for grep and mail in one line."""
    note = finding.weight is Weight.NOTE
    head = f"{finding.check} (note)" if note else str(finding.check)
    step = f". Next: {finding.next}" if finding.next and console.width_out is None else ""
    first, *more = console.filled(f"{head}: {finding.message}{step}")
    painted_head = painted(head, Style.FAINT if note else Style.WARNING, on=console.colour_out)
    console.data(f"{painted_head}{first.removeprefix(head)}", *more)
    if console.verbosity > 0:
        console.data(*(line for one in finding.more for line in console.filled(f"and {one}", "  ")))
    if finding.next and not step:
        console.data(*console.filled(f"next: {finding.next}", "  "))


def _content(findings: Sequence[Finding]) -> Document:
    return {
        "summary": {
            "findings": len(findings),
            "problems": sum(finding.weight is Weight.PROBLEM for finding in findings),
        },
        "items": [
            {
                "check": finding.check.value,
                "weight": finding.weight.value,
                "message": finding.message,
                "next": finding.next,
                "more": list(finding.more),
            }
            for finding in findings
        ],
    }
