"""Mistakes of a person, as values: collected, sorted, and never raised past a stage."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.positions import Position


class Severity(StrEnum):
    """An error refuses the generation; a warning is said and does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, what was expected, and the next step if there is one.

    `more` are the names that these only count; -v prints them.
    """

    position: Position
    message: str
    expected: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = "" if self.severity is Severity.ERROR else "warning: "
        return f"{self.position if self.position.path else 'hostfw'}: {kind}{self.message}"


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems without repeats, by path, line, column, then text."""
    return tuple(sorted(set(problems), key=lambda p: (p.position, p.message, p.expected, p.hint, p.severity)))


def errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems that refuse a generation, in order."""
    return in_order(p for p in problems if p.severity is Severity.ERROR)
