"""The recipes of the documentation do what their tables say, by the reference semantics and by the ruleset."""

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build
from hostfw.cli.explain.trace import step_text
from hostfw.cli.verbs.meaning.explain import deciders
from hostfw.explain.verdict import explain
from hostfw.model.sources import Source
from hostfw.nft.simulate import simulate
from tests.unit.project.documentation import ROOT
from tests.unit.project.recipes import DATA, Recipe, recipes

ALL = recipes()
LIST = "192.0.2.66\n"
"""The content of every file that a Feed names."""


def _generation(recipe: Recipe) -> Generation:
    candidate = check_candidate(
        recipe.configuration, (), lambda paths: (tuple(Source(path, LIST) for path in paths), ())
    )
    built = build(candidate, recipe.facts)
    assert isinstance(built, Generation), built
    return built


def test_every_recipe_has_machines_and_a_place_in_the_list() -> None:
    """No data is left of a page that went, and the list has all."""
    names = {recipe.name for recipe in ALL}
    listed = (ROOT / "docs/recipes/index.md").read_text()

    assert len(names) >= 9
    assert {path.stem for path in DATA.glob("*.yaml")} == names
    assert [name for name in names if f"({name}.md)" not in listed] == []


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_a_recipe_has_no_problems(recipe: Recipe) -> None:
    """Its files, copied as they stand to the host that it is for, get neither an error nor a warning."""
    assert [str(problem) for problem in _generation(recipe).warnings] == []


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_the_table_of_a_recipe_is_true(recipe: Recipe) -> None:
    """Each packet passes or is denied by what its row says, the ruleset agrees, and there are rows of both kinds."""
    generation = _generation(recipe)
    said = {str(row): (row.allowed, row.by) for row in recipe.rows}
    explained = {str(row): explain(generation.plan, recipe.packet(row)) for row in recipe.rows}

    # Counters have no order, so the tables name what is met on the way in to somebody first.
    texts = {row: sorted(map(step_text, deciders(each)), key=_is_egress) for row, each in explained.items()}
    found = {row: (each.allowed, ", ".join(texts[row])) for row, each in explained.items()}
    simulated = {str(row): simulate(generation.ruleset, recipe.packet(row)).accepted for row in recipe.rows}

    assert found == said
    assert simulated == {row: allowed for row, (allowed, _) in said.items()}
    assert set(simulated.values()) == {True, False}
    assert any(row.source is None for row in recipe.rows), "what does it say of packets that the host sends?"


def _is_egress(text: str) -> bool:
    return "ingress" not in text
