"""Warnings: what a configuration says and its author probably does not mean.

Only what shows without a host; `policy.resolve` warns about what the facts of a host make of it. The work grows with
the number of rules: every distinct selector is evaluated once, over all endpoints together.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Profile, Resources, Rule
from hostfw.model.settings import Settings
from hostfw.model.values import Action, Direction
from hostfw.model.wording import listed, quoted, unlisted
from hostfw.policy.cache import ByResource
from hostfw.policy.check.exemption_warnings import exempted
from hostfw.policy.check.failsafe_warnings import (
    Failsafes,
    Opening,
    not_opened_before,
    opened_by,
    opened_by_failsafe,
    openings,
)
from hostfw.policy.check.impossible_rules import findings_of
from hostfw.policy.check.selections import Selections, union
from hostfw.policy.check.unreached_warnings import Reach, reach_of, unreached
from hostfw.policy.check.voided import Exemption, Voided, warnings_of
from hostfw.policy.need import is_partial
from hostfw.policy.order import every_tier, tiers_in_order
from hostfw.selector.namespaces import NAMESPACE_PREFIX


@dataclass(slots=True, eq=False, repr=False)
class LintCache:
    """Warnings about each policy and profile at the last check, and the selections of their selectors."""

    found: ByResource[tuple[Problem, ...]] = field(default_factory=ByResource)
    voided: ByResource[tuple[Voided, ...]] = field(default_factory=ByResource)
    openings: ByResource[tuple[Opening, ...]] = field(default_factory=ByResource)
    reaches: ByResource[Reach] = field(default_factory=ByResource)
    selections: Selections | None = None
    selected_from: tuple[object, ...] = ()

    def select(self, resources: Resources, settings: Settings) -> Selections:
        """The selections of a configuration; those of the last one, while nothing else can be selected."""
        sets = (resources.network_sets, resources.namespaced_sets, resources.namespaces, resources.feeds)
        entities = (resources.endpoints, resources.workloads, *sets, resources.profiles)
        partial = is_partial(resources)
        others = bool(settings.workloads.patterns) or partial
        selected_from = (*entities, resources.interface_groups, settings.learn_addresses, others)
        if self.selections is None or self.selected_from != selected_from:
            learning = settings.learn_addresses
            self.selections = Selections(resources, learn_addresses=learning, others=others, partial=partial)
            self.selected_from = selected_from
        return self.selections


def lint(
    resources: Resources, settings: Settings, cache: LintCache | None = None, *, whole: bool = True
) -> tuple[Problem, ...]:
    """Every warning about a configuration, in no order; `whole` is whether everything could be read."""
    known = LintCache() if cache is None else cache
    selections = known.select(resources, settings)
    # While nothing else can be selected than the last time, what is found of a policy is its own affair.
    selected_from = known.selected_from
    known.found.next_round(selected_from)
    known.voided.next_round((*selected_from, settings.failsafe, settings.neighbour_discovery, settings.loopback))
    known.openings.next_round((*selected_from, settings.failsafe))
    return (
        *_of_each(resources, selections, known.found),
        *warnings_of(_voided(resources, settings, selections, known)),
        # Those of Kubernetes have no order of their own, and only allow.
        *_equal_orders((*resources.policies, *(one.policy for one in resources.network_policies)), selections),
        *_log_only(resources, selections),
        *_without_endpoints(resources, selections),
        *_forward_passes(resources, selections),
        *(_never_reached(resources, selections, known.reaches) if whole else ()),
    )


def _never_reached(resources: Resources, selections: Selections, known: ByResource[Reach]) -> Iterator[Problem]:
    known.next_round()
    of_policies = known.of_each(resources.every_policy, reach_of)
    for reach in (*of_policies, *known.of_each(resources.profiles, reach_of, "profiles")):
        yield from reach.problems
    # Those that decide come first among all.
    reaches = of_policies[: len(resources.enforced)]
    yield from unreached(resources, tuple(tiers_in_order(every_tier(resources)).values()), selections, reaches)


def _of_each(resources: Resources, selections: Selections, known: ByResource[tuple[Problem, ...]]) -> Iterator[Problem]:
    """The warnings about each policy and profile by itself."""
    yield from chain.from_iterable(known.of_each(resources.every_policy, partial(_of_policy, selections)))
    yield from chain.from_iterable(known.of_each(resources.profiles, partial(_of_profile, selections), "profiles"))


def _voided(resources: Resources, settings: Settings, selections: Selections, cache: LintCache) -> Iterator[Voided]:
    """The rules that are void for some packets, of what is enforced on any endpoint."""
    known = cache.voided
    failsafes = Failsafes(settings)

    def of_policy(policy: GlobalNetworkPolicy) -> tuple[Voided, ...]:
        on_hosts = selections.endpoints(policy.selector.text) & ~selections.of_workloads
        return _voided_of(policy, on_hosts, settings, failsafes, selections)

    def of_profile(profile: Profile) -> tuple[Voided, ...]:
        on_hosts = selections.listing(profile.metadata.name) & ~selections.of_workloads
        return _voided_of(profile, on_hosts, settings, failsafes, selections)

    found = tuple(chain.from_iterable(known.of_each(resources.enforced, of_policy)))
    if any(one.exemption is Exemption.FAILSAFES for one in found):
        opened = cache.openings.of_each(resources.enforced, lambda policy: openings(policy, failsafes, selections))
        found = tuple(not_opened_before(found, opened_by(resources.enforced, opened), resources.tiers, selections))
    yield from found
    yield from chain.from_iterable(known.of_each(resources.profiles, of_profile, "profiles"))


def _voided_of(
    owner: GlobalNetworkPolicy | Profile,
    endpoints: int,
    settings: Settings,
    failsafes: Failsafes,
    selections: Selections,
) -> tuple[Voided, ...]:
    if not endpoints:
        return ()
    return (
        *opened_by_failsafe(owner, failsafes, selections),
        *exempted(owner, endpoints, settings, failsafes, selections),
    )


def _of_policy(selections: Selections, policy: GlobalNetworkPolicy) -> tuple[Problem, ...]:
    return (
        *_hidden_rules(policy),
        *_unselecting_policy(policy, selections),
        *_unmatching_rules(policy, selections),
    )


def _of_profile(selections: Selections, profile: Profile) -> tuple[Problem, ...]:
    return tuple(_unmatching_rules(profile, selections))


def _warning(position: Position, message: str, hint: str = "", more: tuple[str, ...] = ()) -> Problem:
    return Problem(position, message, hint=hint, severity=Severity.WARNING, more=more)


def _hidden_rules(policy: GlobalNetworkPolicy) -> Iterator[Problem]:
    for direction, rules in ((Direction.INGRESS, policy.ingress), (Direction.EGRESS, policy.egress)):
        if rules and direction not in policy.types:
            word = direction.value.title()
            message = f"the {direction} rules of this policy are ignored, because types leaves {word} out"
            yield _warning(rules[0].position, message, f"add {word} to types, or remove the rules")


def _equal_orders(policies: Iterable[GlobalNetworkPolicy], selections: Selections) -> Iterator[Problem]:
    """Policies of one tier, order and class that meet on an endpoint in a direction."""
    alike = Counter((policy.tier, policy.order) for policy in policies)
    groups: defaultdict[tuple[str, float, Direction, bool, bool], list[GlobalNetworkPolicy]] = defaultdict(list)
    for policy in policies:
        if policy.order is not None and alike[policy.tier, policy.order] > 1:
            for direction in policy.types:
                key = (policy.tier, policy.order, direction, policy.do_not_track, policy.pre_dnat)
                groups[key].append(policy)
    said: set[str] = set()
    for (tier, order, direction, *_), group in groups.items():
        met = _met(selections.endpoints(policy.selector.text) for policy in group) if len(group) > 1 else 0
        if met and _all_agree(rule for policy in group for rule in policy.rules(direction)):
            continue
        names = [p.metadata.full_name for p in group if selections.endpoints(p.selector.text) & met]
        if not names or said.issuperset(names):
            continue
        said.update(names)
        first = next(p for p in group if p.metadata.full_name == names[0])
        message = f"policies {listed(names)} of tier {quoted(tier)} have the same order {order:g}, so names decide"
        yield _warning(first.metadata.position, message, "give each an order of its own", unlisted(names))


def _all_agree(rules: Iterable[Rule]) -> bool:
    """True for rules that all allow, or all deny: in whatever order they stand, a packet meets the same fate."""
    actions = {rule.action for rule in rules}
    return len(actions) == 1 and actions <= {Action.ALLOW, Action.DENY}


def _met(bit_sets: Iterable[int]) -> int:
    """The bits that more than one of them has."""
    once = twice = 0
    for bits in bit_sets:
        twice |= once & bits
        once |= bits
    return twice


def _log_only(resources: Resources, selections: Selections) -> Iterator[Problem]:
    """Policies that only log, on endpoints where the tier has nothing else and so drops the rest."""
    passing = {tier.metadata.name for tier in resources.tiers if tier.default_action is Action.PASS}
    logging = [
        (policy, direction)
        for policy in resources.enforced
        for direction in policy.types
        if _only_logs(policy.rules(direction)) and policy.is_of(PolicyClass.NORMAL)
    ]
    if not logging:
        return
    deciding: defaultdict[tuple[str, Direction], int] = defaultdict(int)
    for policy in (policy for policy in resources.enforced if policy.is_of(PolicyClass.NORMAL)):
        for direction in policy.types:
            if not _only_logs(policy.rules(direction)):
                deciding[policy.tier, direction] |= selections.endpoints(policy.selector.text)
    for policy, direction in logging:
        alone = selections.endpoints(policy.selector.text) & ~deciding[policy.tier, direction]
        if alone and policy.tier not in passing:
            message = f"this policy only logs {direction}, and the end of tier {quoted(policy.tier)} then drops it"
            yield _warning(policy.metadata.position, message, "end it with a rule that has action: Pass or Allow")


def _only_logs(rules: Sequence[Rule]) -> bool:
    return bool(rules) and rules[0].action is Action.LOG and all(rule.action is Action.LOG for rule in rules)


def _without_endpoints(resources: Resources, selections: Selections) -> Iterator[Problem]:
    if resources.every_policy and not selections.every_endpoint and not selections.others:
        first = min(resources.every_policy, key=lambda policy: policy.metadata.position)
        message = "there is no HostEndpoint, so no policy applies to anything"
        yield _warning(first.metadata.position, message, "write a HostEndpoint, with interfaceName: '*' for every one")


def _unselecting_policy(policy: GlobalNetworkPolicy, selections: Selections) -> Iterator[Problem]:
    if selections.every_endpoint and not selections.others and not selections.endpoints(policy.selector.text):
        position = policy.selector.position if policy.selector.position.line else policy.metadata.position
        if policy.metadata.namespace:
            message = f"this policy selects no workload of the namespace {quoted(policy.metadata.namespace)}"
            yield _warning(position, message, "name the interfaces of workloads in workloads.interfaces of hostfw.yaml")
            return
        message = f"the selector {quoted(policy.selector.text)} selects no HostEndpoint"
        yield _warning(position, message, "compare it with the labels of the HostEndpoints and their profiles")


def _unmatching_rules(owner: GlobalNetworkPolicy | Profile, selections: Selections) -> Iterator[Problem]:
    for direction in Direction:
        for rule in owner.rules(direction):
            yield from (_warning(rule.position, *finding) for finding in findings_of(rule))
            # What other hosts' policies select is no part of some of the endpoints.
            for side in () if selections.partial else (rule.source, rule.destination):
                if side.selector is not None or side.not_selector is not None:
                    yield from _unmatching_selectors(side, selections)
                if side.ports or side.not_ports:
                    yield from _unknown_ports(rule, side, selections)


_BEYOND_NAMESPACES = (
    "a negation in namespaceSelector holds for what is in no namespace, so the rule matches HostEndpoints, "
    "GlobalNetworkSets and Feeds as well"
)


def _unmatching_selectors(side: EntityRule, selections: Selections) -> Iterator[Problem]:
    for selector, effect in ((side.selector, "no packet"), (side.not_selector, "every packet")):
        if selector is None or not selector.text:
            continue
        bits = selections.entities(selector.text)
        if not bits and selections.others:
            continue
        if not bits:
            message = f"the selector {quoted(selector.text)} selects no HostEndpoint and no set"
            hint = "compare it with their labels"
        elif not bits & selections.addressed:
            message = f"what the selector {quoted(selector.text)} selects has no addresses"
            hint = "list them: expectedIPs of a HostEndpoint, nets of a GlobalNetworkSet or NetworkSet"
        elif NAMESPACE_PREFIX in selector.text and bits & ~selections.in_namespaces:
            yield _warning(selector.position, _BEYOND_NAMESPACES, "write all() && before it for namespaces alone")
            continue
        else:
            continue
        yield _warning(selector.position, f"{message}, so it matches {effect}", hint)
    if side.selector is not None and side.not_selector is not None and side.not_selector.text:
        selected = selections.entities(side.selector.text) & selections.addressed
        if selected and not selected & ~selections.entities(side.not_selector.text):
            message = "no packet matches this rule: notSelector excludes all that selector selects"
            yield _warning(side.not_selector.position, message, "remove one of the two, or the rule")


def _unknown_ports(rule: Rule, side: EntityRule, selections: Selections) -> Iterator[Problem]:
    for ports, effect in ((side.ports, "no packet"), (side.not_ports, "every packet")):
        for name in ports:
            if not isinstance(name, str):
                continue
            having = selections.having_port(name)
            if not having and selections.others:
                continue
            if not having:
                message = f"no HostEndpoint has a port named {quoted(name)}, so the name matches {effect}"
                yield _warning(rule.position, message, "write its number, or give a HostEndpoint a port of that name")
                continue
            if side.selector is not None and side.selector.text:
                having &= selections.entities(side.selector.text)
            if not having & selections.addressed:
                lacking = "has addresses" if having else "is among those that the selector selects"
                message = f"no HostEndpoint with a port named {quoted(name)} {lacking}, so the name matches {effect}"
                hint = "list its expectedIPs, or say learnAddresses: true" if having else "compare it with their labels"
                yield _warning(rule.position, message, hint)


def _forward_passes(resources: Resources, selections: Selections) -> Iterator[Problem]:
    """The places where forwarded traffic leaves the last tier undecided, and is let through."""
    tiers = tuple(tiers_in_order(every_tier(resources)).values())
    forward: defaultdict[tuple[str, Direction], list[GlobalNetworkPolicy]] = defaultdict(list)
    for policy in resources.enforced:
        if policy.apply_on_forward and policy.is_of(PolicyClass.FORWARD):
            for direction in policy.types:
                forward[policy.tier, direction].append(policy)
    for direction in Direction:
        later = 0
        for tier in reversed(tiers):
            policies = forward[tier.metadata.name, direction]
            here = union(selections.endpoints(policy.selector.text) for policy in policies)
            if here & ~later and tier.default_action is Action.PASS and _allows(policies, direction):
                yield _forward_warning(tier.metadata.position, f"defaultAction: Pass lets by for {direction}")
            for policy in policies:
                passed = next((rule for rule in policy.rules(direction) if rule.action is Action.PASS), None)
                if passed is not None and selections.endpoints(policy.selector.text) & ~later:
                    yield _forward_warning(passed.position, "this Pass lets by")
            later |= here


def _allows(policies: Iterable[GlobalNetworkPolicy], direction: Direction) -> bool:
    """True if any rule allows something: a tier that only denies some peers means to let by the others."""
    return any(rule.action is Action.ALLOW for policy in policies for rule in policy.rules(direction))


def _forward_warning(position: Position, what: str) -> Problem:
    message = f"forwarded traffic that {what} is allowed: no later tier has an applyOnForward policy for it"
    return _warning(position, message, "end the last tier of forwarded traffic with Deny")
