"""Tables and sentences on a terminal: what gives way, what never does, and that it shows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import tzset

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.cli.output.tables import Column, Gives, table
from hostfw.cli.output.terminal import ELLIPSIS, cell_width, columns_of_terminal, printable, shortened, wrapped
from hostfw.model.time.moments import moment_text

NAMES = tuple(map(Column, ("NAME", "TIER", "NOTE")))
RULES = (
    Column("PACKETS", right=True),
    Column("BY", rank=1, least=12),
    Column("WHY", rank=2, least=10, gives=Gives.LINES),
    Column("KIND", rank=4, optional=True),
    Column("ORIGIN", rank=3, least=12, gives=Gives.START),
)
ROW = (
    "12",
    "default/a-policy-of-a-long-name[3]",
    "because it is so",
    "GlobalNetworkPolicy",
    "/etc/hostfw/web.yaml:117",
)


def lines(columns: Sequence[Column], *rows: Sequence[str], width: int | None = None) -> list[str]:
    """All lines of a table."""
    found = table(columns, rows, width)
    return [*found.headings, *found.lines]


def test_a_table_is_aligned_by_columns_of_the_terminal() -> None:
    """Wide characters count twice, no line ends in blanks, and nothing in a cell steers the terminal."""
    assert lines(NAMES, ("web", "tier", ""), ("防火墙", "x\n", "end")) == [
        "NAME     TIER   NOTE",
        "web      tier",
        "防火墙   x␊     end",
    ]


def test_a_table_of_nothing_is_its_headings() -> None:
    """There is nothing to align."""
    assert lines(NAMES[:2]) == ["NAME   TIER"]


def test_a_table_that_is_no_terminals_is_whole() -> None:
    """A pipe gets each row on one line, however long."""
    assert lines(RULES, ROW)[1] == "     12   " + "   ".join(ROW[1:])


def test_the_least_important_column_gives_way_first() -> None:
    """An optional one is left out and named; what is cut off leaves an ellipsis; numbers stay."""
    found = table(RULES, [ROW], 80)

    assert found.left_out == ("KIND",)
    assert [*found.headings, *found.lines] == [
        "PACKETS  BY                                  WHY               ORIGIN",
        "     12  default/a-policy-of-a-long-name[3]  because it is so  …tfw/web.yaml:117",
    ]
    assert list(table(RULES, [ROW], 50).lines) == [
        "     12  default…name[3]  because it  …eb.yaml:117",
        "                          is so",
    ]


def test_a_terminal_that_is_too_narrow_gets_as_much_as_fits() -> None:
    """Below what the columns ask for the widest give more."""
    assert max(map(cell_width, lines(RULES, ROW, width=30))) <= 30


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=60).map(printable)


@given(st.lists(st.tuples(*[TEXTS] * len(RULES)), max_size=5), st.integers(60, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    """Whatever is in the cells that give way, and nothing is cut off without an ellipsis."""
    short = [(row[0][:5], *row[1:]) for row in rows]
    found = table(RULES, short, width)

    assert all(cell_width(line) <= width for line in (*found.headings, *found.lines))
    for row, shown in zip(short, found.rows, strict=True):
        if not any(ELLIPSIS in line for line in shown) and "KIND" not in found.left_out:
            assert sorted("".join("".join(shown).split())) == sorted("".join("".join(row).split()))


SHORTENED = [
    ("what fits stays", "abc", 3, 1, "abc"),
    ("without its end", "abcdef", 4, 3, "abc…"),
    ("without its beginning", "abcdef", 4, 0, "…def"),
    ("without its middle", "abcdefgh", 5, 2, "ab…gh"),
    ("wide characters are whole", "防火墙防火墙", 6, 2, "防…墙"),
    ("one column", "abc", 1, 0, "…"),
]


@pytest.mark.parametrize(
    ("text", "width", "head", "expected"), [c[1:] for c in SHORTENED], ids=[c[0] for c in SHORTENED]
)
def test_what_is_cut_off_shows(text: str, width: int, head: int, expected: str) -> None:
    """An ellipsis stands where it was."""
    assert shortened(text, width, head) == expected


WRAPPED = [
    ("what fits stays", "a b", 3, "", ["a b"]),
    ("between words", "one two three", 8, "", ["one two", "three"]),
    ("what follows is indented", "one two three", 7, "  ", ["one two", "  three"]),
    ("a word that is longer than a line", "a bcdefghij k", 5, " ", ["a", " bcde", " fghi", " j k"]),
    ("a command is not broken", "then `do it now`, or not", 14, " ", ["then", " `do it now`,", " or not"]),
    ("but one that is longer than a line is", "now `do it at once`", 12, " ", ["now `do it", " at once`"]),
    ("a backquote alone", "one ` two three", 9, "", ["one ` two", "three"]),
    ("blanks around a command", "a  `b c`  d e", 9, "", ["a  `b c`", "d e"]),
    ("wide characters", "防火墙 火", 5, "", ["防火", "墙 火"]),
    ("an indent stays", "  one two", 7, "    ", ["  one", "    two"]),
    ("no terminal", "one two", None, "", ["one two"]),
    ("nothing", "", 4, "", [""]),
]


@pytest.mark.parametrize(("text", "width", "later", "expected"), [c[1:] for c in WRAPPED], ids=[c[0] for c in WRAPPED])
def test_a_sentence_is_broken_between_words(text: str, width: int | None, later: str, expected: list[str]) -> None:
    """And within them only where one is longer than a line."""
    assert wrapped(text, width, later) == expected


@given(TEXTS, st.integers(4, 40))
def test_nothing_of_a_sentence_is_lost(text: str, width: int) -> None:
    """But the blanks where it is broken."""
    found = wrapped(text, width, "  ")

    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(cell_width(line) <= width for line in found)


def test_columns_says_how_wide_a_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the terminal does; without one nothing is laid out."""
    for text, expected in (("132", 132), ("0", None), ("wide", None), ("", None)):
        monkeypatch.setenv("COLUMNS", text)
        with open("/dev/null") as nothing:  # noqa: PTH123 -- a stream that is no terminal
            assert columns_of_terminal(nothing) == expected


def test_moments_are_of_the_time_zone_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """And say which it is, in summer and in winter."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    tzset()
    try:
        assert moment_text(datetime(2030, 1, 31, 11, tzinfo=UTC)) == "2030-01-31 12:00:00 CET"
        assert moment_text(datetime(2030, 7, 31, 11, tzinfo=UTC)) == "2030-07-31 13:00:00 CEST"
    finally:
        monkeypatch.undo()
        tzset()
