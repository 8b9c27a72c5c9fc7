"""Notes of an import, beside its policy."""

from typing import NamedTuple

from hostfw.model.positions import Position


class Note(NamedTuple):
    """A part of the source that is not in the result, or not as it was; `position` is the first place of it."""

    position: Position
    message: str
