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

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from operator import itemgetter

from hostfw.compile.incremental.memo import Memo
from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.layout.nft_rules.matches import Tests, tests_of
from hostfw.compile.layout.ranking.choices import Choices, Variants, chosen
from hostfw.compile.layout.ranking.key_maps import Maps, Ranked
from hostfw.compile.layout.ranking.lookups import Lookups
from hostfw.compile.layout.ranking.ranks import MOST, chunks, ranks
from hostfw.compile.layout.ranking.ways import PORT_BITS, Crowds, Found, Keys, Placement, Shape
from hostfw.compile.layout.ranking.widths import PORTS, merged_shapes, shortened_shapes, width_of
from hostfw.compile.layout.rule_list import RuleList, decides
from hostfw.compile.program import Allow, Deny, LogOnly, Pass, ProgramRule, Segment, Staged
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.values import Family
from hostfw.nft.objects import ElementType
from hostfw.nft.rules import Accept, Below, Goto, Jump, Key, Match, Note, Return, Rule, Vmap

Tried = list[tuple[ProgramRule, Found]]
_LEAST_LOOKUPS = 3
"""Lookups of a list that has one map: in the map, behind it, and of the rank that was noted."""
_TOO_SHORT = 2
"""Rules of a part of a list that are not worth a jump to a chain of theirs."""
_TAKEN = Match(Key.SCRATCH, 0, negated=True)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A rule that decides, with its rank and the ways that lead to it; none where it can only be tried."""

    rule: ProgramRule
    tests: Tests
    rank: int
    ways: tuple[Placement, ...]


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
        written: list[Rule] = []
        for number, (group, passes, last) in enumerate(self._groups(segments, cell, memo)):
            rules = self._group(purpose, group, cell, memo, number)
            if last and not passes:
                written.extend(rules)
            else:
                # What comes back undecided, or by a Pass, goes on with the next group.
                written.append(Rule((), (Jump(self.builder.chain(f"{purpose}/part", rules)),)))
        return written

    def _groups(self, segments: Sequence[Segment], cell: Cell, memo: Memo) -> Iterator[tuple[Tried, bool, bool]]:
        """Runs of segments that are one list, whether a Pass in it skips rules, and whether it decides every packet."""
        group: Tried = []
        for segment in segments:
            tried = list(_reached(self._tried(segment, cell, memo)))
            passes = any(isinstance(rule.effect, Pass) and not found.tests.unconditional for rule, found in tried)
            if group and passes:
                yield group, False, False
                group = []
            group.extend(tried)
            while len(group) > MOST and not passes:
                yield group[:MOST], False, False
                group = group[MOST:]
            if not passes and decides([(rule, found.tests) for rule, found in tried]):
                yield group, passes, True
                return
            if passes or any(isinstance(rule.effect, Pass) for rule, _ in tried):
                yield group, passes, False
                group = []
        if group:
            yield group, False, False

    def _tried(self, segment: Segment, cell: Cell, memo: Memo) -> Iterator[tuple[ProgramRule, Found]]:
        causes = ((("rule", rule), cell) for rule in segment)
        for (_, rule), found in memo.get_or_make_each(causes, self._found):
            if found is not None:
                yield rule, found

    def _found(self, place: tuple[str, ProgramRule], cell: Cell, _: Memo) -> Found | None:
        condition = place[1].condition
        tests = tests_of(condition, cell, self.builder)
        if tests is None:
            return None
        return Found(tests)

    def _group(self, purpose: str, group: Tried, cell: Cell, memo: Memo, number: int) -> list[Rule]:
        """The rules of a group, as a list if that is worth no more than the lookups, or if there are too few ranks."""
        costs = self.builder.costs
        if not costs.rules_a_lookup * _LEAST_LOOKUPS <= len(group) <= MOST:
            return self._list(group, cell)
        of = ranks([_name(rule) for rule, _ in group])
        ranked = list(self._ranked(group, of, cell, memo, number))
        into = self._maps(ranked)
        shapes = {target[1] for target in into.values() if target}
        looked_up = sum(1 for one in ranked if one.ways)
        if not shapes or looked_up < costs.rules_a_lookup * (len(shapes) + _LEAST_LOOKUPS - 1):
            return self._list(group, cell)
        in_order = self._in_order(purpose, group, cell, memo, number)
        always = [rule for rule, found in group if found.tests.unconditional and not _goes_on(rule)]
        first = next(place for place, (rule, _) in enumerate(group) if not _goes_on(rule))
        ends = list(self._ends(purpose, ranked, memo))
        at_once = {} if any(_goes_on(rule) for rule, _ in group[first:]) else self._at_once(ranked, ends)
        found = {one.rank: (at_once.get(one.rank), one.ways) for one in ranked if one.ways}
        looked_up_in = memo.get_or_make(("lookups", number), object(), partial(self._lookups, purpose, found, into))
        return [
            Rule((_TAKEN,), (Goto(in_order),)),
            *self._list(group[:first], cell),
            *self._scanned(purpose, ranked),
            *looked_up_in,
            *self._before(purpose, group[first:], of[first:], cell),
            self._decision(purpose, ends),
            *chain.from_iterable(self.rule_list.tried([(rule, Tests())], cell) for rule in always),
        ]

    def _lookups(self, purpose: str, found: Ranked, into: Maps, memo: Memo) -> list[Rule]:
        return Lookups(self.builder, purpose).rules(found, into, memo)

    def _maps(self, ranked: Sequence[_Ranked]) -> Maps:
        """The maps that rules are found in."""
        costs = self.builder.costs
        crowds: Crowds = {}
        spots = 0
        for one in ranked:
            for way in one.ways:
                spots += sum(map(len, way.keys.values()))
                _add(way.keys, len(way.tests), crowds)
        shorter = shortened_shapes(crowds, self._most_compares, partial(width_of, self.builder.family))
        counts, compares = Counter[Shape](), Counter[Shape]()
        for shape, target in shorter.items():
            counts[target] += len(crowds[shape])
            compares[target] += sum(crowds[shape].values())
        few = {target for target, count in compares.items() if count <= costs.compares_a_lookup}
        counts = Counter({target: count for target, count in counts.items() if target not in few})
        room = min(costs.keys_a_rule + costs.widened * spots, costs.room_of(len(ranked)))
        longer = merged_shapes(counts, costs.lookups, room)
        return {shape: None if target in few else (target, longer[target]) for shape, target in shorter.items()}

    def _most_compares(self, shape: Shape, shorter: Shape) -> int:
        """The most compares behind a key of a map that the keys of another one go into."""
        costs = self.builder.costs
        tested = [key for (key, bits), (_, fewer) in zip(shape, shorter, strict=True) if fewer < bits]
        exact = all((key, PORT_BITS) in shape if key in PORTS else self.builder.family is Family.V4 for key in tested)
        return costs.shortened_inline if exact else costs.shortened

    def _ranked(self, group: Tried, of: Sequence[int], cell: Cell, memo: Memo, number: int) -> Iterator[_Ranked]:
        """The rules that decide and that a packet may fail to match."""
        costs = self.builder.costs
        room = costs.keys_of_rule
        given = [one for one in zip(group, of, strict=True) if _decides(*one[0])]
        variants = [found.variants(rule.condition, cell, self.builder) for (rule, found), _ in given]
        place, make = ("choices", number), partial(_chosen, variants, costs.crowd, room)
        choices = memo.get_or_make(place, object(), make)
        for ((rule, found), rank), of_rule in zip(given, variants, strict=True):
            ways: list[Placement] = []
            for variant, by in choices.of(of_rule):
                if not by:
                    ways = []
                    break
                way = variant.way(by, self.builder)
                if way is not None:
                    ways.append(way)
            yield _Ranked(rule, found.tests, rank, tuple(ways))

    def _list(self, group: Sequence[tuple[ProgramRule, Found]], cell: Cell) -> list[Rule]:
        return self.rule_list.tried([(rule, found.tests) for rule, found in group], cell)

    def _in_order(self, purpose: str, group: Tried, cell: Cell, memo: Memo, number: int) -> str:
        """The chain that tries the rules of a group one after the other."""
        parts = [part for chunk in chunks([_name(rule) for rule, _ in group]) for part in _parts(group, chunk)]
        chained = [part for part in parts if len(part) > _TOO_SHORT]
        made = memo.get_or_make_each(
            ((("in order", number, part[0][0]), (part, cell)) for part in chained), partial(self._part, purpose)
        )
        rules: list[Rule] = []
        for part in parts:
            if len(part) > _TOO_SHORT:
                rules.append(Rule((), (Jump(next(made)[1]),)))
            else:
                rules.extend(self._list(part, cell))
        return self.builder.chain(f"{purpose}/in-order", rules)

    def _part(
        self, purpose: str, _place: object, cause: tuple[Sequence[tuple[ProgramRule, Found]], Cell], _memo: Memo
    ) -> str:
        # What a staged policy tests depends on the cell, and its `Found` does not say so.
        part, cell = cause
        return self.builder.chain(f"{purpose}/in-order", self._list(part, cell))

    def _scanned(self, purpose: str, ranked: Iterable[_Ranked]) -> Iterator[Rule]:
        """The rules that no map leads to, tried one after the other; the first that matches is noted."""
        rules = [
            Rule(alternative, (Note(one.rank), Return()))
            for one in ranked
            if not one.ways
            for alternative in one.tests.alternatives()
        ]
        if rules:
            yield Rule((), (Jump(self.builder.chain(f"{purpose}/tried", rules)),))

    def _before(self, purpose: str, group: Tried, of: Sequence[int], cell: Cell) -> Iterator[Rule]:
        """Log rules and staged policies, each as far as the rule that decides stands behind it.

        Many are in chunks, and a packet meets those alone that begin in front of the rule that decides.
        """
        going = [(rule, found, rank) for (rule, found), rank in zip(group, of, strict=True) if _goes_on(rule)]
        if len(going) <= self.builder.costs.rules_a_lookup:
            yield from self._each_before(going, cell)
            return
        for part in chunks([_name(rule) for rule, _, _ in going]):
            rules = list(self._each_before(going[part.start : part.stop], cell))
            if rules:
                first = Match(Key.SCRATCH, Below(going[part.start][2]))
                yield Rule((first,), (Jump(self.builder.chain(f"{purpose}/before", rules)),))

    def _each_before(self, going: Iterable[tuple[ProgramRule, Found, int]], cell: Cell) -> Iterator[Rule]:
        for rule, found, rank in going:
            for written in self.rule_list.tried([(rule, found.tests)], cell):
                yield Rule((*written.matches, Match(Key.SCRATCH, Below(rank))), written.statements)

    def _ends(self, purpose: str, ranked: Sequence[_Ranked], memo: Memo) -> Iterator[tuple[int, Goto]]:
        """The rank of each rule, and the way to the chain that does what it says."""
        causes = ((("end", one.rule), None) for one in ranked)
        ends = memo.get_or_make_each(causes, partial(self._end, purpose))
        yield from ((one.rank, verdict) for one, (_, verdict) in zip(ranked, ends, strict=True))

    def _at_once(self, ranked: Sequence[_Ranked], ends: Iterable[tuple[int, Goto]]) -> dict[int, Goto]:
        """The ends that a packet does not come back from, and so may be gone to from within the lookups."""
        allows = isinstance(self.rule_list.writer.allow[-1], Accept)
        final = (Allow, Deny) if allows else (Deny,)
        return {rank: end for one, (rank, end) in zip(ranked, ends, strict=True) if isinstance(one.rule.effect, final)}

    def _decision(self, purpose: str, ends: Iterable[tuple[int, Goto]]) -> Rule:
        """The lookup of the rank that was noted, and from there to the rule."""
        name = self.builder.verdict_map(f"{purpose}/ranks", ElementType.MARK, tuple(sorted(ends, key=itemgetter(0))))
        return Rule((), (Vmap(Key.SCRATCH, name),))

    def _end(self, purpose: str, place: tuple[str, ProgramRule], _cause: None, _memo: Memo) -> Goto:
        """The chain of a rule that has been found: it leaves the mark as it was, and does what the rule says."""
        statements = self.rule_list.writer.statements(place[1].effect, (Return(),))
        return Goto(self.builder.chain(f"{purpose}/rule", [Rule((), (Note(0), *statements))]))


def _parts(group: Tried, chunk: range) -> Iterator[tuple[tuple[ProgramRule, Found], ...]]:
    """The rules of a chunk in parts, each Pass alone: it returns from the whole list, and so stands in it itself."""
    found = [group[place] for place in chunk]
    for passes, part in groupby(found, lambda one: isinstance(one[0].effect, Pass)):
        those = tuple(part)
        yield from ((one,) for one in those) if passes else (those,)


def _chosen(variants: Sequence[Variants], limit: int, room: int, memo: Memo) -> Choices:
    return chosen(variants, limit, room, memo.previous)


def _add(keys: Keys, count: int, crowds: Crowds) -> None:
    """Adds so many for each key."""
    for shape, of_shape in keys.items():
        there = crowds.get(shape)
        if there is None:
            there = crowds[shape] = Counter()
        if count == 1:
            there.update(of_shape)
        else:
            for key in of_shape:
                there[key] += count


def _reached(tried: Iterable[tuple[ProgramRule, Found]]) -> Iterator[tuple[ProgramRule, Found]]:
    """The rules up to the first that decides every packet."""
    for rule, found in tried:
        yield rule, found
        if found.tests.unconditional and not _goes_on(rule):
            return


def _name(rule: ProgramRule) -> str:
    """The counter, which stays the same wherever the rule stands; of a staged policy, that of its first rule."""
    if isinstance(rule.effect, Staged):
        return _name(rule.effect.rules[0]) if rule.effect.rules else ""
    return rule.effect.counter


def _goes_on(rule: ProgramRule) -> bool:
    """True if the next rule is tried whether or not this one matches."""
    return isinstance(rule.effect, LogOnly | Staged)


def _decides(rule: ProgramRule, found: Found) -> bool:
    return not _goes_on(rule) and not found.tests.unconditional
