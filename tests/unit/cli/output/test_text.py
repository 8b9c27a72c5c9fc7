"""Text on a terminal: its width, and what does not get there."""

import pytest

from hostfw.cli.output.terminal import cell_width, printable

PRINTABLE = [
    ("plain text stays", "selector: all()", "selector: all()"),
    ("letters of any script stay", "Grüße, 防火墙", "Grüße, 防火墙"),
    ("an escape sequence is shown, not obeyed", "\x1b[31mred", "␛[31mred"),
    ("a line break does not break the line", "one\ntwo\r", "one␊two␍"),
    ("a tab in a message is seen", "a\tb", "a␉b"),
    ("DEL has a picture", "\x7f", "␡"),
    ("C1 controls steer terminals too", "\x9b31m", "\ufffd31m"),
    ("text is not turned round", "all() \u202e)(llun", "all() \ufffd)(llun"),
    ("a line separator is none here", "a\u2028b", "a\ufffdb"),
    ("a byte of a file name that is not UTF-8", "caf\udce9", "caf\ufffd"),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in PRINTABLE], ids=[c[0] for c in PRINTABLE])
def test_a_terminal_gets_printable_text(text: str, expected: str) -> None:
    """Characters that steer a terminal are replaced by visible ones."""
    assert printable(text) == expected


WIDTHS = [
    ("ASCII", "abc", 3),
    ("nothing", "", 0),
    ("accented letters", "äöü", 3),
    ("a combining accent joins its letter", "e\u0301", 1),
    ("wide characters", "防火墙", 6),
    ("full-width forms", "\uff21", 2),
    ("an emoji", "🔥", 2),
    ("a zero-width joiner", "a\u200db", 2),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in WIDTHS], ids=[c[0] for c in WIDTHS])
def test_width_is_counted_in_columns(text: str, expected: int) -> None:
    """Columns of a terminal are neither bytes nor characters."""
    assert cell_width(text) == expected
