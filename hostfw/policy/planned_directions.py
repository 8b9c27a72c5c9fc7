"""What governs one direction of HostEndpoints: the policies that select them, class by class, in evaluation order."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from hostfw.model.decisions import PolicyClass
from hostfw.model.plan import PlannedDirection, PlannedPolicy, PlannedTier
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Profile, Resources, Tier
from hostfw.model.values import Direction
from hostfw.policy.address_book import AddressBook
from hostfw.policy.built_in import DEFAULT_TIER
from hostfw.policy.labels import effective_labels, index_labels, members, selected
from hostfw.policy.planned_rules import Owner, plan_rules
from hostfw.policy.selector import parse

POLICY_KIND = "GlobalNetworkPolicy"
STAGED_KIND = "StagedGlobalNetworkPolicy"
PROFILE_KIND = "Profile"


class Governing(NamedTuple):
    """A HostEndpoint that governs interfaces of this host.

    `is_wildcard` is of the one that governs every interface without its own. `shares_pre_dnat` is of those to which
    the wildcard's preDNAT policies apply as well while they have none themselves, as in Calico.
    """

    endpoint: HostEndpoint
    is_wildcard: bool = False
    shares_pre_dnat: bool = True


class _Policy(NamedTuple):
    """A policy that is evaluated, and the kind of resource that it is."""

    kind: str
    spec: GlobalNetworkPolicy

    @property
    def staged(self) -> bool:
        return self.kind == STAGED_KIND


def plan_directions(
    governing: Sequence[Governing],
    resources: Resources,
    profiles: Mapping[str, Profile],
    book: AddressBook,
    direction: Direction,
) -> list[PlannedDirection]:
    """What governs one direction of each endpoint; equal parts are the same object in all of them."""
    tiers = _tiers_in_order(resources.tiers)
    policies = _policies_in_order(resources, tiers, direction)

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
            grouped[policies[place].spec.tier].append(place)
        return tuple(tier_of(name, tuple(in_tier)) for name, in_tier in grouped.items())

    @cache
    def tier_of(name: str, places: tuple[int, ...]) -> PlannedTier:
        return PlannedTier(name, tiers[name].default_action, tuple(map(policy_at, places)))

    @cache
    def of_class(places: tuple[int, ...], policy_class: PolicyClass) -> tuple[int, ...]:
        return tuple(place for place in places if policies[place].spec.is_of(policy_class))

    @cache
    def direction_of(
        places: tuple[int, ...], untracked: tuple[int, ...], pre_dnat: tuple[int, ...], profile_names: tuple[str, ...]
    ) -> PlannedDirection:
        return PlannedDirection(
            tiers=tiers_of(of_class(places, PolicyClass.NORMAL)),
            profiles=tuple(map(profile_named, profile_names)),
            forward_tiers=tiers_of(of_class(places, PolicyClass.FORWARD)),
            untracked_tiers=tiers_of(untracked),
            pre_dnat_tiers=tiers_of(pre_dnat),
        )

    selecting = _selecting_policies(policies, [effective_labels(one.endpoint, profiles) for one in governing])
    of_wildcard = next((places for one, places in zip(governing, selecting, strict=True) if one.is_wildcard), ())

    def pre_dnat_of(one: Governing, places: tuple[int, ...]) -> tuple[int, ...]:
        own = of_class(places, PolicyClass.PRE_DNAT)
        if not one.shares_pre_dnat or any(not policies[place].staged for place in own):
            return own
        return tuple(sorted({*own, *of_class(of_wildcard, PolicyClass.PRE_DNAT)}))

    return [
        direction_of(
            places,
            () if one.is_wildcard else of_class(places, PolicyClass.UNTRACKED),
            pre_dnat_of(one, places),
            tuple(dict.fromkeys(one.endpoint.profiles)),
        )
        for one, places in zip(governing, selecting, strict=True)
    ]


def _tiers_in_order(tiers: Iterable[Tier]) -> dict[str, Tier]:
    """The tiers by name, in evaluation order: by order, no order last, then by name."""
    by_name = {tier.metadata.name: tier for tier in (*tiers, DEFAULT_TIER)}
    return dict(sorted(by_name.items(), key=lambda item: (*_order_key(item[1].order), item[0])))


def _policies_in_order(resources: Resources, tiers: Iterable[str], direction: Direction) -> tuple[_Policy, ...]:
    """The policies that exist in a direction, tier by tier, in evaluation order, staged ones in their place.

    Equal orders, and no order, go by the bytes of `name/namespace/kind`, as Calico's sorter has it: `ab-c` comes
    before `ab` because `-` is less than `/`, and a policy before the staged one of its name.
    """
    rank = {name: place for place, name in enumerate(tiers)}
    evaluated = (
        *(_Policy(POLICY_KIND, policy) for policy in resources.policies),
        *(_Policy(STAGED_KIND, staged.policy) for staged in resources.staged_policies if staged.is_evaluated),
    )
    return tuple(
        sorted(
            (policy for policy in evaluated if direction in policy.spec.types),
            key=lambda p: (rank[p.spec.tier], *_order_key(p.spec.order), f"{p.spec.metadata.name}//{p.kind}"),
        )
    )


def _order_key(order: float | None) -> tuple[bool, float]:
    return order is None, order or 0.0


def _selecting_policies(policies: Sequence[_Policy], label_sets: Sequence[Mapping[str, str]]) -> list[tuple[int, ...]]:
    """For each label set the places of the policies that select it, ascending.

    Policies that select the same endpoints, and endpoints that are selected alike, are handled as one, so the work
    grows with the result rather than with policies times endpoints.
    """
    index = index_labels(label_sets)
    bits_of = {text: selected(parse(text), index) for text in {p.spec.selector.text for p in policies}}
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, policy in enumerate(policies):
        alike[bits_of[policy.spec.selector.text]].append(place)
    groups = tuple(alike.values())
    selecting: list[list[int]] = [[] for _ in label_sets]
    for number, bits in enumerate(alike):
        for endpoint in members(bits):
            selecting[endpoint].append(number)

    @cache
    def places_of(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(place for number in numbers for place in groups[number]))

    return [places_of(tuple(numbers)) for numbers in selecting]


def _plan_policy(policy: _Policy, direction: Direction, book: AddressBook) -> PlannedPolicy:
    spec = policy.spec
    name = spec.metadata.name
    rules = plan_rules(spec.rules(direction), Owner(policy.kind, spec.tier, name, direction), book)
    return PlannedPolicy(policy.kind, name, spec.tier, spec.order, rules, spec.metadata.position, policy.staged)


def _plan_profile(profile: Profile, direction: Direction, book: AddressBook) -> PlannedPolicy:
    name = profile.metadata.name
    rules = plan_rules(profile.rules(direction), Owner(PROFILE_KIND, "", name, direction), book)
    return PlannedPolicy(PROFILE_KIND, name, "", None, rules, profile.metadata.position)
