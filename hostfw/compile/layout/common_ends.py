"""Programs that begin or end in the same rules: what endpoints have in common is laid out once.

Policies of one endpoint alone stand in front of those that many share, behind them or among them. What stands before
the first rule that differs, and behind the last, has one layout for all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hostfw.compile.program import Pass, Program, ProgramRule, Segment

_GROUPS = 16
"""Most groups of programs that one more is compared with."""


@dataclass(frozen=True, slots=True)
class Split:
    """A program in parts, in order: rules that others begin with, its own, and rules that others end in.

    A part that is worth no chain of its own is None, and its rules are among its own. `number` tells the parts of one
    group of programs from those of another.
    """

    first: Program | None
    own: Program
    last: Program | None
    number: int


_End = tuple[int, int]
"""Rules at an end of a program: whole segments, and so many rules of the segment that comes next."""


@dataclass(slots=True)
class _Group:
    """Programs, with the longest beginning and the longest end that all of them have in common."""

    model: Program
    start: _End
    end: _End
    size: int
    members: list[int]


def common_ends(programs: Sequence[Program | None], least: int) -> list[Split | None]:
    """For each program the split by the rules that it shares; None where these are fewer than `least`.

    Programs of a group share at least half of the longest, so no more is repeated than is not.
    """
    groups: list[_Group] = []
    for place, program in enumerate(programs):
        if program is None or program.size < max(least, 1):
            # It is too short to share so much, with however many it is compared.
            continue
        if not any(_joined(group, place, program, least) for group in groups[-_GROUPS:]):
            whole = len(program.segments), 0
            groups.append(_Group(program, whole, whole, program.size, [place]))
    splits: list[Split | None] = [None] * len(programs)
    for number, group in enumerate(groups):
        if len(group.members) > 1:
            members = [program for place in group.members if (program := programs[place]) is not None]
            for place, split in zip(group.members, _splits(members, group, least, number), strict=True):
                splits[place] = split
    return splits


def _joined(group: _Group, place: int, program: Program, least: int) -> bool:
    """True if a program shares enough with a group, which it is then one of."""
    start = min(group.start, _same(group.model.segments, program.segments))
    end = min(group.end, _same(_backwards(group.model.segments), _backwards(program.segments)))
    size = max(group.size, program.size)
    longest = max(_count(program.segments, start), _count(_backwards(program.segments), end))
    shared = _count(program.segments, start) + _count(_backwards(program.segments), end)
    if longest < max(least, 1) or 2 * shared < size:
        return False
    group.start, group.end, group.size = start, end, size
    group.members.append(place)
    return True


def _splits(members: list[Program], group: _Group, least: int, number: int) -> Iterable[Split | None]:
    start, end = group.start, group.end
    # What a Pass skips is the rest of its segment, which must not be apart from it.
    if any(_passes(_rest(program.segments, end)) for program in members if end[1]):
        end = end[0], 0
    if start[1] and _passes(group.model.segments[start[0]][: start[1]]):
        start = start[0], 0
    used = _count(group.model.segments, start), _count(_backwards(group.model.segments), end)
    if used[0] < least or any(program.size < sum(used) for program in members):
        start, used = (0, 0), (0, used[1])
    if used[1] < least:
        end, used = (0, 0), (used[0], 0)
    if not sum(used):
        return [None] * len(members)
    return [_split(program, start, end, number) for program in members]


def _rest(segments: tuple[Segment, ...], end: _End) -> Segment:
    """The rules of a segment that an end leaves, if it takes others of it."""
    segment = segments[-1 - end[0]]
    return segment[: len(segment) - end[1]]


def _passes(rules: Iterable[ProgramRule]) -> bool:
    return any(isinstance(rule.effect, Pass) for rule in rules)


def _backwards(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    return tuple([segment[::-1] for segment in reversed(segments)])


def _count(segments: tuple[Segment, ...], end: _End) -> int:
    whole, part = end
    return part + sum(map(len, segments[:whole]))


def _same(one: tuple[Segment, ...], other: tuple[Segment, ...]) -> _End:
    """The longest beginning that two programs have in common."""
    most = min(len(one), len(other))
    whole = next((number for number in range(most) if one[number] != other[number]), most)
    if whole == most:
        return whole, 0
    mine, theirs = one[whole], other[whole]
    low, high = 0, min(len(mine), len(theirs))
    while low < high:
        middle = (low + high + 1) // 2
        if mine[:middle] == theirs[:middle]:
            low = middle
        else:
            high = middle - 1
    return whole, low


def _split(program: Program, start: _End, end: _End, number: int) -> Split:
    """The parts of a program. The first segment of each is tried as a list, and is empty in all but the first part."""
    segments = list(program.segments)
    last: list[Segment] = []
    if end != (0, 0):
        behind = len(segments) - end[0]
        segments, last = segments[:behind], segments[behind:]
        if end[1]:
            last.insert(0, segments[-1][len(segments[-1]) - end[1] :])
            segments[-1] = segments[-1][: len(segments[-1]) - end[1]]
    first: list[Segment] = []
    if start != (0, 0):
        first, segments = segments[: start[0]], segments[start[0] :]
        if start[1]:
            first.append(segments[0][: start[1]])
            segments[0] = segments[0][start[1] :]
        segments.insert(0, ())
    return Split(
        replace(program, segments=tuple(first)) if first else None,
        replace(program, segments=tuple(segments)),
        replace(program, segments=((), *last)) if last else None,
        number,
    )
