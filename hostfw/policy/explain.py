"""Explain: the reference semantics. What happens to a packet under a Plan, and why, without any ruleset.

It is written to be read beside Calico's description of policy, not to be fast, and shares no code with the compiler:
the two must agree on every packet.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from hostfw.model.decisions import Reason
from hostfw.model.explanation import Explanation, Step, Verdict
from hostfw.model.packet import ConntrackState, Packet, Path
from hostfw.model.plan import Plan, PlannedEndpoint, PlannedPolicy, PlannedRule, PlannedTier
from hostfw.model.settings import FailsafePort, InvalidPackets, NeighbourDiscovery, Settings, Unmanaged
from hostfw.model.values import Action, Direction, Family
from hostfw.policy.bindings import LOOPBACK
from hostfw.policy.matching import first_mismatch

_RULE_VERDICTS = {
    Action.ALLOW: Verdict.ALLOW,
    Action.DENY: Verdict.DENY,
    Action.LOG: Verdict.NEXT,
    Action.PASS: Verdict.NEXT,
}

_NEIGHBOUR_DISCOVERY_TYPES = frozenset((133, 134, 135, 136))
"""Router and neighbour solicitation and advertisement (RFC 4861); a hop limit of 255 proves a sender on the link."""

_MULTICAST_LISTENER_TYPES = frozenset((130, 131, 132, 143))
"""Multicast listener query, report, done (RFC 2710) and report version 2 (RFC 3810)."""


class _Place(NamedTuple):
    """Where a packet meets policy: an interface, a direction, and the endpoint that governs it, if one does."""

    interface: str
    direction: Direction
    endpoint: PlannedEndpoint | None

    def step(self, verdict: Verdict, reason: Reason) -> Step:
        endpoint = None if self.endpoint is None else self.endpoint.name
        return Step(verdict, reason, self.interface, self.direction, endpoint)


def explain(plan: Plan, packet: Packet) -> Explanation:
    """The verdict of a host with this Plan on a packet, and every step that led to it."""
    places = [_Place(name, direction, _governing(plan, name, packet.path)) for name, direction in packet.hops]
    if packet.state in (ConntrackState.ESTABLISHED, ConntrackState.RELATED):
        return _decided(packet, [places[0].step(Verdict.ALLOW, Reason.ESTABLISHED)])
    if packet.path is Path.FORWARDED:
        return _explain_forwarded(places, packet, plan.settings)
    return _decided(packet, _until_decided(_local_steps(places[0], packet, plan.settings)))


def _governing(plan: Plan, interface: str, path: Path) -> PlannedEndpoint | None:
    """The endpoint of an interface: its own, else the wildcard, save for what the host says to itself on `lo`."""
    name = next((b.endpoint for b in plan.bindings if b.interface == interface), None)
    if name is None and (interface != LOOPBACK or path is Path.FORWARDED):
        name = plan.wildcard
    return None if name is None else plan.endpoint(name)


def _decided(packet: Packet, steps: Iterable[Step]) -> Explanation:
    taken = tuple(steps)
    return Explanation(packet, taken, taken[-1])


def _until_decided(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if step.verdict is not Verdict.NEXT:
            return


# ------------------------------------------------------------------------------------------------- local traffic


def _local_steps(place: _Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """What local traffic meets, in order; the last step always decides."""
    if place.interface == LOOPBACK and place.endpoint is None:
        yield place.step(Verdict.ALLOW, Reason.LOOPBACK)
    if settings.neighbour_discovery is NeighbourDiscovery.ACCEPT and _is_neighbour_discovery(packet):
        yield place.step(Verdict.ALLOW, Reason.NEIGHBOUR_DISCOVERY)
    if place.endpoint is None:
        yield from _unmanaged_steps(place, packet, settings)
    else:
        yield from _endpoint_steps(place, place.endpoint, packet, settings)


def _is_neighbour_discovery(packet: Packet) -> bool:
    if packet.family is not Family.V6 or not packet.is_icmp:
        return False
    on_link = packet.icmp_type in _NEIGHBOUR_DISCOVERY_TYPES and packet.hop_limit == 255
    return on_link or packet.icmp_type in _MULTICAST_LISTENER_TYPES


def _unmanaged_steps(place: _Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    unmanaged = settings.unmanaged_interfaces
    wanted = unmanaged.ingress if place.direction is Direction.INGRESS else unmanaged.egress
    if wanted is Unmanaged.ALLOW:
        yield place.step(Verdict.ALLOW, Reason.UNMANAGED)
    yield from _invalid_steps(place, packet, settings)
    yield from _failsafe_steps(place, packet, settings)
    yield place.step(Verdict.DENY, Reason.UNMANAGED)


def _endpoint_steps(place: _Place, endpoint: PlannedEndpoint, packet: Packet, settings: Settings) -> Iterator[Step]:
    planned = endpoint.direction(place.direction)
    yield from _invalid_steps(place, packet, settings)
    yield from _failsafe_steps(place, packet, settings)
    for tier in planned.tiers:
        yield from _tier_steps(place, tier, packet)
    for profile in planned.profiles:
        # A Pass in a profile goes on with the next profile, as does a profile without a match.
        yield from _policy_steps(place, profile, packet)
    nothing_selects = not planned.tiers and not planned.profiles
    yield place.step(Verdict.DENY, Reason.NO_POLICY if nothing_selects else Reason.NO_PROFILE_MATCH)


def _invalid_steps(place: _Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    if packet.state is ConntrackState.INVALID and settings.invalid_packets is InvalidPackets.DROP:
        yield place.step(Verdict.DENY, Reason.INVALID)


def _failsafe_steps(place: _Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    inbound = place.direction is Direction.INGRESS
    for failsafe in settings.failsafe.inbound if inbound else settings.failsafe.outbound:
        peer = packet.source if inbound else packet.destination
        if _is_failsafe(failsafe, packet, peer):
            yield replace(place.step(Verdict.ALLOW, Reason.FAILSAFE), failsafe=failsafe)


def _is_failsafe(failsafe: FailsafePort, packet: Packet, peer: int) -> bool:
    net = failsafe.net
    return (
        packet.protocol == failsafe.protocol.number
        and packet.destination_port == failsafe.port
        and (net is None or (net.family is packet.family and net.contains(peer)))
    )


# ------------------------------------------------------------------------------------------- tiers, policies, rules


def _tier_steps(place: _Place, tier: PlannedTier, packet: Packet) -> Iterator[Step]:
    """The rules of a tier in order, then its default action. Without a decision the next tier has the word."""
    for policy in tier.policies:
        passed = yield from _policy_steps(place, policy, packet)
        if passed:
            return
    verdict = Verdict.DENY if tier.default_action is Action.DENY else Verdict.NEXT
    yield replace(place.step(verdict, Reason.END_OF_TIER), tier=tier.name, action=tier.default_action)


def _policy_steps(place: _Place, policy: PlannedPolicy, packet: Packet) -> Generator[Step, None, bool]:
    """The rules of a policy or profile in order; the value says whether a Pass ended them."""
    for rule in policy.rules:
        step = _rule_step(place, policy, rule, packet)
        yield step
        if rule.action is Action.PASS and not step.missed:
            return True
    return False


def _rule_step(place: _Place, policy: PlannedPolicy, rule: PlannedRule, packet: Packet) -> Step:
    missed = first_mismatch(rule, packet)
    return replace(
        place.step(Verdict.NEXT if missed else _RULE_VERDICTS[rule.action], Reason.RULE),
        tier=policy.tier,
        policy=policy.name,
        rule=rule.identity,
        action=rule.action,
        position=rule.position,
        missed=missed,
    )


# --------------------------------------------------------------------------------------------- forwarded traffic


def _explain_forwarded(places: Sequence[_Place], packet: Packet, settings: Settings) -> Explanation:
    """Forwarded traffic needs both endpoints: a Deny of either is final, and what both leave open passes."""
    steps: list[Step] = []
    for place in places:
        steps.extend(_until_decided(_forward_steps(place, packet, settings)))
        if steps and steps[-1].verdict is Verdict.DENY:
            return _decided(packet, steps)
    allowed_by = next((step for step in reversed(steps) if step.verdict is Verdict.ALLOW), None)
    if allowed_by is not None:
        return Explanation(packet, tuple(steps), allowed_by)
    return _decided(packet, (*steps, places[-1].step(Verdict.ALLOW, Reason.NO_FORWARD_POLICY)))


def _forward_steps(place: _Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The applyOnForward policies of one endpoint. No failsafes, no profiles, and no drop after the last tier."""
    tiers = () if place.endpoint is None else place.endpoint.direction(place.direction).forward_tiers
    if tiers:
        yield from _invalid_steps(place, packet, settings)
    for tier in tiers:
        yield from _tier_steps(place, tier, packet)
