"""Positions in a file that a person wrote."""

import re
from typing import NamedTuple

LINE_BREAK = re.compile("\r\n|[\r\n]")
"""Line ends as editors and people count them."""


class Position(NamedTuple):
    """A place in a source file; `line` and `column` count from 1, as editors do; 0 is no line."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    @property
    def file_line(self) -> str:
        """`path:line`, the form that logs and rulesets carry; the path alone where there are no lines to count."""
        return f"{self.path}:{self.line}" if self.line or not self.path else self.path


NOWHERE = Position("", 0, 0)
"""The position of what hostfw itself supplies, such as the built-in tier `default`."""
