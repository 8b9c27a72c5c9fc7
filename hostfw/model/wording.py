"""Wording that messages share."""

from collections.abc import Iterable

from hostfw.model.values import Family

NAMES_SHOWN = 8
SHOWN_CHARACTERS = 60
"""Characters of a wrong value that a message repeats."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things: 1 policy, 2 policies."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def unmet_by(family: Family) -> str:
    """The beginning of a sentence about an IP version without rules in force."""
    return f"no IPv{family} packet meets rules of hostfw"


def listed(names: Iterable[str]) -> str:
    """The names in order, without repeats; beyond the first eight only how many more there are."""
    unique = sorted(set(names))
    more = f" and {len(unique) - NAMES_SHOWN} more" if len(unique) > NAMES_SHOWN else ""
    return f"{', '.join(unique[:NAMES_SHOWN])}{more}"


def all_of(names: Iterable[str]) -> str:
    """All the names in order, without repeats."""
    return ", ".join(sorted(set(names)))


def unlisted(names: Iterable[str]) -> tuple[str, ...]:
    """The names that `listed` only counts, in order."""
    return tuple(sorted(set(names))[NAMES_SHOWN:])


def quoted(value: str, most: int = SHOWN_CHARACTERS) -> str:
    """A value in quotes for messages, at most so many characters of it."""
    return f'"{shortened(value, most)}"'


def shortened(value: str, most: int = SHOWN_CHARACTERS) -> str:
    """As much of a value as a message repeats."""
    return value if len(value) <= most else f"{value[:most]}..."
