"""Positions in a file that a person wrote."""

from typing import NamedTuple


class Position(NamedTuple):
    """A place in a source file; `line` and `column` count from 1, as editors do."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    @property
    def file_line(self) -> str:
        """`path:line`, the form that logs and rulesets carry."""
        return f"{self.path}:{self.line}"


NOWHERE = Position("", 0, 0)
"""The position of what hostfw itself supplies, such as the built-in tier `default`."""
