"""Commands of objects that stay, which are taken from the script before and not written again."""

import pytest

from bench.inputs.mixtures import changed, plan_of
from hostfw.compile.ruleset import compile_plan
from hostfw.nft import object_text
from hostfw.nft.object_text import CommandCache, render


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
