"""The objects of one table from plan to plan: those that were made, and how many refer to each of those in use.

An object is in use if a base chain leads to it. References are counted, so a plan that changes a few chains costs only
as much as these lead to.
"""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from hostfw.compile.layout.shared_suffix import Returning
from hostfw.model.alike import alike_ends
from hostfw.model.values import Family
from hostfw.nft.objects import BaseChain, Chain, Element, Set, Table, VerdictMap
from hostfw.nft.rules import CounterRef, Forget, Goto, Jump, OverCount, OverLimit, Remember, Rule, SetRef, Verdict, Vmap


class Kind(StrEnum):
    """The kinds of objects that are referred to by name."""

    COUNTER = "counter"
    SET = "set"
    MAP = "map"
    CHAIN = "chain"


Reference = tuple[Kind, str]
_LEADING = (Jump, Goto)
_Object = TypeVar("_Object", Set, VerdictMap, Chain)


class ForgottenObjectError(Exception):
    """Something that is kept leads to an object that nothing led to in the last plan: all has to be made anew."""


class _ByName(dict[str, _Object]):
    """Objects by their names."""

    def __missing__(self, name: str) -> _Object:
        raise ForgottenObjectError(name)


@dataclass(slots=True)
class ObjectsInUse:
    """The objects of a table: those of the last plan, and what was made since for the next one.

    What a plan has no use for any more is forgotten with it. Maps of ten thousand elements would add up to gigabytes.

    `before_translation` has, for the protocol of packets and the name of a chain or map, the one that does the same
    with the destination that they had before NAT: both are named after their content, so it stays true, and
    `last_translated` the last map of each protocol, purpose and type for which that was found out. `last_maps`
    has the name of the last map of a purpose, type, size and ends: to compare is faster than to digest; and of the
    last of a purpose and type, of which most elements are written.
    """

    family: Family
    sets: dict[str, Set] = field(default_factory=_ByName)
    maps: dict[str, VerdictMap] = field(default_factory=_ByName)
    chains: dict[str, Chain] = field(default_factory=_ByName)
    before_translation: dict[int | None, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    last_translated: dict[Hashable, tuple[str, str]] = field(default_factory=dict)
    last_maps: dict[Hashable, str] = field(default_factory=dict)
    returning: Returning = field(init=False)
    _uses: dict[Kind, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in Kind})
    _in_order: dict[Kind, list[str]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    _last_maps_in_use: dict[str, str] = field(default_factory=dict)
    _declared: frozenset[str] = frozenset()
    _base_chains: tuple[BaseChain, ...] = ()

    def __post_init__(self) -> None:
        self.returning = Returning(self.chains, self.maps)

    @property
    def made(self) -> int:
        """The number of objects, in use or not."""
        return len(self.sets) + len(self.maps) + len(self.chains)

    @property
    def used(self) -> int:
        """The number of objects in use."""
        return sum(len(names) for kind, names in self._in_order.items() if kind is not Kind.COUNTER)

    def table(self, declared: frozenset[str], base_chains: tuple[BaseChain, ...]) -> Table:
        """The table of these base chains: what they lead to and the declared counters, everything sorted by name."""
        touched: set[Reference] = set()
        taken_over: dict[str, _TakenOver] = {}
        # What stays in use is never let go of in between: first come the references of now.
        self._hold(((Kind.COUNTER, name) for name in declared - self._declared), touched, taken_over)
        self._hold(_of_base_chains(base_chains), touched, taken_over)
        self._release(_of_base_chains(self._base_chains), touched, taken_over)
        self._release(((Kind.COUNTER, name) for name in self._declared - declared), touched, taken_over)
        for name, taken in taken_over.items():
            if self._uses[Kind.MAP][name]:
                # It has them still, so the other map has its own.
                self._hold(taken.common, touched, {})
        come = sorted(name for kind, name in touched if kind is Kind.MAP and name in self._uses[kind])
        self._last_maps_in_use |= {_purpose(name): name for name in come}
        self._declared, self._base_chains = declared, base_chains
        self._sort(touched)
        self._forget([(kind, name) for kind, name in touched if name not in self._uses[kind]])
        return Table(
            self.family,
            tuple(self._in_order[Kind.COUNTER]),
            tuple([self.sets[name] for name in self._in_order[Kind.SET]]),
            tuple([self.maps[name] for name in self._in_order[Kind.MAP]]),
            tuple([self.chains[name] for name in self._in_order[Kind.CHAIN]]),
            base_chains,
        )

    def _forget(self, gone: Sequence[Reference]) -> None:
        """Forget objects that the table has no use for any more, and what is known of them."""
        chains, maps = ({name for of, name in gone if of is kind} for kind in (Kind.CHAIN, Kind.MAP))
        for kind, name in gone:
            if kind is Kind.SET:
                self.sets.pop(name, None)
        for name in chains:
            del self.chains[name]
        for name in maps:
            del self.maps[name]
        for known in self.before_translation.values():
            for name in (*chains, *maps):
                known.pop(name, None)
        if maps:
            pairs = self.last_translated.items()
            self.last_translated = {like: pair for like, pair in pairs if maps.isdisjoint(pair)}
            self.last_maps = {like: name for like, name in self.last_maps.items() if name not in maps}
        self.returning.forget(chains, maps)

    def _hold(
        self, references: Iterable[Reference], touched: set[Reference], taken_over: "dict[str, _TakenOver]"
    ) -> None:
        pending = list(references)
        uses = self._uses
        while pending:
            reference = pending.pop()
            kind, name = reference
            uses[kind][name] += 1
            if uses[kind][name] == 1:
                touched.add(reference)
                pending.extend(self._held(name, taken_over) if kind is Kind.MAP else self._references(kind, name))

    def _release(
        self, references: Iterable[Reference], touched: set[Reference], taken_over: "dict[str, _TakenOver]"
    ) -> None:
        pending = list(references)
        uses = self._uses
        while pending:
            reference = pending.pop()
            kind, name = reference
            uses[kind][name] -= 1
            if not uses[kind][name]:
                del uses[kind][name]
                touched.add(reference)
                taken = taken_over.get(name) if kind is Kind.MAP else None
                pending.extend(self._references(kind, name) if taken is None else taken.gone)

    def _held(self, name: str, taken_over: "dict[str, _TakenOver]") -> Iterable[Reference]:
        """The references of a map that comes into use.

        Those that it has in common with the last one of its purpose are taken over from that, and not held again.
        """
        before = self._last_maps_in_use.get(_purpose(name), "")
        if before in taken_over or not self._uses[Kind.MAP].get(before):
            return self._references(Kind.MAP, name)
        old, new = self.maps[before].elements, self.maps[name].elements
        first, last = alike_ends(old, new)
        taken_over[before] = _TakenOver(old, first, len(old) - last)
        return _of_elements(new[first : len(new) - last])

    def _references(self, kind: Kind, name: str) -> Iterable[Reference]:
        match kind:
            case Kind.CHAIN:
                return _of_rules(self.chains[name].rules)
            case Kind.MAP:
                return _of_elements(self.maps[name].elements)
            case _:
                return ()

    def _sort(self, touched: set[Reference]) -> None:
        """Bring the names in use up to date: one by one, or if many have changed all at once."""
        for kind in Kind:
            names = [name for of, name in touched if of is kind]
            uses, in_order = self._uses[kind], self._in_order[kind]
            if len(names) * 8 > len(in_order):
                self._in_order[kind] = sorted(uses)
                continue
            for name in names:
                place = bisect_left(in_order, name)
                there = place < len(in_order) and in_order[place] == name
                if there and name not in uses:
                    del in_order[place]
                elif not there and name in uses:
                    insort(in_order, name)


@dataclass(frozen=True, slots=True)
class _TakenOver:
    """The elements of a map, of which all but those of a range have had their references taken over by another one."""

    elements: tuple[tuple[Element, Verdict], ...]
    first: int
    end: int

    @property
    def gone(self) -> list[Reference]:
        """The references of those that are not."""
        return _of_elements(self.elements[self.first : self.end])

    @property
    def common(self) -> list[Reference]:
        """The references of those that are."""
        return _of_elements((*self.elements[: self.first], *self.elements[self.end :]))


def _of_elements(elements: Iterable[tuple[Element, Verdict]]) -> list[Reference]:
    """The references of elements, once for each."""
    return [(Kind.CHAIN, verdict.chain) for _, verdict in elements if isinstance(verdict, _LEADING)]


def _purpose(name: str) -> str:
    return name.rpartition(".")[0]


def _of_base_chains(base_chains: Iterable[BaseChain]) -> Iterator[Reference]:
    for chain in base_chains:
        yield from _of_rules(chain.rules)


def _of_rules(rules: Iterable[Rule]) -> list[Reference]:
    """The references of rules, once for each time."""
    found: list[Reference] = []
    for rule in rules:
        found.extend((Kind.SET, match.value.name) for match in rule.matches if isinstance(match.value, SetRef))
        for statement in rule.statements:
            match statement:
                case Jump(chain) | Goto(chain):
                    found.append((Kind.CHAIN, chain))
                case CounterRef(name):
                    found.append((Kind.COUNTER, name))
                case Vmap(map=name):
                    found.append((Kind.MAP, name))
                case OverLimit(set=name) | OverCount(set=name) | Remember(set=name) | Forget(set=name):
                    found.append((Kind.SET, name))
                case _:
                    pass
    return found
