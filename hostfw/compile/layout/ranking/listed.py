"""The rules of a list, each with what is known of it in its cell, kept from list to list."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.layout.nft_rules.matches import Tests, tests_of
from hostfw.compile.layout.ranking.ranks import draw
from hostfw.compile.layout.ranking.ways import Variant, variants_of
from hostfw.compile.program import LogOnly, Pass, ProgramRule, Segment, Staged
from hostfw.compile.table_builder import TableBuilder
from hostfw.nft.rules import Goto


@dataclass(slots=True, eq=False)
class Listed:
    """A rule with the tests that remain in a cell, and the number that its name has drawn. Compared by identity.

    The next rule is tried after one that `goes_on`, whether or not it matches. `decides` is whether it ends the list
    for some packets, `is_last` whether it does for all. `end` is the way to the chain that does what the rule says.
    """

    rule: ProgramRule
    tests: Tests
    drawn: int
    goes_on: bool = field(init=False)
    passes: bool = field(init=False)
    decides: bool = field(init=False)
    is_last: bool = field(init=False)
    end: Goto | None = None
    _variants: tuple[Variant, ...] | None = None

    def __post_init__(self) -> None:
        self.goes_on = isinstance(self.rule.effect, LogOnly | Staged)
        self.passes = isinstance(self.rule.effect, Pass)
        self.decides = not self.goes_on and not self.tests.unconditional
        self.is_last = not self.goes_on and self.tests.unconditional

    def variants(self, cell: Cell, builder: TableBuilder) -> tuple[Variant, ...]:
        """The variants by which it can be looked up. Most short lists are never looked up by them."""
        if self._variants is None:
            self._variants = variants_of(self.rule.condition, cell, builder)
        return self._variants


@dataclass(frozen=True, slots=True)
class KnownRules:
    """The rules of a cell, None for those that no packet of it matches."""

    cell: Cell
    rules: Mapping[ProgramRule, Listed | None]

    @classmethod
    def of(cls, segments: Iterable[Segment], cell: Cell, builder: TableBuilder, before: object) -> "KnownRules":
        """The rules of some segments; what is known of them from before is looked up, if the cell is the same."""
        known = before.rules if isinstance(before, KnownRules) and before.cell == cell else {}
        every = [rule for segment in segments for rule in segment]
        found = dict(zip(every, map(known.get, every), strict=True))
        for rule in [rule for rule, listed in found.items() if listed is None]:
            if rule not in known:
                found[rule] = _listed(rule, cell, builder)
        return cls(cell, found)

    def reached(self, segment: Segment) -> list[Listed]:
        """The rules of a segment that packets can match, up to the first that decides every packet."""
        there = [listed for listed in map(self.rules.__getitem__, segment) if listed is not None]
        end = next((place for place, one in enumerate(there) if one.is_last), len(there))
        return there[: end + 1]


def tried(listed: Sequence[Listed]) -> Iterator[tuple[ProgramRule, Tests]]:
    """Rules with their tests."""
    return ((one.rule, one.tests) for one in listed)


def _listed(rule: ProgramRule, cell: Cell, builder: TableBuilder) -> Listed | None:
    tests = tests_of(rule.condition, cell, builder)
    return None if tests is None else Listed(rule, tests, draw(_name(rule)))


def _name(rule: ProgramRule) -> str:
    """The counter, which stays the same wherever the rule stands; of a staged policy, that of its first rule."""
    if isinstance(rule.effect, Staged):
        return _name(rule.effect.rules[0]) if rule.effect.rules else ""
    return rule.effect.counter
