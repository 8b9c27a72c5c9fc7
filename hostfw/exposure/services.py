"""Exposure: who can reach each service of a host and each published port, by interface, and what a new plan changes.

A service is asked about at every local address that it listens on and every interface that others' packets come in on,
since Linux takes a packet to a local address on any interface.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from hostfw.explain.governing import BEHIND
from hostfw.exposure.reach import Reach, reach
from hostfw.exposure.rules import EntryPoint
from hostfw.exposure.sources import Sources, common, difference_of, everybody
from hostfw.exposure.visits import Decision
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import HostServices, PublishedPort, Service
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.plan import Plan, PlannedDirection, PlannedSide
from hostfw.model.settings import Workloads
from hostfw.model.values import FAMILIES, Cidr, Direction, Family, parse_cidr
from hostfw.policy.unmanaged import carriers

_LINK_LOCAL = Cidr(Family.V6, 0xFE80 << 112, 10)
_LOOPBACK_NETS = tuple(filter(None, map(parse_cidr, ("127.0.0.0/8", "::1/128"))))

Subject = Service | PublishedPort


class Entry(NamedTuple):
    """A service or published port on one interface at one address, and who reaches it there."""

    subject: Subject
    family: Family
    interface: str
    address: int
    reach: Reach


class Kind(StrEnum):
    """Kinds of changes to a service."""

    CLOSES = "closes"
    OPENS = "opens"


@dataclass(frozen=True, slots=True)
class Change:
    """Sources to whom a change closes or opens a service in one place, and the step that decides so.

    `before` are the steps that let in what is closed, and few others: how many packets one has let in says nothing of
    a single address among thousands. There are none where nothing was in force.
    """

    kind: Kind
    entry: Entry
    sources: Sources
    step: Step
    before: tuple[Step, ...] = ()


_OPEN = Step(StepVerdict.ALLOW, Reason.UNMANAGED, "", Direction.INGRESS)
"""The step that lets everybody in where no rules are in force."""


def exposure(
    plan: Plan | None, facts: HostFacts, services: HostServices, unmet: Collection[Family] = ()
) -> tuple[Entry, ...]:
    """Every service and published port on every interface; without a plan everybody reaches everything.

    Likewise over the IP versions in `unmet`, whose packets meet no rules.
    """
    if unmet:
        both = exposure(plan, facts, services), exposure(None, facts, services)
        return tuple(opened if opened.family in unmet else entry for entry, opened in zip(*both, strict=True))
    bridges = Workloads() if plan is None else plan.settings.workloads
    places = tuple(_places(facts, services, bridges))
    if plan is None:
        open_to_all = {family: Reach((Decision(everybody(family), _OPEN),)) for family in FAMILIES}
        return tuple(_entry(subject, entry_point, open_to_all[entry_point.family]) for subject, entry_point in places)
    governing = plan.governing()
    by_address = {
        endpoint.name
        for endpoint in plan.endpoints
        if endpoint.workload is not None or _tells_addresses_apart(endpoint.ingress)
    }
    by_bridge_address = any(port.net is not None for port in bridges.to_host)
    numbers: dict[tuple[object, ...], int] = {}
    doors: list[EntryPoint] = []
    of_places: list[int] = []
    for _, entry_point in places:
        # One HostEndpoint means the same on all of its interfaces, and mostly at all local addresses.
        is_bridge = bridges.has_bridge(entry_point.interface)
        endpoint = f"{BEHIND}{entry_point.interface}" if is_bridge else governing(entry_point.interface)
        way_out = () if entry_point.out_interface is None else (governing(entry_point.out_interface),)
        by_its_address = by_bridge_address if is_bridge else endpoint in by_address
        address = entry_point.address if by_its_address or entry_point.original is not None else None
        key = (
            endpoint,
            way_out,
            entry_point.family,
            entry_point.protocol,
            entry_point.port,
            entry_point.original,
            address,
        )
        if numbers.setdefault(key, len(doors)) == len(doors):
            doors.append(entry_point)
        of_places.append(numbers[key])
    found = reach(plan, doors)
    return tuple(_entry(*place, found[number]) for place, number in zip(places, of_places, strict=True))


def changes(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[Change]:
    """The differences between two exposures of the same services on the same host."""
    known: dict[tuple[int, int], tuple[_Change, ...]] = {}
    for old, new in zip(before, after, strict=True):
        key = id(old.reach), id(new.reach)
        if key not in known:
            known[key] = tuple(_changes(old.reach, new.reach, new.family))
        yield from (Change(kind, new, sources, step, let_in) for kind, sources, step, let_in in known[key])


_Change = tuple[Kind, Sources, Step, tuple[Step, ...]]


def _changes(old: Reach, new: Reach, family: Family) -> Iterator[_Change]:
    for sources, step in new.decisions:
        if step.verdict is StepVerdict.DENY:
            closed = _some(common(old.allowed, sources), family)
            if closed:
                let_in = (
                    d.step
                    for d in old.decisions
                    if d.step.verdict is StepVerdict.ALLOW and _is_mostly(d, closed, family)
                )
                yield Kind.CLOSES, closed, step, tuple(let_in)
        else:
            opened = _some(difference_of((sources,), old.allowed), family)
            if opened:
                yield Kind.OPENS, opened, step, ()


def _is_mostly(decision: Decision, sources: Sources, family: Family) -> bool:
    """True if a set has at least half of the addresses that a decision is about."""
    met = _some(common(sources, decision.sources), family)
    return bool(met) and 2 * sum(part.size(family) for part in met) >= decision.sources.size(family)


def _some(sources: Sources, family: Family) -> Sources:
    """The parts that hold any address."""
    return tuple(part for part in sources if not part.is_empty(family))


def _entry(subject: Subject, entry_point: EntryPoint, found: Reach) -> Entry:
    return Entry(subject, entry_point.family, entry_point.interface, entry_point.arriving.address, found)


# ---------------------------------------------------------------------------------------------------------- places


def _places(facts: HostFacts, services: HostServices, bridges: Workloads) -> Iterator[tuple[Subject, EntryPoint]]:
    held = [address for interface in facts.interfaces for address in interface.addresses if not _is_loopback(address)]
    for interface in carriers(facts):
        addresses = tuple(dict.fromkeys(a for a in held if _arrives(a, interface)))
        for service in services.services:
            for entry_point in dict.fromkeys(_of_service(service, interface.name, addresses)):
                if not any(_translates(port, entry_point) for port in services.published):
                    yield service, entry_point
        for published in services.published:
            # Back to its own bridge, from one port to another.
            if interface.name != published.out_interface or bridges.has_bridge(interface.name):
                yield from ((published, entry_point) for entry_point in _of_published(published, interface, addresses))


def _arrives(address: Cidr, interface: Interface) -> bool:
    """True if packets to a local address may come in on an interface: one of the link alone only on its own."""
    if address in interface.addresses or address.family is Family.V4:
        return True
    return not _LINK_LOCAL.contains(address.address) and any(a.family is Family.V6 for a in interface.addresses)


def _is_loopback(address: Cidr) -> bool:
    return any(net.family is address.family and net.contains(address.address) for net in _LOOPBACK_NETS)


def _of_service(service: Service, interface: str, addresses: Iterable[Cidr]) -> Iterator[EntryPoint]:
    for family, address, _ in addresses:
        for bound in service.bound:
            if bound.family is family and bound.address in (None, address) and bound.interface in ("", interface):
                yield EntryPoint(family, service.protocol, address, service.port, interface)


def _of_published(published: PublishedPort, interface: Interface, addresses: Iterable[Cidr]) -> Iterator[EntryPoint]:
    """The doors of one port; a translation of every port is no service of its own."""
    name = interface.name
    if not published.port or not (published.local or published.out_interface):
        return
    target = target_on(published, interface)
    if target is not None and published.holds_on(name):
        out = None if published.local else published.out_interface
        to = (target, published.target_port)
        for family, address, _ in addresses:
            if family is published.family and published.address in (None, address):
                yield EntryPoint(family, published.protocol, *to, name, out, (address, published.port))


def target_on(published: PublishedPort, interface: Interface) -> int | None:
    """The address that packets get which come in on an interface: a redirect gives them the interface's first one."""
    if published.target:
        return published.target
    own = [cidr.address for cidr in interface.addresses if cidr.family is published.family]
    return own[0] if own else None


def _translates(port: PublishedPort, entry_point: EntryPoint) -> bool:
    return (
        port.certain
        and (port.family, port.protocol) == (entry_point.family, entry_point.protocol)
        and port.port in (0, entry_point.port)
        and port.address in (None, entry_point.address)
        and port.holds_on(entry_point.interface)
    )


def _tells_addresses_apart(direction: PlannedDirection) -> bool:
    """True if a rule says anything about destinations beside their ports."""
    tiers = (*direction.tiers, *direction.untracked_tiers, *direction.pre_dnat_tiers)
    policies = (*(policy for tier in tiers for policy in tier.policies), *direction.profiles)
    return any(_names_addresses(rule.destination) for policy in policies for rule in policy.rules)


def _names_addresses(side: PlannedSide) -> bool:
    return (
        side.nets is not None
        or bool(side.not_nets)
        or side.local is not None
        or side.not_local is not None
        or side.address_set is not None
        or side.not_address_set is not None
        or bool(side.port_sets)
        or bool(side.not_port_sets)
    )
