"""Moments as text, as `datetime.isoformat` writes them."""

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
