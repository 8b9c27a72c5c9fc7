"""Evaluation: what a packet meets in the tiers, policies and rules of one place on its way."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import NamedTuple

from hostfw.explain.rule_match import first_mismatch
from hostfw.model.host.guests import Workload
from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import PlannedDirection, PlannedEndpoint, PlannedPolicy, PlannedRule, PlannedTier
from hostfw.model.values import Action, Direction

_RULE_VERDICTS = {
    Action.ALLOW: StepVerdict.ALLOW,
    Action.DENY: StepVerdict.DENY,
    Action.LOG: StepVerdict.NEXT,
    Action.PASS: StepVerdict.NEXT,
}

_CLASSES_WITH_AN_END = (PolicyClass.NORMAL, PolicyClass.FORWARD)


class Place(NamedTuple):
    """A place of evaluation: an interface, its endpoint if it has one, a direction and a class of policy."""

    interface: str
    direction: Direction
    endpoint: PlannedEndpoint | None
    policy_class: PolicyClass

    @property
    def planned(self) -> PlannedDirection:
        """The policies of this place; none without an endpoint."""
        return PlannedDirection() if self.endpoint is None else self.endpoint.direction(self.direction)

    @property
    def has_failsafes(self) -> bool:
        """True if failsafes come before policy here, and before them the policies that deny even those."""
        return self.workload is None and self.policy_class is PolicyClass.NORMAL

    @property
    def workload(self) -> Workload | None:
        """The workload whose place this is, or None."""
        return None if self.endpoint is None else self.endpoint.workload

    def step(self, verdict: StepVerdict, reason: Reason) -> Step:
        """A step taken here."""
        endpoint = None if self.endpoint is None else self.endpoint.name
        return Step(verdict, reason, self.interface, self.direction, endpoint, policy_class=self.policy_class)


def tier_steps(place: Place, tier: PlannedTier, packet: Packet) -> Iterator[Step]:
    """The rules of a tier in order, then its default action. Without a decision the next tier has the word."""
    for policy in tier.after_failsafes if place.has_failsafes else tier.policies:
        passed = yield from policy_steps(place, policy, packet)
        if passed:
            return
    if tier.is_enforced and place.policy_class in _CLASSES_WITH_AN_END:
        verdict = StepVerdict.DENY if tier.default_action is Action.DENY else StepVerdict.NEXT
        yield replace(place.step(verdict, Reason.END_OF_TIER), tier=tier.name, action=tier.default_action)


def policy_steps(place: Place, policy: PlannedPolicy, packet: Packet) -> Generator[Step, None, bool]:
    """The rules of a policy or profile in order; the value says whether a Pass ended its tier.

    A staged policy is over with the first rule that would decide, and the next policy has the word.
    """
    for rule in policy.rules:
        step = _rule_step(place, policy, rule, packet)
        yield step
        if step.matched and policy.staged and rule.action is not Action.LOG:
            return False
        if step.matched and rule.action is Action.PASS:
            return True
    return False


def _rule_step(place: Place, policy: PlannedPolicy, rule: PlannedRule, packet: Packet) -> Step:
    missed = first_mismatch(rule, packet)
    beyond = rule.limit is not None and packet.over_limit and not missed
    verdict = StepVerdict.DENY if beyond else _RULE_VERDICTS[rule.action]
    # Written out, since a packet may pass tens of thousands of rules, and what asks of many packets waits for it.
    return Step(
        StepVerdict.NEXT if missed or policy.staged else verdict,
        Reason.OVER_LIMIT if beyond else Reason.RULE,
        place.interface,
        place.direction,
        None if place.endpoint is None else place.endpoint.name,
        policy_class=place.policy_class,
        tier=policy.tier,
        policy=policy.name,
        rule=rule.identity,
        action=rule.action,
        position=rule.position,
        missed=missed,
        staged=policy.staged,
        before_failsafes=policy.before_failsafes and place.has_failsafes,
        unrecorded=rule.unrecorded and (beyond or rule.action is Action.DENY),
        limit=rule.limit,
    )
