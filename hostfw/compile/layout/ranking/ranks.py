"""Ranks of rules: numbers that fall from the first rule of a list to the last, for the upper half of a mark.

A rank stands in a chain of its own rule, so a rule that comes or goes must not move the ranks of all others. The list
is cut into blocks of chunks at rules that their own names choose, and a rank is the number of the block, of the chunk
within it, and a place within that. What changes moves the ranks of its chunk; where a chunk comes or goes, those of its
block, and only where a block does, all behind it. The same list always has the same ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from zlib import crc32

MOST = 0xFFFF
"""The rank of a first rule, and the number of rules that a list can have."""

_CHUNK = 16
"""Rules of a chunk on average, for which `_ROOM` is seldom too few."""
_ROOM = 40
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
    parts = chunks(drawn)
    # Where blocks with room take too many ranks, chunks follow each other, and where these do, rules.
    for numbers in (_numbers([drawn[part.start] for part in parts]), list(range(len(parts)))):
        if parts and (numbers[-1] + 1) * _ROOM <= MOST:
            return [
                MOST - number * _ROOM - place
                for number, part in zip(numbers, parts, strict=True)
                for place in range(len(part))
            ]
    return [MOST - place for place in range(len(drawn))]


def chunks(drawn: Sequence[int]) -> list[range]:
    """The chunks of a list, as places in it."""
    return _cut(drawn, lambda one: one % _CHUNK == 0, _ROOM)


def blocks(drawn: Sequence[int], parts: Sequence[range]) -> list[range]:
    """The blocks of a list, as places among its chunks."""
    return _blocks([drawn[part.start] for part in parts])


def _numbers(first: Sequence[int]) -> list[int]:
    """The number of each chunk, by what its first rule has drawn, which leaves room for more in each block."""
    return [number * _BLOCK_ROOM + place for number, block in enumerate(_blocks(first)) for place in range(len(block))]


def _blocks(first: Sequence[int]) -> list[range]:
    return _cut(first, lambda one: one % (_CHUNK * _BLOCK) == 0, _BLOCK_ROOM)


def _cut(drawn: Sequence[int], begins: Callable[[int], bool], room: int) -> list[range]:
    """Runs of at most so many places, each of which begins at one that may, or was drawn lowest near the middle."""
    starts = [0, *(place for place, one in enumerate(drawn) if place and begins(one)), len(drawn)]
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
