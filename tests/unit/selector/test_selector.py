"""Selectors: the grammar beyond Calico's own cases, and what its mistakes are told."""

import pytest

from hostfw.selector.evaluate import SelectorError, canonical, matches, parse
from hostfw.selector.nodes import (
    All,
    And,
    Comparison,
    Global,
    Has,
    In,
    Not,
    NotIn,
    Operator,
    Or,
    Selector,
)

A_IS_B = Comparison("a", Operator.EQUALS, "b")
HAS_C = Has("c")

TREES: list[tuple[str, Selector]] = [
    ("", All()),
    (" \t ", All()),
    ("all( )", All()),
    ("global(\t)", Global()),
    ("has( a )", Has("a")),
    ("a=='b'", A_IS_B),
    ('-a != ""', Comparison("-a", Operator.DIFFERS, "")),
    (".x/y_z.-1 contains 'b'", Comparison(".x/y_z.-1", Operator.CONTAINS, "b")),
    ("a contains'b'", Comparison("a", Operator.CONTAINS, "b")),
    ("a startswith 'b'", Comparison("a", Operator.STARTS_WITH, "b")),
    ("a starts \t with'b'", Comparison("a", Operator.STARTS_WITH, "b")),
    ("a ends with 'b'", Comparison("a", Operator.ENDS_WITH, "b")),
    ("a endswith 'b'", Comparison("a", Operator.ENDS_WITH, "b")),
    ("a in{'b'}", In("a", frozenset("b"))),
    ("a in { }", In("a", frozenset())),
    ("a in {'b', \"c\",}", In("a", frozenset("bc"))),
    ("a not  in {'b','b'}", NotIn("a", frozenset("b"))),
    ("a notin{'b'}", NotIn("a", frozenset("b"))),
    ("in in {'x'}", In("in", frozenset("x"))),
    ("not not in {'x'}", NotIn("not", frozenset("x"))),
    ("has == 'x'", Comparison("has", Operator.EQUALS, "x")),
    ("all == 'x'", Comparison("all", Operator.EQUALS, "x")),
    ("global contains 'x'", Comparison("global", Operator.CONTAINS, "x")),
    ("contains contains 'x'", Comparison("contains", Operator.CONTAINS, "x")),
    ("starts starts with 'with'", Comparison("starts", Operator.STARTS_WITH, "with")),
    ("a == 'b\n\\'", Comparison("a", Operator.EQUALS, "b\n\\")),
    ("a == 'ü'", Comparison("a", Operator.EQUALS, "ü")),
    ("!a == 'b'", Not(A_IS_B)),
    ("!!a == 'b'", A_IS_B),
    ("! ! !has(c)", Not(HAS_C)),
    ("a == 'b' && has(c) && has(c)", And((A_IS_B, HAS_C, HAS_C))),
    ("has(c)||a=='b'&&has(c)", Or((HAS_C, And((A_IS_B, HAS_C))))),
    ("!has(c) && a == 'b'", And((Not(HAS_C), A_IS_B))),
    ("!(has(c) || a == 'b')", Not(Or((HAS_C, A_IS_B)))),
    ("((a == 'b'))", A_IS_B),
    ("(has(c) && has(c)) && a == 'b'", And((And((HAS_C, HAS_C)), A_IS_B))),
]


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_a_selector_parses_to_its_tree(text: str, tree: Selector) -> None:
    """Precedence, blanks, quotes, and operator words that are labels."""
    assert parse(text) == tree


VALUES: list[tuple[str, dict[str, str], bool]] = [
    ("a != 'b'", {}, True),
    ("a not in {'b'}", {}, True),
    ("a == ''", {}, False),
    ("a in {''}", {}, False),
    ("a contains ''", {}, False),
    ("a contains ''", {"a": ""}, True),
    ("a starts with ''", {"a": "x"}, True),
    ("a ends with ''", {}, False),
    ("a in {}", {"a": ""}, False),
    ("a not in {}", {"a": ""}, True),
    ("a == 'B'", {"a": "b"}, False),
    ("a starts with 'ab'", {"a": "abc"}, True),
    ("a ends with 'ab'", {"a": "abc"}, False),
    ("!has(a)", {}, True),
    ("has(a) && (has(b) || has(c))", {"a": "", "c": ""}, True),
    ("has(a) && has(b) || has(c)", {"a": ""}, False),
    ("global()", {"projectcalico.org/namespace": "x"}, True),
]


@pytest.mark.parametrize(("text", "labels", "expected"), VALUES)
def test_a_selector_selects_label_sets(text: str, labels: dict[str, str], expected: bool) -> None:
    """Above all where the label is absent."""
    assert matches(parse(text), labels) is expected


CANONICAL = [
    ("!!!has(a)", "!has(a)"),
    ("!(!has(a))", "has(a)"),
    ("!(!!(!(has(a) || has(b))))", "(has(a) || has(b))"),
    ("a=='b'&&c=='d'||e=='f'", '((a == "b" && c == "d") || e == "f")'),
    ("a notin {'b'}", 'a not in {"b"}'),
    ("a in {}", "a in {}"),
    ("(has(a) && has(b)) && has(c)", "((has(a) && has(b)) && has(c))"),
    ("a startswith '\"'", "a starts with '\"'"),
]


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_the_canonical_text_forgets_spelling(text: str, expected: str) -> None:
    """And nothing else."""
    assert canonical(parse(text)) == expected


OPERAND = "a label, has(label), all(), ! or ("
OPERATOR = "one of ==, !=, in, not in, contains, starts with, ends with"

MISTAKES = [
    ("a == 'b'\n", 8, "a line break between words; only spaces and tabs may stand there",
     "the selector on one line, or folded with >-"),
    ("a = 'b'", 2, 'a single "="', "=="),
    ("a == 'b' & has(c)", 9, 'a single "&"', "&&"),
    ("a == 'b' and has(c)", 9, '"and" does not join operands', "&&"),
    ("a == 'b' or has(c)", 9, '"or" does not join operands', "||"),
    ("a == 'b' has(c)", 9, '"has" stands after a complete operand', "&&, || or the end"),
    ("a == 'b')", 8, '")" stands after a complete operand', "&&, || or the end"),
    ("a == b", 5, '"b" stands where a value should be', "'b'"),
    ("a == ", 5, "the selector ends where a value should be", "a quoted string"),
    ("a == 'b", 5, "this quote is never closed", "another '"),
    ("a like 'b'", 2, '"like" is no operator', OPERATOR),
    ("a", 1, 'the selector ends where the label "a" needs an operator', OPERATOR),
    ("has (a)", 4, '"(" stands where the label "has" needs an operator', OPERATOR),
    ("all ()", 4, '"(" stands where the label "all" needs an operator', OPERATOR),
    ("has('a')", 4, "'a' stands where has( needs a label", "a label without quotes"),
    ("has(a", 5, "the selector ends where has(label should end", ")"),
    ("all(a)", 4, '"a" stands where a closing parenthesis should be; this call takes nothing', ")"),
    ("'a' == 'b'", 0, "a quoted string cannot stand here; labels are written without quotes", OPERAND),
    ("a in 'b'", 5, "'b' stands where a set of values should begin", "{'a', 'b'}"),
    ("a in {,'b'}", 6, '"," stands where a value should be', "a quoted string"),
    ("a in {'b',,}", 10, '"," stands where a value should be', "a quoted string"),
    ("a in {'b' 'c'}", 10, "'c' stands within a set of values", ", or }"),
    ("a in {b}", 6, '"b" stands where a value should be', "'b'"),
    ("ü == 'b'", 0, 'the character "ü" has no meaning here', OPERAND),
    ("has(a) &&", 9, "the selector ends where an operand should be", OPERAND),
    ("(has(a) b", 8, '"b" stands after a complete operand', "&&, || or the end"),
    ("(has(a)", 0, "this parenthesis is never closed", ")"),
    (f"{'x' * 513} == 'b'", 0, "a label of 513 characters", "at most 512"),
    (f"{'(' * 65}has(a){')' * 65}", 64, "parentheses nest deeper than 64", ""),
    ("has(a) || has(b) && (" * 32 + "has(c) && has(d)" + ")" * 32, 0, "&& and || nest deeper than 64", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "offset", "message", "expected"), MISTAKES)
def test_a_mistake_is_told_where_it_is_and_what_could_stand_there(
    text: str, offset: int, message: str, expected: str
) -> None:
    """The offset counts characters from 0."""
    with pytest.raises(SelectorError) as caught:
        parse(text)

    assert (caught.value.offset, caught.value.message, caught.value.expected) == (offset, message, expected)


def test_parentheses_nest_to_the_limit_and_negations_without_one() -> None:
    """The limit keeps the recursion far from Python's own."""
    assert parse("(" * 64 + "has(a)" + ")" * 64) == Has("a")
    assert parse("!" * 1001 + "has(a)") == Not(Has("a"))


def test_the_canonical_text_of_the_deepest_selector_parses() -> None:
    """It has parentheses where the text needed none."""
    deepest = parse("has(a) || has(b) && (" * 32 + "has(c)" + ")" * 32)

    assert canonical(parse(canonical(deepest))) == canonical(deepest)
