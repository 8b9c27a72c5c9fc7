"""Programs: the ordered first-match rules that one direction of an endpoint comes down to.

A program is a list of segments (preamble, tiers, profiles, the end). Rules are tried in order; the first that matches
and is not a Log decides; a Pass goes on with the next segment. Ends of tiers and the final drop are rules like the
others, with a reason of their own, so that nothing about a packet's fate is left to a default.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from hostfw.audit.log_prefix import LogTag
from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.plan import (
    ANY_SIDE,
    PlannedSide,
)
from hostfw.model.values import FAMILIES, Direction, Family, Icmp, Protocol


@dataclass(frozen=True, slots=True)
class Condition:
    """Criteria of a rule; a packet must meet all that are present."""

    families: tuple[Family, ...] = FAMILIES
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: PlannedSide = ANY_SIDE
    destination: PlannedSide = ANY_SIDE
    invalid: bool = False
    ipsec: bool | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """Counts and ends the program: the packet is let through."""

    counter: str


@dataclass(frozen=True, slots=True)
class Exempt:
    """Counts and lets the packet through this hook alone: a failsafe, which every hook grants for itself."""

    counter: str


@dataclass(frozen=True, slots=True)
class Deny:
    """Counts, logs within the limit unless it is `unrecorded`, and drops or rejects.

    `by_source` is of what others than the host send: it is the source that has a limit of its own.
    """

    counter: str
    tag: LogTag
    reject: bool
    unrecorded: bool = False
    by_source: bool = False


@dataclass(frozen=True, slots=True)
class LogOnly:
    """Counts, logs within the limit, and goes on with the next rule."""

    counter: str
    tag: LogTag
    by_source: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """Counts and goes on with the next segment."""

    counter: str


@dataclass(frozen=True, slots=True)
class Staged:
    """Another list, of a staged policy: the first of its rules that is not a Log is counted and logged, no more."""

    rules: "tuple[ProgramRule, ...]"


@dataclass(frozen=True, slots=True)
class WouldDecide:
    """Within a staged policy: counts, logs within the limit unless it is `unrecorded`, and leaves the policy."""

    counter: str
    tag: LogTag
    unrecorded: bool = False
    by_source: bool = False


@dataclass(frozen=True, slots=True)
class Limited:
    """Does `within` to what is within the limit of its source, and `beyond` to what is not.

    Sources that no room is left for have the limit of one together, and meet `without_room` beyond that. In a staged
    policy each of them only says what it would have done.
    """

    limit: SourceLimit
    within: Allow | WouldDecide
    beyond: Deny | WouldDecide
    without_room: Deny | WouldDecide

    @property
    def counter(self) -> str:
        """The counter of what is within the limit, which the others and the limit itself are named after."""
        return self.within.counter


Effect = Allow | Exempt | Deny | LogOnly | Pass | Staged | WouldDecide | Limited


@dataclass(frozen=True, slots=True, eq=False)
class ProgramRule:
    """A condition and its outcome. It is compared by identity: long lists of rules are what layouts are told by."""

    condition: Condition
    effect: Effect


Segment = tuple[ProgramRule, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Segments in order. What no rule decides is allowed, which only forward programs leave room for."""

    direction: Direction
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """The number of rules."""
        return sum(len(segment) for segment in self.segments)


def by_segment(rules: Iterable[tuple[int, ProgramRule]]) -> tuple[Segment, ...]:
    """Rules in order, each with the place of its segment, as segments: those without a rule are left out.

    A segment without rules decides nothing, and there may be as many of them as there are tiers.
    """
    return tuple([tuple([rule for _, rule in those]) for _, those in groupby(rules, key=itemgetter(0))])


def with_staged(rules: Iterable[ProgramRule]) -> Iterator[ProgramRule]:
    """The rules, those of staged policies among them."""
    for rule in rules:
        if isinstance(rule.effect, Staged):
            yield from rule.effect.rules
        else:
            yield rule


def conditions_of(segments: Iterable[Segment]) -> Iterator[Condition]:
    """The conditions of all rules in order, those of staged policies among them."""
    for segment in segments:
        for rule in segment:
            if isinstance(rule.effect, Staged):
                yield from (staged.condition for staged in rule.effect.rules)
            else:
                yield rule.condition


ANYTHING = Condition()
