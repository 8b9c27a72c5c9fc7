"""Effective labels, and the index that evaluates selectors over many label sets."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.policy.effective_labels import effective_labels, index_labels, members, selected
from hostfw.selector.evaluate import Selector, canonical, matches, parse
from hostfw.selector.nodes import All, And, Comparison, Global, Has, In, Not, NotIn, Operator, Or
from tests.unit.builders.policy_builders import hep, profile

_LABELS = st.sampled_from(["a", "b", "c"])
_VALUES = st.sampled_from(["", "x", "xy", "yx", "z"])
_VALUE_SETS = st.frozensets(_VALUES, max_size=3)
_SELECTORS = st.recursive(
    st.one_of(
        st.just(All()),
        st.just(Global()),
        st.builds(Has, _LABELS),
        st.builds(Comparison, _LABELS, st.sampled_from(Operator), _VALUES),
        st.builds(In, _LABELS, _VALUE_SETS),
        st.builds(NotIn, _LABELS, _VALUE_SETS),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@given(_SELECTORS, st.lists(st.dictionaries(_LABELS, _VALUES), max_size=8))
def test_the_index_selects_what_matches_says(selector: Selector, label_sets: list[dict[str, str]]) -> None:
    """For any selector and any label sets, absent labels included."""
    expected = [place for place, labels in enumerate(label_sets) if matches(selector, labels)]

    assert list(members(selected(selector, index_labels(label_sets)))) == expected, canonical(selector)


@pytest.mark.parametrize("operator", [Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS])
def test_a_part_of_a_value_is_found_without_a_look_at_each(operator: Operator) -> None:
    """Thousands of rules that name sets by a part of a label, and as many sets: it took minutes."""
    count = 3_000
    index = index_labels({"a": f"v{number:05}v"} for number in range(count))
    before = process_time()

    for number in range(count):
        part = f"v{number:05}" if operator is Operator.STARTS_WITH else f"{number:05}v"
        assert selected(Comparison("a", operator, part), index) == 1 << number
    assert process_time() - before < 3


def test_an_empty_index_selects_nothing() -> None:
    """No label set, no member."""
    assert selected(parse("!has(a)"), index_labels([])) == 0


def test_own_labels_win_over_those_of_profiles_and_the_first_profile_over_the_next() -> None:
    """Labels of a profile fill what the endpoint leaves out."""
    profiles = {
        "one": profile("one", labels={"a": "one", "b": "one", "c": "one"}),
        "two": profile("two", labels={"b": "two", "c": "two", "d": "two"}),
    }

    assert effective_labels(hep("e", "eth0", labels={"a": "own"}, profiles=("one", "two")), profiles) == {
        "a": "own",
        "b": "one",
        "c": "one",
        "d": "two",
    }
