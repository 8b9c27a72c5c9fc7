"""Lengths and moments of time, as a command line has them and as a person reads them."""

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta

from hostfw.host.time import clock
from hostfw.model.time.trial import LONGEST_TRIAL_S, SHORTEST_TRIAL_S

_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_AGO_UNITS_S = {**_UNITS_S, "d": 86_400}
_DAYS_AGO = {"today": 0, "yesterday": 1}
_AGO = re.compile(r"(\d{1,7})([smhd])(?: ago)?", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})([smh])", re.ASCII)


def duration_s(text: str) -> int:
    """The seconds of a duration such as `90s`, `5m` or `1h`. Raises ArgumentTypeError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f'"{text}" is no duration; expected a number and s, m or h, as in 90s or 5m')
    seconds = int(found[1]) * _UNITS_S[found[2]]
    if not SHORTEST_TRIAL_S <= seconds <= LONGEST_TRIAL_S:
        raise ArgumentTypeError(f'"{text}" is out of range; expected 1s to 24h')
    return seconds


def since(text: str) -> timedelta | datetime:
    """A duration such as `90s` or `7d`, or a time such as `2030-01-31 12:00`, `today` or `yesterday`.

    Days begin at midnight of the host's own time zone. Raises ArgumentTypeError.
    """
    if text in _DAYS_AGO:
        midnight = clock.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=_DAYS_AGO[text])).replace(tzinfo=None).astimezone()
    found = _AGO.fullmatch(text)
    if found is not None:
        return timedelta(seconds=int(found[1]) * _AGO_UNITS_S[found[2]])
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f'"{text}" is not a time; expected how long ago, as in 30m or 7d, or a moment, as in "2030-01-31 12:00"'
        ) from None


def duration_text(seconds: float) -> str:
    """A duration in its two largest units: `45 s`, `2 min 5 s`, `1 h 30 min`."""
    whole = max(int(seconds), 0)
    minutes, rest_s = divmod(whole, 60)
    hours, rest_min = divmod(minutes, 60)
    parts = ((hours, "h"), (rest_min, "min")) if hours else ((rest_min, "min"), (rest_s, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
