"""The maps that rules are found in, and the lookups of a packet in them.

Maps of prefixes of one address are a group, which is looked up longest first: what stands under the shorter prefixes
of a key is reached from the chain behind it, so a packet that is found makes no lookup for them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from hostfw.compile.incremental.memo import Memo
from hostfw.compile.layout.ranking.ways import PORT_BITS, Placement, Shape, Spot
from hostfw.compile.layout.ranking.widths import PORTS, cut, width_of, written_out
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.values import Cidr, Family, PortRange, mask_of
from hostfw.nft.objects import ElementType
from hostfw.nft.rules import Below, Field, Goto, Jump, Key, Match, Note, Return, Rule, Verdict, Vmap

Maps = dict[Shape, tuple[Shape, Shape] | None]
"""For each shape of keys: what they are cut to, and the map in which they are written out; None for too few of them."""
_Entry = tuple[Placement, Spot | None, int]
"""A way to a rule behind a key, the spot where that key is a shorter prefix of it, and the rank of the rule."""
_Key = tuple[int, ...]
Part = tuple[Key, int]
"""A part of a packet, and how many of its first bits count."""
_Behind = tuple[type[Jump | Goto], tuple[_Entry, ...], str | None, tuple[Goto | None, ...]]
_MOST_NESTED = 4
"""Most maps of a group: the kernel takes chains that lead on to others to a depth of 16."""


@dataclass(frozen=True, slots=True)
class _Cover:
    """The way to the chain behind a key, one object for all keys with that chain, and the rank of its first rule."""

    verdict: Jump | Goto
    rank: int


@dataclass(frozen=True, slots=True)
class Lookups:
    """Writes the maps of a list of rules, and the rules that look a packet up in them."""

    builder: TableBuilder
    purpose: str
    memo: Memo

    def rules(self, ways: Iterable[tuple[Placement, int]], into: Maps, ends: Mapping[int, Goto]) -> Iterator[Rule]:
        """A lookup in each map; each leads to the rules behind a key and comes back.

        `ends` are the chains of rules that a packet does not come back from, by their ranks. Those that are found last
        of all are gone to at once.
        """
        entries: list[_Entry] = []
        few: list[_Entry] = []
        shapes = sorted({target[1] for target in into.values() if target})
        maps: dict[Shape, dict[_Key, list[int]]] = {shape: {} for shape in shapes}
        for way, rank in ways:
            whole = len(entries)
            entries.append((way, None, rank))
            for shape, spots in groupby(way.spots, itemgetter(0)):
                target = into[shape]
                if target is None:
                    few.extend((way, spot, rank) for spot in spots)
                    continue
                shorter, longer = target
                there_are = maps[longer]
                for spot in spots:
                    number, key = whole, spot[1]
                    if shorter != shape:
                        number, key = len(entries), cut(spot, shorter, self._width)
                        entries.append((way, spot, rank))
                    for same in (key,) if longer == shorter else written_out((shorter, key), longer, self._width):
                        there = there_are.get(same)
                        if there is None:
                            there_are[same] = [number]
                        # Behind a rule that matches whatever stands there, no other is met.
                        elif not _holds(entries[there[-1]]):
                            there.append(number)
        gates = gates_of(maps)
        gated: dict[Part, list[Shape]] = defaultdict(list)
        for shape, gate in gates.items():
            gated[gate].append(shape)
        groups = [group for group in nested(shapes) if group[0] not in gates]
        # The more there are in a group, the more packets save a lookup by it; a policy more seldom makes it another.
        groups.sort(key=lambda group: sum(len(maps[shape]) for shape in group).bit_length())
        if few:
            yield Rule((), (self._lead(Jump, tuple(few), None, (None,) * len(few)),))
        for gate, those in gated.items():
            yield self._gated(gate, maps, those, [self._group((shape,), maps, entries, {}) for shape in those])
        for group in groups:
            yield self._group(group, maps, entries, ends if group is groups[-1] else {})

    def _group(
        self,
        group: Sequence[Shape],
        maps: dict[Shape, dict[_Key, list[int]]],
        entries: list[_Entry],
        ends: Mapping[int, Goto],
    ) -> Rule:
        """The lookup in one map, or the jump to the lookups in the maps of a group, which are given longest first."""
        if len(group) == 1:
            (shape,) = group
            return self._lookup(
                shape, [(key, cover.verdict) for key, cover in self._behind(maps[shape], entries, ends, Jump)]
            )
        covers: dict[Shape, dict[_Key, _Cover]] = {}
        rules: list[Rule] = []
        for place, shape in reversed(list(enumerate(group))):
            shorter = [(mask_of(self.builder.family, one[0][1]), covers[one]) for one in group[place + 1 :]]
            covers[shape] = dict(self._behind(maps[shape], entries, ends, Goto, shorter))
            rules.append(self._lookup(shape, [(key, cover.verdict) for key, cover in covers[shape].items()]))
        return Rule((), (Jump(self.builder.chain(f"{self.purpose}/by-{group[0][0][0]}", rules[::-1])),))

    def _gated(
        self, gate: Part, maps: Mapping[Shape, Mapping[_Key, object]], shapes: Sequence[Shape], rules: Sequence[Rule]
    ) -> Rule:
        """The jump to the lookups of several parts that have one in common, for those whose part is among the keys."""
        key, bits = gate
        values = _values(gate, maps, shapes)
        purpose = f"{self.purpose}/if-{self._words((gate,))}"
        kind = ElementType.PORT if key in PORTS else ElementType.ADDRESS
        others = Match(key, self.builder.key_set(purpose, kind, bits, values), negated=True)
        chain = self.builder.chain(f"{self.purpose}/if-{key}", (Rule((others,), (Return(),)), *rules))
        return Rule((), (Jump(chain),))

    def _behind(
        self,
        keys: dict[_Key, list[int]],
        entries: list[_Entry],
        ends: Mapping[int, Goto],
        lead: type[Jump | Goto],
        shorter: Sequence[tuple[int, dict[_Key, _Cover]]] = (),
    ) -> Iterator[tuple[_Key, _Cover]]:
        """The chain behind each key of a map, with what stands under `shorter` prefixes of it, longest first."""
        place_of: dict[tuple[tuple[int, ...], _Cover | None], list[_Key]] = defaultdict(list)
        for key in sorted(keys):
            numbers = tuple(keys[key])
            if not shorter:
                place_of[numbers, None].append(key)
                continue
            covers = (there.get((key[0] & mask,)) for mask, there in shorter)
            cover = next((one for one in covers if one is not None), None)
            if cover is not None and _holds(last := entries[numbers[-1]]) and last[2] > cover.rank:
                # No rule there is in front of one that matches whatever stands here.
                cover = None
            place_of[numbers, cover].append(key)
        found: list[tuple[_Key, _Cover]] = []
        for (numbers, cover), those in place_of.items():
            behind = tuple([entries[number] for number in numbers])
            first = max(behind[0][2], cover.rank if cover else 0)
            at_once = tuple([_end_of(rank, cover, ends) for _, _, rank in behind])
            one = _Cover(self._lead(lead, behind, cover.verdict.chain if cover else None, at_once), first)
            found += [(key, one) for key in those]
        yield from sorted(found, key=lambda each: each[0])

    def _lead(
        self,
        lead: type[Jump | Goto],
        entries: tuple[_Entry, ...],
        cover: str | None,
        ends: tuple[Goto | None, ...],
    ) -> Jump | Goto:
        """The way to the chain behind a key, and from there to that of what covers the key.

        `ends` has for each entry the chain to go to at once, None where the rule is noted.
        """
        ((_, verdict),) = self.memo.get_or_make_each([((lead, entries, cover, ends), None)], self._candidates)
        return verdict

    def _candidates(self, place: "_Behind", _cause: None, _memo: Memo) -> Jump | Goto:
        """The chain behind a key: the first of its rules that matches is noted if it is better than what was found."""
        lead, entries, cover, ends = place
        on: Verdict = Return() if cover is None else Goto(cover)
        rules = [
            Rule(self._tests(rank, (*self._rest(spot), *alternative)), (Note(rank), on) if end is None else (end,))
            for (way, spot, rank), end in zip(entries, ends, strict=True)
            for alternative in way.tests
        ]
        if cover is not None:
            rules.append(Rule((), (on,)))
        return lead(self.builder.chain(f"{self.purpose}/found", rules))

    def _tests(self, rank: int, rest: tuple[Match, ...]) -> tuple[Match, ...]:
        """The tests of a rule behind a key, those first that nf_tables evaluates inline: 3 to 5 ns against 20."""
        quick = [match for match in rest if self._is_inline(match)]
        slow = [match for match in rest if not self._is_inline(match)]
        return (*quick, Match(Key.SCRATCH, Below(rank)), *slow)

    def _is_inline(self, match: Match) -> bool:
        if match.key in PORTS:
            return isinstance(match.value, int)
        return isinstance(match.value, Cidr) and self.builder.family is Family.V4 and not match.negated

    def _rest(self, spot: Spot | None) -> Iterator[Match]:
        """The tests of what a key that was cut to a shorter prefix does not say."""
        if spot is None:
            return
        for (key, bits), value in zip(*spot, strict=True):
            if key in PORTS:
                last = value | (1 << PORT_BITS - bits) - 1
                yield Match(key, value if bits == PORT_BITS else PortRange(value, last))
            else:
                yield Match(key, Cidr(self.builder.family, value, bits))

    def _width(self, key: Key) -> int:
        return width_of(self.builder.family, key)

    def _words(self, shape: Shape) -> str:
        return "-".join(key.value if bits == self._width(key) else f"{key}{bits}" for key, bits in shape)

    def _lookup(self, shape: Shape, elements: list[tuple[_Key, Verdict]]) -> Rule:
        title = f"{self.purpose}/by-{self._words(shape)}"
        types = tuple(ElementType.PORT if key in PORTS else ElementType.ADDRESS for key, _ in shape)
        if len(shape) > 1:
            name = self.builder.verdict_map(title, types, tuple(elements))
            return Rule((), (Vmap(tuple(Field(key, bits) for key, bits in shape), name),))
        ((key, bits),) = shape
        name = self.builder.verdict_map(title, types[0], tuple((one, verdict) for (one,), verdict in elements))
        return Rule((), (Vmap(key, name, bits),))


def gates_of(maps: Mapping[Shape, Mapping[_Key, object]]) -> dict[Shape, Part]:
    """The part by which each map of several parts is asked at all: one that others have as well, with fewest values.

    Whoever has no such part in any of them is spared all their lookups for one; so one map has none.
    """
    shared = Counter(part for shape in maps if len(shape) > 1 for part in shape if _is_gate(part))
    chosen: dict[Shape, Part] = {}
    values = {part: len(_values(part, maps, [shape for shape in maps if part in shape])) for part in shared}
    for shape in maps:
        parts = [part for part in shape if shared[part] > 1]
        if parts and len(shape) > 1:
            chosen[shape] = min(parts, key=lambda part: (values[part], part))
    many = Counter(chosen.values())
    return {shape: part for shape, part in chosen.items() if many[part] > 1}


def _is_gate(part: Part) -> bool:
    """True if a set tells of its values as fast as a map does."""
    key, bits = part
    return key not in PORTS or bits == PORT_BITS


def _values(part: Part, maps: Mapping[Shape, Mapping[_Key, object]], shapes: Iterable[Shape]) -> list[int]:
    """The values of a part in the keys of some maps that ask for more than it."""
    return sorted(
        {key[place] for shape in shapes if len(shape) > 1 for place in (shape.index(part),) for key in maps[shape]}
    )


def nested(shapes: Sequence[Shape]) -> list[tuple[Shape, ...]]:
    """Groups of maps of prefixes of one address, each longest first, and the others alone.

    What stands under a prefix has one key in each map of shorter prefixes, so there is an order. Ports have none: a
    lookup of a port costs no more than to lead on from another.
    """
    groups: dict[object, list[Shape]] = defaultdict(list)
    for shape in shapes:
        ((part, _), *others) = shape
        groups[shape if others or part in PORTS else part].append(shape)
    found: list[tuple[Shape, ...]] = []
    for group in groups.values():
        longest_first = sorted(group, reverse=True)
        found += [tuple(longest_first[at : at + _MOST_NESTED]) for at in range(0, len(group), _MOST_NESTED)]
    return sorted(found)


def _end_of(rank: int, cover: _Cover | None, ends: Mapping[int, Goto]) -> Goto | None:
    """The chain to go to at once from a rule behind a key; None where what covers the key may have a rule before it."""
    return None if cover is not None and cover.rank > rank else ends.get(rank)


def _holds(entry: _Entry) -> bool:
    """True if whatever is looked up there matches."""
    way, spot, _ = entry
    return spot is None and way.holds
