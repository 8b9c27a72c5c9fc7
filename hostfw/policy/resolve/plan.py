"""Resolve: what the resources of a configuration mean on one host.

The facts of the host enter here and nowhere else, so the same resources, settings and facts give the same Plan
anywhere. Resources have passed `policy.check`: every profile, tier and group that is named exists, and every selector
parses.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.governance import NOTHING_GOVERNED, Governance, InterfaceLookup
from hostfw.model.host.guests import Workload
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.plan import NO_NETWORKS, LinkNetworks, Plan, PlannedDirection, PlannedEndpoint, PlannedPolicy
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Profile, Resources, Rule
from hostfw.model.settings import Loopback, Settings, Workloads
from hostfw.model.values import Cidr, Direction, Family, merge
from hostfw.model.wording import listed, unlisted
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.cache import ByResource, SameParts
from hostfw.policy.check.workloads import interface_problems
from hostfw.policy.effective_labels import effective_labels
from hostfw.policy.expiry import in_time
from hostfw.policy.kept import closed, keep
from hostfw.policy.need import lacking
from hostfw.policy.order import (
    every_policy_in_order,
    every_tier,
    in_direction,
    nft_rules_in_order,
    tiers_in_order,
)
from hostfw.policy.resolve.address_book import AddressBook
from hostfw.policy.resolve.bindings import Bindings, bind, distrusted_problems, port_problems
from hostfw.policy.resolve.bridges import bridged_problems, governed_bridges, other_ports, ports_of_bridges
from hostfw.policy.resolve.directions import Known, plan_directions
from hostfw.policy.resolve.interface_groups import HostIndex, distrusted_addresses
from hostfw.policy.resolve.last_directions import LastDirections
from hostfw.policy.resolve.link_networks import (
    first_asking,
    left_out_problems,
    link_networks,
    local_networks,
)
from hostfw.policy.resolve.selecting import Governing, Selecting
from hostfw.policy.resolve.workloads import Claims, running, with_workloads
from hostfw.selector.evaluate import matches, parse


class PlannedWorkload(NamedTuple):
    """A workload as it was planned, and what it was planned from."""

    endpoint: WorkloadEndpoint
    ingress: PlannedDirection
    egress: PlannedDirection
    bridge: str
    planned: PlannedEndpoint


@dataclass(slots=True)
class ResolveCache:
    """The address book of the last time, and the policies, profiles and workloads as they were planned with it."""

    book: AddressBook | None = None
    planned: ByResource[PlannedPolicy] = field(default_factory=ByResource)
    asking: ByResource[Rule | None] = field(default_factory=ByResource)
    parts: SameParts = field(default_factory=SameParts)
    claims: Claims = field(default_factory=Claims)
    opened: ByResource[WorkloadEndpoint] = field(default_factory=ByResource)
    labels: ByResource[dict[str, str]] = field(default_factory=ByResource)
    directions: dict[Direction, LastDirections] = field(default_factory=dict)
    endpoints: dict[int, PlannedWorkload] = field(default_factory=dict)


def resolve(
    resources: Resources,
    settings: Settings,
    facts: HostFacts,
    cache: ResolveCache | None = None,
    governance: Governance = NOTHING_GOVERNED,
    *,
    counted: bool = True,
) -> tuple[Plan, tuple[Problem, ...]]:
    """The Plan of a host, and what its facts make of the resources: warnings, and an error if addresses may be missing.

    What is on record in `governance` stays: the name of the node unless a setting gives one, and the HostEndpoints of
    interfaces that no HostEndpoint claims any more. What has expired at the moment of the facts does not count. With a
    cache, policies that are the very resources of the last time, and mean the same addresses, are planned as the very
    same objects. Without `counted` rules have no digest, by which counters are found: for questions of who passes.
    """
    timely = in_time(resources, facts.now, governance)
    resources = timely.resources
    node = (settings.node or governance.node or facts.node).lower()
    local = tuple(e for e in resources.endpoints if e.is_of(node))
    workload_errors = interface_problems(local, (w for w in resources.workloads if w.is_of(node)), settings.workloads)
    missing = lacking(resources, node, settings.workloads)
    profiles = {p.metadata.name: p for p in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    cache = ResolveCache() if cache is None else cache
    workloads, workload_problems = running(resources, facts, node, settings.workloads, profiles, cache.claims)
    resources = replace(resources, workloads=_addressed(resources, workloads, node))
    claimed, problems = bind(local, resources.interface_groups, settings.loopback, facts, settings.workloads)
    claimed = with_workloads(claimed, workloads, facts)
    on_host = InterfaceLookup(facts, governance.interfaces)
    bound, kept_problems = keep(claimed, governance, (*local, *workloads), resources, facts, on_host)
    closing = closed(bound, governance, workloads, on_host)
    if closing:
        patterns = (*settings.workloads.interfaces, *closing)
        settings = replace(settings, workloads=replace(settings.workloads, interfaces=patterns))
        bound = replace(bound, workloads=settings.workloads)
    cache.parts.next_round()
    cache.opened.next_round(settings.workloads)
    guests = cache.opened.of_each(workloads, partial(_with_default, settings=settings.workloads))
    governing = [*_governing(local, bound, settings.loopback), *map(Governing, guests)]

    known = _with_learned_addresses(resources, bound, facts) if settings.learn_addresses else resources
    asking = first_asking(resources, cache.asking)
    book = _address_book(known, profiles, local_networks(asking, facts, bound), cache)
    known_parts = Known(cache.planned, cache.parts, cache.directions, counted)
    tiers = tiers_in_order(every_tier(resources))
    policies = every_policy_in_order(resources, tiers)
    cache.labels.next_round((resources.namespaces, profiles))
    labels = cache.labels.of_each([one.endpoint for one in governing], book.labels_of)
    selecting = Selecting(governing, labels, book)
    ingress, egress = (
        plan_directions(selecting, in_direction(policies, d), tiers, profiles, book, d, known_parts) for d in Direction
    )
    bridges = ports_of_bridges(facts, settings.workloads)
    endpoints, cache.endpoints = _endpoints(governing, ingress, egress, bridges, cache.endpoints)
    plan = Plan(
        node,
        settings,
        endpoints,
        bound.bindings,
        bound.wildcard,
        timely.expired,
        timely.next_expiry,
        book.external,
        link_networks(facts, bound) if settings.multicast_answers else NO_NETWORKS,
        nft_rules_in_order(resources.nft_rules),
        governed_bridges(settings.workloads, facts),
        other_ports(settings.workloads, facts),
    )
    unlearned = _unlearned_problems(local, bound, facts) if settings.learn_addresses else ()
    warnings = (
        *kept_problems,
        *workload_problems,
        *bridged_problems(settings.workloads, facts),
        *port_problems(bound, local, facts),
        *_node_problems(resources, local, node),
        *_name_problems(local, node, None if settings.node else facts.node.lower()),
        *_untracked_problems(resources, governing, profiles),
        *unlearned,
        *left_out_problems(asking, facts),
    )
    return plan, in_order((*problems, *warnings, *workload_errors, *((missing,) if missing is not None else ())))


def governs_alike(resources: Resources, settings: Settings, facts: HostFacts, records: Iterable[Governance]) -> bool:
    """True if resources come to the same Plan on a host by each of some records.

    What a record decides are the node and the endpoint of each interface, so policies need not be planned for it.
    """
    bare = without_policies(resources)
    first, *others = (resolve(bare, settings, facts, governance=record) for record in records)
    return all(other == first for other in others)


def without_policies(resources: Resources) -> Resources:
    """The resources that decide which interfaces are governed."""
    return replace(
        resources,
        policies=(),
        network_policies=(),
        kubernetes_policies=(),
        cluster_policies=(),
        staged_policies=(),
        staged_network_policies=(),
    )


def neighbour_problems(resources: Resources, settings: Settings, facts: HostFacts) -> tuple[Problem, ...]:
    """Of the warnings of `resolve` those about what matches nothing because a neighbour said it."""
    node = (settings.node or facts.node).lower()
    local = tuple(e for e in resources.endpoints if e.is_of(node))
    bound, _ = bind(local, resources.interface_groups, settings.loopback, facts, settings.workloads)
    unlearned = _unlearned_problems(local, bound, facts) if settings.learn_addresses else ()
    distrusted = distrusted_problems(resources.interface_groups, local, HostIndex(facts))
    asking = first_asking(resources, ByResource())
    return in_order((*distrusted, *unlearned, *left_out_problems(asking, facts)))


def _address_book(
    resources: Resources, profiles: Mapping[str, Profile], networks: LinkNetworks, cache: ResolveCache
) -> AddressBook:
    """The address book, and everything forgotten that was planned with one that said something else to it."""
    sets = (resources.network_sets, resources.namespaced_sets, resources.namespaces, resources.feeds)
    written_in = (resources.endpoints, resources.workloads, *sets, dict(profiles), networks)
    before, book = cache.book, cache.book
    if book is None or cache.planned.rests_on != written_in:
        book = cache.book = AddressBook(resources, profiles, networks, before)
    stays = book.answers_of(before) if before is not None and before is not book else lambda _: False
    cache.planned.next_round(
        written_in, keep=lambda owner: isinstance(owner, GlobalNetworkPolicy | Profile) and stays(owner)
    )
    return book


def _addressed(
    resources: Resources, workloads: tuple[WorkloadEndpoint, ...], node: str
) -> tuple[WorkloadEndpoint, ...]:
    """The workloads that rules find: those of this node that govern their interface, and those of other nodes."""
    others = (one for one in resources.workloads if not one.is_of(node))
    return tuple(sorted((*workloads, *others), key=lambda one: (one.metadata.full_name, one.metadata.position)))


def _with_default(one: WorkloadEndpoint, settings: Workloads) -> WorkloadEndpoint:
    """A workload, with the profile that allows all if it has none and is open where no policy selects it."""
    if one.profiles or not settings.opens(one.orchestrator):
        return one
    return replace(one, profiles=(DEFAULT_ALLOW_PROFILE.metadata.name,))


def _endpoints(
    governing: Sequence[Governing],
    ingress: Sequence[PlannedDirection],
    egress: Sequence[PlannedDirection],
    bridges: Mapping[str, str],
    before: Mapping[int, PlannedWorkload],
) -> tuple[tuple[PlannedEndpoint, ...], dict[int, PlannedWorkload]]:
    """The plans of endpoints: of a workload the very same as before, if nothing about it has changed."""
    planned: list[PlannedEndpoint] = []
    now: dict[int, PlannedWorkload] = {}
    for one, into, out in zip(governing, ingress, egress, strict=True):
        endpoint = one.endpoint
        if not isinstance(endpoint, WorkloadEndpoint):
            planned.append(PlannedEndpoint(endpoint.metadata.full_name, into, out, endpoint.metadata.position))
            continue
        key, bridge = id(endpoint), bridges.get(endpoint.interface_name, "")
        known = before.get(key)
        if known is None or known.ingress is not into or known.egress is not out or known.bridge != bridge:
            known = PlannedWorkload(endpoint, into, out, bridge, _endpoint(endpoint, into, out, bridge))
        now[key] = known
        planned.append(known.planned)
    return tuple(planned), now


def _endpoint(
    endpoint: WorkloadEndpoint, into: PlannedDirection, out: PlannedDirection, bridge: str
) -> PlannedEndpoint:
    # Not merged behind a bridge: it is known there by each of its addresses.
    workload = Workload(endpoint.networks if bridge else merge(endpoint.networks), mac=endpoint.mac)
    if bridge:
        workload = replace(workload, bridge=bridge, port=endpoint.interface_name)
    return PlannedEndpoint(endpoint.metadata.full_name, into, out, endpoint.metadata.position, workload)


def _governing(local: Sequence[HostEndpoint], bound: Bindings, loopback: Loopback) -> list[Governing]:
    """The HostEndpoints that govern anything, sorted by name."""
    beyond_loopback = {binding.endpoint for binding in bound.bindings if binding.interface != LOOPBACK}
    names = bound.governing
    return [
        Governing(
            endpoint,
            is_wildcard=name == bound.wildcard,
            # A wildcard means nothing for an exempt lo, so neither do its preDNAT policies.
            shares_pre_dnat=loopback is Loopback.POLICED or name in beyond_loopback,
        )
        for name, endpoint in sorted((e.metadata.name, e) for e in local)
        if name in names
    ]


def _with_learned_addresses(resources: Resources, bound: Bindings, facts: HostFacts) -> Resources:
    """The resources, the addresses of interfaces being expectedIPs of the HostEndpoints that govern them."""
    believed = {endpoint.metadata.name: endpoint.learned for endpoint in resources.endpoints}
    learned: defaultdict[str, list[Cidr]] = defaultdict(list)
    for interface, name in _governed(bound, facts):
        learned[name].extend(interface.addresses_of(believed.get(name, ())))
    endpoints = (
        replace(endpoint, expected_ips=tuple(dict.fromkeys((*endpoint.expected_ips, *learned[name]))))
        if (name := endpoint.metadata.name) in learned
        else endpoint
        for endpoint in resources.endpoints
    )
    return replace(resources, endpoints=tuple(endpoints))


def _governed(bound: Bindings, facts: HostFacts) -> Iterator[tuple[Interface, str]]:
    """The interfaces of the host that are governed, each with the name of its HostEndpoint."""
    governs = {binding.interface: binding.endpoint for binding in bound.bindings}
    for interface in facts.interfaces:
        name = governs.get(interface.name, bound.governing_unbound(interface.name))
        if name is not None:
            yield interface, name


def _unlearned_problems(local: Sequence[HostEndpoint], bound: Bindings, facts: HostFacts) -> Iterator[Problem]:
    """The HostEndpoints that learn no address of an interface, because a neighbour gave all that it has."""
    endpoints = {endpoint.metadata.name: endpoint for endpoint in local}
    for interface, name in _governed(bound, facts):
        endpoint = endpoints.get(name)
        if endpoint is None:
            # A workload, which has the addresses that it says.
            continue
        doubted = distrusted_addresses(interface, endpoint.learned)
        if doubted is not None and not any(map(_is_beyond_the_link, interface.addresses_of(endpoint.learned))):
            yield Problem(
                endpoint.metadata.position,
                f'HostEndpoint "{name}" learns no address of {interface.name}: {listed(doubted.facts)}, '
                "and a neighbour may say that",
                expected="addresses that an administrator set, or expectedIPs",
                hint=f"add {doubted.trusting} to the HostEndpoint if they are to count all the same",
                severity=Severity.WARNING,
                more=unlisted(doubted.facts),
            )


_LINK_LOCAL = Cidr(Family.V6, 0xFE80 << 112, 10)


def _is_beyond_the_link(cidr: Cidr) -> bool:
    return not (cidr.family is Family.V6 and _LINK_LOCAL.contains(cidr.address))


def _node_problems(resources: Resources, local: Sequence[HostEndpoint], node: str) -> Iterator[Problem]:
    if local or not resources.endpoints:
        return
    first = min(resources.endpoints, key=lambda e: e.metadata.position)
    yield Problem(
        first.metadata.position,
        f'no HostEndpoint is of this node, "{node}", so no policy applies to it',
        expected=f"node: {node} (those here are of {listed(e.node for e in resources.endpoints)})",
        hint="give the HostEndpoints the name of this node, or set node in hostfw.yaml to the name that they have",
        severity=Severity.WARNING,
        more=unlisted(e.node for e in resources.endpoints),
    )


def _name_problems(local: Sequence[HostEndpoint], node: str, host: str | None) -> Iterator[Problem]:
    """A host that has another name than the one that its policy was accepted for: nothing changes by that."""
    named = [endpoint for endpoint in local if endpoint.node == node]
    if host in (None, "", node) or not named:
        return
    yield Problem(
        min(endpoint.metadata.position for endpoint in named),
        f'this host is called "{host}" now, and keeps the policy of node "{node}", which was accepted for it',
        expected=f"node: {host}, or no node at all",
        hint=f'give HostEndpoints the name "{host}" and run `hostfwctl apply`, or set node: {node} in hostfw.yaml',
        severity=Severity.WARNING,
    )


def _untracked_problems(
    resources: Resources, governing: Sequence[Governing], profiles: Mapping[str, Profile]
) -> Iterator[Problem]:
    """The doNotTrack policies that select the wildcard, where they are ignored as in Calico."""
    wildcard = next((one.endpoint for one in governing if one.is_wildcard), None)
    if wildcard is None:
        return
    labels = effective_labels(wildcard, profiles)
    staged = (one.policy for one in resources.staged_policies if one.is_evaluated)
    for policy in (*resources.policies, *staged):
        if policy.do_not_track and matches(parse(policy.selector.text), labels):
            yield Problem(
                policy.metadata.position,
                f'a doNotTrack policy is ignored on HostEndpoint "{wildcard.metadata.name}", whose interfaceName is *',
                hint="give the interface a HostEndpoint of its own, which names it",
                severity=Severity.WARNING,
            )
