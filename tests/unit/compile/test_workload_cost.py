"""Cost of one workload that comes or goes: it does not depend on how many others there are.

In calls, which are the same on every machine: of selectors that were evaluated, policies that were planned, verdicts
that were laid out, and rules that were written. What differs in the ruleset is the three workloads that a policy of the
changed one names.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from bench import workloads
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.compile.targets import Targets
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.packets.packet import Packet
from hostfw.model.values import FAMILIES, UDP, Family
from hostfw.nft import change as nft_change
from hostfw.nft import object_text
from hostfw.nft.installed import InstalledTable, as_installed
from hostfw.nft.objects import Ruleset
from hostfw.nft.simulate import effort
from hostfw.nft.worst_packet import Cost
from hostfw.policy.resolve import address_book, directions

SIZES = (40, 120)
MANY = 600
"""More than one map of a dispatch has."""


class _Calls:
    """The calls of what a change costs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number: Counter[str] = Counter()
        counted = (
            (address_book, "selected"),
            (directions, "_plan_policy"),
            (Targets, "_new_verdict"),
            (object_text, "rule_text"),
        )
        for of, name in counted:
            monkeypatch.setattr(of, name, self._counted(name, getattr(of, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: object, **more: object) -> object:
            self.number[name] += 1
            return real(*given, **more)

        return counted


def _built(count: int, *, bridged: bool) -> tuple[Callable[[int], Ruleset], Callable[[], Ruleset]]:
    """Functions that build for so many workloads, without one of them and with all, with one cache.

    Those whose files are the same are the very same, as their reader has it.
    """
    candidate, cache = workloads.candidate(count, bridged=bridged), GenerationCache()
    every = [workloads.workload(number) for number in range(count)]

    def built(left_out: int) -> Ruleset:
        here = [one for number, one in enumerate(every) if number != left_out]
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
    assert max(one["selected"] for one in costs) <= 12, costs


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
def test_the_text_of_one_workload_is_bounded_by_its_part(bridged: bool) -> None:
    """Sent for one less or one more among many: one map of all of them is thirty thousand characters."""
    without, with_all = _built(MANY, bridged=bridged)
    rulesets = with_all(), without(17), with_all()

    assert max(_sent(one, other) for one, other in pairwise(rulesets)) <= MOST_TEXT


MOST_TEXT = 120_000
"""The characters of what is sent for one workload, of both families."""


def _sent(before: Ruleset, after: Ruleset) -> int:
    """The characters of what prepares the change from a ruleset to another."""
    names = (
        InstalledTable(
            table.family,
            frozenset(table.counters),
            frozenset(one.name for one in table.sets),
            frozenset(one.name for one in table.maps),
            frozenset(one.name for one in table.chains),
            {chain.name: as_installed(chain) for chain in table.base_chains},
        )
        for table in before.tables
    )
    return len(nft_change.change(after, tuple(names)).prepare)


@pytest.mark.parametrize("bridged", [True, False])
def test_the_script_of_the_boot_is_made_once(bridged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no workload, so that none of them changes it."""
    compiled: list[object] = []
    real = build.__globals__["compile_plan"]

    def noted(*given: object, **more: object) -> object:
        compiled.append(given)
        return real(*given, **more)

    monkeypatch.setitem(build.__globals__, "compile_plan", noted)
    candidate, cache = workloads.candidate(SIZES[0], bridged=bridged), GenerationCache()
    every = [workloads.workload(number) for number in range(SIZES[0])]
    facts = [workloads.facts(here, bridged=bridged) for here in (every, every[:7] + every[8:])]
    generations = [build(candidate, facts[number], cache) for number in (0, 1, 0)]
    assert len(compiled) == 3, "packets do not wait for it"
    first, second, again = (one.script for one in generations if isinstance(one, Generation))

    assert len(compiled) == 4
    assert first is second is again
    assert "w0001" not in first
    assert generations[0] == build(candidate, facts[0])
    assert generations[0] != generations[1]


@pytest.mark.parametrize("bridged", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_packet_is_looked_up_as_often_among_many(family: Family, bridged: bool) -> None:
    """Between two workloads, to one that denies it, to the host, and from it: ten, and forty times as many.

    Which part of many a workload is in is looked up first.
    """
    few, as_many, many = (_efforts(count, family, bridged=bridged) for count in (10, 100, 400))

    assert few == as_many
    assert max(many) <= MOST_NS, many
    # Of what a packet takes in all its rules are a tenth.
    assert all(more <= 1.5 * less for less, more in zip(few, many, strict=True)), (few, many)


MOST_NS = 1500
"""The estimate of what the rules of a new packet between two workloads take, with all of its hooks."""


def _efforts(count: int, family: Family, *, bridged: bool) -> list[int]:
    """Estimated nanoseconds of packets among so many workloads, by lookups and rules."""
    workloads_of = [workloads.workload(number) for number in range(count)]
    built = build(workloads.candidate(count, bridged=bridged), workloads.facts(workloads_of, bridged=bridged))
    assert isinstance(built, Generation)
    zero, one, other = (_end(workloads_of[number], family, bridged=bridged) for number in (0, 1, 5))
    host = (255 << family.bits - 8, None)
    costs = []
    for (source, way_in), (destination, way_out) in ((one, zero), (one, other), (one, host), (host, zero)):
        packet = Packet(family, UDP.number, source, destination, 40000, 80, None, None, 64, way_in, way_out)
        spent = effort(built.ruleset, packet)
        costs.append(Cost(spent.lookups, spent.rules).ns)
    return costs


def _end(workload: WorkloadEndpoint, family: Family, *, bridged: bool) -> tuple[int, str | None]:
    """The address of a workload, and the interface at which the host meets it."""
    (address,) = (net.address for net in workload.networks if net.family is family)
    return address, workloads.BRIDGE if bridged else workload.interface_name
