"""Reach: the exact set of sources whose new connections a Plan lets through to a port, and what decides about them.

`policy.explain` answers for one packet; this answers for every source address at once, with the arithmetic of address
sets, in the same order of steps. The two must agree on every packet. Many ports are answered for together, since most
of the work, finding the few policy rules that are about a port, is the same for all.

A rule that asks for what no address tells (IPsec, the Ethernet address of a neighbour) may hold for a source or not,
and both count: what it allows is open, and what it denies may still be let in by the rules after it.

Answers of the connection are not looked at: what a doNotTrack policy lets in needs another one that lets them out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hostfw.explain.governing import BEHIND, named_endpoint
from hostfw.explain.tiers import Place
from hostfw.exposure.rules import DYNAMIC_PORT, EntryPoint, RuleIndex, is_of_some, numbers_of
from hostfw.exposure.sources import Part, Sources, common, difference_of, everybody, without
from hostfw.exposure.visits import Decision, Visit, visits_of
from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.plan import Plan, PlannedPolicy, PlannedRule, PlannedTier
from hostfw.model.ranges import ranges_of
from hostfw.model.settings import FailsafePort, PublishedPorts, Settings, Unmanaged
from hostfw.model.values import Action, Direction, merge


@dataclass(frozen=True, slots=True)
class Reach:
    """Every source address of a family, by what becomes of its connections.

    No two decisions share an address, but where a Pass may hold for some of its connections and not for others.
    """

    decisions: tuple[Decision, ...] = ()

    @property
    def allowed(self) -> Sources:
        """The sources that get through."""
        return tuple(decision.sources for decision in self.decisions if decision.step.verdict is StepVerdict.ALLOW)


def reach(plan: Plan, doors: Sequence[EntryPoint]) -> tuple[Reach, ...]:
    """For each door, who gets through it. Doors are on interfaces other than lo."""
    visits = list(visits_of(plan, doors))
    for place, group in _places(plan, visits):
        _from_workload(place._replace(policy_class=PolicyClass.UNTRACKED), group, plan.settings)
    untracked = [
        visit for place, group in _places(plan, visits) for visit in _before_tracking(place, group, plan.settings)
    ]
    for place, group in _places(plan, visits):
        _before_translation(place, group, plan.settings)
    published = {visit.owner: passed for visit, passed in _published(plan, visits)}
    local = [visit for visit in visits if visit.entry_point.out_interface is None and visit.owner not in published]
    for place, group in _places(plan, local):
        _local(place, group, plan.settings)
    forwarded = [visit for visit in visits if visit.entry_point.out_interface is not None]
    for place, group in _places(plan, forwarded):
        _forward_in(place._replace(policy_class=PolicyClass.FORWARD), group)
    for visit in forwarded:
        for part, step in published.get(visit.owner, ()):
            visit.take(part, step)
    for place, group in _places(plan, [*forwarded, *untracked], Direction.EGRESS):
        _forward_out(place._replace(policy_class=PolicyClass.FORWARD), group)
    found: list[list[Decision]] = [[] for _ in doors]
    for visit in (*visits, *untracked):
        found[visit.owner] += visit.decided
    return tuple(Reach(tuple(decisions)) for decisions in found)


def _places(
    plan: Plan, visits: Iterable[Visit], direction: Direction = Direction.INGRESS
) -> Iterator[tuple[Place, list[Visit]]]:
    """The places where visits meet policy, those of one HostEndpoint as one, each with its visits."""
    governing = plan.governing()
    groups: defaultdict[str | None, list[Visit]] = defaultdict(list)
    interfaces: dict[str | None, str] = {}
    for visit in visits:
        interface = (
            visit.entry_point.interface if direction is Direction.INGRESS else visit.entry_point.out_interface or ""
        )
        name = governing(interface)
        if plan.settings.workloads.has_bridge(interface):
            # On its way out it is known by its address; what comes in there may be any of them.
            point = visit.entry_point
            out = direction is Direction.EGRESS
            behind = visit.sender or f"{BEHIND}{interface}"
            name = plan.behind(interface, point.family, point.address) if out else behind
        groups[name].append(visit)
        interfaces.setdefault(name, interface)
    for name, group in groups.items():
        endpoint = None if name is None else named_endpoint(plan, name)
        met = direction if endpoint is None else endpoint.met(direction)
        yield Place(interfaces[name], met, endpoint, PolicyClass.NORMAL), group


# ------------------------------------------------------------------------------------------- untracked and preDNAT


def _before_tracking(place: Place, group: list[Visit], settings: Settings) -> Iterator[Visit]:
    """The doNotTrack policies. Gives what they let in of what is forwarded: it is not translated any more."""
    for visit, arriving in _before(place._replace(policy_class=PolicyClass.UNTRACKED), group, settings):
        if arriving.let_in:
            yield Visit(visit.owner, arriving.entry_point, (), let_in=arriving.let_in)


def _before_translation(place: Place, group: list[Visit], settings: Settings) -> None:
    """The preDNAT policies."""
    for visit, arriving in _before(place._replace(policy_class=PolicyClass.PRE_DNAT), group, settings):
        visit.let_in += arriving.let_in


def _before(place: Place, group: list[Visit], settings: Settings) -> Iterator[tuple[Visit, Visit]]:
    """Each visit with what a class of policy made of it that connections meet before they are routed.

    Failsafes exempt from the class.
    """
    untracked = place.policy_class is PolicyClass.UNTRACKED
    tiers = place.planned.untracked_tiers if untracked else place.planned.pre_dnat_tiers
    if not tiers:
        return
    arriving: list[Visit] = []
    exempt: list[Sources] = []
    for visit in group:
        early = Visit(visit.owner, visit.entry_point.arriving, visit.left)
        for part in _exempt(early.entry_point, settings, answers=untracked):
            early.left = without(early.left, part)
        exempt.append(difference_of(visit.left, early.left))
        arriving.append(early)
    _run(place, tiers, arriving)
    for visit, early, kept in zip(group, arriving, exempt, strict=True):
        visit.left = (*early.left, *kept)
        visit.decided += early.decided
        yield visit, early


def _exempt(entry_point: EntryPoint, settings: Settings, *, answers: bool) -> Iterator[Part]:
    """The sources that failsafes open a door to; with `answers` also those that answer to an outbound failsafe."""
    for failsafe in settings.failsafe.inbound:
        if failsafe.port == entry_point.port and failsafe.protocol.number == entry_point.protocol:
            yield from _peers(failsafe, entry_point)
    for failsafe in settings.failsafe.outbound if answers else ():
        if failsafe.port == DYNAMIC_PORT and failsafe.protocol.number == entry_point.protocol:
            yield from _peers(failsafe, entry_point)


def _peers(failsafe: FailsafePort, entry_point: EntryPoint) -> Iterator[Part]:
    if failsafe.net is None:
        yield everybody(entry_point.family)
    elif failsafe.net.family is entry_point.family:
        yield Part(ranges_of((failsafe.net,), entry_point.family))


# ----------------------------------------------------------------------------------------------- published ports


def _published(plan: Plan, visits: Iterable[Visit]) -> Iterator[tuple[Visit, list[Decision]]]:
    """Judge published ports as if the service ran on the host. Gives what that let in of each to be forwarded.

    What it let in of those on the host itself is decided. On an interface without a HostEndpoint nobody judges them.
    """
    if plan.settings.published_ports is PublishedPorts.THEIRS:
        return
    for place, group in _places(plan, [visit for visit in visits if visit.entry_point.original is not None]):
        if place.endpoint is None or place.endpoint.workload is not None:
            continue
        judged = [Visit(visit.owner, visit.entry_point.arriving, visit.left) for visit in group]
        _local(place, judged, plan.settings)
        for visit, early in zip(group, judged, strict=True):
            visit.decided += early.decided
            visit.left = tuple(part for part, _ in early.let_in)
            yield visit, early.let_in


# ------------------------------------------------------------------------------------------------- local services


def _local(place: Place, group: list[Visit], settings: Settings) -> None:
    """Traffic for the host itself, in the order of `explain`."""
    if place.workload is not None:
        _open(place, group, settings.workloads.to_host, Reason.TO_HOST)
        for visit in group:
            visit.take_rest(place.step(StepVerdict.DENY, Reason.TO_HOST))
        return
    unmanaged = place.endpoint is None
    for visit in group:
        if unmanaged and settings.unmanaged_interfaces.ingress is Unmanaged.ALLOW:
            visit.take_rest(place.step(StepVerdict.ALLOW, Reason.UNMANAGED))
    inbound = settings.failsafe.inbound
    _open(place, group, (failsafe for failsafe in inbound if failsafe.is_for_some))
    _run_policies(place, place.planned.before_failsafes, group)
    _open(place, group, (failsafe for failsafe in inbound if not failsafe.is_for_some))
    nobody = _run_all(place, group)
    for visit in group:
        visit.take_rest(place.step(StepVerdict.DENY, Reason.UNMANAGED if unmanaged else nobody))


def _run_all(place: Place, group: list[Visit]) -> Reason:
    """The tiers and then the profiles of one direction; gives the reason for which what they leave is denied."""
    tiers, profiles = place.planned.tiers, place.planned.profiles
    _run(place, tiers, group)
    for profile in profiles:
        _rejoin(group, _run_policies(place, (profile,), group))
    nothing_selects = not profiles and not any(tier.is_enforced for tier in tiers)
    return Reason.NO_POLICY if nothing_selects else Reason.NO_PROFILE_MATCH


def _open(
    place: Place, group: list[Visit], failsafes: Iterable[FailsafePort], reason: Reason = Reason.FAILSAFE
) -> None:
    """Failsafe ports let in whom they are open to. Those for workloads name addresses of the host."""
    for failsafe in failsafes:
        step = replace(place.step(StepVerdict.ALLOW, reason), failsafe=failsafe)
        for visit in group:
            if failsafe.port == visit.entry_point.port and failsafe.protocol.number == visit.entry_point.protocol:
                for part in _peers(failsafe, visit.entry_point) if reason is Reason.FAILSAFE else _own(failsafe, visit):
                    visit.take(part, step)


def _own(port: FailsafePort, visit: Visit) -> Iterator[Part]:
    """Everybody, where a port that workloads may use is open at the address of a door."""
    family, net = visit.entry_point.family, port.net
    if net is None or (net.family is family and net.contains(visit.entry_point.address)):
        yield everybody(family)


# ------------------------------------------------------------------------------------------------------ workloads


def _from_workload(place: Place, group: list[Visit], settings: Settings) -> None:
    """Decide about packets of workloads under addresses that are not theirs, or under no name."""
    workload = place.workload
    if workload is None:
        return
    # Of those behind one bridge nobody has an address that is none of theirs.
    reason = Reason.UNIDENTIFIED if settings.workloads.has_bridge(place.interface) else Reason.SPOOFED
    for visit in group:
        if visit.sender is not None and workload.identified:
            continue
        if not workload.identified:
            visit.take_rest(place.step(StepVerdict.DENY, Reason.UNIDENTIFIED))
            continue
        family = visit.entry_point.family
        nets = tuple(net for net in merge(workload.sources) if net.family is family)
        theirs = common(visit.left, Part(ranges_of(nets, family)))
        visit.take_others(theirs, place.step(StepVerdict.DENY, reason))


def _of_workload(place: Place, group: list[Visit]) -> None:
    """The policies of a workload in one direction, its profiles, and a denial at their end."""
    if place.workload is not None and not place.workload.identified:
        for visit in group:
            visit.take_rest(place.step(StepVerdict.DENY, Reason.UNIDENTIFIED))
        return
    reason = _run_all(place, group)
    for visit in group:
        visit.take_rest(place.step(StepVerdict.DENY, reason))


# --------------------------------------------------------------------------------------------- forwarded traffic


def _forward_in(place: Place, group: list[Visit]) -> None:
    """The policies of the way in."""
    if place.workload is not None:
        _of_workload(place, group)
    else:
        _run(place, place.planned.forward_tiers, group)


def _forward_out(place: Place, group: list[Visit]) -> None:
    """The applyOnForward policies of the way out: what nobody decides about passes, as it was let in or as it is."""
    leaving = [
        Visit(visit.owner, visit.entry_point, (*(decision.sources for decision in visit.let_in), *visit.left))
        for visit in group
    ]
    if place.workload is not None:
        _of_workload(place, leaving)
    else:
        _run(place, place.planned.forward_tiers, leaving)
    undecided = place.step(StepVerdict.ALLOW, Reason.NO_FORWARD_POLICY)
    for visit, left in zip(group, leaving, strict=True):
        visit.decided += (*left.decided, *left.let_in)
        for sources, step in (*visit.let_in, *(Decision(part, undecided) for part in visit.left)):
            visit.decided += [Decision(met, step) for met in common(left.left, sources)]


# --------------------------------------------------------------------------------------------- tiers and policies


def _run(place: Place, tiers: Sequence[PlannedTier], group: list[Visit]) -> None:
    """Tiers in order. Where the class has ends of tiers, an enforced one denies what it left unless it passes that."""
    has_end = place.policy_class in (PolicyClass.NORMAL, PolicyClass.FORWARD)
    for tier in tiers:
        passed = _run_policies(place, tier.after_failsafes if place.has_failsafes else tier.policies, group)
        if has_end and tier.is_enforced and tier.default_action is Action.DENY:
            step = replace(place.step(StepVerdict.DENY, Reason.END_OF_TIER), tier=tier.name, action=tier.default_action)
            for visit in group:
                visit.take_rest(step)
        _rejoin(group, passed)


def _rejoin(group: list[Visit], passed: list[Sources]) -> None:
    """Let what has passed a tier or a profile go on with what it has left undecided."""
    for visit, sources in zip(group, passed, strict=True):
        visit.left = (*visit.left, *difference_of(sources, visit.left))


def _run_policies(place: Place, policies: Sequence[PlannedPolicy], group: list[Visit]) -> list[Sources]:
    """The policies of a tier, or a profile. Gives what a Pass has taken out of it, for the next."""
    index = RuleIndex([visit.entry_point for visit in group])
    passed: list[Sources] = [()] * len(group)
    open_doors = (1 << len(group)) - 1
    for policy in policies:
        if policy.staged:
            continue
        for rule in policy.rules:
            if rule.action is Action.LOG:
                continue
            for number in numbers_of(index.met(rule) & open_doors):
                visit = group[number]
                part = index.sources(rule, number)
                if part is None:
                    continue
                if rule.action is Action.PASS:
                    passed[number] = (*passed[number], *difference_of(common(visit.left, part), passed[number]))
                    if not is_of_some(rule):
                        visit.left = without(visit.left, part)
                else:
                    visit.take(part, _step(place, policy, rule))
                if not visit.left:
                    open_doors &= ~(1 << number)
        if not open_doors:
            break
    return passed


def _step(place: Place, policy: PlannedPolicy, rule: PlannedRule) -> Step:
    return replace(
        place.step(StepVerdict.ALLOW if rule.action is Action.ALLOW else StepVerdict.DENY, Reason.RULE),
        tier=policy.tier,
        policy=policy.name,
        rule=rule.identity,
        action=rule.action,
        position=rule.position,
        before_failsafes=policy.before_failsafes and place.has_failsafes,
        # Of a rule with a limit, what is within it: no denial.
        unrecorded=rule.unrecorded and rule.action is Action.DENY,
        limit=rule.limit,
    )
