"""Rules tried one after the other: the plain form, which every other layout ends in."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.layout.nft_rules.matches import Tests, tests_of
from hostfw.compile.layout.nft_rules.statements import StatementWriter
from hostfw.compile.program import Allow, Deny, Exempt, Limited, LogOnly, Pass, ProgramRule, Segment, Staged
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.values import Direction
from hostfw.nft.rules import Jump, Return, Rule, Verdict

_NEXT_SEGMENT = Return()


@dataclass(frozen=True, slots=True)
class RuleList:
    """Writes lists of rules for the cells of one program."""

    writer: StatementWriter
    direction: Direction

    @property
    def builder(self) -> TableBuilder:
        """The table that the lists are written for."""
        return self.writer.builder

    def rules(self, segments: Sequence[Segment], cell: Cell) -> list[Rule]:
        """The rules of a cell, tried one after the other, up to the first that decides every packet of the cell."""
        rules: list[Rule] = []
        for segment in segments:
            tested = self.tested(segment, cell)
            if any(isinstance(rule.effect, Pass) and not tests.unconditional for rule, tests in tested):
                # Returning to a list of jumps keeps the number of paths through the tiers a sum. As gotos they would
                # be a product, and the kernel walks every path when it checks a transaction.
                tier = self.builder.chain(f"{self.direction.short}/pass", self.tried(tested, cell))
                rules.append(Rule((), (Jump(tier),)))
                continue
            rules.extend(self.tried(tested, cell))
            if decides(tested):
                break
        return rules

    def tested(self, rules: Iterable[ProgramRule], cell: Cell) -> list[tuple[ProgramRule, Tests]]:
        """The rules that a packet of the cell can match, with what remains to be tested."""
        return [(rule, tests) for rule in rules if (tests := tests_of(rule.condition, cell, self.builder))]

    def tried(
        self, tested: Iterable[tuple[ProgramRule, Tests]], cell: Cell, on_pass: Verdict = _NEXT_SEGMENT
    ) -> list[Rule]:
        """The rules of a segment; an unconditional Pass only counts, for what follows is the next segment.

        `on_pass` is the way of any other Pass to that.
        """
        rules: list[Rule] = []
        for rule, tests in reached(tested):
            if isinstance(rule.effect, Staged):
                rules.extend(self.staged(rule.effect, cell))
                continue
            if isinstance(rule.effect, LogOnly) and tests.count > 1 and not self.writer.again:
                rules.append(Rule((), (Jump(self.writer.log_any_chain(rule.effect, tests)),)))
                continue
            statements = self.writer.statements(rule.effect, () if tests.unconditional else (on_pass,))
            if statements:
                rules.extend(Rule(alternative, statements) for alternative in tests.alternatives())
        return rules

    def staged(self, staged: Staged, cell: Cell) -> Iterator[Rule]:
        """A jump to what a staged policy would have done, if a packet of the cell can match any of it."""
        rules = self.tried(self.tested(staged.rules, cell), cell)
        if rules and not self.writer.again:
            yield Rule((), (Jump(self.builder.chain("staged", rules)),))


def reached(tested: Iterable[tuple[ProgramRule, Tests]]) -> Iterator[tuple[ProgramRule, Tests]]:
    """The rules up to the first that decides every packet."""
    for rule, tests in tested:
        yield rule, tests
        if tests.unconditional and not isinstance(rule.effect, LogOnly | Staged):
            return


def decides(tested: Iterable[tuple[ProgramRule, Tests]]) -> bool:
    """True if no packet leaves the segment undecided, apart from those that a Pass sends on."""
    return any(
        tests.unconditional and isinstance(rule.effect, Allow | Exempt | Deny | Limited)
        for rule, tests in reached(tested)
    )
