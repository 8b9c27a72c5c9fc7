"""Rules that several endpoints have in common are laid out once, wherever each has policies of its own."""

from dataclasses import replace

import pytest

from bench.inputs.mixtures import missing_packets, packets, plan_of, with_logs
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout import common_ends
from hostfw.compile.layout.costs import DEFAULT_COSTS
from hostfw.compile.program import Allow, Condition, Program, ProgramRule
from hostfw.compile.ruleset import compile_plan
from hostfw.compile.table_builder import TableBuilder
from hostfw.explain.verdict import explain
from hostfw.model.plan import Binding, Plan, PlannedDirection, PlannedEndpoint
from hostfw.model.values import Direction
from hostfw.nft.objects import Ruleset
from hostfw.nft.simulate import simulate

SHARED = 200
_MIXTURES = (
    {"port": 1, "net": 1},
    {"port": 2, "net": 1, "pass": 1, "net and wide range": 1},
)


def _plan(endpoints: int, place: int, weights: dict[str, int], tiers: int = 2) -> Plan:
    """Endpoints with a policy of their own each, at a place among those that they share."""
    base = with_logs(plan_of(weights, SHARED + endpoints, tiers=tiers))
    first, *others = base.endpoints[0].ingress.tiers
    own, shared = first.policies[:endpoints], first.policies[endpoints:]
    made = []
    for number, policy in enumerate(own):
        tier = replace(first, policies=(*shared[:place], policy, *shared[place:]))
        made.append(PlannedEndpoint(f"eth{number}", PlannedDirection((tier, *others)), PlannedDirection()))
    bindings = tuple(Binding(one.name, one.name, "named") for one in made)
    return replace(base, endpoints=tuple(made), bindings=bindings)


def _size(ruleset: Ruleset) -> int:
    """The objects of a ruleset that are its weight: rules and elements."""
    (table, *_) = ruleset.tables
    return sum(len(one.rules) for one in table.chains) + sum(len(one.elements) for one in table.maps)


@pytest.mark.parametrize("place", [0, 60, SHARED])
def test_what_endpoints_share_is_not_copied(place: int) -> None:
    """A policy of its own may stand in front of the shared ones, among them or behind."""
    one, few, many = (_size(compile_plan(_plan(count, place, _MIXTURES[0]))) for count in (1, 4, 16))

    assert many - few < 12 * 64, (one, few, many)
    assert many < 3 * one, (one, few, many)


def test_what_endpoints_share_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in chains that are written, of which each more endpoint takes a few, and a change no more."""
    written = 0
    right = TableBuilder.chain

    def counted(*given: object) -> str:
        nonlocal written
        written += 1
        return right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(TableBuilder, "chain", counted)
    costs = []
    for count in (4, 16):
        written = 0
        compile_plan(_plan(count, 60, _MIXTURES[0]), cache=CompileCache())
        costs.append(written)

    assert costs[1] - costs[0] < 12 * 40, costs


@pytest.mark.parametrize("weights", _MIXTURES)
@pytest.mark.parametrize("place", [0, 1, 60, SHARED])
def test_each_endpoint_has_its_own_policies_and_those_that_it_shares(place: int, weights: dict[str, int]) -> None:
    """In their order, Pass, logs and staged policies among them: verdicts and counters."""
    plan = _plan(5, min(place, SHARED // 2), weights)
    asked = [*packets(plan, 40), *missing_packets(plan, 3)]
    rulesets = [compile_plan(plan, replace(DEFAULT_COSTS, shared_rules=least)) for least in (1, 48, 10_000)]

    for endpoint in plan.endpoints:
        for packet in (replace(one, in_interface=endpoint.name) for one in asked):
            outcomes = [simulate(ruleset, packet) for ruleset in rulesets]
            assert outcomes[0] == outcomes[1] == outcomes[2], (endpoint.name, packet)
            assert outcomes[0].accepted is explain(plan, packet).allowed
    assert any("shared-0/" in chain.name for chain in rulesets[0].tables[0].chains)
    assert not any("shared-0/" in chain.name for chain in rulesets[2].tables[0].chains)


def test_a_segment_that_a_pass_leaves_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: were it cut, the rules that a Pass skips would be met, and that would be seen."""
    monkeypatch.setattr(common_ends, "_passes", lambda _: False)

    with pytest.raises(AssertionError):
        test_each_endpoint_has_its_own_policies_and_those_that_it_shares(60, _MIXTURES[1])


def test_programs_that_are_too_short_are_compared_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand workloads with a few rules each share too little, however many they are."""
    compared = 0
    joined = common_ends._joined

    def counted(*given: object) -> bool:
        nonlocal compared
        compared += 1
        return joined(*given)  # type: ignore[arg-type]  # whatever it is given

    monkeypatch.setattr(common_ends, "_joined", counted)
    programs = [_program(size) for size in (10, 10, 10, 60, 60)]

    splits = common_ends.common_ends(programs, 48)

    assert compared == 1
    assert [split is None for split in splits] == [True, True, True, False, False]


def _program(size: int) -> Program:
    rules = (_RULE,) * size
    return Program(Direction.INGRESS, ((), rules))


_RULE = ProgramRule(Condition(), Allow("counter"))
