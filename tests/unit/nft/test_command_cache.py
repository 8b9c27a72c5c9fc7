"""Commands of objects that stay, which are taken from the script before and not written again."""

from collections.abc import Sequence
from random import Random

import pytest

from bench.inputs.mixtures import changed, plan_of
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.ruleset import compile_plan
from hostfw.model.values import Family
from hostfw.nft import object_text, rule_text
from hostfw.nft.object_text import CommandCache, render
from hostfw.nft.objects import Chain, Element, Ruleset, Table
from hostfw.nft.rule_text import elements_text
from hostfw.nft.rules import CounterRef, Rule


def test_a_script_is_the_same_with_the_commands_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has come and gone, and few rules are written for one that is another."""
    written = 0
    right = object_text.rules_text

    def counted(*given: object) -> str:
        nonlocal written
        written += 1
        return right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(object_text, "rules_text", counted)
    plan, cache = plan_of({"net and port": 3, "port": 1}, 200), CommandCache()
    rulesets = [compile_plan(each) for each in (plan, changed(plan, 100), changed(plan, 7), plan)]
    first = render(rulesets[0], cache)
    fresh, written = written, 0

    scripts = [render(ruleset, cache) for ruleset in rulesets]

    assert first == scripts[0]
    assert 0 < written < fresh, (written, fresh)
    assert scripts == [render(ruleset) for ruleset in rulesets]


def test_few_elements_are_written_for_a_rule_that_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map has the text of each element that the one before it had with the same verdict."""
    written = 0
    right = rule_text.keys_text

    def counted(keys: Sequence[Element], *given: object, **named: object) -> object:
        nonlocal written
        written += len(keys)
        return right(keys, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(rule_text, "keys_text", counted)
    plan, cache = plan_of({"net and port": 3, "port": 1}, 1000), CompileCache()
    compile_plan(plan, cache=cache)
    fresh, written = written, 0

    again = compile_plan(changed(plan, 500), cache=cache)

    assert fresh >= 1000
    assert written < fresh / 8, (written, fresh)
    for table in again.tables:
        for contents in table.maps:
            assert contents.text == elements_text(contents, table.family), contents.name


def test_commands_next_to_each_other_are_one_text() -> None:
    """Of a script of which a few chains have changed, the rest is taken in as many pieces as lie between them."""
    plan, cache = plan_of({"net and port": 3, "port": 1}, 1000), CommandCache()
    before, after = (compile_plan(each) for each in (plan, changed(plan, 500)))
    render(before, cache)
    (table, *_) = after.tables
    new = {chain.name for chain in table.chains} - {chain.name for chain in before.tables[0].chains}

    pieces = cache.all_of(table.family, table.chains, object_text._chain_command)

    assert len(table.chains) > 1000
    assert len(pieces) <= 3 * len(new) + 1, (len(pieces), len(new))


@pytest.mark.parametrize("seed", range(6))
def test_chains_that_come_and_go_at_random_are_written_as_afresh(seed: int) -> None:
    """Few or hundreds of them, at the ends or between others, with rules or without."""
    random, cache = Random(seed), CommandCache()
    every = [
        Chain(f"c{number:04}", tuple(Rule((), (CounterRef(f"k{number}"),)) for _ in range(number % 3)))
        for number in range(1200)
    ]
    there = set(random.sample(range(len(every)), random.choice((0, 5, 600))))
    for _ in range(12):
        ruleset = Ruleset((Table(Family.V4, chains=tuple(every[number] for number in sorted(there))),))
        script = render(ruleset, cache)
        assert script == render(ruleset)
        asked = random.sample(every, 20)
        assert cache.of(Family.V4, asked, object_text._chain_command) == [
            object_text._chain_command(chain, Family.V4) for chain in asked
        ]
        first = random.randrange(len(every))
        some = set(range(first, min(first + random.choice((1, 3, 200)), len(every))))
        there = there | some if random.random() < 0.6 else there - some
