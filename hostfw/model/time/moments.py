"""Moments as text: for programs as `datetime.isoformat` writes them, for people in the time zone of the host."""

from datetime import datetime

_YEARS = range(1970, 9999)
"""Others cannot be shown in every time zone."""


def moment_of(text: str) -> datetime | None:
    """The moment that a text says, or None if it is none, has no time zone, or is of a year that nobody lives in."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment.year in _YEARS else None


def moment_text(moment: datetime) -> str:
    """A moment for people, in the time zone of this host and with its name: `2030-01-31 12:00:00 CET`."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
