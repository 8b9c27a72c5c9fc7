"""Staged policies have no effect, wherever they stand."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.explain.verdict import explain
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import Plan, PlannedDirection, PlannedPolicy, PlannedTier
from hostfw.model.values import Direction
from tests.property.generators.plans import packets, plans, tiers

Change = Callable[[PlannedPolicy], PlannedPolicy | None]


def _changed(plan: Plan, change: Change) -> Plan:
    """The plan with each policy of its tiers changed, or left out together with tiers that have no other."""
    endpoints = (
        replace(e, ingress=_changed_direction(e.ingress, change), egress=_changed_direction(e.egress, change))
        for e in plan.endpoints
    )
    return replace(plan, endpoints=tuple(endpoints))


def _changed_direction(planned: PlannedDirection, change: Change) -> PlannedDirection:
    return replace(
        planned,
        tiers=_changed_tiers(planned.tiers, change),
        forward_tiers=_changed_tiers(planned.forward_tiers, change),
        untracked_tiers=_changed_tiers(planned.untracked_tiers, change),
        pre_dnat_tiers=_changed_tiers(planned.pre_dnat_tiers, change),
    )


def _changed_tiers(before: tuple[PlannedTier, ...], change: Change) -> tuple[PlannedTier, ...]:
    after = (replace(tier, policies=tuple(filter(None, map(change, tier.policies)))) for tier in before)
    return tuple(tier for tier in after if tier.policies)


@st.composite
def _staged_plans(draw: st.DrawFn) -> Plan:
    """Plans with policies of every class, some of them staged."""
    plan = draw(plans())
    endpoints = []
    for endpoint in plan.endpoints:
        before_nat = draw(tiers(Direction.INGRESS, "d"))
        into = replace(endpoint.ingress, untracked_tiers=draw(tiers(Direction.INGRESS, "u")), pre_dnat_tiers=before_nat)
        out = replace(endpoint.egress, untracked_tiers=draw(tiers(Direction.EGRESS, "u")))
        endpoints.append(replace(endpoint, ingress=into, egress=out))
    every_class = replace(plan, endpoints=tuple(endpoints))
    return _changed(every_class, lambda policy: replace(policy, staged=draw(st.booleans())))


@settings(
    max_examples=max(settings().max_examples // 5, 5),
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(plan=_staged_plans(), sent=st.lists(packets(), min_size=10, max_size=10))
def test_a_packet_fares_as_if_staged_policies_were_not_there(plan: Plan, sent: list[Packet]) -> None:
    """The same step decides, and the same rules log."""
    enforced = _changed(plan, lambda policy: None if policy.staged else policy)

    for packet in sent:
        with_staged, without = explain(plan, packet), explain(enforced, packet)

        assert (with_staged.decided_by, with_staged.logged_by) == (without.decided_by, without.logged_by)
        assert without.staged == ()
