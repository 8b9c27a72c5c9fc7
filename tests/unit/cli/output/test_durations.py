"""Lengths of time on the command line."""

from argparse import ArgumentTypeError

import pytest

from hostfw.cli.output.durations import duration_s, duration_text


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("5m", 300), ("1h", 3600), ("24h", 86_400), ("007s", 7)]
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: int) -> None:
    """Seconds, minutes or hours."""
    assert duration_s(text) == seconds


_FORM = "is no duration; expected a number and s, m or h, as in 90s or 5m"
_RANGE = "is out of range; expected 1s to 24h"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("90", _FORM),
        ("", _FORM),
        ("s", _FORM),
        ("1.5m", _FORM),
        ("-5s", _FORM),
        ("5 m", _FORM),
        ("1d", _FORM),
        ("٣s", _FORM),
        ("9999999999s", _FORM),
        ("0s", _RANGE),
        ("25h", _RANGE),
        ("86401s", _RANGE),
    ],
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    """With what was expected."""
    with pytest.raises(ArgumentTypeError) as refused:
        duration_s(text)

    assert str(refused.value) == f'"{text}" {reason}'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-3, "0 s"), (45.9, "45 s"), (60, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (5430, "1 h 30 min")],
)
def test_a_duration_is_said_in_two_units(seconds: float, text: str) -> None:
    """Nobody wants the seconds of an hour."""
    assert duration_text(seconds) == text
