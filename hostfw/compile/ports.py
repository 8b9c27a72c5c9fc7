"""Dispatch by destination port: which rules a packet to a port can match, and how runs of ports are told."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from hostfw.compile.cells import RunIndex, port_runs
from hostfw.compile.program import ProgramRule, Segment, conditions_of
from hostfw.model.values import PortRange


def rules_by_run(segments: tuple[Segment, ...], protocol: int) -> Iterator[tuple[PortRange, tuple[Segment, ...]]]:
    """For each run of ports, the rules that a packet to it can match; runs with the same rules share the value."""
    numbered = [(place, rule) for place, segment in enumerate(segments) for rule in segment]
    runs = port_runs(conditions_of(segments), protocol)
    index = RunIndex(runs)
    named: list[list[int]] = [[] for _ in runs]
    anywhere: list[int] = []
    for number, (_, rule) in enumerate(numbered):
        destination = rule.condition.destination
        if destination.ports is None or destination.port_sets:
            anywhere.append(number)
            continue
        for run in sorted({run for ports in destination.ports for run in index.covered(ports)}):
            named[run].append(number)
    shared: dict[tuple[int, ...], tuple[Segment, ...]] = {}
    for run_ports, numbers in zip(runs, map(tuple, named), strict=True):
        if numbers not in shared:
            met: list[list[ProgramRule]] = [[] for _ in segments]
            for place, rule in (numbered[number] for number in merge(numbers, anywhere)):
                met[place].append(rule)
            shared[numbers] = tuple(map(tuple, met))
        yield run_ports, shared[numbers]


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
