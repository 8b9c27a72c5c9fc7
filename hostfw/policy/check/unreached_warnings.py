"""Warnings about what no packet ever reaches, and about packets that reach nothing which could allow them.

Only rules without any criterion are taken to match everything, so what is said is certain, but for configurations that
could not be read whole: a criterion with a mistake is missing. Endpoints are the bits of an integer, as in
`policy.selections`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, HostEndpoint, Profile, Resources, Rule, Tier
from hostfw.model.values import Action, Direction
from hostfw.model.wording import listed, quoted, unlisted
from hostfw.policy.check.selections import Selections, union
from hostfw.policy.effective_labels import members

_ANYTHING = EntityRule()


class Reach(NamedTuple):
    """The rules of a policy or profile that end or pass on a packet.

    `problems` are those of its own rules, `deciders` are the first rules that match every packet, and `passes` is
    whether any rule passes.
    """

    problems: tuple[Problem, ...]
    deciders: Mapping[Direction, Rule]
    passes: frozenset[Direction]


def reach_of(owner: GlobalNetworkPolicy | Profile) -> Reach:
    """The reach of a policy or profile, which rests on nothing else."""
    problems: list[Problem] = []
    deciders: dict[Direction, Rule] = {}
    for direction in Direction:
        rules = owner.rules(direction)
        place = next((n for n, rule in enumerate(rules) if _decides_all(rule)), None)
        if place is None:
            continue
        deciders[direction] = rules[place]
        if place + 1 < len(rules):
            message = f"no packet reaches this rule: the {rules[place].action} at line {rules[place].position.line}"
            hint = "move it further up"
            problems.append(_warning(rules[place + 1].position, f"{message} matches every packet before it", hint))
    passes = (way for way in Direction if any(rule.action is Action.PASS for rule in owner.rules(way)))
    return Reach(tuple(problems), deciders, frozenset(passes))


class _Ordered(NamedTuple):
    """A policy with the endpoints that it selects, its first rule that matches every packet, and if it passes any."""

    policy: GlobalNetworkPolicy
    endpoints: int
    decider: Rule | None
    passes: bool


def unreached(
    resources: Resources, tiers: Sequence[Tier], selections: Selections, reaches: Sequence[Reach]
) -> Iterator[Problem]:
    """Policies that no packet reaches, and catch-all Pass rules of which everything is denied, in evaluation order.

    `reaches` are of the policies that are enforced, in their order.
    """
    by_tier: defaultdict[str, list[tuple[GlobalNetworkPolicy, Reach]]] = defaultdict(list)
    for policy, reach in zip(resources.enforced, reaches, strict=True):
        if policy.is_of(PolicyClass.NORMAL):
            by_tier[policy.tier].append((policy, reach))
    decided = {way for policies in by_tier.values() for _, reach in policies for way in reach.deciders}
    if len(by_tier) < 2 and not decided:
        # In the only tier each policy is reached that none before it keeps all packets from.
        return
    for policies in by_tier.values():
        policies.sort(key=lambda p: (p[0].order is None, p[0].order or 0.0, f"{p[0].metadata.name}//"))
    for direction in Direction:
        ordered = [
            (
                tier,
                [
                    _ordered(policy, reach, direction, selections)
                    for policy, reach in by_tier[tier.metadata.name]
                    if direction in policy.types
                ],
            )
            for tier in tiers
        ]
        yield from _unreached_policies(ordered, direction)
        yield from _denied_passes(ordered, direction, resources.every_endpoint)


def _ordered(policy: GlobalNetworkPolicy, reach: Reach, direction: Direction, selections: Selections) -> _Ordered:
    decider = None if policy.before_failsafes else reach.deciders.get(direction)
    return _Ordered(policy, selections.endpoints(policy.selector.text), decider, direction in reach.passes)


def _unreached_policies(ordered: Iterable[tuple[Tier, list[_Ordered]]], direction: Direction) -> Iterator[Problem]:
    closed, closed_by = 0, ""
    for tier, policies in ordered:
        ended, ended_by = 0, ""
        for policy, endpoints, decider, _ in policies:
            behind = endpoints and not endpoints & ~(closed | ended)
            # Forwarded traffic passes by the policies that do not apply to it, and comes to this one all the same.
            reached = policy.apply_on_forward or policy.before_failsafes
            if behind and not reached and policy.rules(direction):
                who = ended_by if endpoints & ended else closed_by
                message = f"no {direction} packet reaches this policy: {who} decides about all of them before"
                yield _warning(policy.metadata.position, message, "give it an order, or a tier, that comes first")
            if decider is not None:
                ended |= endpoints
                ended_by = f"policy {quoted(policy.metadata.name)} (line {decider.position.line})"
        passing = union(policy.endpoints for policy in policies if policy.passes)
        selected = union(policy.endpoints for policy in policies)
        if tier.default_action is Action.DENY and selected & ~passing:
            closed |= selected & ~passing
            closed_by = f"tier {quoted(tier.metadata.name)}, which nothing passes,"


def _denied_passes(
    ordered: Sequence[tuple[Tier, list[_Ordered]]],
    direction: Direction,
    endpoints: Sequence[HostEndpoint | WorkloadEndpoint],
) -> Iterator[Problem]:
    """A Pass of everything behind which no tier and no profile is left to allow anything."""
    profiled = sum(1 << place for place, endpoint in enumerate(endpoints) if endpoint.profiles)
    later = 0
    # Most policies leave the same endpoints, and a list of thousands for each of thousands would take minutes.
    named: dict[int, tuple[str, tuple[str, ...]]] = {}
    for tier, policies in reversed(ordered):
        for _, selected, decider, _ in policies:
            left = selected & ~later & ~profiled
            if decider is not None and decider.action is Action.PASS and left:
                if left not in named:
                    names = [endpoints[place].metadata.full_name for place in members(left)]
                    named[left] = (listed(names), unlisted(names))
                names_shown, others = named[left]
                message = (
                    f"all that this Pass lets by is denied: tier {quoted(tier.metadata.name)} is the last one for "
                    f"{direction} of {names_shown}, and no profile follows"
                )
                hint = "let it Allow, or put the policy into a tier that comes first"
                yield _warning(decider.position, message, hint, others)
        later |= union(policy.endpoints for policy in policies)


def _decides_all(rule: Rule) -> bool:
    """True if a rule ends the evaluation of every packet: it has no criterion, of whatever field."""
    return (
        rule.action is not Action.LOG
        # Most rules end here, and a copy of each would cost more than all the rest.
        and rule.protocol is None
        and rule.source == rule.destination == _ANYTHING
        and replace(rule, annotations=(), position=NOWHERE) == Rule(rule.action)
    )


def _warning(position: Position, message: str, hint: str = "", more: tuple[str, ...] = ()) -> Problem:
    return Problem(position, message, hint=hint, severity=Severity.WARNING, more=more)
