"""The policies of one direction of HostEndpoints: those that select them, by class, in evaluation order."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

from hostfw.model.kinds.metadata import REASON, TICKET
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.plan import PlannedDirection, PlannedPolicy, PlannedTier
from hostfw.model.resources import GlobalNetworkPolicy, Profile, Tier
from hostfw.model.values import Direction
from hostfw.policy.cache import ByResource, SameParts
from hostfw.policy.order import EvaluatedPolicy
from hostfw.policy.resolve.address_book import AddressBook
from hostfw.policy.resolve.last_directions import Basis, LastDirections
from hostfw.policy.resolve.rules import Owner, plan_rules
from hostfw.policy.resolve.selecting import Governing, Selecting

PROFILE_KIND = "Profile"


class Known(NamedTuple):
    """Policies and profiles as they were planned earlier, what was made of them, and whether rules are counted.

    `directions` have what workloads had in the last plan.
    """

    policies: ByResource[PlannedPolicy]
    parts: SameParts
    directions: dict[Direction, LastDirections]
    counted: bool = True


def plan_directions(
    endpoints: Selecting,
    policies: Sequence[EvaluatedPolicy],
    tiers: Mapping[str, Tier],
    profiles: Mapping[str, Profile],
    book: AddressBook,
    direction: Direction,
    known: Known,
) -> list[PlannedDirection]:
    """The policies of one direction of each endpoint; equal parts are the same object in all of them.

    `policies` are those of the direction and `tiers` those that they may be in, in evaluation order; `known` is what
    was planned earlier with books that say the same.
    """
    parts, governing = known.parts, endpoints.governing
    # Of every other class than normal are only those that say so, which are few.
    special = frozenset(place for place, policy in enumerate(policies) if _is_special(policy.spec))

    last = known.directions.get(direction, LastDirections())
    selecting = last.selecting(policies, endpoints)
    planned = _planned_policies(policies, frozenset[int]().union(*selecting), direction, book, known)
    named = {name: profiles[name] for one in governing for name in one.endpoint.profiles}
    made = known.policies.of_each(
        tuple(named.values()), lambda profile: _plan_profile(profile, direction, book, counted=known.counted), direction
    )
    planned_profiles = dict(zip(named, made, strict=True))

    @cache
    def tiers_of(places: tuple[int, ...]) -> tuple[PlannedTier, ...]:
        grouped: defaultdict[str, list[int]] = defaultdict(list)
        for place in places:
            grouped[policies[place].spec.tier].append(place)
        made = tuple(tier_of(name, tuple(in_tier)) for name, in_tier in grouped.items())
        return parts.of("tiers", made, lambda: made)

    @cache
    def tier_of(name: str, places: tuple[int, ...]) -> PlannedTier:
        action, inside = tiers[name].default_action, tuple([planned[place] for place in places])
        return parts.of((name, action), inside, lambda: PlannedTier(name, action, inside))

    @cache
    def profiles_of(named: tuple[str, ...]) -> tuple[PlannedPolicy, ...]:
        made = tuple(planned_profiles[name] for name in named)
        return parts.of("profiles", made, lambda: made)

    @cache
    def of_class(places: tuple[int, ...], policy_class: PolicyClass) -> tuple[int, ...]:
        if policy_class is PolicyClass.NORMAL:
            return tuple([p for p in places if p not in special or policies[p].spec.is_of(policy_class)])
        return tuple([p for p in places if p in special and policies[p].spec.is_of(policy_class)])

    @cache
    def direction_of(
        places: tuple[int, ...],
        untracked: tuple[int, ...],
        pre_dnat: tuple[int, ...],
        profile_names: tuple[str, ...],
        *,
        of_workload: bool,
    ) -> PlannedDirection:
        made = (
            tiers_of(of_class(places, PolicyClass.NORMAL)),
            profiles_of(profile_names),
            () if of_workload else tiers_of(of_class(places, PolicyClass.FORWARD)),
            tiers_of(untracked),
            tiers_of(pre_dnat),
        )
        return parts.of("direction", made, lambda: PlannedDirection(*made))

    of_wildcard = next((places for one, places in zip(governing, selecting, strict=True) if one.is_wildcard), ())

    def pre_dnat_of(one: Governing, places: tuple[int, ...]) -> tuple[int, ...]:
        own = of_class(places, PolicyClass.PRE_DNAT)
        if not one.shares_pre_dnat or any(not policies[place].staged for place in own):
            return own
        return tuple(sorted({*own, *of_class(of_wildcard, PolicyClass.PRE_DNAT)}))

    same = last.unchanged(governing, selecting, Basis(tuple(policies), tiers, planned, planned_profiles))
    for entries in same.parts:
        parts.keep(entries)
    found = [
        direction_of(
            places,
            () if one.is_wildcard or one.of_workload else of_class(places, PolicyClass.UNTRACKED),
            () if one.of_workload else pre_dnat_of(one, places),
            tuple(dict.fromkeys(one.endpoint.profiles)),
            of_workload=one.of_workload,
        )
        if known_one is None
        else known_one
        for one, places, known_one in zip(governing, selecting, same.directions, strict=True)
    ]
    known.directions[direction] = last.after(endpoints, selecting, found, same, parts)
    return found


def _planned_policies(
    policies: Sequence[EvaluatedPolicy],
    selected_places: frozenset[int],
    direction: Direction,
    book: AddressBook,
    known: Known,
) -> dict[int, PlannedPolicy]:
    """The policies that select an endpoint, by their places."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place in selected_places:
        places[policies[place].kind].append(place)
    planned: dict[int, PlannedPolicy] = {}
    for kind, of_kind in places.items():
        make = partial(_plan_policy, kind, direction, book, counted=known.counted)
        specs = [policies[place].spec for place in of_kind]
        planned.update(zip(of_kind, known.policies.of_each(specs, make, (direction, kind)), strict=True))
    return planned


def _is_special(policy: GlobalNetworkPolicy) -> bool:
    return policy.do_not_track or policy.pre_dnat or policy.apply_on_forward


def _plan_policy(
    kind: str, direction: Direction, book: AddressBook, spec: GlobalNetworkPolicy, *, counted: bool
) -> PlannedPolicy:
    name = spec.metadata.full_name
    owner = Owner(kind, spec.tier, name, direction, spec.metadata.unrecorded, counted)
    rules = plan_rules(spec.rules(direction), owner, book)
    staged = EvaluatedPolicy(kind, spec).staged
    return PlannedPolicy(
        kind,
        name,
        spec.tier,
        spec.order,
        rules,
        spec.metadata.position,
        staged,
        spec.before_failsafes,
        spec.metadata.annotation(REASON),
        spec.metadata.annotation(TICKET),
    )


def _plan_profile(profile: Profile, direction: Direction, book: AddressBook, *, counted: bool) -> PlannedPolicy:
    name = profile.metadata.name
    owner = Owner(PROFILE_KIND, "", name, direction, profile.metadata.unrecorded, counted)
    rules = plan_rules(profile.rules(direction), owner, book)
    why, ticket = profile.metadata.annotation(REASON), profile.metadata.annotation(TICKET)
    return PlannedPolicy(PROFILE_KIND, name, "", None, rules, profile.metadata.position, why=why, ticket=ticket)
