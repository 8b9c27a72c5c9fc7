"""Bounds of what a packet costs: no packet pays more, and they do not grow with policies that are looked up."""

import pytest

from bench.inputs.mixtures import INTERFACE, drawn_mixture, missing_packets, packets, plan_of
from hostfw.compile.layout.costs import CostModel
from hostfw.compile.ruleset import compile_plan
from hostfw.model.values import Family
from hostfw.nft.objects import Hook
from hostfw.nft.simulate import effort
from hostfw.nft.worst_packet import Cost, worst_packet

_LIST = CostModel(linear_rules=100_000)


@pytest.mark.parametrize("seed", range(8))
def test_no_packet_pays_more_than_the_bound(seed: int) -> None:
    """Of mixtures of all kinds, as lookups and as a list, whatever mark another program gave it."""
    mixture = drawn_mixture(seed)
    plan = mixture.plan(150)
    for costs in (CostModel(), _LIST):
        ruleset = compile_plan(plan, costs)
        table = next(table for table in ruleset.tables if table.family is mixture.family)
        worst = worst_packet(table, Hook.INPUT, INTERFACE)
        for packet in (*packets(plan, 40, seed), *missing_packets(plan, 2)):
            found = effort(ruleset, packet)
            assert Cost(found.lookups, found.rules).ns <= worst.cost.ns <= worst.marked.ns


def test_the_bound_is_flat_and_names_lists() -> None:
    """Ten times the policies are the same bound where they are looked up, and ten times the bound in a list."""
    small, big = (compile_plan(plan_of({"port": 1, "net": 1}, count)).tables[0] for count in (100, 1000))
    as_list = compile_plan(plan_of({"port": 1, "net": 1}, 1000), _LIST).tables[0]

    few, many, listed = (worst_packet(table, Hook.INPUT, INTERFACE) for table in (small, big, as_list))

    assert many.cost.ns <= few.cost.ns + 100
    assert many.marked.rules > 1000
    assert not many.lists
    assert listed.cost.rules > 1000
    assert [rules for _, rules in listed.lists if rules > 900]


def test_rules_of_another_interface_are_not_counted() -> None:
    """Packets of an interface that no endpoint governs meet none of them."""
    table = next(table for table in compile_plan(plan_of({"net": 1}, 500), _LIST).tables if table.family is Family.V4)

    assert (
        worst_packet(table, Hook.INPUT, "eth9").cost.rules < 30 < worst_packet(table, Hook.INPUT, INTERFACE).cost.rules
    )
