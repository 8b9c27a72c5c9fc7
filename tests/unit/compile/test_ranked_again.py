"""Lists found by lookups, compiled again after changes: what a fresh compile gives, written for what changed."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from bench.inputs.mixtures import SHAPES, changed, drawn_mixture, plan_of
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.ranking.lookups import Lookups
from hostfw.compile.ruleset import compile_plan
from hostfw.model.plan import Plan, PlannedDirection, PlannedPolicy


def _policies(plan: Plan) -> list[PlannedPolicy]:
    return list(plan.endpoints[0].ingress.tiers[0].policies)


def _with(plan: Plan, policies: list[PlannedPolicy]) -> Plan:
    (endpoint,) = plan.endpoints
    first, *others = endpoint.ingress.tiers
    tiers = (replace(first, policies=tuple(policies)), *others)
    return replace(plan, endpoints=(replace(endpoint, ingress=PlannedDirection(tiers)),))


def _edits(plan: Plan, random: Random) -> Iterator[Plan]:
    """The plan after one edit after the other: policies that are others, gone, back, moved, and none of the above."""
    whole = _policies(plan)
    for number in random.sample(range(len(whole)), 2):
        yield (plan := changed(plan, number))
    place = random.randrange(len(whole) - 8)
    yield (plan := _with(plan, _policies(plan)[:place] + _policies(plan)[place + random.randint(1, 8) :]))
    yield (plan := _with(plan, [*_policies(plan)[-2:], *_policies(plan)[:-2]]))
    yield (plan := _with(plan, whole))
    yield (plan := _with(plan, whole[: len(whole) // 2]))
    yield _with(plan, whole)


@pytest.mark.parametrize("seed", [0, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))])
def test_a_mixture_that_was_edited_is_what_it_is_afresh(seed: int) -> None:
    """Rules that come, go and move leave no trace in what is written next."""
    random, cache = Random(seed), CompileCache()
    plan = drawn_mixture(seed).plan(200)
    compile_plan(plan, cache=cache)
    for number, other in enumerate(_edits(plan, random)):
        assert compile_plan(other, cache=cache) == compile_plan(other), number


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_was_edited_is_what_it_is_afresh(shape: str) -> None:
    """The same of each shape alone, and of what a set is that all rules share."""
    random, cache = Random(shape), CompileCache()
    plan = plan_of({shape: 1}, 96)
    compile_plan(plan, cache=cache)
    for number, other in enumerate(_edits(plan, random)):
        assert compile_plan(other, cache=cache) == compile_plan(other), number


def test_one_rule_costs_the_keys_that_it_stands_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all shapes together, behind a few keys another chain is written for one rule, and not behind the others."""
    written = 0
    right = Lookups._cover

    def counted(*given: object) -> object:
        nonlocal written
        written += 1
        return right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Lookups, "_cover", counted)
    plan, cache = plan_of(dict.fromkeys(SHAPES, 1), 2000), CompileCache()
    compile_plan(plan, cache=cache)
    fresh, written = written, 0

    compile_plan(changed(plan, 1000), cache=cache)

    assert fresh > 10_000
    assert written < fresh / 20, (written, fresh)
