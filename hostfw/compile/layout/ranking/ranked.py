"""Lists of rules as lookups, whatever the rules ask for: each map leads to the first of its rules.

A rule stands in hash maps under what it asks for: a port, a prefix, both. A packet is looked up in each map once, so it
pays for the kinds of keys and not for the rules. Behind a key is a chain that compares the rank of its rule
with that of the best one so far, in the upper half of the packet's mark, and notes the better one. At the end the noted
rank leads to the rule. Log rules and staged policies are tried in order before that, as far as they stand in front of
the rule that decides; those in front of every other before anything is looked up, so that their records have the mark
that the packet came with.

The upper half of the mark is 0 before and after. A packet in which another program has set any of these bits meets the
same rules as a list.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter

from hostfw.compile.incremental.memo import Memo
from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.layout.nft_rules.matches import Tests
from hostfw.compile.layout.ranking.choices import Choices, Variants, chosen
from hostfw.compile.layout.ranking.crowding import Crowding, Ways
from hostfw.compile.layout.ranking.in_order import InOrder
from hostfw.compile.layout.ranking.key_maps import Maps, Ranked
from hostfw.compile.layout.ranking.listed import KnownRules, Listed, tried
from hostfw.compile.layout.ranking.lookups import Lookups
from hostfw.compile.layout.ranking.map_parts import MapLookup
from hostfw.compile.layout.ranking.ranks import MOST, chunks, ranks
from hostfw.compile.layout.ranking.ways import Placement
from hostfw.compile.layout.rule_list import RuleList
from hostfw.compile.program import Allow, Deny, Exempt, Limited, Segment
from hostfw.compile.table_builder import TableBuilder
from hostfw.nft.rules import Accept, Below, Field, Goto, Jump, Key, Match, Note, Return, Rule

_LEAST_LOOKUPS = 3
"""Lookups of a list that has one map: in the map, behind it, and of the rank that was noted."""
_TAKEN = Match(Key.SCRATCH, 0, negated=True)
_DECIDING = (Allow, Exempt, Deny, Limited)


@dataclass(frozen=True, slots=True)
class _Group:
    """Runs of segments that are one list, whether a Pass in it skips rules, and whether it decides every packet."""

    listed: list[Listed]
    passes: bool
    is_last: bool


@dataclass(frozen=True, slots=True)
class RankedList:
    """Writes the rules of a cell as lookups."""

    rule_list: RuleList

    @property
    def builder(self) -> TableBuilder:
        """The table that is laid out."""
        return self.rule_list.builder

    def rules(self, purpose: str, segments: Sequence[Segment], cell: Cell, memo: Memo) -> list[Rule]:
        """The rules of a cell; a group of segments is one lookup, and what a Pass sends on goes to the next group."""
        known = memo.get_or_make("listed", object(), partial(self._known, segments, cell))
        groups = list(_groups(segments, known))
        written: list[Rule] = []
        for number, group in reversed(list(enumerate(groups))):
            in_order = InOrder(self.rule_list, purpose, cell, self._on_pass(purpose, groups[number:], written))
            rules = self._group(purpose, group.listed, in_order, memo, number)
            if group.is_last:
                written = rules
            else:
                # What comes back undecided, or by a Pass, goes on with the next group.
                written = [Rule((), (Jump(self.builder.chain(f"{purpose}/part", rules)),)), *written]
        return written

    def _known(self, segments: Sequence[Segment], cell: Cell, memo: Memo) -> KnownRules:
        return KnownRules.of(segments, cell, self.builder, memo.previous)

    def _on_pass(self, purpose: str, groups: Sequence[_Group], after: Sequence[Rule]) -> Goto | Return:
        """Where a Pass of the first of some groups leads to: what stands behind it, if that is short and decides all.

        Otherwise it returns to that: it would have another way there with every change of it.
        """
        group, *others = groups
        decided = bool(others) and others[-1].is_last
        if not group.passes or not decided or sum(len(one.listed) for one in others) > self.builder.costs.linear_rules:
            return Return()
        return Goto(self.builder.chain(f"{purpose}/rest", after))

    def _group(self, purpose: str, group: Sequence[Listed], in_order: InOrder, memo: Memo, number: int) -> list[Rule]:
        """The rules of a group, as a list if that is worth no more than the lookups, or if there are too few ranks."""
        costs, cell = self.builder.costs, in_order.cell
        if not costs.rules_a_lookup * _LEAST_LOOKUPS <= len(group) <= MOST:
            return self._list(group, cell)
        of = ranks([one.drawn for one in group])
        ranked = [(one, rank) for one, rank in zip(group, of, strict=True) if one.decides]
        ways = self._ways([one for one, _ in ranked], cell, memo, number)
        crowding = memo.get_or_make(("crowding", number), object(), partial(_crowding, ways))
        into = crowding.maps(costs, self.builder.family, len(ranked))
        shapes = {target[1] for target in into.values() if target}
        looked_up = sum(1 for one in ways if one)
        if not shapes or looked_up < costs.rules_a_lookup * (len(shapes) + _LEAST_LOOKUPS - 1):
            return self._list(group, cell)
        taken = in_order.chain(group, memo, number)
        always = [one for one in group if one.is_last]
        others = [rule for one in always for rule in self.rule_list.tried([(one.rule, Tests())], cell)]
        first = next(place for place, one in enumerate(group) if not one.goes_on)
        ends = list(self._ends(purpose, ranked))
        at_once = {} if any(one.goes_on for one in islice(group, first, None)) else self._at_once(ranked, ends)
        found = {rank: (at_once.get(rank), those) for (_, rank), those in zip(ranked, ways, strict=True) if those}
        looked_up_in = memo.get_or_make(("lookups", number), object(), partial(self._lookups, purpose, found, into))
        return [
            Rule((_TAKEN,), (Goto(taken),)),
            *self._list(group[:first], cell),
            *self._scanned(purpose, [one for one, those in zip(ranked, ways, strict=True) if not those]),
            *looked_up_in,
            *self._before(purpose, group[first:], of[first:], cell),
            *self._decision(purpose, ends, others),
        ]

    def _lookups(self, purpose: str, found: Ranked, into: Maps, memo: Memo) -> list[Rule]:
        return Lookups(self.builder, purpose).rules(found, into, memo)

    def _ways(self, deciding: Sequence[Listed], cell: Cell, memo: Memo, number: int) -> list[Ways]:
        """The ways that lead to each rule that decides and that a packet may fail to match; none where it is tried."""
        costs = self.builder.costs
        variants = [one.variants(cell, self.builder) for one in deciding]
        make = partial(_chosen, variants, costs.crowd, costs.keys_of_rule)
        choices = memo.get_or_make(("choices", number), object(), make)
        known = choices.ways
        for rule in [rule for rule in variants if id(rule) not in known]:
            known[id(rule)] = self._ways_of(rule, choices)
        return [known[id(rule)] for rule in variants]

    def _ways_of(self, rule: Variants, choices: Choices) -> Ways:
        ways: list[Placement] = []
        for variant, by in choices.of(rule):
            if not by:
                return ()
            way = variant.way(by, self.builder)
            if way is not None:
                ways.append(way)
        return tuple(ways)

    def _list(self, group: Sequence[Listed], cell: Cell) -> list[Rule]:
        return self.rule_list.tried(tried(group), cell)

    def _scanned(self, purpose: str, ranked: Iterable[tuple[Listed, int]]) -> Iterator[Rule]:
        """The rules that no map leads to, tried one after the other; the first that matches is noted."""
        rules = [
            Rule(alternative, (Note(rank), Return()))
            for one, rank in ranked
            for alternative in one.tests.alternatives()
        ]
        if rules:
            yield Rule((), (Jump(self.builder.chain(f"{purpose}/tried", rules)),))

    def _before(self, purpose: str, group: Sequence[Listed], of: Sequence[int], cell: Cell) -> Iterator[Rule]:
        """Log rules and staged policies, each as far as the rule that decides stands behind it.

        Many are in chunks, and a packet meets those alone that begin in front of the rule that decides.
        """
        going = [(one, rank) for one, rank in zip(group, of, strict=True) if one.goes_on]
        if len(going) <= self.builder.costs.rules_a_lookup:
            yield from self._each_before(going, cell)
            return
        for part in chunks([one.drawn for one, _ in going]):
            rules = list(self._each_before(going[part.start : part.stop], cell))
            if rules:
                first = Match(Key.SCRATCH, Below(going[part.start][1]))
                yield Rule((first,), (Jump(self.builder.chain(f"{purpose}/before", rules)),))

    def _each_before(self, going: Iterable[tuple[Listed, int]], cell: Cell) -> Iterator[Rule]:
        for one, rank in going:
            for written in self.rule_list.tried([(one.rule, one.tests)], cell):
                yield Rule((*written.matches, Match(Key.SCRATCH, Below(rank))), written.statements)

    def _ends(self, purpose: str, ranked: Sequence[tuple[Listed, int]]) -> Iterator[tuple[int, Goto]]:
        """The rank of each rule, and the way to the chain that does what it says."""
        for one, rank in ranked:
            end = one.end
            if end is None:
                end = one.end = self._end(purpose, one)
            yield rank, end

    def _at_once(self, ranked: Sequence[tuple[Listed, int]], ends: Iterable[tuple[int, Goto]]) -> dict[int, Goto]:
        """The ends that a packet does not come back from, and so may be gone to from within the lookups."""
        allows = isinstance(self.rule_list.writer.allow[-1], Accept)
        final = (Allow, Deny) if allows else (Deny,)
        return {
            rank: end for (one, _), (rank, end) in zip(ranked, ends, strict=True) if isinstance(one.rule.effect, final)
        }

    def _decision(self, purpose: str, ends: Sequence[tuple[int, Goto]], others: Sequence[Rule]) -> list[Rule]:
        """The lookup of the rank that was noted, and from there to the rule; then what packets without a rank meet."""
        lookup = MapLookup(f"{purpose}/ranks", (Field(Key.SCRATCH, None),), Goto)
        return lookup.rules(self.builder, sorted(ends, key=itemgetter(0)), others)

    def _end(self, purpose: str, one: Listed) -> Goto:
        """The chain of a rule that has been found: it leaves the mark as it was, and does what the rule says."""
        statements = self.rule_list.writer.statements(one.rule.effect, (Return(),))
        return Goto(self.builder.chain(f"{purpose}/rule", [Rule((), (Note(0), *statements))]))


def _groups(segments: Sequence[Segment], known: KnownRules) -> Iterator[_Group]:
    """The groups of some segments, up to the one that decides every packet."""
    group: list[Listed] = []
    for segment in segments:
        reached = known.reached(segment)
        passes = any(one.passes and one.decides for one in reached)
        if group and passes:
            yield _Group(group, passes=False, is_last=False)
            group = []
        group.extend(reached)
        while len(group) > MOST and not passes:
            yield _Group(group[:MOST], passes=False, is_last=False)
            group = group[MOST:]
        if not passes and reached and reached[-1].is_last and isinstance(reached[-1].rule.effect, _DECIDING):
            yield _Group(group, passes, is_last=True)
            return
        if passes or any(one.passes for one in reached):
            yield _Group(group, passes, is_last=False)
            group = []
    if group:
        yield _Group(group, passes=False, is_last=False)


def _chosen(variants: Sequence[Variants], limit: int, room: int, memo: Memo) -> Choices:
    return chosen(variants, limit, room, memo.previous)


def _crowding(ways: Sequence[Ways], memo: Memo) -> Crowding:
    crowding = memo.previous if isinstance(memo.previous, Crowding) else Crowding()
    crowding.count(ways)
    return crowding
