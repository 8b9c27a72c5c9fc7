"""The labels that a selector requires: whatever it selects has one of them, and most selectors require one."""

from itertools import chain, combinations, product

import pytest

from hostfw.policy.effective_labels import index_labels
from hostfw.selector.evaluate import matches, parse
from hostfw.selector.required_labels import RequiredLabels, required_labels

PARTS = (
    "all()",
    "global()",
    "has(a)",
    "!has(a)",
    "a == 'x'",
    "a == ''",
    "a != 'x'",
    "a contains ''",
    "a contains 'x'",
    "b starts with 'x'",
    "b ends with 'y'",
    "b in {'x', 'y'}",
    "b in {}",
    "b not in {'x'}",
    "!(b == 'x')",
)
SELECTORS = (
    *PARTS,
    *(f"{one} {operator} {other}" for (one, other), operator in product(combinations(PARTS, 2), ("&&", "||"))),
    *(f"({one} || {other}) && has(b)" for one, other in combinations(PARTS, 2)),
)
VALUES = (None, "", "x", "y", "xy")


@pytest.mark.parametrize("text", SELECTORS)
def test_what_is_selected_has_a_required_label(text: str) -> None:
    """Of every label set of two labels with these values."""
    selector = parse(text)
    required = required_labels(selector)
    for a, b in product(VALUES, VALUES):
        labels = {label: value for label, value in (("a", a), ("b", b)) if value is not None}
        if matches(selector, labels):
            assert required is None or not required.isdisjoint(index_labels([labels]).there), labels


REQUIRED = [
    ("a == 'x'", frozenset({("a", "x")})),
    ("a == 'x' && b == 'y' && has(c)", frozenset({("a", "x")})),
    ("b != 'x' && a in {'x', 'y'}", frozenset({("a", "x"), ("a", "y")})),
    ("a == 'x' || has(b)", frozenset({("a", "x"), ("b", None)})),
    ("a starts with 'x'", frozenset({("a", None)})),
    ("b in {} || a == 'x'", frozenset({("a", "x")})),
]


@pytest.mark.parametrize(("text", "required"), REQUIRED, ids=[text for text, _ in REQUIRED])
def test_it_requires_the_fewest_labels(text: str, required: RequiredLabels) -> None:
    """The fewest labels that one side of an `and` asks for, and those of both sides of an `or`."""
    assert required_labels(parse(text)) == required


def test_an_index_has_the_labels_of_all_its_sets() -> None:
    """With each value, and with None for any."""
    there = index_labels([{"a": "x"}, {"a": "y", "b": ""}]).there

    assert there == set(chain((("a", "x"), ("a", "y"), ("b", "")), (("a", None), ("b", None))))
