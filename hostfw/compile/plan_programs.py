"""The programs of a plan's directions: each endpoint's preamble, tiers, profiles and end as rules."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, compress
from operator import not_
from typing import TYPE_CHECKING

from hostfw.audit.log_prefix import LogTag
from hostfw.compile import object_names as names
from hostfw.compile.exempt_conditions import failsafe_condition, lease_condition, leases
from hostfw.compile.program import (
    ANYTHING,
    Allow,
    Condition,
    Deny,
    Effect,
    Exempt,
    Limited,
    LogOnly,
    Pass,
    Program,
    ProgramRule,
    Segment,
    Staged,
    WouldDecide,
)
from hostfw.model.host.guests import Workload
from hostfw.model.packets.decisions import OF_LIMITS, Reason
from hostfw.model.plan import PlannedDirection, PlannedPolicy, PlannedRule, PlannedSide, PlannedTier
from hostfw.model.settings import FailsafePort, InvalidPackets, Settings, Unmanaged
from hostfw.model.values import ICMPV6, UDP, Action, Direction, Family, Icmp, PortRange

if TYPE_CHECKING:
    from hostfw.compile.incremental.memo import CompileCache

ROUTER_ADVERTISEMENT = 134
"""The ICMPv6 type by which a router tells of itself (RFC 4861, 4.2): a host that believes it takes routes from it."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of a host with these settings. `reject` is whether its denials tell the sender.

    With `guests` they are those of workloads, where others than the host send what meets egress policy.
    """

    settings: Settings
    reject: bool
    cache: "CompileCache"
    guests: bool = False

    def local(self, planned: PlannedDirection, direction: Direction) -> Program:
        """The program for local traffic of an endpoint: invalid packets, failsafes, tiers, profiles, the final drop."""
        selected = _enforced(planned.tiers) or planned.profiles
        reason = Reason.NO_PROFILE_MATCH if selected else Reason.NO_POLICY
        return Program(
            direction,
            (
                *self._local_preamble(planned, direction),
                *self._tiers(planned.tiers, direction, early=False),
                *self._of_policies(planned.profiles, direction),
                (self._final(direction, reason),),
            ),
        )

    def _local_preamble(self, planned: PlannedDirection, direction: Direction) -> Iterator[Segment]:
        """Invalid packets and failsafes; between those for some peers and the others, what comes before failsafes."""
        early = planned.before_failsafes
        failsafes = tuple(self._failsafes(direction))
        if not early:
            yield (*self._invalid(direction), *failsafes)
            return
        for_some = [port.is_for_some for port in self._failsafe_ports(direction)]
        yield (*self._invalid(direction), *compress(failsafes, for_some))
        yield tuple(chain.from_iterable(self._of_policies(early, direction)))
        yield tuple(compress(failsafes, map(not_, for_some)))

    def forward(self, planned: PlannedDirection, direction: Direction) -> Program | None:
        """The program for traffic forwarded through an endpoint, or None without an applyOnForward policy.

        There are no failsafes and no profiles, and what the last tier passes on is allowed (the opposite of local
        traffic), as in the Calico documentation on forwarded traffic.
        """
        if not planned.forward_tiers:
            return None
        preamble = tuple(self._invalid(direction)) if _enforced(planned.forward_tiers) else ()
        return Program(direction, (preamble, *self._tiers(planned.forward_tiers, direction)))

    def untracked(self, planned: PlannedDirection, direction: Direction) -> Program | None:
        """The program before connection tracking, or None without a doNotTrack policy.

        Failsafes of both directions come first: the replies of one, told by their source port, are packets of the
        other, and have no established state yet that would let them through.
        """
        if not planned.untracked_tiers:
            return None
        preamble = (*self._failsafes(direction, "untracked"), *self._failsafe_replies(direction))
        return Program(direction, (preamble, *self._tiers(planned.untracked_tiers, direction, ends=False)))

    def pre_dnat(self, planned: PlannedDirection, direction: Direction) -> Program | None:
        """The program for new packets before destination NAT, or None without a preDNAT policy."""
        if not planned.pre_dnat_tiers:
            return None
        invalid = self._invalid(direction) if _enforced(planned.pre_dnat_tiers) else ()
        preamble = (*invalid, *self._failsafes(direction, "pre-dnat"))
        return Program(direction, (preamble, *self._tiers(planned.pre_dnat_tiers, direction, ends=False)))

    def workload(self, planned: PlannedDirection, direction: Direction) -> Program:
        """The program of a workload in one direction, forwarded or not: no failsafes, and a drop at its end."""
        selected = _enforced(planned.tiers) or planned.profiles
        reason = Reason.NO_PROFILE_MATCH if selected else Reason.NO_POLICY
        return Program(
            direction,
            (
                tuple(self._invalid(direction)),
                *self._tiers(planned.tiers, direction),
                *self._of_policies(planned.profiles, direction),
                (self._final(direction, reason),),
            ),
        )

    def before_workloads(self, direction: Direction) -> Program:
        """The program for what the host sends to workloads before it meets their policy: the leases that it may give.

        Connection tracking knows nothing of these, as what asks for one goes to all.
        """
        return Program(direction, ((*self._invalid(direction), *self._leases(direction)),))

    def from_host(self, planned: PlannedDirection, direction: Direction) -> Program | None:
        """The policy of a workload as the host itself meets it, behind the leases; None if as everybody meets it."""
        if is_met_alike(planned):
            return None
        segments = self.workload(planned, direction).segments
        return Program(direction, tuple(tuple(_sent_by_host(segment)) for segment in segments))

    def _leases(self, direction: Direction) -> Iterator[ProgramRule]:
        for server, client in leases(self.settings):
            counter = names.failsafe_counter(server, direction, place="lease")
            yield self.cache.rule(lease_condition(server, *client), Exempt(counter))

    def to_host(self, direction: Direction) -> Program:
        """The program for what a workload sends to the host: a few services, and nothing else."""
        open_ports = (
            self.cache.rule(
                failsafe_condition(port, Direction.EGRESS),
                Exempt(names.failsafe_counter(port, direction, place="to-host")),
            )
            for port in self.settings.workloads.to_host
        )
        return Program(direction, ((*self._invalid(direction), *open_ports), (self._final(direction, Reason.TO_HOST),)))

    def sources(self, workload: Workload, direction: Direction) -> Program:
        """The program that denies what a workload sends under an address that is not its own, or as a router."""
        advertised = Condition(families=(Family.V6,), protocol=ICMPV6, icmp=Icmp(ROUTER_ADVERTISEMENT))
        elsewhere = Condition(source=PlannedSide(not_nets=workload.sources))
        return Program(
            direction,
            (
                (
                    self._denied(advertised, direction, Reason.TO_HOST),
                    self._denied(elsewhere, direction, Reason.SPOOFED),
                ),
            ),
        )

    def spoofed(self, direction: Direction) -> Program:
        """The program of what a workload sends under another's Ethernet address: every packet is denied."""
        return Program(direction, ((self._final(direction, Reason.SPOOFED),),))

    def without_a_way_back(self) -> Program:
        """The program of a new packet that no route leads back to the source of: it is denied."""
        return Program(Direction.INGRESS, ((self._final(Direction.INGRESS, Reason.REVERSE_PATH),),))

    def unidentified(self, direction: Direction) -> Program:
        """The program of an interface of a workload that no WorkloadEndpoint names: every packet is denied."""
        return Program(direction, ((self._final(direction, Reason.UNIDENTIFIED),),))

    def unidentified_on_bridge(self, direction: Direction) -> Program:
        """The program of what comes from, or goes to, no address of a workload behind a bridge: it is denied.

        What a client of DHCP asks everybody comes to each port, and is no news there.
        """
        counter = names.drop_counter(LogTag(Action.DENY, direction, Reason.UNIDENTIFIED))
        tag = LogTag(Action.DENY, direction, Reason.UNIDENTIFIED)
        quiet = Deny(counter, tag, reject=False, unrecorded=True, by_source=self._by_source(direction))
        asked = (
            self.cache.rule(
                Condition(
                    families=(family,), protocol=UDP, destination=PlannedSide(ports=(PortRange(server, server),))
                ),
                quiet,
            )
            for server, family in ((67, Family.V4), (547, Family.V6))
        )
        return Program(direction, (tuple(asked), (self._final(direction, Reason.UNIDENTIFIED),)))

    def router_advertisements(self, direction: Direction) -> Program:
        """The program that denies what only a router tells, and leaves everything else undecided."""
        advertised = Condition(families=(Family.V6,), protocol=ICMPV6, icmp=Icmp(ROUTER_ADVERTISEMENT))
        return Program(direction, ((self._denied(advertised, direction, Reason.TO_HOST),),))

    def _denied(self, condition: Condition, direction: Direction, reason: Reason) -> ProgramRule:
        tag = LogTag(Action.DENY, direction, reason)
        effect = Deny(names.drop_counter(tag), tag, reject=False, by_source=self._by_source(direction))
        return self.cache.rule(condition, effect)

    def _by_source(self, direction: Direction) -> bool:
        return self.guests and direction is Direction.EGRESS

    def unmanaged(self, direction: Direction) -> Program | None:
        """The program of an interface without a HostEndpoint, or None where the direction is open."""
        unmanaged = self.settings.unmanaged_interfaces
        verdict = unmanaged.ingress if direction is Direction.INGRESS else unmanaged.egress
        if verdict is Unmanaged.ALLOW:
            return None
        preamble = (*self._invalid(direction), *self._failsafes(direction))
        return Program(direction, (preamble, (self._final(direction, Reason.UNMANAGED),)))

    def renamed(self, direction: Direction) -> Program:
        """The program of a governed interface that no rule knows by its name: every packet is denied."""
        return Program(direction, ((self._final(direction, Reason.UNMANAGED),),))

    def _invalid(self, direction: Direction) -> Iterator[ProgramRule]:
        if self.settings.invalid_packets is InvalidPackets.DROP:
            yield self._denied(Condition(invalid=True), direction, Reason.INVALID)

    def _failsafes(self, direction: Direction, place: str = "") -> Iterator[ProgramRule]:
        for port in self._failsafe_ports(direction):
            counter = names.failsafe_counter(port, direction, place=place)
            yield self.cache.rule(failsafe_condition(port, direction), Exempt(counter))

    def _failsafe_replies(self, direction: Direction) -> Iterator[ProgramRule]:
        """Answers to what the failsafes of the other direction let through."""
        opposite = Direction.EGRESS if direction is Direction.INGRESS else Direction.INGRESS
        for port in self._failsafe_ports(opposite):
            counter = names.failsafe_counter(port, direction, place="untracked", reply=True)
            forth = failsafe_condition(port, opposite)
            back = replace(forth, source=forth.destination, destination=forth.source)
            yield self.cache.rule(back, Exempt(counter))

    def _failsafe_ports(self, direction: Direction) -> tuple[FailsafePort, ...]:
        failsafe = self.settings.failsafe
        return failsafe.inbound if direction is Direction.INGRESS else failsafe.outbound

    def _tiers(
        self, tiers: Iterable[PlannedTier], direction: Direction, *, ends: bool = True, early: bool = True
    ) -> Iterator[Segment]:
        """Tiers in order, without `early` leaving out the policies that come before failsafes."""
        for tier in tiers:
            policies = tier.policies if early else tier.after_failsafes
            rules = list(chain.from_iterable(self._of_policies(policies, direction)))
            if ends and tier.is_enforced and tier.default_action is Action.DENY:
                tag = LogTag(Action.DENY, direction, Reason.END_OF_TIER, tier=tier.name)
                deny = Deny(names.drop_counter(tag), tag, self.reject, by_source=self._by_source(direction))
                rules.append(self.cache.rule(ANYTHING, deny))
            yield tuple(rules)

    def _of_policies(self, policies: tuple[PlannedPolicy, ...], direction: Direction) -> list[Segment]:
        return self.cache.rules(
            policies,
            direction,
            lambda policy: tuple(self._policy(policy, direction)),
            reject=self.reject,
            by_source=self._by_source(direction),
        )

    def _policy(self, policy: PlannedPolicy, direction: Direction) -> Iterator[ProgramRule]:
        if policy.staged:
            rules = [
                ProgramRule(condition, effect)
                for rule in policy.rules
                for effect in (self._would_be_effect(rule, direction),)
                for condition in _conditions(rule)
            ]
            yield ProgramRule(ANYTHING, Staged(tuple(rules)))
            return
        for rule in policy.rules:
            effect = self._effect(rule, direction)
            yield from (ProgramRule(condition, effect) for condition in _conditions(rule))

    def _effect(self, rule: PlannedRule, direction: Direction) -> Effect:
        counter = names.rule_counter(rule.identity)
        by_source = self._by_source(direction)
        match rule.action:
            case Action.ALLOW if rule.limit is not None:
                return Limited(rule.limit, Allow(counter), *self._beyond(rule, direction))
            case Action.ALLOW:
                return Allow(counter)
            case Action.DENY:
                return Deny(counter, _tag(rule, direction), self.reject, rule.unrecorded, by_source)
            case Action.LOG:
                return LogOnly(counter, _tag(rule, direction), by_source)
            case Action.PASS:
                return Pass(counter)

    def _beyond(self, rule: PlannedRule, direction: Direction) -> Iterator[Deny]:
        """The denials by the limit of a rule, for each reason."""
        for reason in OF_LIMITS:
            counter, tag = names.limit_counter(rule.identity, reason), _limit_tag(rule, direction, reason)
            yield Deny(counter, tag, self.reject, rule.unrecorded, self._by_source(direction))

    def _final(self, direction: Direction, reason: Reason) -> ProgramRule:
        tag = LogTag(Action.DENY, direction, reason)
        deny = Deny(names.drop_counter(tag), tag, self.reject, by_source=self._by_source(direction))
        return self.cache.rule(ANYTHING, deny)

    def _would_be_effect(self, rule: PlannedRule, direction: Direction) -> Effect:
        counter, by_source = names.rule_counter(rule.identity), self._by_source(direction)
        tag = replace(_tag(rule, direction), staged=True)
        if rule.action is Action.LOG:
            return LogOnly(counter, tag, by_source)
        if rule.limit is None:
            return WouldDecide(counter, tag, rule.unrecorded, by_source)
        beyond = (
            WouldDecide(
                names.limit_counter(rule.identity, reason), replace(of, staged=True), rule.unrecorded, by_source
            )
            for reason in OF_LIMITS
            for of in (_limit_tag(rule, direction, reason),)
        )
        return Limited(rule.limit, WouldDecide(counter, tag, by_source=by_source), *beyond)


def _enforced(tiers: Iterable[PlannedTier]) -> bool:
    """True if a policy of the tiers is enforced; staged ones alone decide nothing."""
    return any(tier.is_enforced for tier in tiers)


def _tag(rule: PlannedRule, direction: Direction) -> LogTag:
    identity = rule.identity
    return LogTag(rule.action, direction, Reason.RULE, identity.tier, identity.policy, identity.index)


def _limit_tag(rule: PlannedRule, direction: Direction, reason: Reason) -> LogTag:
    return replace(_tag(rule, direction), action=Action.DENY, reason=reason)


def is_met_alike(planned: PlannedDirection) -> bool:
    """True if no rule asks about what the host's own packets have not: IPsec, and the neighbour that sent them."""
    policies = chain(planned.profiles, *(tier.policies for tier in planned.tiers))
    return all(rule.ipsec is None and not rule.source.macs for policy in policies for rule in policy.rules)


_RULES_OF_NO_POLICY = 2
"""Most rules of the program of a workload around its tiers and profiles: about invalid packets, and the end."""


def has_rules(planned: PlannedDirection, number: int) -> bool:
    """True unless the program of a workload certainly has less than so many rules."""
    left = number - _RULES_OF_NO_POLICY - len(planned.tiers)
    for policy in chain(planned.profiles, *(tier.policies for tier in planned.tiers)):
        left -= len(policy.rules)
        if left <= 0:
            break
        left -= sum(len(rule.other_protocols) for rule in policy.rules)
    return left <= 0


def _sent_by_host(rules: Iterable[ProgramRule]) -> Iterator[ProgramRule]:
    """Rules as what the host itself sends meets them: it came through no IPsec and from no neighbour.

    nftables takes neither question in the output hook (`nft_meta_get_validate` of the kernel).
    """
    for rule in rules:
        condition, effect = rule.condition, rule.effect
        if isinstance(effect, Staged):
            left = tuple(_sent_by_host(effect.rules))
            yield rule if left == effect.rules else replace(rule, effect=Staged(left))
        elif not condition.ipsec and not condition.source.macs:
            yield rule if condition.ipsec is None else replace(rule, condition=replace(condition, ipsec=None))


def _conditions(rule: PlannedRule) -> Iterator[Condition]:
    """The conditions of a rule, of which a packet meets one at most: one for each protocol."""
    first = _condition(rule)
    yield first
    yield from (replace(first, protocol=protocol) for protocol in rule.other_protocols)


def _condition(rule: PlannedRule) -> Condition:
    return Condition(
        families=rule.families,
        protocol=rule.protocol,
        not_protocol=rule.not_protocol,
        icmp=rule.icmp,
        not_icmp=rule.not_icmp,
        source=rule.source,
        destination=rule.destination,
        ipsec=rule.ipsec,
    )
