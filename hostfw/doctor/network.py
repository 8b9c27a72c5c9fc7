"""Findings about interfaces and services: which have no policy, and who can reach them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hostfw.build.candidate import Candidate
from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.exposure.reach import reach
from hostfw.exposure.rules import EntryPoint
from hostfw.exposure.services import Entry, exposure
from hostfw.exposure.sources import difference_of
from hostfw.exposure.wording import decision_text, entries_as_lines, sources_text, subject_text
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import HostServices, PublishedPort, Service
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.plan import Plan
from hostfw.model.settings import PublishedPorts
from hostfw.model.values import TCP, UDP
from hostfw.model.wording import listed
from hostfw.policy.unmanaged import consequence, ungoverned

_GUESTS_NEED = ((UDP.number, 67, "DHCP"), (UDP.number, 53, "DNS"), (TCP.number, 53, "DNS"))
"""Services that guests of a bridge need from its host."""


@dataclass(frozen=True, slots=True)
class Network:
    """A plan in force on a host, its configuration, and what the host offers, None where that is not seen."""

    plan: Plan
    candidate: Candidate
    facts: HostFacts
    services: HostServices | None = None
    bridge_filter: bool = False


def of_network(network: Network) -> Iterator[Finding]:
    """Every finding about interfaces and services."""
    bare = ungoverned(network.plan, network.facts)
    yield from _absent(network, bare)
    yield from _uplinks(network, bare)
    yield from _bridge_filter(network)
    if network.services is not None:
        entries = exposure(network.plan, network.facts, network.services)
        yield from _published(network.plan, entries)
        yield from _guests(network.facts, entries)
        yield from _unreached(entries)


def _absent(network: Network, bare: tuple[Interface, ...]) -> Iterator[Finding]:
    """HostEndpoints of this host that govern no interface which is there: after a rename it is the wrong name."""
    if not network.facts.interfaces:
        return
    absent = {b.endpoint: b.interface for b in network.plan.bindings if not b.present}
    present = {b.endpoint for b in network.plan.bindings if b.present} | {network.plan.wildcard}
    names = sorted(e.metadata.name for e in network.candidate.resources.endpoints if e.is_of(network.plan.node))
    for name in names:
        if name in present:
            continue
        what = (
            f"names the interface {absent[name]}, which this host does not have"
            if name in absent
            else ("governs no interface: none of this host is in its group or has one of its expectedIPs")
        )
        others = [interface.name for interface in bare]
        fate = consequence(network.plan.settings, "it" if len(others) == 1 else "them")
        so = f", and no HostEndpoint governs {listed(others)}: {fate}" if others else ""
        yield Finding(
            Check.ENDPOINT,
            f"HostEndpoint {name} {what}{so}",
            "`hostfwctl interfaces` lists the names that it may have",
            # One that waits for an interface which comes and goes hides nothing while all others are governed.
            Weight.PROBLEM if others else Weight.NOTE,
        )


def _uplinks(network: Network, bare: Iterable[Interface]) -> Iterator[Finding]:
    """The way to everybody, without a policy."""
    if not network.plan.endpoints:
        return
    for interface in bare:
        if interface.default_route:
            yield Finding(
                Check.INTERFACES,
                f"{interface.name} has the default route and no HostEndpoint: {consequence(network.plan.settings)}",
                f"write a HostEndpoint with interfaceName: {interface.name}",
            )


def _bridge_filter(network: Network) -> Iterator[Finding]:
    workloads = network.plan.settings.workloads
    bridges = [i.name for i in network.facts.interfaces if i.kind == "bridge" and not workloads.has_bridge(i.name)]
    if network.bridge_filter and bridges:
        yield Finding(
            Check.BRIDGE,
            f"br_netfilter is on: packets from port to port of {listed(bridges)} pass the rules for forwarded packets, "
            "so that applyOnForward policies decide about them",
            f"`hostfwctl explain SRC DST --in {bridges[0]} --out {bridges[0]}` answers for such a packet; "
            "`sysctl net.bridge.bridge-nf-call-iptables=0` ends it, if no container engine needs it",
            Weight.NOTE,
        )


def _published(plan: Plan, entries: Iterable[Entry]) -> Iterator[Finding]:
    """The sources that reach each published port; a problem where they pass although ingress policy denies them."""
    of_ports = [entry for entry in entries if isinstance(entry.subject, PublishedPort)]
    past = _past_policy(plan, of_ports)
    for line in entries_as_lines(of_ports):
        where = f" on {listed(line.interfaces)}"
        who = f"{sources_text(line.sources)} can reach it{where} ({line.by})"
        hidden = past.get((line.subject, line.interfaces[0]))
        denied = f", though ingress policy denies the port there ({decision_text(hidden)})" if hidden else ""
        yield Finding(
            Check.PUBLISHED,
            f"another program publishes {subject_text(line.subject)}: {who}{denied}",
            _next(plan, line.interfaces) if line.sources else "",
            Weight.PROBLEM if hidden else Weight.NOTE,
        )


def _is_governed(plan: Plan, interface: str) -> bool:
    return plan.governing()(interface) is not None


def _is_of_workloads(plan: Plan, interface: str) -> bool:
    """True if policy tells by workload who may send what from there."""
    name = plan.governing()(interface)
    of_one = name is not None and plan.endpoint(name).workload is not None
    return of_one or plan.settings.workloads.has_bridge(interface)


def _next(plan: Plan, interfaces: Sequence[str]) -> str:
    """The next step: a way to limit the sources of a published port."""
    ungoverned = [name for name in interfaces if not _is_governed(plan, name)]
    if ungoverned:
        return f"a HostEndpoint for {listed(ungoverned)} has policy decide who may; or publish it at 127.0.0.1 only"
    if all(_is_of_workloads(plan, name) for name in interfaces):
        return "the egress policy of these workloads decides who may, and the ingress policy of the one that they reach"
    if plan.settings.published_ports is PublishedPorts.POLICY:
        return "ingress policy decides who may, as of every port of this host"
    return (
        "`publishedPorts: policy` in hostfw.yaml has ingress policy decide; or let a preDNAT policy, or one with "
        "applyOnForward: true, say who may"
    )


def _past_policy(plan: Plan, entries: Iterable[Entry]) -> dict[tuple[object, str], Step]:
    """Sources that reach a published port, and could not if the service ran on the host."""
    asked = [e for e in entries if _is_governed(plan, e.interface) and not _is_of_workloads(plan, e.interface)]
    doors = [EntryPoint(e.family, e.subject.protocol, e.address, e.subject.port, e.interface) for e in asked]
    found: dict[tuple[object, str], Step] = {}
    for entry, local in zip(asked, reach(plan, doors), strict=True):
        if any(not part.is_empty(entry.family) for part in difference_of(entry.reach.allowed, local.allowed)):
            denied = (decision.step for decision in local.decisions if decision.step.verdict is StepVerdict.DENY)
            found.setdefault((entry.subject, entry.interface), next(denied))
    return found


def _guests(facts: HostFacts, entries: Iterable[Entry]) -> Iterator[Finding]:
    """Bridges whose guests are answered by nobody, although a server for them listens there."""
    bridges = [interface for interface in facts.interfaces if interface.kind == "bridge"]
    known = tuple(entries)
    for bridge in bridges:
        own = {address.address for address in bridge.addresses}
        at = [e for e in known if isinstance(e.subject, Service) and e.interface == bridge.name and e.address in own]
        lacking = [
            (entry, what)
            for protocol, port, what in _GUESTS_NEED
            for entry in at
            if (entry.subject.protocol, entry.subject.port) == (protocol, port) and not entry.reach.allowed
        ]
        if lacking:
            first, _ = lacking[0]
            by = decision_text(first.reach.decisions[0].step)
            yield Finding(
                Check.BRIDGE,
                f"guests of the bridge {bridge.name} get no {' and '.join(dict.fromkeys(what for _, what in lacking))} "
                f"from this host: nobody there reaches {listed(str(entry.subject) for entry, _ in lacking)} ({by})",
                f"write a HostEndpoint for {bridge.name}, and a policy that allows udp 67, udp 53 and tcp 53 to it",
            )


def _unreached(entries: Iterable[Entry]) -> Iterator[Finding]:
    """Services that listen on the network in vain: closed on purpose, or forgotten."""
    reached: dict[str, bool] = {}
    for entry in entries:
        if isinstance(entry.subject, Service):
            name = str(entry.subject)
            reached[name] = reached.get(name, False) or bool(entry.reach.allowed)
    closed = [name for name, is_reached in reached.items() if not is_reached]
    if closed:
        yield Finding(
            Check.SERVICE,
            f"no packet from the network can reach {listed(closed)}",
            "`hostfwctl exposure` says why; let them listen on 127.0.0.1, or allow them in a policy",
            Weight.NOTE,
        )
