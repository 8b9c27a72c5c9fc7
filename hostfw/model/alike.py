"""The common ends of two sequences, told by comparisons of whole runs of them."""

from collections.abc import Sequence
from typing import NamedTuple


class Ends(NamedTuple):
    """The number of items that two sequences begin with, and of those that both end with behind these."""

    first: int
    last: int


def alike_ends(one: Sequence[object], other: Sequence[object]) -> Ends:
    """The longest common begin of two sequences of one type, and the longest common end of what is left."""
    first = _alike(one, other)
    return Ends(first, _alike(one[first:][::-1], other[first:][::-1]))


def _alike(one: Sequence[object], other: Sequence[object]) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
