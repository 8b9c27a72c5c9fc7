"""A Plan with what external sets hold at this moment, for those who ask what happens to a packet.

The compiler must not know: other programs change it at any time, without a generation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from hostfw.model.plan import (
    AddressSet,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
)
from hostfw.model.prefixes import union, unpacked
from hostfw.model.values import Action, Cidr, merge

Members = Mapping[str, tuple[Cidr, ...]]
"""The members of external sets, by the names of their Feeds."""


def with_members(plan: Plan, members: Members) -> Plan:
    """The Plan in which each external set is what it holds; the very same where there is none."""
    if not plan.external:
        return plan
    endpoints = tuple(_endpoint(endpoint, members) for endpoint in plan.endpoints)
    return plan if endpoints == plan.endpoints else replace(plan, endpoints=endpoints)


def opened_by(plan: Plan) -> frozenset[str]:
    """The names of the external sets for whose sake anything may be allowed."""
    return frozenset(
        one.name
        for rule in _rules(plan)
        for side in (rule.source, rule.destination)
        for selected in ((side.not_address_set,) if rule.action is Action.DENY else (side.address_set,))
        if selected is not None and rule.action is not Action.LOG
        for one in selected.external
    )


def _rules(plan: Plan) -> Iterator[PlannedRule]:
    for endpoint in plan.endpoints:
        for direction in (endpoint.ingress, endpoint.egress):
            for policies in (direction.profiles, *(tier.policies for tiers in _tiers(direction) for tier in tiers)):
                for policy in policies:
                    yield from policy.rules


def _tiers(direction: PlannedDirection) -> tuple[tuple[PlannedTier, ...], ...]:
    return (direction.tiers, direction.forward_tiers, direction.untracked_tiers, direction.pre_dnat_tiers)


def _endpoint(endpoint: PlannedEndpoint, members: Members) -> PlannedEndpoint:
    return replace(endpoint, ingress=_direction(endpoint.ingress, members), egress=_direction(endpoint.egress, members))


def _direction(direction: PlannedDirection, members: Members) -> PlannedDirection:
    tiers, forward, untracked, pre_dnat = (
        tuple(replace(tier, policies=_policies(tier.policies, members)) for tier in tiers)
        for tiers in _tiers(direction)
    )
    profiles = _policies(direction.profiles, members)
    return PlannedDirection(tiers, profiles, forward, untracked, pre_dnat)


def _policies(policies: tuple[PlannedPolicy, ...], members: Members) -> tuple[PlannedPolicy, ...]:
    return tuple(
        replace(policy, rules=tuple(_rule(rule, members) for rule in policy.rules))
        if any(map(_is_external, policy.rules))
        else policy
        for policy in policies
    )


def _is_external(rule: PlannedRule) -> bool:
    return any(
        selected is not None and selected.external
        for side in (rule.source, rule.destination)
        for selected in (side.address_set, side.not_address_set)
    )


def _rule(rule: PlannedRule, members: Members) -> PlannedRule:
    return (
        replace(rule, source=_side(rule.source, members), destination=_side(rule.destination, members))
        if _is_external(rule)
        else rule
    )


def _side(side: PlannedSide, members: Members) -> PlannedSide:
    return replace(
        side, address_set=_filled(side.address_set, members), not_address_set=_filled(side.not_address_set, members)
    )


def _filled(selected: AddressSet | None, members: Members) -> AddressSet | None:
    if selected is None or not selected.external:
        return selected
    found = tuple(merge(cidr for one in selected.external for cidr in members.get(one.name, ())))
    return replace(selected, cidrs=unpacked(union((selected.cidrs, found))), external=())
