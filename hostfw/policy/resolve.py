"""Resolve: what the resources of a configuration mean on one host.

The facts of the host enter here and nowhere else, so the same resources, settings and facts give the same Plan
anywhere. Resources have passed `policy.check`: every profile, tier and group that is named exists, and every selector
parses.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from hostfw.model.facts import HostFacts
from hostfw.model.plan import Plan, PlannedDirection, PlannedEndpoint, PlannedPolicy, PlannedTier
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Metadata, Profile, Resources, Rule, Tier
from hostfw.model.settings import Settings
from hostfw.model.values import Action, Direction
from hostfw.policy.address_book import AddressBook
from hostfw.policy.bindings import bind
from hostfw.policy.labels import effective_labels, index_labels, members, selected
from hostfw.policy.planned_rules import Owner, plan_rules
from hostfw.policy.selector import parse
from hostfw.policy.wording import listed

POLICY_KIND = "GlobalNetworkPolicy"
PROFILE_KIND = "Profile"

DEFAULT_TIER = Tier(Metadata("default"), order=1_000_000, default_action=Action.DENY)
"""The tier that exists whether a file declares it or not; its order and action are Calico's and fixed."""

_ALLOW_ALL = (Rule(Action.ALLOW),)
DEFAULT_ALLOW_PROFILE = Profile(Metadata("projectcalico-default-allow"), ingress=_ALLOW_ALL, egress=_ALLOW_ALL)
"""Calico's built-in profile that allows both directions."""


def resolve(resources: Resources, settings: Settings, facts: HostFacts) -> tuple[Plan, tuple[Problem, ...]]:
    """The Plan of a host, and warnings about what its facts make of the resources."""
    node = (settings.node or facts.node).lower()
    local = tuple(e for e in resources.endpoints if e.node == node)
    bound, problems = bind(local, resources.interface_groups, settings.loopback, facts)
    governing = sorted((e for e in local if e.metadata.name in bound.governing), key=lambda e: e.metadata.name)

    profiles = {p.metadata.name: p for p in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    book = AddressBook(resources, profiles)
    ingress, egress = (_plan_direction(governing, resources, profiles, book, d) for d in Direction)
    endpoints = tuple(
        PlannedEndpoint(endpoint.metadata.name, into, out, endpoint.metadata.position)
        for endpoint, into, out in zip(governing, ingress, egress, strict=True)
    )
    plan = Plan(node, settings, endpoints, bound.bindings, bound.wildcard)
    return plan, in_order((*problems, *_node_problems(resources, local, node)))


def _plan_direction(
    endpoints: Sequence[HostEndpoint],
    resources: Resources,
    profiles: Mapping[str, Profile],
    book: AddressBook,
    direction: Direction,
) -> list[PlannedDirection]:
    """What governs one direction of each endpoint; equal parts are the same object in all of them."""
    tiers = _tiers_in_order(resources.tiers)
    policies = _policies_in_order(resources.policies, tiers, direction)

    @cache
    def policy_at(place: int) -> PlannedPolicy:
        return _plan_policy(policies[place], direction, book)

    @cache
    def profile_named(name: str) -> PlannedPolicy:
        return _plan_profile(profiles[name], direction, book)

    @cache
    def tiers_of(places: tuple[int, ...]) -> tuple[PlannedTier, ...]:
        grouped: defaultdict[str, list[int]] = defaultdict(list)
        for place in places:
            grouped[policies[place].tier].append(place)
        return tuple(tier_of(name, tuple(in_tier)) for name, in_tier in grouped.items())

    @cache
    def tier_of(name: str, places: tuple[int, ...]) -> PlannedTier:
        return PlannedTier(name, tiers[name].default_action, tuple(map(policy_at, places)))

    @cache
    def forward_places(places: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(place for place in places if policies[place].apply_on_forward)

    @cache
    def direction_of(places: tuple[int, ...], profile_names: tuple[str, ...]) -> PlannedDirection:
        return PlannedDirection(
            tiers=tiers_of(places),
            profiles=tuple(map(profile_named, profile_names)),
            forward_tiers=tiers_of(forward_places(places)),
        )

    selecting = _selecting_policies(policies, [effective_labels(endpoint, profiles) for endpoint in endpoints])
    return [
        direction_of(places, tuple(dict.fromkeys(endpoint.profiles)))
        for endpoint, places in zip(endpoints, selecting, strict=True)
    ]


def _tiers_in_order(tiers: Iterable[Tier]) -> dict[str, Tier]:
    """The tiers by name, in evaluation order: by order, no order last, then by name."""
    by_name = {tier.metadata.name: tier for tier in (*tiers, DEFAULT_TIER)}
    return dict(sorted(by_name.items(), key=lambda item: (*_order_key(item[1].order), item[0])))


def _policies_in_order(
    policies: Iterable[GlobalNetworkPolicy], tiers: Iterable[str], direction: Direction
) -> tuple[GlobalNetworkPolicy, ...]:
    """The policies that exist in a direction, tier by tier, in evaluation order.

    Equal orders, and no order, go by the bytes of `name/namespace/kind`, as Calico's sorter has it: `ab-c` comes
    before `ab` because `-` is less than `/`.
    """
    rank = {name: place for place, name in enumerate(tiers)}
    return tuple(
        sorted(
            (policy for policy in policies if direction in policy.types),
            key=lambda p: (rank[p.tier], *_order_key(p.order), f"{p.metadata.name}//{POLICY_KIND}"),
        )
    )


def _order_key(order: float | None) -> tuple[bool, float]:
    return order is None, order or 0.0


def _selecting_policies(
    policies: Sequence[GlobalNetworkPolicy], label_sets: Sequence[Mapping[str, str]]
) -> list[tuple[int, ...]]:
    """For each label set the places of the policies that select it, ascending.

    Policies that select the same endpoints, and endpoints that are selected alike, are handled as one, so the work
    grows with the result rather than with policies times endpoints.
    """
    index = index_labels(label_sets)
    bits_of = {text: selected(parse(text), index) for text in {p.selector.text for p in policies}}
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, policy in enumerate(policies):
        alike[bits_of[policy.selector.text]].append(place)
    groups = tuple(alike.values())
    selecting: list[list[int]] = [[] for _ in label_sets]
    for number, bits in enumerate(alike):
        for endpoint in members(bits):
            selecting[endpoint].append(number)

    @cache
    def places_of(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(place for number in numbers for place in groups[number]))

    return [places_of(tuple(numbers)) for numbers in selecting]


def _plan_policy(policy: GlobalNetworkPolicy, direction: Direction, book: AddressBook) -> PlannedPolicy:
    name = policy.metadata.name
    rules = plan_rules(policy.rules(direction), Owner(POLICY_KIND, policy.tier, name, direction), book)
    return PlannedPolicy(POLICY_KIND, name, policy.tier, policy.order, rules, policy.metadata.position)


def _plan_profile(profile: Profile, direction: Direction, book: AddressBook) -> PlannedPolicy:
    name = profile.metadata.name
    rules = plan_rules(profile.rules(direction), Owner(PROFILE_KIND, "", name, direction), book)
    return PlannedPolicy(PROFILE_KIND, name, "", None, rules, profile.metadata.position)


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
    )
