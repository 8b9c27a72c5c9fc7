"""Dispatch by destination port: which rules a packet to a port can match, and how runs of ports are told."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge

from hostfw.compile.incremental.rule_changes import FEW, changes
from hostfw.compile.layout.cuts.cells import FIRST_PORT, LAST_PORT, RunIndex, cut_points, port_runs
from hostfw.compile.program import ProgramRule, Segment, by_segment, conditions_of
from hostfw.model.values import PortRange

Leaf = tuple[PortRange, tuple[Segment, ...]]
"""A run of destination ports, and the rules that a packet to it can match."""


@dataclass(frozen=True, slots=True)
class PortCut:
    """Runs of destination ports with the rules that can match there; runs with the same rules may share the value.

    `copied` is how many rules all runs together have; `points` are the ports at which the rules cut, each with the
    number of times.
    """

    segments: tuple[Segment, ...]
    leaves: tuple[Leaf, ...]
    copied: int
    points: Counter[int]


@dataclass(frozen=True, slots=True)
class NotCut:
    """Rules that are not worth the copies which a cut by port would make of them; `points` are as of a cut.

    `anywhere` is the number of rules that each run would have a copy of.
    """

    segments: tuple[Segment, ...]
    points: Counter[int]
    anywhere: int


def cut_again(segments: tuple[Segment, ...], protocol: int, copies: int, before: object) -> PortCut | NotCut:
    """The runs of ports, or that they are not worth the copies: what was found out before, changed by what differs."""
    if isinstance(before, PortCut):
        changed = changed_cut(before, segments)
        if changed is not None:
            return changed
    if isinstance(before, NotCut):
        still = _still_not_cut(before, segments, protocol, copies)
        if still is not None:
            return still
    cut = cut_by_port(segments, protocol, copies)
    if cut is not None:
        return cut
    anywhere = sum(_own_ports(rule) is None for segment in segments for rule in segment)
    return NotCut(segments, Counter(cut_points(conditions_of(segments), protocol)), anywhere)


def _still_not_cut(before: NotCut, segments: tuple[Segment, ...], protocol: int, copies: int) -> NotCut | None:
    """The same of rules of which a few have changed; None where it is not certain without counting all copies."""
    changed = changes(before.segments, segments)
    if changed is None:
        return None
    gone, come = changed
    points, anywhere = before.points.copy(), before.anywhere
    for sign, rules in ((-1, gone), (1, come)):
        for point in cut_points(conditions_of((tuple(rules),)), protocol):
            points[point] += sign
        anywhere += sign * sum(_own_ports(rule) is None for rule in rules)
    points = +points
    runs = len(points.keys() | {FIRST_PORT})
    enough = anywhere * runs > copies * (sum(map(len, segments)) + runs)
    return NotCut(segments, points, anywhere) if enough else None


def cut_by_port(segments: tuple[Segment, ...], protocol: int, copies: int) -> PortCut | None:
    """The runs of ports that the rules on a protocol tell apart.

    None where runs and rules would have more than so many copies of a rule each on average: what is not worth its
    copies is not copied to find out.
    """
    runs = port_runs(conditions_of(segments), protocol)
    index = RunIndex(runs)
    room = copies * (sum(map(len, segments)) + len(runs))
    covered: list[tuple[int, Sequence[int]]] = []
    anywhere: list[int] = []
    copied = 0
    for number, rule in enumerate(rule for segment in segments for rule in segment):
        ports = _own_ports(rule)
        if ports is None:
            anywhere.append(number)
            copied += len(runs)
        else:
            covered.append((number, _covered(ports, index)))
            copied += len(covered[-1][1])
        if copied > room:
            return None
    named: list[list[int]] = [[] for _ in runs]
    for number, places in covered:
        for place in places:
            named[place].append(number)
    leaves = tuple(_leaves(segments, runs, named, anywhere))
    return PortCut(segments, leaves, copied, Counter(cut_points(conditions_of(segments), protocol)))


def changed_cut(before: PortCut, segments: tuple[Segment, ...]) -> PortCut | None:
    """The cut of rules that are those of another cut but for a few, None where it has to be made anew.

    Only the runs that those few reach, and their neighbours, are cut again.
    """
    changed = changes(before.segments, segments)
    if changed is None:
        return None
    gone, come = changed
    ranges: list[PortRange] = []
    for rule in (*gone, *come):
        ports = _own_ports(rule)
        if ports is None or rule.condition.destination.not_ports:
            return None
        ranges.extend(ports)
    points = before.points.copy()
    for rule in gone:
        points.subtract(_ends(rule))
    added = {point for rule in come for point in _ends(rule)}
    for rule in come:
        points.update(_ends(rule))
    starts = [run.first for run, _ in before.leaves]
    if sum(end - first for first, end in _zones(ranges, starts)) > FEW:
        return None
    leaves: list[Leaf] = []
    copied = before.copied
    done = 0
    for first, end in _zones(ranges, starts):
        last_port = starts[end] - 1 if end < len(starts) else LAST_PORT
        old = before.leaves[first:end]
        cuts = {start for start in starts[first + 1 : end] if points[start]}
        cuts |= {starts[first]} | {point for point in added if starts[first] < point <= last_port}
        new = list(_cut_again(old, gone, come, sorted(cuts), last_port, segments))
        copied += _copies(new) - _copies(old)
        leaves += before.leaves[done:first]
        leaves += new
        done = end
    leaves += before.leaves[done:]
    return PortCut(segments, tuple(leaves), copied, +points)


def _own_ports(rule: ProgramRule) -> tuple[PortRange, ...] | None:
    """The ranges that a rule is for, None for one that reaches everywhere: it names no port, or one by name."""
    destination = rule.condition.destination
    return None if destination.port_sets else destination.ports


def _covered(ports: tuple[PortRange, ...], index: RunIndex) -> Sequence[int]:
    if len(ports) == 1:
        return index.covered(ports[0])
    return sorted({run for one in ports for run in index.covered(one)})


def _leaves(
    segments: tuple[Segment, ...], runs: tuple[PortRange, ...], named: list[list[int]], anywhere: list[int]
) -> Iterator[Leaf]:
    numbered = [(place, rule) for place, segment in enumerate(segments) for rule in segment]
    shared: dict[tuple[int, ...], tuple[Segment, ...]] = {}
    for run, numbers in zip(runs, named, strict=True):
        key = tuple(numbers)
        if key not in shared:
            shared[key] = by_segment(numbered[number] for number in merge(numbers, anywhere))
        yield run, shared[key]


def _ends(rule: ProgramRule) -> Iterator[int]:
    for ports in rule.condition.destination.ports or ():
        yield ports.first
        if ports.last < LAST_PORT:
            yield ports.last + 1


def _zones(ranges: Iterable[PortRange], starts: list[int]) -> Iterator[tuple[int, int]]:
    """The runs, from one to before another, that ranges reach or touch, those that overlap as one."""
    found = sorted(
        (
            bisect_right(starts, max(ports.first - 1, FIRST_PORT)) - 1,
            bisect_right(starts, min(ports.last + 1, LAST_PORT)),
        )
        for ports in ranges
    )
    pending: tuple[int, int] | None = None
    for first, end in found:
        if pending is not None and first < pending[1]:
            pending = pending[0], max(pending[1], end)
            continue
        if pending is not None:
            yield pending
        pending = first, end
    if pending is not None:
        yield pending


def _cut_again(
    old: tuple[Leaf, ...],
    gone: list[ProgramRule],
    come: list[ProgramRule],
    cuts: list[int],
    last_port: int,
    segments: tuple[Segment, ...],
) -> Iterator[Leaf]:
    """The runs between some cuts with the rules of the old ones, but for what is gone and what has come."""
    without = set(map(id, gone))
    candidates = {id(rule): rule for _, met in old for segment in met for rule in segment if id(rule) not in without}
    candidates |= {id(rule): rule for rule in come}
    places = _places(candidates.values(), segments)
    in_order = sorted(candidates.values(), key=lambda rule: places[id(rule)])
    for start, end in zip(cuts, [*(cut - 1 for cut in cuts[1:]), last_port], strict=True):
        met = (rule for rule in in_order if _reaches(rule, start, end))
        yield PortRange(start, end), by_segment((places[id(rule)][0], rule) for rule in met)


def _reaches(rule: ProgramRule, start: int, end: int) -> bool:
    """True if a rule is for the whole of a run of ports."""
    ports = _own_ports(rule)
    return ports is None or any(one.first <= start and end <= one.last for one in ports)


def _places(rules: Collection[ProgramRule], segments: tuple[Segment, ...]) -> dict[int, tuple[int, int]]:
    """The segment that each rule is in, and where in it."""
    if len(rules) > FEW:
        every = ((id(rule), (n, place)) for n, segment in enumerate(segments) for place, rule in enumerate(segment))
        return dict(every)
    # To look for a few is faster than to number tens of thousands.
    return {
        id(rule): next((n, segment.index(rule)) for n, segment in enumerate(segments) if rule in segment)
        for rule in rules
    }


def _copies(leaves: Iterable[Leaf]) -> int:
    return sum(len(segment) for _, met in leaves for segment in met)


def joined(runs: Iterable[PortRange]) -> Iterator[PortRange]:
    """Runs that touch become one range."""
    pending: PortRange | None = None
    for run in sorted(runs):
        if pending is not None and pending.last + 1 == run.first:
            pending = PortRange(pending.first, run.last)
            continue
        if pending is not None:
            yield pending
        pending = run
    if pending is not None:
        yield pending


def label(runs: Sequence[PortRange]) -> str:
    """A leaf is called after its first port."""
    return f"{min(runs).first}{'-etc' if len(runs) > 1 or runs[0].first != runs[0].last else ''}"
