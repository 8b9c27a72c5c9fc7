"""Cost of a compilation with a cache: it depends on the change, not on the size.

In calls, which are the same on every machine: of chains that were written, and of leaves that were laid out.
"""

from collections import Counter
from dataclasses import replace

import pytest

from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.cuts.cut import Layout
from hostfw.compile.ruleset import compile_plan
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.plan import (
    Binding,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
    RuleIdentity,
)
from hostfw.model.settings import DenyAction, Settings
from hostfw.model.values import FAMILIES, TCP, Action, Direction, PortRange
from hostfw.nft.objects import Ruleset
from tests.unit.builders.policy_builders import net

POLICIES = 600


def _policy(number: int, direction: Direction, port: int) -> PlannedPolicy:
    """A port for a network."""
    name = f"p{number:04}"
    identity = RuleIdentity("GlobalNetworkPolicy", "default", name, direction, f"{number:06x}{port:06x}", 0, 0)
    peer = PlannedSide(nets=(net(f"10.{number // 250}.{number % 250}.0/24"),))
    ports = PlannedSide(ports=(PortRange(port, port),))
    source, destination = (
        (peer, ports) if direction is Direction.INGRESS else (PlannedSide(), replace(peer, ports=ports.ports))
    )
    rule = PlannedRule(identity, Action.ALLOW, FAMILIES, TCP, source=source, destination=destination)
    return PlannedPolicy("GlobalNetworkPolicy", name, "default", None, (rule,))


def _direction(direction: Direction) -> PlannedDirection:
    policies = tuple(_policy(number, direction, 1000 + number % 50) for number in range(POLICIES))
    tiers = (PlannedTier("default", Action.DENY, policies),)
    return PlannedDirection(tiers, (), tiers)


def _plan(deny_action: DenyAction) -> Plan:
    endpoint = PlannedEndpoint("eth0", _direction(Direction.INGRESS), _direction(Direction.EGRESS))
    return Plan("host", Settings(deny_action=deny_action), (endpoint,), (Binding("eth0", "eth0", "named"),))


def _with_another_port(plan: Plan) -> Plan:
    """The plan with another port in one policy of what goes out, which output and postrouting have in common."""
    (endpoint,) = plan.endpoints
    (tier,) = endpoint.egress.tiers
    changed = _policy(300, Direction.EGRESS, 1049)
    tiers = (replace(tier, policies=(*tier.policies[:300], changed, *tier.policies[301:])),)
    return replace(plan, endpoints=(replace(endpoint, egress=replace(endpoint.egress, tiers=tiers)),))


class _Cost:
    """The cost of compilations, as numbers of calls of their most frequent operations."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._calls: Counter[str] = Counter()
        for of, name in ((TableBuilder, "chain"), (Layout, "_leaf")):
            self._count(monkeypatch, of, name)

    def _count(self, monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> None:
        right = getattr(of, name)

        def counted(*given: object, **more: object) -> object:
            self._calls[name] += 1
            return right(*given, **more)

        monkeypatch.setattr(of, name, counted)

    def of(self, plan: Plan, cache: CompileCache) -> tuple[int, Ruleset]:
        """The calls of one compile, and what it comes to."""
        self._calls.clear()
        ruleset = compile_plan(plan, cache=cache)
        return self._calls.total(), ruleset


@pytest.mark.parametrize("deny_action", DenyAction)
def test_a_compile_costs_what_changed(deny_action: DenyAction, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a denial tells its sender: an unchanged plan next to nothing, one rule the leaves that it is in."""
    cost, cache, plan = _Cost(monkeypatch), CompileCache(), _plan(deny_action)
    changed = _with_another_port(plan)

    fresh, first = cost.of(plan, cache)
    unchanged, same = cost.of(plan, cache)
    one_rule, other = cost.of(changed, cache)

    assert fresh > POLICIES / 2
    assert unchanged < fresh / 20, (unchanged, fresh)
    assert one_rule < fresh / 5, (one_rule, fresh)
    assert same == first
    assert other == compile_plan(changed)
