"""Whose doing a log record is: its names spelled out, its endpoint, and the file and line of its rule.

A log prefix has room for 127 bytes, so long names come shortened, and nothing in it says where a rule is written. A
Plan knows both. What a Plan does not account for is left as the record has it: a record of an earlier generation must
not be put down to a rule that came after it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from hostfw.audit.prefix import LogTag, decode, encode
from hostfw.model.decisions import Reason
from hostfw.model.plan import Plan, PlannedPolicy, PlannedRule
from hostfw.model.values import Direction

_LOOPBACK = "lo"
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class RuleSource(NamedTuple):
    """Where a policy rule comes from: the kind of its resource and `path:line`, empty for what hostfw supplies."""

    kind: str
    origin: str


class PolicyNames(NamedTuple):
    """A policy by its full names; `tier` is empty for a profile."""

    tier: str
    policy: str


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a generation lets us say of a log record. An empty one leaves every record as it is.

    The keys of `rules`, `policies` and `tiers` are what comes out of a log prefix, names shortened where they are
    there; what two names would be shortened to is in none of them.
    """

    generation: str = ""
    rules: Mapping[LogTag, RuleSource] = field(default_factory=dict)
    policies: Mapping[tuple[bool, str, str], PolicyNames] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)
    bindings: Mapping[str, str] = field(default_factory=dict)
    wildcard: str = ""

    def spelled_out(self, tag: LogTag) -> LogTag:
        """The tag with the names that its own stand for, as far as they are known."""
        if not tag.policy:
            return replace(tag, tier=self.tiers.get(tag.tier, tag.tier))
        key = (tag.staged, tag.tier, tag.policy)
        tier, policy = self.policies.get(key, PolicyNames(tag.tier, tag.policy))
        return replace(tag, tier=tier, policy=policy)

    def endpoint(self, interface: str, *, forwarded: bool) -> str:
        """The HostEndpoint that governs traffic of an interface, or nothing; `*` has `lo` for forwarded alone."""
        if interface in self.bindings:
            return self.bindings[interface]
        return self.wildcard if interface and (interface != _LOOPBACK or forwarded) else ""


def attribution(plan: Plan, generation: str = "") -> Attribution:
    """What a plan, enforced as the generation of that id, lets us say of log records."""
    planned = [(_as_decoded(_tag(policy, rule)), policy, rule) for policy in policies_of(plan) for rule in policy.rules]
    rules = ((tag, RuleSource(policy.kind, origin_of(rule))) for tag, policy, rule in planned)
    names = (
        ((policy.staged, tag.tier, tag.policy), PolicyNames(policy.tier, policy.name)) for tag, policy, _ in planned
    )
    tiers = ((tag.tier, policy.tier) for tag, policy, _ in planned)
    return Attribution(
        generation,
        _unambiguous(rules),
        _unambiguous(names),
        _unambiguous(tiers),
        {binding.interface: binding.endpoint for binding in plan.bindings},
        plan.wildcard or "",
    )


def writers(tag: LogTag, generations: Sequence[Attribution]) -> Sequence[Attribution]:
    """Those of some generations that may have written a record, `tag` being what its prefix says.

    While one generation takes over from another, a record may be of either, unless only one has such a rule.
    """
    if tag.reason is not Reason.RULE:
        return generations
    return tuple(of for of in generations if tag in of.rules) or generations


def policies_of(plan: Plan) -> Iterator[PlannedPolicy]:
    """The policies and profiles of every class that govern an endpoint of the plan, in order, each once a place."""
    for endpoint in plan.endpoints:
        for direction in Direction:
            planned = endpoint.direction(direction)
            classes = (planned.untracked_tiers, planned.pre_dnat_tiers, planned.tiers, planned.forward_tiers)
            yield from (policy for tiers in classes for tier in tiers for policy in tier.policies)
            yield from planned.profiles


def origin_of(rule: PlannedRule) -> str:
    """Where a rule is written, as `path:line`; empty for one that hostfw supplies."""
    return rule.position.file_line if rule.position.path else ""


def _tag(policy: PlannedPolicy, rule: PlannedRule) -> LogTag:
    identity = rule.identity
    tier, name, index = identity.tier, identity.policy, identity.index
    return LogTag(rule.action, identity.direction, Reason.RULE, tier, name, index, policy.staged)


def _as_decoded(tag: LogTag) -> LogTag:
    """The tag as it comes out of a log record."""
    return decode(encode(tag)) or tag


def _unambiguous(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, _Value]:
    """The pairs as a mapping, without the keys that two values share."""
    found: dict[_Key, _Value] = {}
    ambiguous: set[_Key] = set()
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            ambiguous.add(key)
    return {key: value for key, value in found.items() if key not in ambiguous}
