"""The host that a verb is about, this one or one that is known by its facts, and what a configuration means on it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from hostfw.build.candidate import Candidate
from hostfw.cli.command_line.options import Options
from hostfw.cli.input.configuration import read, refuse, warn
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.problems import manifests
from hostfw.host.errors import HostError
from hostfw.host.network.routing import Routed
from hostfw.host.store.configuration.files import read_paths
from hostfw.manifest.files.facts_file import decode_facts
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import NOTHING_GOVERNED, Governance
from hostfw.model.host.services import PublishedPort
from hostfw.model.plan import Plan
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.model.values import Family
from hostfw.nft.worst_packet import Prices
from hostfw.policy.resolve.plan import resolve
from hostfw.policy.unmanaged import ungoverned_problems


class Routing(Protocol):
    """Data of this host about packets that is in no facts. Each method raises HostError where it cannot be read."""

    def routed(self, family: Family, address: int, /) -> Routed | None:
        """The route to an address, None where none is known."""

    def routed_through(self, family: Family, address: int, source: int, interface: str, /) -> Routed | None:
        """The route to an address of a packet that comes in on an interface from a source, None where none is known."""

    def forwards(self, family: Family, interface: str, /) -> bool:
        """True if what comes in on an interface and is for somebody else is forwarded."""

    def published(self) -> tuple[PublishedPort, ...]:
        """The ports that other programs' tables translate to another destination."""

    def packet_prices(self) -> Prices:
        """The costs of rules and lookups here, typical ones where they cannot be measured."""

    def published_to_host(self) -> tuple[PublishedPort, ...]:
        """Those that they translate of what this host sends itself."""


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """A configuration, a host, and what the one means on the other; `host` None is one that is known by its facts."""

    candidate: Candidate
    facts: HostFacts
    plan: Plan
    host: Routing | None = None


def observed_for(options: Options, console: Console) -> tuple[Candidate, HostFacts] | ExitCode:
    """The configuration of a command line and the host that it is for; what stands in the way is said."""
    candidate = read(options)
    if not candidate.is_valid:
        return refuse(candidate.problems, candidate.configuration, console)
    facts = facts_of(options, candidate.settings, console)
    return facts if isinstance(facts, ExitCode) else (candidate, facts)


def planned(options: Options, console: Console) -> PlannedHost | ExitCode:
    """The Plan of a command line's configuration on its host; what stands in the way is said.

    Of the warnings those are said that the host gives rise to; `validate` has the others.
    """
    observed = observed_for(options, console)
    if isinstance(observed, ExitCode):
        return observed
    candidate, facts = observed
    plan, problems = resolve(
        candidate.resources, candidate.settings, facts, governance=governance_of(options, candidate, facts)
    )
    warn(problems, candidate.configuration, console)
    candidate = with_running(candidate, facts)
    if options.facts is not None:
        return PlannedHost(candidate, facts, plan)
    from hostfw.cli.outcomes import this_host
    from hostfw.engine.members.external_members import with_members_now

    host = this_host()
    try:
        plan = with_members_now(host, plan)
    except HostError as error:
        console.warn(f"external sets count as empty: {error.message}")
    return PlannedHost(candidate, facts, plan, host)


def with_running(candidate: Candidate, facts: HostFacts) -> Candidate:
    """A configuration with the workloads that run on a host among its resources, for people who look at it."""
    if not facts.workloads:
        return candidate
    resources = candidate.resources
    workloads = sorted((*resources.workloads, *facts.workloads), key=lambda one: one.metadata.full_name)
    return replace(candidate, resources=replace(resources, workloads=tuple(workloads)))


def facts_of(options: Options, settings: Settings, console: Console) -> HostFacts | ExitCode:
    """The facts that `--facts` names, or those of this host; what is wrong with a file is said."""
    if options.facts is None:
        from hostfw.cli.engine import observe

        return observe(options, settings)
    facts, problems, configuration = _read(options.facts)
    if facts is None:
        return refuse(problems, configuration, console)
    warn(problems, configuration, console)
    return facts


def governance_of(options: Options, candidate: Candidate, facts: HostFacts) -> Governance:
    """The governed interfaces on record; none for another host, which is known by its facts alone."""
    if options.facts is not None:
        return NOTHING_GOVERNED
    from hostfw.cli.engine import open_engine

    return open_engine(options).governance(candidate, facts)


@dataclass(frozen=True, slots=True)
class PlannedHere:
    """The plan of a valid configuration on this host, and the host's warnings about it."""

    facts: HostFacts
    plan: Plan
    problems: tuple[Problem, ...]


def planned_here(options: Options, candidate: Candidate) -> PlannedHere | None:
    """The plan of a valid configuration as `apply` would have it; None where this host cannot be seen."""
    from hostfw.cli.engine import observe
    from hostfw.host.errors import HostError

    try:
        facts = observe(options, candidate.settings)
        return _planned_on(candidate, facts, governance_of(options, candidate, facts))
    except (HostError, OSError):
        return None


def host_problems(candidate: Candidate, facts: HostFacts) -> tuple[Problem, ...]:
    """The warnings that a host which is known by its facts makes of a valid configuration."""
    return _planned_on(candidate, facts, NOTHING_GOVERNED).problems


def _planned_on(candidate: Candidate, facts: HostFacts, governance: Governance) -> PlannedHere:
    plan, problems = resolve(candidate.resources, candidate.settings, facts, governance=governance)
    return PlannedHere(facts, plan, (*problems, *ungoverned_problems(plan, facts)))


def _read(path: Path) -> tuple[HostFacts | None, tuple[Problem, ...], Configuration]:
    """The facts of a file, what is wrong with it, and its text for those who say so."""
    configuration, problems = read_paths([path])
    found = manifests(configuration)
    if not problems and len(found) != 1:
        problems = (Problem(Position(str(path), 1, 1), "is not one file", "a HostFacts document"),)
    if problems:
        return None, problems, configuration
    facts, problems = decode_facts(found[0])
    return facts, problems, configuration
