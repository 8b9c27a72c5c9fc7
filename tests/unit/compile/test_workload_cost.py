"""Cost of one workload that comes or goes: it does not depend on how many others there are.

In calls, which are the same on every machine: of policies that were planned, verdicts that were laid out, and rules
that were written. What differs in the ruleset is the three workloads that a policy of the changed one names.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from bench import workloads
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.compile.targets import Targets
from hostfw.nft import object_text
from hostfw.nft.objects import Ruleset
from hostfw.policy.resolve import directions

SIZES = (60, 180)


class _Calls:
    """The calls of what a change costs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number: Counter[str] = Counter()
        for of, name in ((directions, "_plan_policy"), (Targets, "_new_verdict"), (object_text, "rule_text")):
            monkeypatch.setattr(of, name, self._counted(name, getattr(of, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: object, **more: object) -> object:
            self.number[name] += 1
            return real(*given, **more)

        return counted


def _built(count: int, *, bridged: bool) -> tuple[Callable[[int], Ruleset], Callable[[], Ruleset]]:
    """Functions that build for so many workloads, without one of them and with all, with one cache."""
    candidate, cache = workloads.candidate(count, bridged=bridged), GenerationCache()

    def built(left_out: int) -> Ruleset:
        here = [workloads.workload(number) for number in range(count) if number != left_out]
        found = build(candidate, workloads.facts(here, bridged=bridged), cache)
        assert isinstance(found, Generation)
        return found.ruleset

    return built, lambda: built(-1)


@pytest.mark.parametrize("bridged", [True, False])
def test_one_workload_costs_the_same_among_few_and_many(bridged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One less, and one more."""
    calls, costs = _Calls(monkeypatch), []
    for count in SIZES:
        without, with_all = _built(count, bridged=bridged)
        with_all()
        for change in (partial(without, 7), with_all):
            calls.number.clear()
            change()
            costs.append(dict(calls.number))

    assert costs[:2] == costs[2:]
    assert max(one["_new_verdict"] for one in costs) <= 20, costs
    assert max(one["_plan_policy"] for one in costs) <= 6, costs


@pytest.mark.parametrize("bridged", [True, False])
def test_one_workload_changes_the_chains_of_three(bridged: bool) -> None:
    """Its own, and those of the two that its policy names: everything else in the ruleset is the same."""
    changed: list[int] = []
    for count in SIZES:
        without, with_all = _built(count, bridged=bridged)
        chains = {(table.family, chain.name) for table in with_all().tables for chain in table.chains}
        left = {(table.family, chain.name) for table in without(7).tables for chain in table.chains}
        changed.append(len(chains ^ left))

    assert changed[0] == changed[1], changed


@pytest.mark.parametrize("bridged", [True, False])
def test_the_script_of_the_boot_is_made_once(bridged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no workload, so that none of them changes it."""
    compiled: list[object] = []
    real = build.__globals__["compile_plan"]

    def noted(*given: object, **more: object) -> object:
        compiled.append(given)
        return real(*given, **more)

    monkeypatch.setitem(build.__globals__, "compile_plan", noted)
    without, with_all = _built(SIZES[0], bridged=bridged)
    with_all()
    assert len(compiled) == 2
    with_all()
    assert len(compiled) == 2

    without(7)

    assert len(compiled) == 3
