"""The doctor: everything that stands between this host and the protection that its policy means it to have.

Nothing is changed. Each check yields findings, one sentence and the next step each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hostfw.build.candidate import Candidate
from hostfw.doctor.environment import around
from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.doctor.governance import governance_findings, unfollowed_findings
from hostfw.doctor.network import Network, of_network
from hostfw.doctor.workloads import workload_findings
from hostfw.engine.checks.lost_connections import losses
from hostfw.engine.context import Directories
from hostfw.engine.outcomes import Status
from hostfw.engine.reading.block_state import BlockState
from hostfw.host.systemd.surroundings import Surroundings
from hostfw.model.host.baseline import Baseline
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.services import HostServices
from hostfw.model.plan import Plan
from hostfw.model.problems import Problem, Severity, errors
from hostfw.model.settings import FailsafePort, LockoutCheck
from hostfw.model.values import FAMILIES, TCP, Family, address_text
from hostfw.model.wording import counted, unmet_by
from hostfw.nft.object_text import table_name
from hostfw.nft.worst_packet import TYPICAL, Prices
from hostfw.policy.resolve.plan import neighbour_problems

LONG_LIST = 256
"""Rules of a chain beyond which a packet pays for it as for some thirty lookups."""
_LOOPBACK = {Family.V4: 127, Family.V6: 1}
"""The first byte of an IPv4 loopback address, and the one of IPv6."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service's report on itself; `trouble` is what is wrong with it now, or why it does not answer."""

    listening: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host as the doctor sees it.

    `candidate` is the configuration directory, `accepted` what the next boot enforces, with `accepted_problems` where
    that cannot be read; `plan` is what it means here, and `boots` whether the script that the boot loads is there.
    `facts` and `baseline` are None where they could not be had; `service` is None where none runs. `full` are those of
    our directories whose file systems take nothing more, and `read_only` those that are mounted so. `services` are what
    the host offers, None where that is not seen; `unloadable` says why the script that the boot loads does not load.
    `feed_troubles` are those of Feeds that are downloaded, each with the next step. `no_history` is why there is no
    journal to look back in, empty where there is one, and `has_systemd` whether systemd runs the host. `prices` are
    the costs of rules and lookups.
    """

    directories: Directories
    status: Status
    candidate: Candidate
    accepted: Candidate | None = None
    accepted_problems: tuple[Problem, ...] = ()
    shrunk_feeds: tuple[Problem, ...] = ()
    feed_troubles: tuple[tuple[str, str], ...] = ()
    boots: bool = True
    full: tuple[Path, ...] = ()
    read_only: tuple[Path, ...] = ()
    plan: Plan | None = None
    blocked: BlockState | None = None
    facts: HostFacts | None = None
    baseline: Baseline | None = None
    services: HostServices | None = None
    unloadable: str = ""
    no_history: str = ""
    has_systemd: bool = False
    service: Service | None = None
    prices: Prices = TYPICAL
    surroundings: Surroundings = field(default_factory=Surroundings)


def examine(report: HostReport) -> tuple[Finding, ...]:
    """Every finding, what matters most first."""
    return tuple(dict.fromkeys(_findings(report)))


def _findings(report: HostReport) -> Iterator[Finding]:
    yield from _in_force(report)
    yield from _blocked(report)
    yield from _drift(report)
    yield from _long_lists(report)
    yield from _pending(report)
    yield from _configuration(report)
    yield from _neighbours(report)
    yield from _node(report)
    yield from _network(report)
    yield from governance_findings(report.status, report.plan)
    yield from _unfollowed(report)
    units = report.surroundings.units
    yield from workload_findings(report.accepted or report.candidate, report.plan, report.facts, units)
    yield from _lockout(report)
    yield from _failsafes(report)
    yield from _state(report)
    yield from _service(report)
    yield from _history(report)
    settings = (report.accepted or report.candidate).settings
    reads = report.service is not None and report.service.listening
    yield from around(report.surroundings, settings.logging.group, service_reads=reads)


def _in_force(report: HostReport) -> Iterator[Finding]:
    for family in report.status.unmet:
        yield Finding(
            Check.IN_FORCE,
            f"{unmet_by(family)}: every one passes that no other program denies",
            "`hostfwctl reload` puts the accepted generation into force",
        )
    if not report.status.families:
        known = report.accepted is not None
        yield Finding(
            Check.IN_FORCE,
            "no rules of hostfw are in force: every packet passes that no other program denies",
            "`systemctl restart hostfw` puts the accepted generation into force" if known else "`hostfwctl apply`",
        )
    elif report.status.record is None and report.status.begun:
        yield Finding(
            Check.IN_FORCE,
            "a change by hostfw did not end, so the rules may be those of base protection, or of a change midway",
            "`hostfwctl reload` puts the accepted generation into force",
        )
    elif report.status.record is None:
        yield Finding(
            Check.IN_FORCE,
            "the active generation is not on record, as after a boot without the service",
            "`systemctl start hostfw`, or `hostfwctl apply`",
        )


def _blocked(report: HostReport) -> Iterator[Finding]:
    if report.blocked is None:
        return
    if report.blocked.table is not None:
        yield Finding(
            Check.BLOCK, "the host is blocked: no packet passes, whatever policy allows", "`hostfwctl unblock`"
        )
    else:
        yield Finding(
            Check.BLOCK,
            "the host was blocked, and another program took the block away",
            "`hostfwctl lockdown` again, or `hostfwctl unblock`",
        )


def _drift(report: HostReport) -> Iterator[Finding]:
    drift = report.status.drift
    if drift:
        more = f", and {len(drift) - 1} more" if len(drift) > 1 else ""
        yield Finding(
            Check.DRIFT,
            f"{report.status.whose}: {drift[0]}{more}",
            "`hostfwctl reload` puts them right; `nft monitor` shows who changes them",
            more=tuple(drift[1:]),
        )


def long_lists(status: Status) -> Iterator[tuple[str, str, int]]:
    """Chains in force in which a packet is compared with hundreds of rules: the table, the chain, and how many.

    The lists for packets with marks of other programs are left out: they are long wherever rules are found by rank.
    """
    for family in FAMILIES:
        for chain in status.tables.of(family).chains:
            rules = chain.rules or 0
            if rules > LONG_LIST and "/in-order" not in chain.name:
                yield table_name(family), chain.name, rules


def _long_lists(report: HostReport) -> Iterator[Finding]:
    measured = " on this host" if report.prices.measured else ""
    for table, chain, rules in long_lists(report.status):
        about = f"about {rules * report.prices.rule_ns / 1000:.0f} us{measured}"
        yield Finding(
            Check.LAYOUT,
            f"chain {chain} of {table} tries {counted(rules, 'rule')} one after the other, "
            f"which costs a packet that none matches {about}",
            "`hostfwctl describe hep NAME --layout` says more; rules that name a port, a protocol or nets "
            "are looked up instead",
            Weight.NOTE,
        )


def _pending(report: HostReport) -> Iterator[Finding]:
    if report.status.trial is not None:
        yield Finding(
            Check.PENDING,
            f"generation {report.status.trial.id} is rolled back in {report.status.left_s:.0f} s, unless confirmed",
            "`hostfwctl confirm` in a new ssh connection, or `hostfwctl rollback`",
        )
    yield from (Finding(Check.PENDING, warning, "`hostfwctl rollback`") for warning in report.status.warnings)


def _configuration(report: HostReport) -> Iterator[Finding]:
    wrong = errors(report.candidate.problems)
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        yield Finding(
            Check.CONFIGURATION,
            f"the configuration is invalid, so a reload would fail: {wrong[0]}{more}",
            wrong[0].hint if wrong[0].hint and not more else "`hostfwctl validate` shows all of it",
            more=tuple(map(str, wrong[1:])),
        )
    yield from (
        Finding(Check.FEED, f"{problem.position.file_line}: {problem.message}", problem.hint)
        for problem in report.shrunk_feeds
        if problem.severity is Severity.WARNING
    )
    yield from (Finding(Check.FEED, trouble, step) for trouble, step in report.feed_troubles)


def _neighbours(report: HostReport) -> Iterator[Finding]:
    """Entries of groups, expected and learned addresses that count for nothing, since a neighbour said them."""
    candidate = report.accepted or report.candidate
    if report.facts is None or not candidate.is_valid:
        return
    for problem in neighbour_problems(candidate.resources, candidate.settings, report.facts):
        yield Finding(Check.CONFIGURATION, f"{problem.position}: {problem.message}", problem.hint)


def _node(report: HostReport) -> Iterator[Finding]:
    if report.facts is None or errors(report.candidate.problems):
        return
    endpoints = report.candidate.resources.endpoints
    node = (report.candidate.settings.node or report.status.governance.node or report.facts.node).lower()
    if not endpoints:
        yield Finding(
            Check.NODE,
            "the configuration has no HostEndpoint, so it governs no interface",
            "write one for this host: `hostfwctl interfaces` lists the interfaces",
        )
    elif not any(endpoint.is_of(node) for endpoint in endpoints):
        names = sorted({endpoint.node for endpoint in endpoints})
        some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield Finding(
            Check.NODE,
            f"no HostEndpoint is of this host, whose node name is {node}: they are of {some}",
            f"say `node: {names[0]}` in hostfw.yaml, or spec.node: {node} in a HostEndpoint",
            more=tuple(f"of {name}" for name in names[3:]),
        )


def _network(report: HostReport) -> Iterator[Finding]:
    """Interfaces, services and published ports under the policy in force."""
    if report.plan is None or report.facts is None or report.accepted is None or not report.status.in_force:
        return
    seen = report.surroundings
    yield from of_network(Network(report.plan, report.accepted, report.facts, report.services, seen.bridge_filter))


def _unfollowed(report: HostReport) -> Iterator[Finding]:
    """Interfaces that the rules in force do not know, where no service runs that would tell them."""
    if report.plan is None or report.facts is None or report.accepted is None or not report.status.in_force:
        return
    if report.service is None or not report.service.listening:
        yield from unfollowed_findings(report.plan, report.accepted, report.status.governance, report.facts)


def _lockout(report: HostReport) -> Iterator[Finding]:
    """Connections of the baseline that the active policy blocks as soon as they are opened again."""
    if report.plan is None or report.facts is None or report.baseline is None or not report.status.in_force:
        return
    if report.plan.settings.lockout_check is not LockoutCheck.IGNORE:
        for loss in losses(report.plan, report.facts, report.baseline):
            yield Finding(Check.LOCKOUT, f"policy does not let pass {loss.what}: {loss.decided_by}", loss.hint)


def _failsafes(report: HostReport) -> Iterator[Finding]:
    """Ports that ssh servers listen on and no failsafe opens: there, one wrong policy is a lock-out."""
    if report.baseline is None:
        return
    inbound = (report.accepted or report.candidate).settings.failsafe.inbound
    for listener in report.baseline.listeners:
        if _is_loopback(listener.family, listener.address) or any(_opens(port, listener.port) for port in inbound):
            continue
        where = "" if listener.address is None else f" of {address_text(listener.family, listener.address)}"
        server = listener.server
        yield Finding(
            Check.FAILSAFE,
            f"{server} listens on port {listener.port}{where}, which no failsafe opens: a wrong policy may close it",
            f"add tcp:{listener.port} to failsafe.inbound in hostfw.yaml",
            # Who says that there are to be none knows.
            Weight.PROBLEM if inbound else Weight.NOTE,
        )


def _opens(failsafe: FailsafePort, port: int) -> bool:
    return failsafe.protocol.number == TCP.number and failsafe.port == port


def _is_loopback(family: Family, address: int | None) -> bool:
    if address is None:
        return False
    return address >> 24 == _LOOPBACK[family] if family is Family.V4 else address == _LOOPBACK[family]


def _state(report: HostReport) -> Iterator[Finding]:
    for problem in report.accepted_problems:
        yield Finding(Check.STATE, f"{problem.position.path}: {problem.message}", problem.hint)
    for problem in report.status.problems:
        yield Finding(Check.STATE, f"{problem.position.path}: {problem.message}", problem.hint)
    record, state = report.status.record, report.directories.state
    if record is not None and report.status.in_force and report.status.trial is None:
        then = "enforces an earlier one" if report.accepted is not None else "enforces the failsafes alone"
        if not record.saved:
            message = f"generation {record.id} is in force and could not be saved: the next boot {then}"
            yield Finding(Check.STATE, message, f"`hostfwctl apply`, once {state} can be written to")
        elif report.accepted is None and not report.accepted_problems:
            message = (
                f"generation {record.id} is in force, and {state} has no accepted generation: the next boot {then}"
            )
            yield Finding(Check.STATE, message, "`hostfwctl apply` stores it")
    for directory in report.read_only:
        message = f"the file system that holds {directory} is mounted read-only: nothing can be changed or kept"
        yield Finding(Check.STATE, message, f"`findmnt --target {directory}` shows it; the kernel's log may say why")
    for directory in report.full:
        message = f"the disk that holds {directory} is full: changes are not saved"
        yield Finding(Check.STATE, message, f"`df -h {directory}` and `df -i {directory}` show it: free some space")
    if report.accepted is not None and not report.boots:
        message = f"{report.directories.state}/last-good.nft is missing: the next boot enforces the failsafes alone"
        yield Finding(Check.STATE, message, "`hostfwctl apply`")
    if report.unloadable:
        yield Finding(
            Check.STATE,
            f"the next boot would enforce the failsafes alone, since it cannot load {state}/last-good.nft: "
            f"{report.unloadable}",
            "`hostfwctl apply` writes it again",
        )


def _service(report: HostReport) -> Iterator[Finding]:
    if report.service is not None and report.service.trouble:
        message = f"the service is in trouble: {report.service.trouble}"
        yield Finding(Check.OWN_SERVICE, message, "`journalctl -u hostfw` says more")


def _history(report: HostReport) -> Iterator[Finding]:
    """A container may have no journal on purpose, and a host that systemd runs has lost it."""
    if report.no_history:
        yield Finding(
            Check.LOG,
            f"denied packets leave no history, and `hostfwctl drops --since` has none: {report.no_history}",
            "`systemctl start systemd-journald.socket`, or `apt install python3-systemd`",
            Weight.PROBLEM if report.has_systemd else Weight.NOTE,
        )
