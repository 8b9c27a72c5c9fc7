"""The rules of a plan in the order in which a packet meets them, those of several HostEndpoints as one list."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import TypeVar

from hostfw.audit.attribution import origin_of
from hostfw.audit.log_prefix import LogTag
from hostfw.cli.describe.rules import icmp_text, limit_words, listed_nets_text, nets_text, ports_text, selected_text
from hostfw.compile.object_names import drop_counter, failsafe_counter, rule_counter
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import Plan, PlannedDirection, PlannedPolicy, PlannedRule, PlannedSide, PlannedTier
from hostfw.model.settings import Unmanaged
from hostfw.model.values import Action, Direction

_PROFILES = ""
"""The position of a tier's name."""


@dataclass(frozen=True, slots=True)
class Line:
    """A rule in its place.

    `stage` says where packets meet it: untracked, pre-dnat, failsafe, before-failsafes, policy, end or forwarded.

    `endpoints` are those that it governs, none where that is every one; `by` is the policy, or the reason. `short` is
    `what` with the first of many prefixes and ports alone, where that is another text.
    """

    direction: Direction
    stage: str
    action: str
    what: str
    by: str
    endpoints: tuple[str, ...]
    counter: str
    origin: str = ""
    short: str = ""


def rules_in_order(plan: Plan) -> Iterator[Line]:
    """Every rule, of what comes in before what goes out."""
    for direction in Direction:
        yield from _tiers(plan, direction, "untracked", lambda planned: planned.untracked_tiers)
        yield from _tiers(plan, direction, "pre-dnat", lambda planned: planned.pre_dnat_tiers)
        yield from _failsafes(plan, direction, for_some=True)
        yield from _tiers(plan, direction, "before-failsafes", lambda planned: planned.tiers, _early)
        yield from _failsafes(plan, direction, for_some=False)
        yield from _tiers(plan, direction, "policy", lambda planned: planned.tiers, _late)
        yield from _policies(plan, direction, "policy", _PROFILES, lambda planned: planned.profiles)
        yield from _ends(plan, direction)
        yield from _tiers(plan, direction, "forwarded", lambda planned: planned.forward_tiers)


def what_text(rule: PlannedRule, *, whole: bool) -> str:
    """The criteria of a rule: `tcp/80,443 from 10.0.0.0/8`; of many prefixes and ports the first or the `whole`."""
    version = f"ipv{rule.families[0]:d}" if len(rule.families) == 1 and not _names_family(rule) else ""
    protocol = ",".join(str(protocol).lower() for protocol in rule.protocols)
    ports = ports_text(rule.destination, whole=whole).replace(", ", ",")
    parts = [
        version,
        f"{protocol}/{ports}" if protocol and ports else protocol or (f"port {ports}" if ports else ""),
        f"not {str(rule.not_protocol).lower()}" if rule.not_protocol is not None else "",
        icmp_text(rule.icmp) if rule.icmp is not None else "",
        f"not {icmp_text(rule.not_icmp)}" if rule.not_icmp is not None else "",
        _named("not port", ports_text(rule.destination, negated=True, whole=whole)),
        *_addresses("from", rule.source, whole=whole),
        _named("from", ",".join(map(str, rule.source.macs))),
        "" if rule.ipsec is None else "through IPsec" if rule.ipsec else "not through IPsec",
        _named("source port", ports_text(rule.source, whole=whole)),
        _named("not source port", ports_text(rule.source, negated=True, whole=whole)),
        *_addresses("to", rule.destination, whole=whole),
    ]
    return " ".join(filter(None, parts)) or "everything"


def _addresses(word: str, side: PlannedSide, *, whole: bool) -> Iterator[str]:
    if side.nets is not None or side.local is not None:
        yield f"{word} {listed_nets_text(side, whole=whole)}"
    if side.address_set is not None:
        yield f"{word} {selected_text(side.address_set)}"
    if side.not_nets or side.not_local is not None:
        yield f"not {word} {listed_nets_text(side, negated=True, whole=whole)}"
    if side.not_address_set is not None:
        yield f"not {word} {selected_text(side.not_address_set)}"


def _named(what: str, text: str) -> str:
    return f"{what} {text}" if text else ""


def _names_family(rule: PlannedRule) -> bool:
    is_of_one = bool(rule.protocols) and all(protocol.family is not None for protocol in rule.protocols)
    return bool(rule.source.nets or rule.destination.nets) or is_of_one


# ------------------------------------------------------------------------------------------------------------ the order

_Tiers = Callable[[PlannedDirection], tuple[PlannedTier, ...]]
_Policies = Callable[[PlannedDirection], tuple[PlannedPolicy, ...]]


def _all(tier: PlannedTier) -> tuple[PlannedPolicy, ...]:
    return tier.policies


def _early(tier: PlannedTier) -> tuple[PlannedPolicy, ...]:
    return tuple(policy for policy in tier.policies if policy.before_failsafes)


def _late(tier: PlannedTier) -> tuple[PlannedPolicy, ...]:
    return tier.after_failsafes


def _tiers(
    plan: Plan,
    direction: Direction,
    stage: str,
    tiers_of: _Tiers,
    policies_of: Callable[[PlannedTier], tuple[PlannedPolicy, ...]] = _all,
) -> Iterator[Line]:
    """The rules of one class of policy, tier by tier, with what the end of a tier denies."""
    lists = [[tier.name for tier in tiers_of(endpoint.direction(direction))] for endpoint in plan.endpoints]
    for name in _merged(lists):
        found = {
            endpoint.name: tier
            for endpoint in plan.endpoints
            for tier in tiers_of(endpoint.direction(direction))
            if tier.name == name
        }
        yield from _policies(plan, direction, stage, name, partial(_of_tier, tiers_of, policies_of, name))
        denying = [of for of, tier in found.items() if _denies(tier)]
        if denying and stage in ("policy", "forwarded"):
            yield _end(plan, direction, stage, Reason.END_OF_TIER, denying, tier=name)


def _of_tier(
    tiers_of: _Tiers,
    policies_of: Callable[[PlannedTier], tuple[PlannedPolicy, ...]],
    name: str,
    planned: PlannedDirection,
) -> tuple[PlannedPolicy, ...]:
    return next((policies_of(tier) for tier in tiers_of(planned) if tier.name == name), ())


def _policies(plan: Plan, direction: Direction, stage: str, tier: str, policies_of: _Policies) -> Iterator[Line]:
    """The rules of the policies of one tier, or of profiles, each policy once."""
    by_key: dict[tuple[str, str], PlannedPolicy] = {}
    governed: dict[tuple[str, str], list[str]] = {}
    lists: list[list[tuple[str, str]]] = []
    for endpoint in plan.endpoints:
        policies = policies_of(endpoint.direction(direction))
        lists.append([(policy.name, policy.kind) for policy in policies])
        for policy in policies:
            by_key.setdefault((policy.name, policy.kind), policy)
            governed.setdefault((policy.name, policy.kind), []).append(endpoint.name)
    for key in _merged(lists):
        policy = by_key[key]
        for rule in policy.rules:
            action = f"{'would-' if policy.staged else ''}{rule.action.value.lower()}"
            by = _by(tier, policy.name)
            on = _some(governed[key], plan)
            counter = rule_counter(rule.identity)
            noted = (*limit_words(rule.limit), *(("not logged",) if rule.unrecorded else ()))
            behind = "".join(f", {note}" for note in noted)
            what, short = (f"{what_text(rule, whole=whole)}{behind}" for whole in (True, False))
            yield Line(direction, stage, action, what, by, on, counter, origin_of(rule), short)


def _by(tier: str, policy: str) -> str:
    """A policy by its tier and name; as in Calico's older releases the name may begin with the tier's."""
    if not tier:
        return f"profile {policy}"
    return policy if policy.startswith(f"{tier}.") else f"{tier}/{policy}"


def _failsafes(plan: Plan, direction: Direction, *, for_some: bool) -> Iterator[Line]:
    failsafe = plan.settings.failsafe
    word = "from" if direction is Direction.INGRESS else "to"
    for port in failsafe.inbound if direction is Direction.INGRESS else failsafe.outbound:
        if port.is_for_some is not for_some:
            continue
        net = f" {word} {nets_text((port.net,))}" if port.net is not None else ""
        what = f"{str(port.protocol).lower()}/{port.port}{net}"
        yield Line(direction, "failsafe", "allow", what, "failsafe", (), failsafe_counter(port, direction))


def _ends(plan: Plan, direction: Direction) -> Iterator[Line]:
    """Packets that no policy and no profile decided."""
    for reason in (Reason.NO_PROFILE_MATCH, Reason.NO_POLICY):
        names = [
            endpoint.name
            for endpoint in plan.endpoints
            if (reason is Reason.NO_PROFILE_MATCH) == _is_selected(endpoint.direction(direction))
            and not any(map(_denies, endpoint.direction(direction).tiers))
        ]
        if names:
            yield _end(plan, direction, "end", reason, names)
    yield from _of_workloads(plan, direction)
    unmanaged = plan.settings.unmanaged_interfaces
    denied = (unmanaged.ingress if direction is Direction.INGRESS else unmanaged.egress) is Unmanaged.DENY
    if plan.wildcard is None and denied:
        counter = drop_counter(LogTag(Action.DENY, direction, Reason.UNMANAGED))
        what = "everything on interfaces without a HostEndpoint"
        yield Line(direction, "end", "deny", what, Reason.UNMANAGED.value, (), counter)


def _of_workloads(plan: Plan, direction: Direction) -> Iterator[Line]:
    """The rules that hold for every workload, whatever its policy."""
    workloads = plan.settings.workloads
    if not workloads.patterns:
        return
    behind = ", ".join(workloads.patterns)
    if direction is Direction.EGRESS:
        for port in workloads.to_host:
            what = f"{str(port.protocol).lower()}/{port.port} of this host from workloads"
            counter = failsafe_counter(port, direction, place="to-host")
            yield Line(direction, "workload", "allow", what, "workloads.toHost", (), counter)
        for reason, what in (
            (Reason.TO_HOST, "everything else of this host from workloads"),
            (Reason.SPOOFED, "workloads from addresses that are not theirs"),
        ):
            counter = drop_counter(LogTag(Action.DENY, direction, reason))
            yield Line(direction, "workload", "deny", what, reason.value, (), counter)
    counter = drop_counter(LogTag(Action.DENY, direction, Reason.UNIDENTIFIED))
    what = f"everything behind {behind} that no WorkloadEndpoint names"
    yield Line(direction, "workload", "deny", what, Reason.UNIDENTIFIED.value, (), counter)


def _denies(tier: PlannedTier) -> bool:
    return tier.is_enforced and tier.default_action is Action.DENY


def _is_selected(planned: PlannedDirection) -> bool:
    return bool(planned.profiles) or any(tier.is_enforced for tier in planned.tiers)


def _end(plan: Plan, direction: Direction, stage: str, reason: Reason, endpoints: list[str], *, tier: str = "") -> Line:
    tag = LogTag(Action.DENY, direction, reason, tier=tier)
    by = f"end of tier {tier}" if tier else str(reason.value)
    return Line(direction, stage, "deny", "everything else", by, _some(endpoints, plan), drop_counter(tag))


def _some(endpoints: list[str], plan: Plan) -> tuple[str, ...]:
    """The names of HostEndpoints, none where they are all that there are."""
    return () if len(endpoints) == len(plan.endpoints) else tuple(endpoints)


_T = TypeVar("_T", bound=Hashable)


def _merged(lists: Iterable[list[_T]]) -> tuple[_T, ...]:
    """One order of several lists, each of which is a part of it."""
    sorter: TopologicalSorter[_T] = TopologicalSorter()
    for items in lists:
        for item in items:
            sorter.add(item)
        for before, after in pairwise(items):
            sorter.add(after, before)
    return tuple(sorter.static_order())
