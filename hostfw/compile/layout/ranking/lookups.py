"""The maps that rules are found in, and the lookups of a packet in them.

Maps of prefixes of one address are a group, which is looked up longest first: what stands under the shorter prefixes
of a key is reached from the chain behind it, so a packet that is found makes no lookup for them.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import itemgetter

from hostfw.compile.incremental.memo import Memo
from hostfw.compile.layout.ranking.key_maps import Entries, KeyMaps, LookupKey, Maps, Ranked, holds, met
from hostfw.compile.layout.ranking.map_parts import MapLookup
from hostfw.compile.layout.ranking.ways import PORT_BITS, Shape, Spot
from hostfw.compile.layout.ranking.widths import PORTS, width_of
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.values import Cidr, Family, PortRange, mask_of
from hostfw.nft.objects import Element, ElementType
from hostfw.nft.rules import Below, Field, Goto, Jump, Key, Match, Note, Return, Rule, Verdict

Part = tuple[Key, int]
"""A part of a packet, and how many of its first bits count."""
_MOST_NESTED = 4
"""Most maps of a group: the kernel takes chains that lead on to others to a depth of 16."""
_FEW_OF_MANY = 8
"""Elements of a map for each that is changed by itself; more are put in order all at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """The way to the chain behind a key, and the rank of its first rule; keys with that chain may share the object."""

    verdict: Jump | Goto
    rank: int


@dataclass(slots=True, eq=False)
class _Behind:
    """The chains behind the keys of one map: by key, in the order of the keys, and as elements of the map."""

    covers: dict[LookupKey, Cover] = field(default_factory=dict)
    order: list[LookupKey] = field(default_factory=list)
    elements: list[tuple[Element, Verdict]] = field(default_factory=list)

    def write(
        self,
        keys: Collection[LookupKey],
        there: Mapping[LookupKey, Entries],
        cover: Callable[[LookupKey, Entries], Cover],
    ) -> set[LookupKey]:
        """Write the chains behind some keys, and tell behind which of them another one stands now."""
        changed: set[LookupKey] = set()
        covers = self.covers
        for key in keys:
            entries, before = there.get(key), covers.get(key)
            if entries is None:
                del covers[key]
            else:
                now = cover(key, entries)
                if before is not None and before.verdict == now.verdict and before.rank == now.rank:
                    continue
                covers[key] = now
            changed.add(key)
        if len(changed) * _FEW_OF_MANY > len(covers):
            self.order = sorted(covers)
            self.elements = [_element(key, covers[key]) for key in self.order]
        else:
            for key in changed:
                self._put(key)
        return changed

    def _put(self, key: LookupKey) -> None:
        """Bring one element up to date."""
        place, now = bisect_left(self.order, key), self.covers.get(key)
        there = place < len(self.order) and self.order[place] == key
        if now is None:
            del self.order[place], self.elements[place]
        elif there:
            self.elements[place] = _element(key, now)
        else:
            self.order.insert(place, key)
            self.elements.insert(place, _element(key, now))


def _element(key: LookupKey, cover: Cover) -> tuple[Element, Verdict]:
    return key if len(key) > 1 else key[0], cover.verdict


@dataclass(slots=True, eq=False)
class _Written:
    """The maps of a list, how packets are led through them, and what stands behind each key."""

    maps: KeyMaps
    gates: dict[Shape, Part]
    groups: list[tuple[Shape, ...]]
    behind: dict[Shape, _Behind] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lookups:
    """Writes the maps of a list of rules, and the rules that look a packet up in them."""

    builder: TableBuilder
    purpose: str

    def rules(self, ranked: Ranked, into: Maps, memo: Memo) -> list[Rule]:
        """A lookup in each map; each leads to the rules behind a key and comes back.

        Rules that are found last of all, and that a packet does not come back from, are gone to at once. `memo` has
        what was written the last time.
        """
        written = memo.get_or_make("lookups", object(), lambda part: self._written(ranked, into, part.previous))
        gated: dict[Part, list[Shape]] = defaultdict(list)
        for shape, gate in written.gates.items():
            gated[gate].append(shape)
        few = tuple(chain.from_iterable(written.maps.few[rank] for rank in sorted(written.maps.few, reverse=True)))
        return [
            *([Rule((), (self._lead(Jump, few, None, (None,) * len(few)),))] if few else ()),
            *(self._gated(gate, written, shapes) for gate, shapes in gated.items()),
            *(self._group(group, written.behind) for group in written.groups),
        ]

    def _written(self, ranked: Ranked, into: Maps, before: object) -> _Written:
        """The chains behind each key: those of before, but for the keys that a change has touched."""
        if isinstance(before, _Written) and before.maps.into == into:
            touched = before.maps.update(ranked)
            gates, groups = self._arranged(before.maps)
            if (gates, groups) == (before.gates, before.groups):
                self._put_behind(before, touched)
                return before
            maps = before.maps
        else:
            maps = KeyMaps.fresh(into, self._width, ranked)
            gates, groups = self._arranged(maps)
        written = _Written(maps, gates, groups, {shape: _Behind() for shape in maps.of})
        self._put_behind(written, {shape: maps.of[shape].keys() for shape in maps.of})
        return written

    def _arranged(self, maps: KeyMaps) -> tuple[dict[Shape, Part], list[tuple[Shape, ...]]]:
        """The maps that are asked behind a gate, and the groups of the others."""
        gates = gates_of(maps.of)
        groups = [group for group in nested(sorted(maps.of)) if group[0] not in gates]
        # The more there are in a group, the more packets save a lookup by it; a policy more seldom makes it another.
        groups.sort(key=lambda group: sum(len(maps.of[shape]) for shape in group).bit_length())
        return gates, groups

    def _put_behind(self, written: _Written, touched: Mapping[Shape, Collection[LookupKey]]) -> None:
        """Write the chains behind some keys of each map, and behind those that stand under these."""
        ends = {rank: end for rank, (end, _) in written.maps.ranked.items() if end is not None}
        for group in (*((shape,) for shape in written.gates), *written.groups):
            at_once = ends if written.groups and group is written.groups[-1] else {}
            changed: dict[Shape, set[LookupKey]] = {}
            for place, shape in reversed(list(enumerate(group))):
                shorter = group[place + 1 :]
                behind, todo = written.behind[shape], touched[shape]
                under = [key for one in shorter for key in self._under(behind, one, changed[one])]
                covering = [(mask_of(self.builder.family, one[0][1]), written.behind[one].covers) for one in shorter]
                write = partial(self._cover, Goto if len(group) > 1 else Jump, at_once, covering, {})
                changed[shape] = behind.write({*todo, *under} if under else todo, written.maps.of[shape], write)

    def _under(self, behind: _Behind, shorter: Shape, keys: Iterable[LookupKey]) -> Iterator[LookupKey]:
        """The keys of a map that stand under some keys of a map of shorter prefixes."""
        others = (1 << self.builder.family.bits) - 1 & ~mask_of(self.builder.family, shorter[0][1])
        for (value,) in keys:
            start, end = bisect_left(behind.order, (value,)), bisect_right(behind.order, (value | others,))
            yield from behind.order[start:end]

    def _cover(
        self,
        lead: type[Jump | Goto],
        ends: Mapping[int, Goto],
        covering: Sequence[tuple[int, Mapping[LookupKey, Cover]]],
        made: dict[object, Cover],
        key: LookupKey,
        entries: Entries,
    ) -> Cover:
        """The chain behind a key, and from there to that of the longest shorter prefix of it in other maps."""
        same: object = id(entries)
        if len(entries) > 1:
            same = entries = met(entries)
        cover = None
        for mask, covers in covering:
            cover = covers.get((key[0] & mask,))
            if cover is not None:
                if holds(entries[-1]) and entries[-1][2] > cover.rank:
                    # No rule there is in front of one that matches whatever stands here.
                    cover = None
                break
        which = same, id(cover)
        known = made.get(which)
        if known is None:
            first = max(entries[0][2], cover.rank if cover else 0)
            at_once = tuple([_end_of(rank, cover, ends) for _, _, rank in entries])
            verdict = self._lead(lead, entries, cover.verdict.chain if cover else None, at_once)
            known = made[which] = Cover(verdict, first)
        return known

    def _group(self, group: Sequence[Shape], behind: Mapping[Shape, _Behind]) -> Rule:
        """The lookup in one map, or the jump to the lookups in the maps of a group, which are given longest first."""
        lead = Goto if len(group) > 1 else Jump
        rules: list[Rule] = []
        for shape in reversed(group):
            rules = self._lookup(shape, lead).rules(self.builder, behind[shape].elements, rules)
        if len(group) == 1:
            return rules[0]
        return Rule((), (Jump(self.builder.chain(f"{self.purpose}/by-{group[0][0][0]}", rules)),))

    def _gated(self, gate: Part, written: _Written, shapes: Sequence[Shape]) -> Rule:
        """The jump to the lookups of several parts that have one in common, for those whose part is among the keys."""
        key, bits = gate
        values = sorted(_values(gate, written.maps.of, shapes))
        purpose = f"{self.purpose}/if-{self._words((gate,))}"
        kind = ElementType.PORT if key in PORTS else ElementType.ADDRESS
        others = Match(key, self.builder.key_set(purpose, kind, bits, values), negated=True)
        rules = (self._group((shape,), written.behind) for shape in shapes)
        chain = self.builder.chain(f"{self.purpose}/if-{key}", (Rule((others,), (Return(),)), *rules))
        return Rule((), (Jump(chain),))

    def _lead(
        self, lead: type[Jump | Goto], entries: Entries, cover: str | None, ends: tuple[Goto | None, ...]
    ) -> Jump | Goto:
        """The way to the chain behind a key, and from there to that of what covers the key.

        The first of its rules that matches is noted if it is better than what was found. `ends` has for each entry
        the chain to go to at once, None where the rule is noted.
        """
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

    def _lookup(self, shape: Shape, lead: type[Jump | Goto]) -> MapLookup:
        """The lookup in the map of a shape."""
        fields = tuple(Field(key, bits) for key, bits in shape)
        return MapLookup(f"{self.purpose}/by-{self._words(shape)}", fields, lead)


def gates_of(maps: Mapping[Shape, Mapping[LookupKey, object]]) -> dict[Shape, Part]:
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


def _values(part: Part, maps: Mapping[Shape, Mapping[LookupKey, object]], shapes: Iterable[Shape]) -> set[int]:
    """The values of a part in the keys of some maps that ask for more than it."""
    of_each = (map(itemgetter(shape.index(part)), maps[shape]) for shape in shapes if len(shape) > 1)
    return set(chain.from_iterable(of_each))


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


def _end_of(rank: int, cover: Cover | None, ends: Mapping[int, Goto]) -> Goto | None:
    """The chain to go to at once from a rule behind a key; None where what covers the key may have a rule before it."""
    return None if cover is not None and cover.rank > rank else ends.get(rank)
