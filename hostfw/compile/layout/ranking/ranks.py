"""Ranks of rules: numbers that fall from the first rule of a list to the last, for the upper half of a mark.

A rank stands in a chain of its own rule, so a rule that comes or goes must not move the ranks of all others. The list
is cut into series of runs at rules that their own names choose, and a rank is the number of the series, of the run
within it, and a place within that. What changes moves the ranks of its run; where a run comes or goes, those of its
series, and only where a series does, all behind it. The same list always has the same ranks.

Chunks and blocks are cut alike, for chains of rules that are tried in order.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from zlib import crc32

MOST = 0xFFFF
"""The rank of a first rule, and the number of rules that a list can have."""

_RUN = 6
"""Rules of a run on average: one that comes moves the ranks of half of them."""
_RUN_ROOM = 12
"""Most rules of a run, for which there are ranks."""
_SERIES = 16
"""Runs of a series on average."""
_SERIES_ROOM = 28
"""Most runs of a series."""
_CHUNK = 16
"""Rules of a chunk on average, which are a chain where rules are tried in order."""
_CHUNK_ROOM = 40
"""Most rules of a chunk."""
_BLOCK = 32
"""Chunks of a block on average."""
_BLOCK_ROOM = 48
"""Most chunks of a block."""
_MIDDLE = 4
"""A run that is too long is cut between the first and the last of so many parts of it."""


def ranks(drawn: Sequence[int]) -> list[int]:
    """The rank of each rule of a list, by the number that its name has drawn; 0 is nobody's.

    Raises ValueError for more rules than ranks.
    """
    if len(drawn) > MOST:
        raise ValueError(f"{len(drawn)} rules in one list")
    parts = _cut(drawn, _RUN, _RUN_ROOM)
    # Where series with room take too many ranks, runs follow each other, and where these do, rules.
    for numbers in (_numbers([drawn[part.start] for part in parts]), list(range(len(parts)))):
        if parts and (numbers[-1] + 1) * _RUN_ROOM <= MOST:
            return [
                MOST - number * _RUN_ROOM - place
                for number, part in zip(numbers, parts, strict=True)
                for place in range(len(part))
            ]
    return [MOST - place for place in range(len(drawn))]


def _numbers(first: Sequence[int]) -> list[int]:
    """The number of each run, by what its first rule has drawn, which leaves room for more in each series."""
    series = _cut(first, _RUN * _SERIES, _SERIES_ROOM)
    return [number * _SERIES_ROOM + place for number, runs in enumerate(series) for place in range(len(runs))]


def chunks(drawn: Sequence[int]) -> list[range]:
    """The chunks of a list, as places in it."""
    return _cut(drawn, _CHUNK, _CHUNK_ROOM)


def blocks(drawn: Sequence[int], parts: Sequence[range]) -> list[range]:
    """The blocks of a list, as places among its chunks."""
    return _cut([drawn[part.start] for part in parts], _CHUNK * _BLOCK, _BLOCK_ROOM)


def _cut(drawn: Sequence[int], each: int, room: int) -> list[range]:
    """Runs of at most so many places. One in `each` may begin one, else that which drew lowest near the middle."""
    starts = [0, *(place for place, one in enumerate(drawn) if place and not one % each), len(drawn)]
    return [part for first, end in pairwise(starts) for part in _short(drawn, first, end, room)]


def _short(drawn: Sequence[int], first: int, end: int, room: int) -> Iterator[range]:
    if end - first <= room:
        if first < end:
            yield range(first, end)
        return
    margin = (end - first) // _MIDDLE
    middle, _ = min(enumerate(drawn[first + margin : end - margin], first + margin), key=itemgetter(1))
    yield from _short(drawn, first, middle, room)
    yield from _short(drawn, middle, end, room)


def draw(name: str) -> int:
    """The number that the name of a rule draws.

    Of names that differ in a few digits, a checksum alone differs by the same few bits: thousands in a row would begin
    no chunk.
    """
    return crc32(name.encode()) * 0x9E3779B1 >> 16 & 0xFFFF
