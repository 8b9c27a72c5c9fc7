"""Programs: the ordered first-match rules that one direction of an endpoint comes down to.

A program is a list of segments (preamble, tiers, profiles, the end). Rules are tried in order; the first that matches
and is not a Log decides; a Pass goes on with the next segment. Ends of tiers and the final drop are rules like the
others, with a reason of their own, so that nothing about a packet's fate is left to a default.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hostfw.audit.prefix import LogTag
from hostfw.compile import names
from hostfw.model.decisions import Reason
from hostfw.model.plan import ANY_SIDE, PlannedDirection, PlannedPolicy, PlannedRule, PlannedSide, PlannedTier
from hostfw.model.settings import DenyAction, FailsafePort, InvalidPackets, Settings, Unmanaged
from hostfw.model.values import FAMILIES, Action, Direction, Family, Icmp, PortRange, Protocol


@dataclass(frozen=True, slots=True)
class Condition:
    """What a packet must be for a rule to match it; everything present must hold."""

    families: tuple[Family, ...] = FAMILIES
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: PlannedSide = ANY_SIDE
    destination: PlannedSide = ANY_SIDE
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class Allow:
    """Counts and ends the program: the packet is let through."""

    counter: str


@dataclass(frozen=True, slots=True)
class Deny:
    """Counts, logs within the limit, and drops or rejects."""

    counter: str
    tag: LogTag
    reject: bool


@dataclass(frozen=True, slots=True)
class LogOnly:
    """Counts, logs within the limit, and goes on with the next rule."""

    counter: str
    tag: LogTag


@dataclass(frozen=True, slots=True)
class Pass:
    """Counts and goes on with the next segment."""

    counter: str


Outcome = Allow | Deny | LogOnly | Pass


@dataclass(frozen=True, slots=True)
class ProgramRule:
    """A condition and its outcome."""

    condition: Condition
    outcome: Outcome


Segment = tuple[ProgramRule, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Segments in order. What no rule decides is allowed, which only forward programs leave room for."""

    direction: Direction
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """The number of rules."""
        return sum(len(segment) for segment in self.segments)


ANYTHING = Condition()


def local_program(planned: PlannedDirection, direction: Direction, settings: Settings) -> Program:
    """What local traffic of an endpoint's direction meets: invalid, failsafes, tiers, profiles, the final drop."""
    reject = settings.deny_action is DenyAction.REJECT
    reason = Reason.NO_PROFILE_MATCH if planned.tiers or planned.profiles else Reason.NO_POLICY
    return Program(
        direction,
        (
            (*_invalid(direction, settings), *_failsafes(direction, settings)),
            *_tier_segments(planned.tiers, direction, reject=reject),
            *(tuple(_policy_rules(profile, direction, reject=reject)) for profile in planned.profiles),
            (_final(direction, reason, reject=reject),),
        ),
    )


def forward_program(planned: PlannedDirection, direction: Direction, settings: Settings) -> Program | None:
    """What forwarded traffic meets at an endpoint, or None where no applyOnForward policy governs it.

    There are no failsafes and no profiles, and what the last tier passes on is allowed (the opposite of local
    traffic), as in the Calico documentation on forwarded traffic.
    """
    if not planned.forward_tiers:
        return None
    reject = settings.deny_action is DenyAction.REJECT
    tiers = _tier_segments(planned.forward_tiers, direction, reject=reject)
    return Program(direction, (tuple(_invalid(direction, settings)), *tiers))


def unmanaged_program(direction: Direction, settings: Settings) -> Program | None:
    """What an interface without a HostEndpoint meets, or None where the direction is open."""
    unmanaged = settings.unmanaged_interfaces
    verdict = unmanaged.ingress if direction is Direction.INGRESS else unmanaged.egress
    if verdict is Unmanaged.ALLOW:
        return None
    final = _final(direction, Reason.UNMANAGED, reject=settings.deny_action is DenyAction.REJECT)
    return Program(direction, ((*_invalid(direction, settings), *_failsafes(direction, settings)), (final,)))


def _invalid(direction: Direction, settings: Settings) -> Iterator[ProgramRule]:
    if settings.invalid_packets is InvalidPackets.DROP:
        yield _denial(Condition(invalid=True), LogTag(Action.DENY, direction, Reason.INVALID), reject=False)


def _failsafes(direction: Direction, settings: Settings) -> Iterator[ProgramRule]:
    ports = settings.failsafe.inbound if direction is Direction.INGRESS else settings.failsafe.outbound
    for port in ports:
        yield ProgramRule(_failsafe_condition(port, direction), Allow(names.failsafe_counter(port, direction)))


def _failsafe_condition(port: FailsafePort, direction: Direction) -> Condition:
    """The peer's net is the source of what comes in and the destination of what goes out."""
    nets = (port.net,) if port.net else None
    ports = (PortRange(port.port, port.port),)
    families = (port.net.family,) if port.net else FAMILIES
    if direction is Direction.INGRESS:
        source, destination = PlannedSide(nets=nets), PlannedSide(ports=ports)
    else:
        source, destination = ANY_SIDE, PlannedSide(nets=nets, ports=ports)
    return Condition(families=families, protocol=port.protocol, source=source, destination=destination)


def _tier_segments(tiers: Iterable[PlannedTier], direction: Direction, *, reject: bool) -> Iterator[Segment]:
    for tier in tiers:
        rules = [rule for policy in tier.policies for rule in _policy_rules(policy, direction, reject=reject)]
        if tier.default_action is Action.DENY:
            tag = LogTag(Action.DENY, direction, Reason.END_OF_TIER, tier=tier.name)
            rules.append(_denial(ANYTHING, tag, reject=reject))
        yield tuple(rules)


def _policy_rules(policy: PlannedPolicy, direction: Direction, *, reject: bool) -> Iterator[ProgramRule]:
    for rule in policy.rules:
        yield ProgramRule(_condition(rule), _outcome(rule, direction, reject=reject))


def _condition(rule: PlannedRule) -> Condition:
    return Condition(
        families=rule.families,
        protocol=rule.protocol,
        not_protocol=rule.not_protocol,
        icmp=rule.icmp,
        not_icmp=rule.not_icmp,
        source=rule.source,
        destination=rule.destination,
    )


def _outcome(rule: PlannedRule, direction: Direction, *, reject: bool) -> Outcome:
    identity = rule.identity
    counter = names.rule_counter(identity)
    tag_action = Action.LOG if rule.action is Action.LOG else Action.DENY
    tag = LogTag(tag_action, direction, Reason.RULE, identity.tier, identity.policy, identity.index)
    match rule.action:
        case Action.ALLOW:
            return Allow(counter)
        case Action.DENY:
            return Deny(counter, tag, reject)
        case Action.LOG:
            return LogOnly(counter, tag)
        case Action.PASS:
            return Pass(counter)


def _final(direction: Direction, reason: Reason, *, reject: bool) -> ProgramRule:
    return _denial(ANYTHING, LogTag(Action.DENY, direction, reason), reject=reject)


def _denial(condition: Condition, tag: LogTag, *, reject: bool) -> ProgramRule:
    return ProgramRule(condition, Deny(names.drop_counter(tag), tag, reject))
