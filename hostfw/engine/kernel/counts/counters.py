"""Meaning of the ruleset's counters: policy rules, reasons that decide without a rule, and the log."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from hostfw.audit.attribution import origin_of, policies_of
from hostfw.audit.log_prefix import LogTag
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.compile.object_names import drop_counter, failsafe_counter, limit_counter, rule_counter
from hostfw.host.nftables.tables import KernelTables
from hostfw.model.packets.decisions import OF_LIMITS, Reason
from hostfw.model.plan import Plan, PlannedRule, RuleIdentity
from hostfw.model.settings import FailsafePort
from hostfw.model.values import TABLE_FAMILIES, Action, Direction, TableFamily

_UNTRACKED = "untracked"
_PLACES = ("", _UNTRACKED, "pre-dnat")
"""The hooks that a failsafe is granted in, as its counters tell them apart."""


class Value(NamedTuple):
    """The packets and bytes of a counter."""

    packets: int = 0
    bytes: int = 0

    def plus(self, other: "Value") -> "Value":
        """Both together."""
        return Value(self.packets + other.packets, self.bytes + other.bytes)

    def since(self, before: "Value") -> "Value":
        """The growth since an earlier value; a counter that started again counts from zero."""
        if self.packets < before.packets or self.bytes < before.bytes:
            return self
        return Value(self.packets - before.packets, self.bytes - before.bytes)


Values = dict[tuple[TableFamily, str], Value]
"""Values of the kernel's counters, by family and name."""


class RuleCounter(NamedTuple):
    """The counter of a policy rule; `origin` is `path:line`.

    What the limit of a rule denies has counters of its own, by `reason`.
    """

    name: str
    identity: RuleIdentity
    action: Action
    origin: str
    staged: bool
    reason: Reason = Reason.RULE

    @property
    def by(self) -> str:
        """The rule, in the words of log records."""
        of = self.identity
        return str(LogTag(self.action, of.direction, self.reason, of.tier, of.policy, of.index))


class ReasonCounter(NamedTuple):
    """The counter of what decides without a rule: a failsafe lets packets through, everything else denies them.

    `place` is the hook of a failsafe, where packets may meet it in more than one.
    """

    name: str
    reason: Reason
    direction: Direction
    tier: str = ""
    failsafe: FailsafePort | None = None
    place: str = ""

    @property
    def action(self) -> Action:
        """The action of the rule."""
        return Action.DENY if self.failsafe is None else Action.ALLOW

    @property
    def by(self) -> str:
        """The reason, in the words of log records."""
        if self.failsafe is None:
            return str(LogTag(Action.DENY, self.direction, self.reason, self.tier))
        return f"failsafe {self.failsafe} ({', '.join(filter(None, (self.direction, self.place)))})"


class LogCounter(NamedTuple):
    """The counter of the log itself: of the records that were made, or of the packets that a limit kept from it."""

    name: str

    @property
    def action(self) -> Action:
        """The action of the reason."""
        return Action.LOG

    @property
    def by(self) -> str:
        """The description of the counter."""
        return _LOG_WORDS[self.name]


_LOG_WORDS = {LOG_RECORDS: "log records"} | {name: f"not logged ({name.rpartition('/')[2]})" for name in SUPPRESSED}


class OtherCounter(NamedTuple):
    """A counter of ours that the plan does not account for."""

    name: str

    @property
    def by(self) -> str:
        """Its name, which says what it was made for."""
        return self.name


Counter = RuleCounter | ReasonCounter | LogCounter | OtherCounter


def values_of(tables: KernelTables) -> Values:
    """The named counters of both tables."""
    return {
        (family, c.name): Value(c.packets, c.bytes) for family in TABLE_FAMILIES for c in tables.of(family).counters
    }


def counters_of(plan: Plan | None, values: Values) -> tuple[Counter, ...]:
    """Every counter that the kernel holds, with what it stands for: rules in order, reasons, the log, the others."""
    held = dict.fromkeys(name for _, name in values)
    planned = () if plan is None else chain[RuleCounter | ReasonCounter](_rules(plan), _drops(plan), _failsafes(plan))
    known: dict[str, Counter] = {counter.name: counter for counter in planned}
    known |= {name: LogCounter(name) for name in _LOG_WORDS}
    accounted = tuple(counter for name, counter in known.items() if name in held)
    return (*accounted, *(OtherCounter(name) for name in sorted(held.keys() - known.keys())))


def _rules(plan: Plan) -> Iterator[RuleCounter]:
    for policy in policies_of(plan):
        for rule in policy.rules:
            yield from counters_of_rule(rule, staged=policy.staged)


def counters_of_rule(rule: PlannedRule, *, staged: bool) -> Iterator[RuleCounter]:
    """The counter of a rule, and those of what its limit denies."""
    yield RuleCounter(rule_counter(rule.identity), rule.identity, rule.action, origin_of(rule), staged)
    for reason in OF_LIMITS if rule.limit is not None else ():
        name = limit_counter(rule.identity, reason)
        yield RuleCounter(name, rule.identity, Action.DENY, origin_of(rule), staged, reason)


def _drops(plan: Plan) -> Iterator[ReasonCounter]:
    tiers = dict.fromkeys(policy.tier for policy in policies_of(plan) if policy.tier)
    for direction in Direction:
        for tier in tiers:
            yield _drop(direction, Reason.END_OF_TIER, tier)
        for reason in (Reason.NO_PROFILE_MATCH, Reason.NO_POLICY, Reason.UNMANAGED, Reason.INVALID, *_OF_WORKLOADS):
            yield _drop(direction, reason)
    yield _drop(Direction.INGRESS, Reason.REVERSE_PATH)


_OF_WORKLOADS = (Reason.SPOOFED, Reason.TO_HOST, Reason.UNIDENTIFIED)


def _drop(direction: Direction, reason: Reason, tier: str = "") -> ReasonCounter:
    name = drop_counter(LogTag(Action.DENY, direction, reason, tier=tier))
    return ReasonCounter(name, reason, direction, tier)


def _failsafes(plan: Plan) -> Iterator[ReasonCounter]:
    """In every hook, and before connection tracking also the answers to those of the other direction.

    What workloads may use of the host counts with them, and so do the leases that it gives.
    """
    for direction, place in ((Direction.EGRESS, "to-host"), (Direction.INGRESS, "lease")):
        for port in plan.settings.workloads.to_host:
            name = failsafe_counter(port, direction, place=place)
            yield ReasonCounter(name, Reason.TO_HOST, direction, failsafe=port, place=place)
    failsafe = plan.settings.failsafe
    ports = {Direction.INGRESS: failsafe.inbound, Direction.EGRESS: failsafe.outbound}
    for direction, opposite in ((Direction.INGRESS, Direction.EGRESS), (Direction.EGRESS, Direction.INGRESS)):
        for place in _PLACES:
            for port in ports[direction]:
                name = failsafe_counter(port, direction, place=place)
                yield ReasonCounter(name, Reason.FAILSAFE, direction, failsafe=port, place=place)
        for port in ports[opposite]:
            name = failsafe_counter(port, direction, place=_UNTRACKED, reply=True)
            place = f"{_UNTRACKED} reply"
            yield ReasonCounter(name, Reason.FAILSAFE, direction, failsafe=port, place=place)
