"""Elements, chains and rules that a compilation makes grow as the policies do, for each shape that was a cliff."""

from collections.abc import Mapping

import pytest

from bench.growth import GROWING
from bench.inputs.mixtures import plan_of
from bench.measuring.plot import Panel, svg
from hostfw.compile.ruleset import compile_plan


def _objects(weights: Mapping[str, int], count: int) -> tuple[int, int, int]:
    tables = compile_plan(plan_of(weights, count)).tables
    elements = sum(len(contents.elements) for table in tables for contents in table.maps)
    rules = sum(len(chain.rules) for table in tables for chain in table.chains)
    return elements, sum(len(table.chains) for table in tables), rules


@pytest.mark.parametrize("name", GROWING)
def test_elements_chains_and_rules_are_linear_in_policies(name: str) -> None:
    """Four times the policies are about four times as much of each, with lookups written out in others a bit more."""
    few, many = (_objects(GROWING[name], count) for count in (120, 480))

    for one, other in zip(few, many, strict=True):
        assert other <= 6 * max(one, 480), (few, many)


def test_a_plot_has_a_panel_for_each_measure_and_a_line_for_each_name() -> None:
    """A figure of 0 has no place on a logarithmic axis, and is left out."""
    text = svg("policies", (10, 100, 1000), [Panel("chains", {"a & b": (1, 10, 100), "c": (0, 5, 50)})])

    assert text.count("<polyline") == 2
    assert "a &amp; b" in text
    points = [line.split('"')[1].split() for line in text.splitlines() if line.startswith("<polyline")]
    assert [len(each) for each in points] == [3, 2]
