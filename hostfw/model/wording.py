"""Wording that messages share."""

from collections.abc import Iterable

NAMES_SHOWN = 8


def listed(names: Iterable[str]) -> str:
    """The names in order, without repeats; beyond the first eight only how many more there are."""
    unique = sorted(set(names))
    more = f" and {len(unique) - NAMES_SHOWN} more" if len(unique) > NAMES_SHOWN else ""
    return f"{', '.join(unique[:NAMES_SHOWN])}{more}"
