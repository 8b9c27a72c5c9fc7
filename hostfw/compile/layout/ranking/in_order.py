"""The rules of a list tried one after the other, in chains of chains, so that a change writes a few small ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from hostfw.compile.incremental.memo import Memo
from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.layout.ranking.listed import Listed, tried
from hostfw.compile.layout.ranking.ranks import blocks, chunks
from hostfw.compile.layout.rule_list import RuleList
from hostfw.nft.rules import Goto, Jump, Return, Rule

_TOO_SHORT = 2
"""Rules of a part of a list that are not worth a jump to a chain of theirs."""

_Part = tuple[Listed, ...]
_Block = tuple[tuple[_Part, ...], Goto | Return]
"""The chunks of a block, and the way of a Pass."""


@dataclass(frozen=True, slots=True)
class InOrder:
    """Writes lists of one cell.

    `on_pass` is where a Pass leads to. A Return has to be from the whole list: then each Pass stands in the list itself
    and in no chunk of it.
    """

    rule_list: RuleList
    purpose: str
    cell: Cell
    on_pass: Goto | Return

    def chain(self, group: Sequence[Listed], memo: Memo, number: int) -> str:
        """The chain that tries rules one after the other; `memo` has the blocks of the last time."""
        drawn = [one.drawn for one in group]
        parts = chunks(drawn)
        pieces = [tuple(group[part.start : part.stop]) for part in parts]
        cut = (tuple(pieces[block.start : block.stop]) for block in blocks(drawn, parts))
        causes = ((("in order", number, block[0][0]), (block, self.on_pass)) for block in cut)
        rules: list[Rule] = []
        for _, of_block in memo.get_or_make_each(causes, self._block):
            rules += of_block
        return self._chained(rules)

    def _block(self, _place: object, block: _Block, memo: Memo) -> list[Rule]:
        """The rules for a block in the list: a jump to its chain, unless some of them have to return from the list."""
        parts, _ = block
        causes = ((part[0], part) for part in parts)
        rules = [rule for _, of_part in memo.get_or_make_each(causes, self._chunk) for rule in of_part]
        if any(map(self._returns, parts)):
            return rules
        return self._in_chain(rules)

    def _chunk(self, _place: object, part: _Part, _memo: Memo) -> list[Rule]:
        if not self._returns(part):
            return self._in_chain(self._tried(part))
        rules: list[Rule] = []
        for passes, those in groupby(part, lambda one: one.passes):
            some = self._tried(tuple(those))
            rules += some if passes else self._in_chain(some)
        return rules

    def _returns(self, part: _Part) -> bool:
        return isinstance(self.on_pass, Return) and any(one.passes for one in part)

    def _tried(self, part: _Part) -> list[Rule]:
        return self.rule_list.tried(tried(part), self.cell, self.on_pass)

    def _in_chain(self, rules: list[Rule]) -> list[Rule]:
        return rules if len(rules) <= _TOO_SHORT else [Rule((), (Jump(self._chained(rules)),))]

    def _chained(self, rules: list[Rule]) -> str:
        return self.rule_list.builder.chain(f"{self.purpose}/in-order", rules)
