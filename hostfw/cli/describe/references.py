"""References to labels: the rules whose selectors select them."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from hostfw.cli.describe.description import Entry, Role
from hostfw.model.kinds.metadata import SelectorText
from hostfw.model.resources import Resources, Rule
from hostfw.model.values import Direction
from hostfw.selector.evaluate import matches, parse


def references_to(labels: Mapping[str, str], resources: Resources) -> Iterator[Entry]:
    """The rules, staged ones too, whose selectors select these labels, each with the criteria that do."""

    @cache
    def selects(text: str) -> bool:
        return matches(parse(text), labels)

    for title, rules in _rules(resources):
        for index, rule in enumerate(rules):
            criteria = [f"{name} {text.text}" for name, text in _selectors(rule) if selects(text.text)]
            if criteria:
                yield Entry(Role.RULE, f"{title}[{index}]", ", ".join(criteria), rule.position)


def _rules(resources: Resources) -> Iterator[tuple[str, Iterable[Rule]]]:
    """The rules of each policy and profile in each direction, under the name that log records give them."""
    staged = {id(one.policy) for one in resources.staged}
    for policy in resources.every_policy:
        mark = "staged " if id(policy) in staged else ""
        for direction in Direction:
            yield f"{mark}{policy.tier}/{policy.metadata.full_name} {direction}", policy.rules(direction)
    for profile in resources.profiles:
        for direction in Direction:
            yield f"profile/{profile.metadata.name} {direction}", profile.rules(direction)


def _selectors(rule: Rule) -> Iterator[tuple[str, SelectorText]]:
    """The selectors of a rule that restrict anything, by their names; one that is blank stands for every address."""
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        for name, selector in (("selector", entity.selector), ("notSelector", entity.not_selector)):
            if selector is not None and selector.text.strip(" \t"):
                yield f"{side}.{name}", selector
