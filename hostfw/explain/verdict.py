"""Explain: the reference semantics. What happens to a packet under a Plan, and why, without any ruleset.

It is written to be read beside Calico's description of policy, not to be fast, and shares no code with the compiler:
the two must agree on every packet. A packet meets, in this order,

1. untracked policy (doNotTrack), before connection tracking, whatever its state;
2. if it belongs to what is established, nothing more; if it is new and nothing leads back, denial
   (reversePathFilter);
3. if it comes in, preDNAT policy, with the destination that it has before destination NAT;
4. if it is for a published port, a port of the host that destination NAT sends on, the normal ingress policy of the
   interface that it came in on, with the destination that it had before;
5. otherwise, if it is local, normal policy;
6. where it is forwarded, the applyOnForward policy of both its interfaces.

What untracked or preDNAT policy allows skips the rest, apart from the egress side of forwarding.

Normal policy begins with the failsafe ports for peers that they name, the policies that come before failsafes, and the
other failsafe ports.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from hostfw.explain.exemptions import (
    asks_for_a_lease,
    is_before_an_address,
    is_lease,
    is_multicast_answer,
    is_neighbour_discovery,
    is_of_another,
    lacks_a_way_back,
)
from hostfw.explain.tiers import Place, policy_steps, tier_steps
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.explanation import Explanation, Step, StepVerdict
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.plan import Plan, PlannedTier
from hostfw.model.settings import (
    FailsafePort,
    InvalidPackets,
    NeighbourDiscovery,
    PublishedPorts,
    Settings,
    Unmanaged,
)
from hostfw.model.values import Direction, Family

_ROUTER_ADVERTISEMENT = 134
"""RFC 4861, 4.2: no workload is a router for the host."""

_ICMP_REDIRECT = 5
"""RFC 792: it changes where packets of a known connection are sent, so it meets policy, related as it is."""

_Steps = Generator[Step, None, StepVerdict]
"""Steps up to the one that decides, and what it decided; `NEXT` if none did."""


def explain(plan: Plan, packet: Packet) -> Explanation:
    """The verdict of a host with this Plan on a packet, and every step that led to it."""
    steps = tuple(_steps(plan, packet))
    last = steps[-1]
    if last.verdict is StepVerdict.DENY:
        return Explanation(packet, steps, last)
    return Explanation(packet, steps, next(step for step in reversed(steps) if step.verdict is StepVerdict.ALLOW))


def _steps(plan: Plan, packet: Packet) -> Iterator[Step]:
    """All steps in order. The last denies, or at least one of them allows."""
    settings = plan.settings
    arriving = packet.untranslated
    spoofed = tuple(_spoofed_steps(plan, _first(plan, arriving, PolicyClass.UNTRACKED), arriving))
    yield from spoofed
    if spoofed:
        return
    untracked = _untracked_steps(_first(plan, arriving, PolicyClass.UNTRACKED), arriving, settings)
    verdict = yield from _until_decided(untracked)
    if verdict is StepVerdict.ALLOW:
        # Nothing follows it any more, so nothing translates it either.
        packet = replace(arriving, state=ConntrackState.UNTRACKED)
    elif verdict is StepVerdict.NEXT and _is_established(packet):
        path_class = PolicyClass.FORWARD if packet.path is Path.FORWARDED else PolicyClass.NORMAL
        yield _first(plan, packet, path_class).step(StepVerdict.ALLOW, Reason.ESTABLISHED)
        return
    elif verdict is StepVerdict.NEXT and packet.in_interface is not None:
        if lacks_a_way_back(plan, arriving):
            step = _first(plan, arriving, PolicyClass.NORMAL).step(StepVerdict.DENY, Reason.REVERSE_PATH)
            # Of a workload as well, whose policy on the way in is that of egress.
            yield replace(step, direction=Direction.INGRESS)
            return
        pre_dnat = _pre_dnat_steps(_first(plan, arriving, PolicyClass.PRE_DNAT), arriving, settings)
        verdict = yield from _until_decided(pre_dnat)
    if verdict is StepVerdict.DENY:
        return
    decided_before = verdict
    if verdict is StepVerdict.NEXT:
        verdict = yield from _until_decided(_published_steps(plan, packet))
    if verdict is StepVerdict.DENY:
        return
    if packet.path is Path.FORWARDED:
        yield from _forwarded_steps(plan, packet, decided_before, allowed=verdict is StepVerdict.ALLOW)
    elif verdict is StepVerdict.NEXT:
        yield from _until_decided(_local_steps(plan, _first(plan, packet, PolicyClass.NORMAL), packet))


def _is_established(packet: Packet) -> bool:
    """True if a packet is of a known connection, or related to one; an ICMP redirect is never so."""
    if packet.state is ConntrackState.RELATED:
        return not (packet.family is Family.V4 and packet.is_icmp and packet.icmp_type == _ICMP_REDIRECT)
    return packet.state is ConntrackState.ESTABLISHED


def _first(plan: Plan, packet: Packet, policy_class: PolicyClass) -> Place:
    """The first place at which a packet is evaluated by a class of policy."""
    return _place(plan, packet, packet.hops[0], policy_class)


def _place(plan: Plan, packet: Packet, hop: tuple[str, Direction], policy_class: PolicyClass) -> Place:
    """An interface is of its own endpoint, else of the wildcard; `lo` is so only for what is forwarded.

    A bridge of workloads is of the one that has the address of the packet there.
    """
    interface, direction = hop
    if plan.settings.workloads.has_bridge(interface):
        address = packet.source if direction is Direction.INGRESS else packet.destination
        behind = plan.endpoint(plan.behind(interface, packet.family, address))
        return Place(interface, behind.met(direction), behind, policy_class)
    name = next((b.endpoint for b in plan.bindings if b.interface == interface), None)
    if name is None and (interface != LOOPBACK or policy_class is PolicyClass.FORWARD):
        name = plan.governing_unbound(interface)
    endpoint = None if name is None else plan.endpoint(name)
    return Place(interface, direction if endpoint is None else endpoint.met(direction), endpoint, policy_class)


def _until_decided(steps: Iterable[Step]) -> _Steps:
    for step in steps:
        yield step
        if step.verdict is not StepVerdict.NEXT:
            return step.verdict
    return StepVerdict.NEXT


# ------------------------------------------------------------------------------------------ untracked and preDNAT


def _untracked_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The doNotTrack policies of an endpoint. They see every packet, established, invalid or neither.

    Failsafes of both directions exempt from them: those of the other one by the source port of their answers, which
    have no established state yet that would let them through.
    """
    tiers = place.planned.untracked_tiers
    exempting = chain(
        _neighbour_steps(place, packet, settings),
        _failsafe_steps(place, packet, settings),
        _failsafe_reply_steps(place, packet, settings),
    )
    yield from _before_steps(place, tiers, packet, exempting)


def _pre_dnat_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The preDNAT policies of an endpoint, which see the destination that the sender meant."""
    tiers = place.planned.pre_dnat_tiers
    exempting = chain(
        _neighbour_steps(place, packet, settings),
        _invalid_steps(place, packet, settings) if _is_enforced(tiers) else (),
        _failsafe_steps(place, packet, settings),
    )
    yield from _before_steps(place, tiers, packet, exempting)


def _before_steps(
    place: Place, tiers: Sequence[PlannedTier], packet: Packet, preceding: Iterable[Step]
) -> Iterator[Step]:
    """The tiers of a class that is met before the normal one, unless a preceding step denies or exempts from them."""
    if not tiers:
        return
    first = next(iter(preceding), None)
    if first is not None:
        yield first if first.verdict is StepVerdict.DENY else replace(first, verdict=StepVerdict.NEXT)
        return
    for tier in tiers:
        yield from tier_steps(place, tier, packet)


# ----------------------------------------------------------------------------------------------- published ports


def _published_steps(plan: Plan, packet: Packet) -> Iterator[Step]:
    """The steps of a packet for a published port, wherever it is sent on to: policy as if the service ran on the host.

    Nothing where the interface that it came in on has no endpoint, as `lo` mostly has none.
    """
    published = packet.as_published
    if published is packet or plan.settings.published_ports is PublishedPorts.THEIRS:
        return
    place = _first(plan, packet, PolicyClass.NORMAL)
    if place.endpoint is not None and place.workload is None:
        yield from _endpoint_steps(place, published, plan.settings)


# ------------------------------------------------------------------------------------------------- local traffic


def _local_steps(plan: Plan, place: Place, packet: Packet) -> Iterator[Step]:
    """The steps of local traffic, in order; the last one always decides.

    What the host sends meets it with the destination and on the interface that destination NAT has given it.
    """
    settings = plan.settings
    if place.interface == LOOPBACK and place.endpoint is None:
        yield place.step(StepVerdict.ALLOW, Reason.LOOPBACK)
    yield from _neighbour_steps(place, packet, settings)
    if settings.multicast_answers and is_multicast_answer(plan, packet):
        yield place.step(StepVerdict.ALLOW, Reason.MULTICAST_ANSWER)
    if place.endpoint is None:
        yield from _unmanaged_steps(place, packet, settings)
    elif place.workload is not None:
        if packet.path is Path.LOCAL_IN:
            yield from _to_host_steps(place, packet, settings)
        else:
            yield from _from_host_steps(place, packet, settings)
    else:
        yield from _endpoint_steps(place, packet, settings)


def _neighbour_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    if settings.neighbour_discovery is NeighbourDiscovery.ACCEPT and is_neighbour_discovery(packet):
        yield place.step(StepVerdict.ALLOW, Reason.NEIGHBOUR_DISCOVERY)


def _unmanaged_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    unmanaged = settings.unmanaged_interfaces
    wanted = unmanaged.ingress if place.direction is Direction.INGRESS else unmanaged.egress
    if wanted is Unmanaged.ALLOW:
        yield place.step(StepVerdict.ALLOW, Reason.UNMANAGED)
    yield from _invalid_steps(place, packet, settings)
    yield from _failsafe_steps(place, packet, settings)
    yield place.step(StepVerdict.DENY, Reason.UNMANAGED)


def _endpoint_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    tiers, profiles = place.planned.tiers, place.planned.profiles
    yield from _invalid_steps(place, packet, settings)
    exempting = tuple(_failsafe_steps(place, packet, settings))
    yield from (step for step in exempting if step.failsafe is not None and step.failsafe.is_for_some)
    for policy in place.planned.before_failsafes:
        yield from policy_steps(place, policy, packet)
    yield from (step for step in exempting if step.failsafe is not None and not step.failsafe.is_for_some)
    for tier in tiers:
        yield from tier_steps(place, tier, packet)
    for profile in profiles:
        # A Pass in a profile goes on with the next profile, as does a profile without a match.
        yield from policy_steps(place, profile, packet)
    nothing_selects = not _is_enforced(tiers) and not profiles
    yield place.step(StepVerdict.DENY, Reason.NO_POLICY if nothing_selects else Reason.NO_PROFILE_MATCH)


# ------------------------------------------------------------------------------------------------------ workloads


def _spoofed_steps(plan: Plan, place: Place, packet: Packet) -> Iterator[Step]:
    """Denials of packets under an address that is not the workload's, whatever connection they claim to be of.

    So are router advertisements, and whatever comes from a workload that nobody knows.
    """
    workload = place.workload
    if workload is None or packet.in_interface is None:
        return
    bridged = plan.settings.workloads.has_bridge(place.interface)
    advertised = packet.family is Family.V6 and packet.is_icmp and packet.icmp_type == _ROUTER_ADVERTISEMENT
    if advertised and (bridged or workload.identified):
        yield place.step(StepVerdict.DENY, Reason.TO_HOST)
    elif not workload.identified and not (bridged and is_before_an_address(packet)):
        yield _unidentified(place, packet, plan.settings)
    elif is_of_another(workload, packet):
        yield place.step(StepVerdict.DENY, Reason.SPOOFED)


def _to_host_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The steps of packets from a workload to the host: a few services, and nothing else, whatever its policy says."""
    yield from _invalid_steps(place, packet, settings)
    for port in settings.workloads.to_host:
        if _is_failsafe(port, packet, packet.destination, packet.destination_port):
            yield replace(place.step(StepVerdict.ALLOW, Reason.TO_HOST), failsafe=port)
    yield place.step(StepVerdict.DENY, Reason.TO_HOST)


def _from_host_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The steps of packets from the host to a workload: leases that the host may give, and then its policy.

    A lease may go to no address behind a bridge yet, or to all of them.
    """
    if not _is_identified(place) and not settings.workloads.has_bridge(place.interface):
        yield place.step(StepVerdict.DENY, Reason.UNIDENTIFIED)
    yield from _invalid_steps(place, packet, settings)
    for port in settings.workloads.to_host:
        if _is_failsafe(port, packet, packet.source, packet.source_port) and is_lease(packet, port):
            yield replace(place.step(StepVerdict.ALLOW, Reason.TO_HOST), failsafe=port)
    yield from _workload_steps(place, packet, settings)


def _unidentified(place: Place, packet: Packet, settings: Settings) -> Step:
    """The denial of what comes from nobody who is known, or goes there."""
    quiet = settings.workloads.has_bridge(place.interface) and asks_for_a_lease(packet)
    return replace(place.step(StepVerdict.DENY, Reason.UNIDENTIFIED), unrecorded=quiet)


def _is_identified(place: Place) -> bool:
    return place.workload is None or place.workload.identified


def _workload_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The policies of a workload in one direction, on every way: no failsafes, and a drop after the last profile."""
    if not _is_identified(place):
        yield _unidentified(place, packet, settings)
    yield from _invalid_steps(place, packet, settings)
    for tier in place.planned.tiers:
        yield from tier_steps(place, tier, packet)
    for profile in place.planned.profiles:
        yield from policy_steps(place, profile, packet)
    nothing_selects = not _is_enforced(place.planned.tiers) and not place.planned.profiles
    yield place.step(StepVerdict.DENY, Reason.NO_POLICY if nothing_selects else Reason.NO_PROFILE_MATCH)


def _is_enforced(tiers: Iterable[PlannedTier]) -> bool:
    """True if there is more than staged policies, which change nothing about a packet."""
    return any(tier.is_enforced for tier in tiers)


def _invalid_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    if packet.state is ConntrackState.INVALID and settings.invalid_packets is InvalidPackets.DROP:
        yield place.step(StepVerdict.DENY, Reason.INVALID)


def _failsafe_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    inbound = place.direction is Direction.INGRESS
    for failsafe in settings.failsafe.inbound if inbound else settings.failsafe.outbound:
        if _is_failsafe(failsafe, packet, _peer(place, packet), packet.destination_port):
            yield replace(place.step(StepVerdict.ALLOW, Reason.FAILSAFE), failsafe=failsafe)


def _failsafe_reply_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """Answers to what the failsafes of the other direction let through."""
    inbound = place.direction is Direction.INGRESS
    for failsafe in settings.failsafe.outbound if inbound else settings.failsafe.inbound:
        if _is_failsafe(failsafe, packet, _peer(place, packet), packet.source_port):
            yield replace(place.step(StepVerdict.ALLOW, Reason.FAILSAFE), failsafe=failsafe, reply=True)


def _peer(place: Place, packet: Packet) -> int:
    return packet.source if place.direction is Direction.INGRESS else packet.destination


def _is_failsafe(failsafe: FailsafePort, packet: Packet, peer: int, port: int | None) -> bool:
    net = failsafe.net
    return (
        packet.protocol == failsafe.protocol.number
        and port == failsafe.port
        and (net is None or (net.family is packet.family and net.contains(peer)))
    )


# --------------------------------------------------------------------------------------------- forwarded traffic


def _forwarded_steps(plan: Plan, packet: Packet, before: StepVerdict, *, allowed: bool) -> Iterator[Step]:
    """Forwarded traffic needs both endpoints: a Deny of either is final, and what both leave open passes.

    What was allowed `before` it was routed has met the policy of the way in, and still meets that of the way out.
    `allowed` is whether anything has allowed it so far.
    """
    places = [_place(plan, packet, hop, PolicyClass.FORWARD) for hop in packet.hops]
    for place in places[1:] if before is StepVerdict.ALLOW else places:
        if plan.settings.workloads.has_bridge(place.interface) and is_neighbour_discovery(packet):
            # Without it no two ports of a bridge would find each other.
            allowed = True
            yield place.step(StepVerdict.ALLOW, Reason.NEIGHBOUR_DISCOVERY)
            continue
        verdict = yield from _until_decided(_forward_steps(place, packet, plan.settings))
        if verdict is StepVerdict.DENY:
            return
        allowed = allowed or verdict is StepVerdict.ALLOW
    if not allowed:
        yield places[-1].step(StepVerdict.ALLOW, Reason.NO_FORWARD_POLICY)


def _forward_steps(place: Place, packet: Packet, settings: Settings) -> Iterator[Step]:
    """The applyOnForward policies of one endpoint. No failsafes, no profiles, and no drop after the last tier."""
    if place.workload is not None:
        yield from _workload_steps(place, packet, settings)
        return
    tiers = place.planned.forward_tiers
    if _is_enforced(tiers):
        yield from _invalid_steps(place, packet, settings)
    for tier in tiers:
        yield from tier_steps(place, tier, packet)
