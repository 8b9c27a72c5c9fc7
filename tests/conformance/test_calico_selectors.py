"""Calico's selector parser: what parses, what matches, and the canonical text."""

import pytest

from hostfw.selector.evaluate import SelectorError, canonical, matches, parse
from tests.conformance.calico_data import table


def test_every_selector_matches_the_labels_that_calico_says() -> None:
    """98 evaluations."""
    cases = table("selectors_valid")["cases"]

    wrong = [case for case in cases if matches(parse(case["selector"]), case["labels"]) is not case["match"]]

    assert len(cases) == 98
    assert wrong == []


def test_every_selector_that_calico_parses_parses_and_reads_back_from_its_canonical_text() -> None:
    """Canonicalising twice changes nothing."""
    texts = table("selectors_valid")["parse_only"]

    for text in texts:
        once = canonical(parse(text))

        assert canonical(parse(once)) == once


def test_every_canonical_text_is_calicos() -> None:
    """Spelling, order of sets, parentheses and quotes."""
    cases = table("selectors_canonical")["cases"]

    wrong = [case for case in cases if canonical(parse(case["input"])) != case["canonical"]]

    assert len(cases) == 17
    assert wrong == []


def test_selectors_differ_from_calicos_prefixed_ones_by_the_prefix_alone() -> None:
    """The table of its label visitor: the canonical text of every kind of node."""
    for case in table("selectors_canonical")["label_prefix_visitor"]:
        assert canonical(parse(case["in"])) == case["out"].replace(case["prefix"], "")


def test_every_selector_that_calico_refuses_is_refused() -> None:
    """Bad syntax, unfinished strings and labels that are too long."""
    for case in table("selectors_invalid")["cases"]:
        with pytest.raises(SelectorError):
            parse(case["selector"])
