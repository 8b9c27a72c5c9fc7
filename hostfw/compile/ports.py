"""Dispatch by destination port: which rules a packet to a port can match, and how runs of ports are told."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge

from hostfw.compile.cells import RunIndex, port_runs
from hostfw.compile.program import ProgramRule, Segment, conditions_of
from hostfw.model.values import PortRange


@dataclass(frozen=True, slots=True)
class PortCut:
    """Runs of destination ports, and for each the numbers of the rules that name it; the others reach everywhere."""

    segments: tuple[Segment, ...]
    runs: tuple[PortRange, ...]
    named: tuple[tuple[int, ...], ...]
    anywhere: tuple[int, ...]

    @property
    def copied(self) -> int:
        """How many rules all runs together have."""
        return sum(map(len, self.named)) + len(self.anywhere) * len(self.runs)

    def leaves(self) -> Iterator[tuple[PortRange, tuple[Segment, ...]]]:
        """For each run, the rules that a packet to it can match; runs with the same rules share the value."""
        numbered = [(place, rule) for place, segment in enumerate(self.segments) for rule in segment]
        shared: dict[tuple[int, ...], tuple[Segment, ...]] = {}
        for run, numbers in zip(self.runs, self.named, strict=True):
            if numbers not in shared:
                met: list[list[ProgramRule]] = [[] for _ in self.segments]
                for place, rule in (numbered[number] for number in merge(numbers, self.anywhere)):
                    met[place].append(rule)
                shared[numbers] = tuple(map(tuple, met))
            yield run, shared[numbers]


def cut_by_port(segments: tuple[Segment, ...], protocol: int) -> PortCut:
    """The runs of ports that the rules on a protocol tell apart."""
    runs = port_runs(conditions_of(segments), protocol)
    index = RunIndex(runs)
    named: list[list[int]] = [[] for _ in runs]
    anywhere: list[int] = []
    for number, rule in enumerate(rule for segment in segments for rule in segment):
        destination = rule.condition.destination
        if destination.ports is None or destination.port_sets:
            anywhere.append(number)
            continue
        for run in sorted({run for ports in destination.ports for run in index.covered(ports)}):
            named[run].append(number)
    return PortCut(segments, runs, tuple(map(tuple, named)), tuple(anywhere))


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
