"""Problems as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.cli.output.annotate import annotated
from hostfw.cli.output.documents import problem_list
from hostfw.cli.output.problems import WIDTH, excerpt, problem_lines, report, tally
from hostfw.cli.output.terminal import cell_width, glyph_width
from hostfw.manifest.files.feed_file import parse_feed
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.sources import Configuration, Source

AT = Position("web.yaml", 3, 5)
ON_ONE_LINE = st.characters(codec="utf-8", exclude_characters="\r\n\x85\u2028\u2029")

LINES = [
    (
        "everything there is to say",
        Problem(
            Position("web.yaml", 7, 3), 'unknown field "selectr"', "one of order, selector", 'did you mean "selector"?'
        ),
        "  selectr: all()",
        """\
web.yaml:7:3: unknown field "selectr"
   7 |   selectr: all()
     |   ^
     expected: one of order, selector
     hint: did you mean "selector"?""",
    ),
    (
        "a warning says that it is one",
        Problem(AT, "this rule is never reached", severity=Severity.WARNING),
        "    - action: Deny",
        """\
web.yaml:3:5: warning: this rule is never reached
   3 |     - action: Deny
     |     ^""",
    ),
    (
        "no line to show",
        Problem(AT, "is too big", "at most 64 MiB"),
        None,
        "web.yaml:3:5: is too big\n     expected: at most 64 MiB",
    ),
    (
        "an empty line shows nothing",
        Problem(AT, "the document ends here"),
        "   ",
        "web.yaml:3:5: the document ends here",
    ),
    (
        "a file as a whole",
        Problem(Position("web.yaml", 0, 0), "cannot be read: permission denied"),
        None,
        "web.yaml: cannot be read: permission denied",
    ),
    ("nothing that a person wrote", Problem(NOWHERE, "no node name"), None, "hostfw: no node name"),
    (
        "a caret past the end of the line",
        Problem(Position("web.yaml", 3, 8), "a value is missing"),
        "  order:",
        """\
web.yaml:3:8: a value is missing
   3 |   order:
     |        ^""",
    ),
    (
        "line numbers of four digits fit the margin",
        Problem(Position("web.yaml", 1234, 1), "no"),
        "x",
        "web.yaml:1234:1: no\n1234 | x\n     | ^",
    ),
    (
        "line numbers of more digits move it",
        Problem(Position("web.yaml", 123456, 1), "no"),
        "x",
        "web.yaml:123456:1: no\n123456 | x\n       | ^",
    ),
    (
        "what a hostile file holds does not reach the terminal",
        Problem(AT, 'unknown field "\x1b[2J"'),
        "    \x1b[2J: 1",
        'web.yaml:3:5: unknown field "␛[2J"\n   3 |     ␛[2J: 1\n     |     ^',
    ),
]


@pytest.mark.parametrize(("problem", "line", "expected"), [c[1:] for c in LINES], ids=[c[0] for c in LINES])
def test_a_problem_shows_where_and_what(problem: Problem, line: str | None, expected: str) -> None:
    """Place and message, the line with a caret, what was expected, and what to do."""
    assert "\n".join(problem_lines(problem, line)) == expected


def test_colour_adds_nothing_but_colour() -> None:
    """Without its escape sequences a coloured problem is the plain one."""
    problem = Problem(AT, "no", "yes", "try", Severity.WARNING)
    coloured = "\n".join(problem_lines(problem, "    no", colour=True))

    assert "\033[1;33mwarning:\033[0m" in coloured
    for sequence in ("\033[1;33m", "\033[1m", "\033[2m", "\033[0m"):
        coloured = coloured.replace(sequence, "")
    assert coloured == "\n".join(problem_lines(problem, "    no"))


EXCERPTS = [
    ("plain", "  order: ten", 10, "  order: ten", 9),
    ("the first column", "order", 1, "order", 0),
    ("a tab leads to a multiple of eight", "\torder: 1", 2, "        order: 1", 8),
    ("a tab within the line", "abc\tdef", 5, "abc     def", 8),
    ("wide characters take two columns", "note: 防火墙 x", 11, "note: 防火墙 x", 13),
    ("a tab after wide characters", "防火\tx", 4, "防火    x", 8),
    ("a combining accent takes none", "cafe\u0301 x", 7, "cafe\u0301 x", 5),
    ("a column before the line", "abc", 0, "abc", 0),
    ("a column far behind the line", "abc", 99, "abc", 3),
    ("an empty line", "", 1, "", 0),
]


@pytest.mark.parametrize(("line", "column", "shown", "offset"), [c[1:] for c in EXCERPTS], ids=[c[0] for c in EXCERPTS])
def test_the_caret_stands_below_its_character(line: str, column: int, shown: str, offset: int) -> None:
    """Columns of the file are characters; columns of a terminal are not."""
    assert excerpt(line, column) == (shown, offset)


LONG = [
    ("at the start, the end is cut", "x" + "-" * 200, 1, "x" + "-" * 17 + "…", 0),
    ("at the end, the start is cut", "-" * 200 + "x", 201, "…" + "-" * 10 + "x", 11),
    ("in the middle, both are", "a" * 100 + "x" + "b" * 100, 101, "…" + "a" * 10 + "x" + "b" * 7 + "…", 11),
    ("just short enough", "-" * 19 + "x", 20, "-" * 19 + "x", 19),
    ("one too long", "-" * 20 + "x", 21, "…" + "-" * 10 + "x", 11),
    ("wide characters are not cut in two", "防" * 50 + "x" + "火" * 50, 51, "…" + "防" * 5 + "x" + "火" * 3 + "…", 11),
]


@pytest.mark.parametrize(("line", "column", "shown", "offset"), [c[1:] for c in LONG], ids=[c[0] for c in LONG])
def test_a_long_line_is_cut_around_the_caret(line: str, column: int, shown: str, offset: int) -> None:
    """Of a line that is too wide, what is around the problem is shown."""
    assert excerpt(line, column, width=20) == (shown, offset)


@given(
    line=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x85\u2028\u2029"), max_size=300), data=st.data()
)
def test_an_excerpt_fits_and_the_caret_is_in_it(line: str, data: st.DataObject) -> None:
    """Whatever a line holds, it stays within its width, and the caret stands at a character of it or right behind."""
    column = data.draw(st.integers(1, len(line) + 1))

    shown, offset = excerpt(line, column)

    assert cell_width(shown) <= WIDTH
    assert 0 <= offset <= cell_width(shown)
    if column <= len(line) and line[column - 1].isascii() and line[column - 1].isprintable():
        before = next(i for i in range(len(shown) + 1) if cell_width(shown[:i]) == offset)
        assert next(c for c in shown[before:] if glyph_width(c)) == line[column - 1]


def test_a_line_of_megabytes_is_cut_at_once() -> None:
    """The work of an excerpt is that of what it shows."""
    shown, offset = excerpt("x" * 50_000_000, 25_000_000)

    assert (cell_width(shown), offset) == (WIDTH, WIDTH // 2 + 1)


def configuration() -> Configuration:
    """A configuration whose two files are small enough to show."""
    return Configuration(
        settings=Source("hostfw.yaml", "node: web1\ndenyAction: refuse\n"),
        resources=(Source("web.yaml", "kind: Tier\nspec:\n  ordr: 1 # first\n"),),
    )


FOUND = (
    Problem(Position("web.yaml", 3, 3), 'unknown field "ordr"', "order or defaultAction", 'did you mean "order"?'),
    Problem(Position("web.yaml", 1, 1), "apiVersion is missing"),
    Problem(Position("hostfw.yaml", 2, 13), 'unknown value "refuse"', "drop or reject"),
    Problem(Position("web.yaml", 3, 3), "this tier has no policy", severity=Severity.WARNING),
    Problem(Position("gone.yaml", 1, 1), "cannot be read: permission denied"),
)


def test_a_report_is_in_order_and_without_repeats() -> None:
    """Problems come by file, line and column, each once, and only with lines of files that were read."""
    assert (
        "\n".join(report((*FOUND, *FOUND), configuration()))
        == """\
gone.yaml:1:1: cannot be read: permission denied
hostfw.yaml:2:13: unknown value "refuse"
   2 | denyAction: refuse
     |             ^
     expected: drop or reject
web.yaml:1:1: apiVersion is missing
   1 | kind: Tier
     | ^
web.yaml:3:3: warning: this tier has no policy
   3 |   ordr: 1 # first
     |   ^
web.yaml:3:3: unknown field "ordr"
   3 |   ordr: 1 # first
     |   ^
     expected: order or defaultAction
     hint: did you mean "order"?"""
    )


LINE_ENDS = [
    ("Unix", "a\nb\nc", "b"),
    ("DOS", "a\r\nb\r\nc", "b"),
    ("old Macintosh", "a\rb\rc", "b"),
    ("those of Unicode, which editors do not count", "a\u2028b\u2029c\nd", "d"),
    ("next line, which editors do not count", "a\x85b\x85c\nd", "d"),
    ("form feed, which nobody counts", "a\x0c\nb\nc", "b"),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in LINE_ENDS], ids=[c[0] for c in LINE_ENDS])
def test_lines_are_counted_as_editors_do(text: str, expected: str) -> None:
    """The line that is shown is the one that the position means."""
    lines = list(report([Problem(Position("a.yaml", 2, 1), "no")], Configuration(None, (Source("a.yaml", text),))))

    assert lines[1] == f"   2 | {expected}"


def test_no_line_of_a_feed_is_shown() -> None:
    """Neither in a report nor in an annotated file: its author may have named what they must not read."""
    feed = Source("feed.txt", "192.0.2.1 # a comment\nx of a secret\n")
    configuration = Configuration(feeds=(feed,))
    problems = parse_feed(feed)[1]

    told = [*report(problems, configuration), *annotated(problems, configuration)]

    assert [line for line in told if line.startswith(("feed.txt:", "# feed.txt:"))] == [
        'feed.txt:2:1: the line has "x"',
        '# feed.txt:2:1: the line has "x"; expected an address or prefix a line, such as 192.0.2.7 or 2001:db8::/32',
    ]
    assert not [line for line in told if "secret" in line or "comment" in line]


TALLIES = [
    ("none", (), "no problems"),
    ("one", FOUND[:1], "1 problem in 1 file"),
    ("two in one file", FOUND[:2], "2 problems in 1 file"),
    ("all", FOUND, "4 problems and 1 warning in 3 files"),
    ("a warning alone", FOUND[3:4], "1 warning in 1 file"),
    ("repeats count once", (*FOUND, *FOUND), "4 problems and 1 warning in 3 files"),
]


@pytest.mark.parametrize(("problems", "expected"), [c[1:] for c in TALLIES], ids=[c[0] for c in TALLIES])
def test_the_count_tells_errors_from_warnings(problems: tuple[Problem, ...], expected: str) -> None:
    """The last line of `validate` says how much is wrong, and in how many files."""
    assert tally(problems) == expected


def test_annotated_files_say_it_in_place() -> None:
    """Lines with problems carry marks, and the footer of each file says what they mean."""
    assert (
        "\n".join(annotated(FOUND, configuration()))
        == """\
# hostfw.yaml
node: web1
denyAction: refuse  # E1
# Errors:
#   E1: line 2, column 13: unknown value "refuse"; expected drop or reject

# web.yaml
kind: Tier  # E1
spec:
  ordr: 1 # first  # W1, E2
# Errors:
#   E1: line 1, column 1: apiVersion is missing
#   E2: line 3, column 3: unknown field "ordr"; expected order or defaultAction (did you mean "order"?)
# Warnings:
#   W1: line 3, column 3: this tier has no policy

# gone.yaml:1:1: cannot be read: permission denied"""
    )


def test_machines_get_a_versioned_list() -> None:
    """The ProblemList has every field in every item, in order, and a summary."""
    assert problem_list(FOUND[2:4]) == {
        "apiVersion": "hostfw.io/v1",
        "kind": "ProblemList",
        "summary": {"errors": 1, "warnings": 1},
        "items": [
            {
                "path": "hostfw.yaml",
                "line": 2,
                "column": 13,
                "severity": "error",
                "message": 'unknown value "refuse"',
                "expected": "drop or reject",
                "hint": "",
            },
            {
                "path": "web.yaml",
                "line": 3,
                "column": 3,
                "severity": "warning",
                "message": "this tier has no policy",
                "expected": "",
                "hint": "",
            },
        ],
    }
