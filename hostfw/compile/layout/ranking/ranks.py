"""Ranks of rules: numbers that fall from the first rule of a list to the last, for the upper half of a mark.

A rank stands in a chain of its own rule, so a rule that comes or goes must not move the ranks of all others. The list
is cut into chunks at rules that their own names choose, and a rank is the number of the chunk and a place within it:
what changes moves the ranks of its chunk, and those behind it only where a chunk comes or goes. The same list always
has the same ranks.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from zlib import crc32

MOST = 0xFFFF
"""The rank of a first rule, and the number of rules that a list can have."""

_CHUNK = 32
"""Rules of a chunk on average."""
_ROOM = 64
"""Most rules of a chunk."""


def ranks(names: Sequence[str]) -> list[int]:
    """The rank of each rule of a list, by its name; 0 is nobody's. Raises ValueError for more rules than ranks."""
    if len(names) > MOST:
        raise ValueError(f"{len(names)} rules in one list")
    parts = chunks(names)
    if len(parts) * _ROOM > MOST:
        return [MOST - place for place in range(len(names))]
    return [MOST - number * _ROOM - place for number, part in enumerate(parts) for place in range(len(part))]


def chunks(names: Sequence[str]) -> list[range]:
    """The chunks of a list, as places in it."""
    starts = [*_starts(names), len(names)]
    return [range(first, end) for first, end in pairwise(starts)]


def _starts(names: Sequence[str]) -> Iterator[int]:
    length = _ROOM
    for place, name in enumerate(names):
        if length == _ROOM or crc32(name.encode()) % _CHUNK == 0:
            yield place
            length = 0
        length += 1
