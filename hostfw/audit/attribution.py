"""Attribution of log records: full names, the endpoint, and the file and line of the rule.

A log prefix has room for 127 bytes, so long names come shortened, and nothing in it says where a rule is written. A
Plan knows both. What a Plan does not account for is left as the record has it: a record of an earlier generation must
not be put down to a rule that came after it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeVar

from hostfw.audit.log_prefix import LogTag, names_as_decoded
from hostfw.model.packets.decisions import OF_LIMITS, OF_RULES, Reason
from hostfw.model.plan import Plan, PlannedDirection, PlannedEndpoint, PlannedPolicy, PlannedRule
from hostfw.model.settings import UNIDENTIFIED, Workloads
from hostfw.model.values import Direction, Family

_LOOPBACK = "lo"
_NO_WORKLOADS = Workloads()
_NO_END = None, None
_Behind = tuple[str, Family | None, int | None]
"""A bridge, and an address behind it."""
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class RuleSource(NamedTuple):
    """The source of a policy rule: the kind of its resource and `path:line`, empty for what hostfw supplies.

    `why` and `ticket` are the notes of the policy, if it has any.
    """

    kind: str
    origin: str
    why: str = ""
    ticket: str = ""


class PolicyNames(NamedTuple):
    """A policy by its full names; `tier` is empty for a profile."""

    tier: str
    policy: str


_PolicyKey = tuple[bool, str, str]
"""True for a staged policy, then the names of its tier and of the policy as they are decoded from a prefix."""


class Rules(Protocol):
    """Policy rules by what comes out of the prefix of a log record."""

    def get(self, tag: LogTag, /) -> RuleSource | None:
        """The source of the rule that writes such records, if it is only one."""

    def __contains__(self, tag: LogTag, /) -> bool:
        """True if there is such a rule."""


@dataclass(frozen=True, slots=True)
class PlannedRules:
    """The rules of a plan's policies, looked up policy by policy: a plan may have a million of them, and few log."""

    by_policy: Mapping[_PolicyKey, Sequence[PlannedPolicy]]

    def get(self, tag: LogTag, /) -> RuleSource | None:
        """The source of the rule that writes such records, if it is only one."""
        if tag.reason not in OF_RULES or tag.index is None:
            return None
        planned = self.by_policy.get((tag.staged, tag.tier, tag.policy), ())
        found = {
            RuleSource(policy.kind, origin_of(rule), policy.why, policy.ticket)
            for policy in planned
            if (rule := _rule_at(policy, tag.index, tag.direction)) is not None and _writes(rule, tag)
        }
        return found.pop() if len(found) == 1 else None

    def __contains__(self, tag: LogTag, /) -> bool:
        return self.get(tag) is not None


@dataclass(frozen=True, slots=True)
class Attribution:
    """Data of a generation that completes log records. An empty one leaves every record as it is.

    The keys of `rules`, `policies` and `tiers` are what comes out of a log prefix, names shortened where they are
    there; what two names would be shortened to is in none of them. `guests` are the interfaces that workloads are
    behind, `guest_endpoints` those that are known, and `bridged` those behind bridges, by bridge and address.
    """

    generation: str = ""
    rules: Rules = field(default_factory=lambda: PlannedRules({}))
    policies: Mapping[_PolicyKey, PolicyNames] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)
    bindings: Mapping[str, str] = field(default_factory=dict)
    wildcard: str = ""
    guests: Workloads = _NO_WORKLOADS
    guest_endpoints: Mapping[str, PlannedEndpoint] = field(default_factory=dict)
    bridged: Mapping[_Behind, str] = field(default_factory=dict)

    def bound(self, interface: str, end: tuple[Family | None, int | None]) -> str | None:
        """The endpoint that an interface has for itself, or a bridge of workloads by an address; None for none."""
        return self.bindings.get(interface, self.bridged.get((interface, *end)))

    def met_at_guest(self, tag: LogTag, interface: str, end: tuple[Family | None, int | None] = _NO_END) -> bool:
        """True if it is the policy of a workload behind an interface that a packet met, a known one or not.

        What is forwarded may have met the same policy at the interface on its other side: the workload's comes first.
        """
        if not interface:
            return False
        bound = self.bound(interface, end)
        if bound is None:
            # A port that nobody knows has any name.
            return tag.reason is Reason.UNIDENTIFIED or (self.guests.has(interface) and tag.reason in _OF_GUESTS)
        endpoint = self.guest_endpoints.get(bound)
        return endpoint is not None and (tag.reason in _OF_GUESTS or _has(endpoint.direction(tag.direction), tag))

    def with_full_names(self, tag: LogTag) -> LogTag:
        """The tag with the names that its own stand for, as far as they are known."""
        if not tag.policy:
            return replace(tag, tier=self.tiers.get(tag.tier, tag.tier))
        key = (tag.staged, tag.tier, tag.policy)
        tier, policy = self.policies.get(key, PolicyNames(tag.tier, tag.policy))
        return replace(tag, tier=tier, policy=policy)

    def endpoint(self, interface: str, end: tuple[Family | None, int | None] = _NO_END, *, forwarded: bool) -> str:
        """The HostEndpoint that governs traffic of an interface, or nothing; `*` has `lo` for forwarded alone.

        Behind a bridge it is the workload that has the address at that end of the packet.
        """
        bound = self.bound(interface, end)
        if bound is not None:
            return bound
        if interface and self.guests.has(interface):
            return UNIDENTIFIED
        return self.wildcard if interface and (interface != _LOOPBACK or forwarded) else ""


def attribution(plan: Plan, generation: str = "") -> Attribution:
    """The attribution data of a plan that is enforced as the generation of that id.

    It takes a microsecond a policy, so that it holds up no reload.
    """
    by_name: dict[_PolicyKey, list[PlannedPolicy]] = {}
    for policy in _each_policy(plan):
        by_name.setdefault((policy.staged, policy.tier, policy.name), []).append(policy)
    # Only long names come out of a prefix as others than they are, and never as one that a person wrote.
    long = [key for key in by_name if names_as_decoded(*key[1:]) != key[1:]]
    tiers = dict.fromkeys((names_as_decoded(tier, "")[0], tier) for _, tier, _ in long)
    decoded = _unambiguous(
        ((staged, *names_as_decoded(tier, name)), (staged, tier, name)) for staged, tier, name in long
    )
    known: dict[_PolicyKey, Sequence[PlannedPolicy]] = {**by_name}
    for key in long:
        del known[key]
    known |= {key: by_name[of] for key, of in decoded.items()}
    return Attribution(
        generation,
        PlannedRules(known),
        {key: PolicyNames(*of[1:]) for key, of in decoded.items()},
        _unambiguous(tiers),
        {
            **{binding.interface: binding.endpoint for binding in plan.bindings},
            **{workload.port: endpoint.name for endpoint, workload in plan.bridged},
        },
        plan.wildcard or "",
        plan.settings.workloads,
        {endpoint.name: endpoint for endpoint in plan.endpoints if endpoint.workload is not None},
        {
            (workload.bridge, net.family, net.address): endpoint.name
            for endpoint, workload in plan.bridged
            for net in workload.addresses
        },
    )


_OF_GUESTS = frozenset((Reason.SPOOFED, Reason.TO_HOST, Reason.UNIDENTIFIED, Reason.INVALID))
"""Reasons that no HostEndpoint has, and one that is met first where it is a workload's."""


def _has(planned: PlannedDirection, tag: LogTag) -> bool:
    """True if a record may be of what is planned for a workload."""
    match tag.reason:
        case Reason.END_OF_TIER:
            return any(tier.name == tag.tier for tier in planned.tiers)
        case Reason.RULE | Reason.OVER_LIMIT | Reason.LIMIT_FULL if tag.tier:
            policies = (policy for tier in planned.tiers if tier.name == tag.tier for policy in tier.policies)
            return any((policy.name, policy.staged) == (tag.policy, tag.staged) for policy in policies)
        case Reason.RULE | Reason.OVER_LIMIT | Reason.LIMIT_FULL:
            return any(profile.name == tag.policy for profile in planned.profiles)
        case reason:
            return reason in (Reason.NO_POLICY, Reason.NO_PROFILE_MATCH)


def _writes(rule: PlannedRule, tag: LogTag) -> bool:
    """True if a rule writes such records: the denials of a limit are those of an Allow."""
    return rule.limit is not None if tag.reason in OF_LIMITS else rule.action is tag.action


def _each_policy(plan: Plan) -> Iterator[PlannedPolicy]:
    """The policies of a plan, those of several endpoints once if they are planned together."""
    seen: set[int] = set()
    for policies in _lists_of(plan):
        if id(policies) not in seen:
            seen.add(id(policies))
            yield from policies


def _rule_at(policy: PlannedPolicy, index: int, direction: Direction) -> PlannedRule | None:
    """The rule at a place of the list that a person wrote; those that can match nothing may be missing."""
    rules = policy.rules
    if not rules or rules[0].identity.direction is not direction:
        return None
    likely = rules[index] if index < len(rules) else rules[-1]
    if likely.identity.index == index:
        return likely
    return next((rule for rule in rules if rule.identity.index == index), None)


def possible_generations(tag: LogTag, generations: Sequence[Attribution]) -> Sequence[Attribution]:
    """Those of some generations that may have written a record, `tag` being what its prefix says.

    While one generation takes over from another, a record may be of either, unless only one has such a rule.
    """
    if tag.reason not in OF_RULES:
        return generations
    return tuple(of for of in generations if tag in of.rules) or generations


def policies_of(plan: Plan) -> Iterator[PlannedPolicy]:
    """The policies and profiles of every class that govern an endpoint of the plan, in order, each once a place."""
    for policies in _lists_of(plan):
        yield from policies


def _lists_of(plan: Plan) -> Iterator[tuple[PlannedPolicy, ...]]:
    for endpoint in plan.endpoints:
        for direction in Direction:
            planned = endpoint.direction(direction)
            classes = (planned.untracked_tiers, planned.pre_dnat_tiers, planned.tiers, planned.forward_tiers)
            yield from (tier.policies for tiers in classes for tier in tiers)
            yield planned.profiles


def origin_of(rule: PlannedRule) -> str:
    """The place where a rule is written, as `path:line`; empty for one that hostfw supplies."""
    return rule.position.file_line if rule.position.path else ""


def _unambiguous(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, _Value]:
    """The pairs as a mapping, without the keys that two values share."""
    found: dict[_Key, _Value] = {}
    ambiguous: set[_Key] = set()
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            ambiguous.add(key)
    return {key: value for key, value in found.items() if key not in ambiguous}
