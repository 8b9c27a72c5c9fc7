"""Review of a fleet: what its configurations come to on every host, what they change, and which tests they fail."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hostfw.cli.fleet.layout import HOSTS, SHARED, FleetHost, read_fleet
from hostfw.cli.output.reports.differences import Difference, differences
from hostfw.engine.checks.exposure import exposure_changes
from hostfw.fleet.members import Member, member_of
from hostfw.fleet.policy_test import Expectation, TestResult, judged
from hostfw.fleet.reach import FleetReach, Service, fleet_reach, pairs
from hostfw.model.host.services import BoundAddress, ExposureChange, HostServices
from hostfw.model.host.services import Service as Listening
from hostfw.model.plan import Plan, PlannedPolicy
from hostfw.model.values import FAMILIES, PORT_PROTOCOLS, Action, Family

MOST_PORTS = 500
"""Most ports of one host whose exposure is compared: of a range of ports the first and the last stand for all."""

_EVERYWHERE = tuple(BoundAddress(family) for family in FAMILIES)


@dataclass(frozen=True, slots=True)
class HostReview:
    """One host: what it would enforce, and the changes from what it would have by the configuration before."""

    host: FleetHost
    differences: tuple[Difference, ...] = ()
    exposure: tuple[ExposureChange, ...] = ()
    is_new: bool = False

    @property
    def changes(self) -> bool:
        """True if the host would be told to enforce something else."""
        return bool(self.differences)


@dataclass(frozen=True, slots=True)
class Review:
    """The whole fleet. `compared` is whether there was a configuration to compare with, and `gone` its other hosts."""

    hosts: tuple[HostReview, ...]
    results: tuple[TestResult, ...]
    reached: tuple[tuple[str, str, tuple[Service, ...]], ...]
    services: tuple[Service, ...]
    compared: bool
    gone: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        """True if every host can enforce its configuration."""
        return all(one.host.generation is not None for one in self.hosts)

    @property
    def holds(self) -> bool:
        """True if every test holds."""
        return all(result.holds for result in self.results)


def review(
    folder: Path,
    against: Path | None,
    state_dir: Path,
    expectations: Sequence[Expectation],
    services: tuple[Service, ...],
) -> Review:
    """Read a fleet, and the one that it is compared with. Raises NoFleetError."""
    before = {} if against is None else {host.name: host for host in read_fleet(against, state_dir)}
    hosts = tuple(read_fleet(folder, state_dir))
    tops = tuple(top for top in (folder, against) if top is not None)
    reviewed = tuple(_compared(host, before.get(host.name), tops) for host in hosts)
    members = tuple(_members(hosts))
    asked = dict.fromkeys((*services, *(service for one in expectations for service in one.services)))
    known = fleet_reach(members, tuple(asked)) if asked else FleetReach({}, {})
    results = tuple(judged(expectations, members, known))
    return Review(
        reviewed,
        results,
        tuple(_matrix(members, services, known)),
        services,
        against is not None,
        tuple(sorted(set(before) - {host.name for host in hosts})),
    )


def _members(hosts: Iterable[FleetHost]) -> Iterator[Member]:
    for host in hosts:
        built = host.generation
        if built is not None:
            yield member_of(host.name, built.facts, built.plan, built.candidate.resources)


def _compared(host: FleetHost, before: FleetHost | None, tops: tuple[Path, ...]) -> HostReview:
    new, old = host.generation, before.generation if before is not None else None
    if new is None or len(tops) == 1:
        return HostReview(host)
    found = tuple(differences(old.candidate if old else None, new.candidate))
    services = _ports(*(plan for plan in (old.plan if old else None, new.plan) if plan is not None))
    # On a host that is new to the fleet everything is as open as it was before hostfw came.
    changes = exposure_changes(old.plan, new.plan, new.facts, services, _none_counted, _none_forwards) if old else ()
    return HostReview(host, found, tuple(_in_repository(one, tops) for one in changes), is_new=old is None)


def _in_repository(change: ExposureChange, tops: tuple[Path, ...]) -> ExposureChange:
    """A change that names files as the repository has them."""
    text, whole = change.text, change.whole
    for top in tops:
        for prefix in (f"{top / SHARED}/", f"{top / HOSTS}/"):
            text, whole = text.replace(prefix, ""), whole.replace(prefix, "")
    return replace(change, text=text, whole=whole)


def _none_counted(_names: Iterable[str]) -> Mapping[str, int]:
    return {}


def _none_forwards(_family: Family, _interface: str) -> bool:
    """Unknown of a host that is known by its facts."""
    return False


def _ports(*plans: Plan) -> HostServices:
    """The ports that policies or failsafes of any of these plans let in, as if a program listened on each."""
    found = {(failsafe.protocol.number, failsafe.port) for plan in plans for failsafe in plan.settings.failsafe.inbound}
    for plan in plans:
        for endpoint in plan.endpoints:
            side = endpoint.ingress
            tiers = (*side.tiers, *side.untracked_tiers, *side.pre_dnat_tiers)
            for policy in (*(policy for tier in tiers for policy in tier.policies), *side.profiles):
                found |= set(_allowed(policy))
    return HostServices(tuple(Listening(*service, _EVERYWHERE) for service in sorted(found)[:MOST_PORTS]))


def _allowed(policy: PlannedPolicy) -> Iterator[Service]:
    for rule in policy.rules:
        if rule.action is Action.ALLOW:
            protocols = [one.number for one in rule.protocols if one.number in PORT_PROTOCOLS]
            for bounds in rule.destination.ports or ():
                yield from ((protocol, port) for protocol in protocols for port in bounds)


def _matrix(
    members: Sequence[Member], services: tuple[Service, ...], known: FleetReach
) -> Iterator[tuple[str, str, tuple[Service, ...]]]:
    """Each host, another, and which of the services it reaches there at all; those who reach none are left out."""
    if not services:
        return
    for source in members:
        for target in members:
            ways = tuple(pairs(source.places, target.places))
            open_ones = tuple(
                service for service in services if any(known.between(*way, service).allowed for way in ways)
            )
            if open_ones:
                yield source.name, target.name, open_ones
