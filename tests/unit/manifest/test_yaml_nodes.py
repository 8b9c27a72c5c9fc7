"""YAML to nodes: what a plain scalar is, where things stand, and what is refused before any resource is looked at."""

import pytest
import yaml

from hostfw.manifest.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence, documents, plain_kind
from hostfw.model.problems import Problem
from hostfw.model.sources import Source
from tests.unit.builders.policy_texts import said

KINDS = [
    (ScalarKind.NULL, ("", "~", "null", "Null", "NULL")),
    (ScalarKind.BOOLEAN, ("true", "True", "FALSE", "yes", "No", "on", "OFF")),
    (ScalarKind.INTEGER, ("0", "-1", "+5", "1_000", "0x1F", "0b11", "017", "00")),
    (ScalarKind.NUMBER, ("1.5", "-0.5", "1.", ".5", "1.5e+3", ".inf", "-.Inf", ".nan")),
    (ScalarKind.STRING, ("a", "y", "N", "nULL", "tRUE", "20:25", "2024-01-01", "10.0.0.1", "10.0.0.0/8", "::1", "1e3")),
    (ScalarKind.STRING, ("-", "--1", "0x", "0o17", "1.2.3", "12e34", "=", "08x", "1 2", "+", ".", "..", "-.")),
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KINDS for text in texts])
def test_a_plain_scalar_is_what_calicoctl_takes_it_for(kind: ScalarKind, text: str) -> None:
    """Apart from what PyYAML would write as a string."""
    assert plain_kind(text) is kind


def test_nodes_know_where_they_begin_and_whether_they_were_quoted() -> None:
    """In block and flow style, behind comments, wide characters and a byte order mark."""
    text = "\ufeff# 注\nä: [1, '2']\nb:\n  - |\n    c\n  - {d: \"e\"}\n"

    (root,), problems = _read(text)

    assert _shape(root) == {
        "at": "2:1",
        "ä 2:1 plain": {"at": "2:4", "items": ["1 2:5 plain", "2 2:8 quoted"]},
        "b 3:1 plain": {"at": "4:3", "items": ["c\n 4:5 quoted", {"at": "6:5", "d 6:6 plain": "e 6:9 quoted"}]},
    }
    assert problems == []


def test_a_byte_order_mark_within_a_file_is_pointed_at() -> None:
    """Files that were put together may each begin with one, which would hide in a key."""
    roots, problems = _read("\ufeffa: 1\r\n---\r\n\ufeffb: 2\r\n")

    assert roots == []
    (problem,) = problems
    assert said(problem).startswith(
        "3:1 the line begins with a byte order mark, U+FEFF, which nobody sees; expected one at "
    )
    assert problem.hint == r"remove it: sed -i 's/^\xef\xbb\xbf//' a.yaml"


def test_documents_come_one_by_one_without_the_empty_ones() -> None:
    """Separators, comments and explicit nulls make no resource."""
    roots, problems = _read("---\n---\n# nothing\n---\na: 1\n---\nnull\n---\n[b]\n...\n")

    assert [type(root) for root in roots] == [Mapping, Sequence]
    assert problems == []


def test_an_alias_is_the_node_of_its_anchor() -> None:
    """Within one document."""
    (root,), problems = _read("a: &x [1]\nb: *x\nc: &y 2\nd: *y\n")

    assert isinstance(root, Mapping)
    values = [value for _, value in root.pairs()]
    assert values[0] is values[1]
    assert values[2] is values[3]
    assert problems == []


def test_a_string_tag_makes_a_string() -> None:
    """Whatever the value looks like."""
    (root,), problems = _read("[!!str 5, ! true]")

    assert isinstance(root, Sequence)
    assert all(isinstance(item, Scalar) and not item.plain for item in root.items)
    assert problems == []


INDENTATION = "check the indentation of this line and those above it"
BEGAN = "that begins on line 1"

NO_YAML = [
    ("a:\n\tb: 1", "2:1", "a tab in the indentation; expected spaces", "YAML is indented with spaces only"),
    ("a: @b", "1:4", 'no value can begin with "@"', "quote the value"),
    (
        "a: b: c",
        "1:5",
        "not valid YAML: mapping values are not allowed in this context",
        "quote a value that holds ': '",
    ),
    (
        "a: [1, 2\nb: 3\n",
        "2:2",
        f"not valid YAML: did not find expected ',' or ']' while parsing a flow sequence {BEGAN}",
        "a bracket that was opened above is not closed",
    ),
    (
        "a: 'b\n",
        "2:1",
        f"not valid YAML: found unexpected end of stream while scanning a quoted scalar {BEGAN}",
        "a quote that was opened above is not closed",
    ),
    (
        'a: "\\d"',
        "1:5",
        "not valid YAML: found unknown escape character while parsing a quoted scalar",
        "use single quotes where backslashes stand for themselves",
    ),
    (
        "a:\n  b: 1\n c: 2\n",
        "3:2",
        f"not valid YAML: did not find expected key while parsing a block mapping {BEGAN}",
        INDENTATION,
    ),
    (
        "a: [1",  # libyaml takes the end for the beginning of another line
        "1:6",
        "not valid YAML: did not find expected ',' or ']' while parsing a flow sequence",
        "a bracket that was opened above is not closed",
    ),
]


@pytest.mark.parametrize(("text", "where", "message", "hint"), NO_YAML)
def test_what_is_no_yaml_is_told_with_what_may_be_the_reason(text: str, where: str, message: str, hint: str) -> None:
    """Line and column as an editor counts them."""
    _, problems = _read(text)

    assert [said(problem) for problem in problems] == [f"{where} {message}; hint: {hint}"]


TAGGED = "is not supported; expected a value without a tag, or !!str"

REFUSED = [
    ("a: 1\nb: x\x07y", "2:5 the character U+0007 may not stand in YAML"),
    ("ä\n\udcff", "2:1 the character U+DCFF may not stand in YAML"),
    ("a: *b", "1:4 the alias *b has no anchor; expected &b earlier in the same document"),
    ("a: &b 1\n---\nc: *b", "3:4 the alias *b has no anchor; expected &b earlier in the same document"),
    ("a: &b [*b]", "1:8 the alias *b stands within its own anchor"),
    ("a: !!int 5", f"1:4 the tag !!int {TAGGED}"),
    ("a: !vault x", f"1:4 the tag !vault {TAGGED}"),
    ("a: !!map {}", f"1:4 the tag !!map {TAGGED}"),
    ("[" * 65, "1:65 collections nest deeper than 64"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_what_yaml_allows_and_hostfw_does_not_is_refused_in_place(text: str, expected: str) -> None:
    """Characters, aliases, tags and depth."""
    _, problems = _read(text)

    assert [said(problem) for problem in problems] == [expected]


def test_documents_before_a_mistake_are_still_read() -> None:
    """So that their own mistakes are said in the same run."""
    roots, problems = _read("a: 1\n---\nb: [\n")

    assert len(roots) == 1
    assert len(problems) == 1


def test_aliases_cannot_stand_for_billions_of_nodes() -> None:
    """Nine lines of nine aliases each would be 387 million."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]

    _, problems = _read("\n".join(lines))

    assert [said(problem) for problem in problems] == [
        "6:10 the aliases of this file repeat too much; expected at most 100000 nodes"
    ]


def test_a_file_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no file takes all memory."""
    monkeypatch.setattr("hostfw.manifest.yaml.nodes.TEXT_LIMIT", 5)

    assert _read("a: 12")[1] == []
    assert [said(problem) for problem in _read("a: 123")[1]] == ["1:1 the file has 6 characters; expected at most 5"]


def test_pyyamls_own_parser_gives_the_same_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be built without libyaml."""
    text = "a: &x [1, '2']\nb:\n  - *x\n  - !!str 3\n  - |\n    c\n"
    (expected,), _ = _read(text)

    monkeypatch.setattr("hostfw.manifest.yaml.nodes._LOADER", yaml.SafeLoader)
    (root,), problems = _read(text)

    assert _shape(root) == _shape(expected)
    assert problems == []


def _read(text: str) -> tuple[list[Node], list[Problem]]:
    problems: list[Problem] = []
    return list(documents(Source("a.yaml", text), problems)), problems


def _shape(node: Node) -> object:
    """A tree as plain data, with positions."""
    at = f"{node.mark.line + 1}:{node.mark.column + 1}"
    if isinstance(node, Scalar):
        return f"{node.text} {at} {'plain' if node.plain else 'quoted'}"
    if isinstance(node, Sequence):
        return {"at": at, "items": [_shape(item) for item in node.items]}
    return {"at": at} | {str(_shape(key)): _shape(value) for key, value in node.pairs()}


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
def test_what_yaml_alone_calls_the_end_of_a_line_shifts_no_position(odd: str) -> None:
    """People and editors count lines otherwise: in comments, in quotes, and where something is wrong."""
    (root,), problems = _read(f"# a{odd}# b\na: 'x{odd}y'\nb: 1\n")

    assert isinstance(root, Mapping)
    assert [(node.mark.line, node.mark.column) for pair in root.pairs() for node in pair] == [
        (1, 0),
        (1, 3),
        (2, 0),
        (2, 3),
    ]
    assert problems == []
    assert [said(p).partition(" ")[0] for p in _read(f"# a{odd}# b{odd}\na: [1]\nb: }}\n")[1]] == ["3:4"]
    assert [said(p).partition(" ")[0] for p in _read(f"# a{odd}# b\n\x01")[1]] == ["2:1"]


SMILE = "\U0001f600"
SURROGATES = [
    ("a pair", r'{"a": "\ud83d\ude00"}', SMILE),
    ("in upper case", r'{"a": "\uD83D\uDE00"}', SMILE),
    ("two, and text between", r'{"a": "x\ud83d\ude00y\ud83d\ude00"}', f"x{SMILE}y{SMILE}"),
    ("behind a backslash that is one", r'{"a": "\\\ud83d\ude00"}', f"\\{SMILE}"),
    ("no escape, behind a backslash", r'{"a": "\\ud83d\\ude00"}', r"\ud83d\ude00"),
    ("documents in a row", '--- {"a": "\\ud83d\\ude00"}\n', SMILE),
    ("YAML, where it is text", r"a: \ud83d\ude00", r"\ud83d\ude00"),
    ("YAML in single quotes", r"a: '\ud83d\ude00'", r"\ud83d\ude00"),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in SURROGATES], ids=[c[0] for c in SURROGATES])
def test_a_character_that_json_writes_as_two_escapes_is_one(text: str, expected: str) -> None:
    """As Python's json writes by default; in YAML the letters mean themselves."""
    (root,), problems = _read(text)

    assert isinstance(root, Mapping)
    assert [node.text for node in root.items if isinstance(node, Scalar)] == ["a", expected]
    assert problems == []


def test_positions_are_those_of_the_file_behind_escapes_that_became_shorter() -> None:
    """On the same line and on the next."""
    text = r'{"a": "\ud83d\ude00\ud83d\ude00", "b":' + "\n" + r'"\ud83d\ude00", "c": 1}'
    (root,), _ = _read(text)

    assert isinstance(root, Mapping)
    assert [text.split("\n")[n.mark.line][n.mark.column] for n in root.items] == ['"', '"', '"', '"', '"', "1"]
    assert root.items[2].mark.column == text.index('"b"')


def test_half_a_pair_is_a_mistake_where_it_stands() -> None:
    """No character has it."""
    (problem,) = _read(r'{"a": "\ud83d"}')[1]

    assert "invalid Unicode character escape" in problem.message
