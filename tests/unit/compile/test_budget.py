"""The budget of a ruleset: however many endpoints and lists it has, they take no more than it all together."""

from dataclasses import replace

import pytest

from bench.inputs.mixtures import INTERFACE, packets, plan_of
from hostfw.compile.layout.costs import CostModel
from hostfw.compile.ruleset import compile_plan
from hostfw.explain.verdict import explain
from hostfw.model.plan import Binding, Plan
from hostfw.nft.objects import Ruleset
from hostfw.nft.simulate import simulate

EAGER = CostModel(rules_a_lookup=1, copies=0, shortened=0, shortened_inline=0, widened=1000)
"""Costs with which a list writes out elements wherever it may."""
ENDPOINTS = 6
POLICIES = 60


def _elements(ruleset: Ruleset) -> int:
    return sum(len(contents.elements) for table in ruleset.tables for contents in table.maps)


def _rules(ruleset: Ruleset) -> int:
    return sum(len(chain.rules) for table in ruleset.tables for chain in table.chains)


def _of_endpoints(weights: dict[str, int]) -> Plan:
    """A plan of endpoints with policies of their own."""
    plans = [plan_of(weights, POLICIES, seed) for seed in range(ENDPOINTS)]
    names = [INTERFACE, *(f"eth{number}" for number in range(1, ENDPOINTS))]
    endpoints = [replace(plan.endpoints[0], name=name) for plan, name in zip(plans, names, strict=True)]
    return replace(plans[0], endpoints=tuple(endpoints), bindings=tuple(Binding(one, one, "named") for one in names))


@pytest.mark.parametrize(
    ("rules", "shared"), [(0, 1), (1, 1), (2, 2), (3, 4), (1000, 1024), (1024, 1024), (1025, 2048), (10_000, 16_384)]
)
def test_one_rule_more_seldom_changes_what_the_others_get(rules: int, shared: int) -> None:
    """The number of rules is told in powers of two."""
    assert CostModel().shared_by(rules).rules == shared


def test_every_rule_has_the_same_share_and_a_least_one() -> None:
    """Of a million rules each has few keys; of one, all."""
    few, many = CostModel(elements=1600).shared_by(4), CostModel(elements=1600).shared_by(1_000_000)

    assert (few.keys_of_rule, many.keys_of_rule) == (400, CostModel().keys_a_rule)
    assert CostModel(copies=8, repeated=64).shared_by(16).copies_of_rule == 4
    assert CostModel(copies=8, repeated=64).shared_by(64).copies_of_rule == 2
    assert CostModel(copies=0).shared_by(64).copies_of_rule == 0


@pytest.mark.parametrize("room", [2500, 4500])
def test_all_lists_together_write_out_no_more_than_the_budget(room: int) -> None:
    """Six endpoints with prefixes of many lengths and ranges: more is spent for more, and never beyond it."""
    plan = _of_endpoints({"any length": 3, "wide range": 2, "port": 1})
    costs = CostModel(
        rules_a_lookup=1, copies=0, shortened=0, shortened_inline=0, widened=1000, written_out_a_rule=100_000
    )

    without, within, unbounded = (
        compile_plan(plan, replace(costs, written_out=written_out)) for written_out in (0, room, 10_000_000)
    )

    assert 0 < _elements(within) - _elements(without) <= room
    assert _elements(unbounded) - _elements(without) > room
    for packet in packets(plan, 60):
        assert simulate(within, packet).accepted is explain(plan, packet).allowed, packet


def test_each_rule_adds_no_more_than_its_own_elements() -> None:
    """So elements grow as rules do, however much of the budget is left."""
    plan = plan_of({"any length": 3, "wide range": 2, "port": 1}, POLICIES)

    without, few, many = (
        _elements(compile_plan(plan, replace(EAGER, written_out_a_rule=room))) for room in (0, 4, 100_000)
    )

    assert 0 < few - without <= 4 * 2 * POLICIES
    assert many - without > 4 * 2 * POLICIES


def test_all_cells_together_repeat_no_more_rules_than_the_budget() -> None:
    """Ports beside a few rules for all of them: where there is no room for the copies, they are looked up otherwise."""
    plan = _of_endpoints({"port": 12, "deny net": 1})

    few, many = (compile_plan(plan, CostModel(repeated=repeated)) for repeated in (0, 10_000))

    assert _rules(few) < _rules(many) < _rules(few) + 10_000
    for packet in packets(plan, 60):
        for ruleset in (few, many):
            assert simulate(ruleset, packet).accepted is explain(plan, packet).allowed, packet
