"""Bounds of what a packet costs in a ruleset: lookups and compares on the longest way through the chains of a hook.

No new packet of a connection that nothing translates pays more, on an interface of the name that policy knows. Whether
one pays as much depends on what can be matched together, which is not looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hostfw.nft.objects import Hook, Table, VerdictMap
from hostfw.nft.rules import Beginning, Goto, Jump, Key, Match, Return, Rule, SetRef, Statement, Verdict, Vmap

LONG = 64
"""Rules of a chain from which on it is told as a list."""
_MARKED = Match(Key.SCRATCH, 0, negated=True)
"""The test for a packet in whose mark another program has set bits that ranks are noted in."""
_OTHERS = frozenset((Key.IIF, Key.OIF, Key.CT_STATUS))
"""Tests for packets of a renamed interface, and for those that are translated, which meet policy in their place."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Nanoseconds of a rule that does not match, and of a lookup; `measured` is whether it was on this host."""

    rule_ns: int
    lookup_ns: int
    measured: bool = False

    def ns(self, cost: "Cost") -> int:
        """The nanoseconds that a packet takes, about."""
        return cost.lookups * self.lookup_ns + cost.rules * self.rule_ns


TYPICAL = Prices(10, 75)
"""As on most machines: kernel 6.18 takes 3 to 35 ns for a rule and 40 to 100 for a lookup."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Lookups in sets and maps, and rules that a packet is compared with."""

    lookups: int = 0
    rules: int = 0

    @property
    def ns(self) -> int:
        """The nanoseconds that it takes on most machines."""
        return TYPICAL.ns(self)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.lookups + other.lookups, self.rules + other.rules)


@dataclass(frozen=True, slots=True)
class WorstPacket:
    """The bound for packets of an interface at a hook, for those with a foreign mark too, and the lists on the way.

    A list is a chain of `LONG` rules and more that are tried one after the other, with their number.
    """

    cost: Cost
    marked: Cost
    lists: tuple[tuple[str, int], ...]


def worst_packet(table: Table, hook: Hook, interface: str) -> WorstPacket:
    """The bound for new packets of an interface at input (where they came in on it) or output (where they leave)."""
    rules = [rule for base in table.base_chains if base.hook is hook for rule in base.rules]
    costs = []
    for marked in (False, True):
        walk = _Walk(table, interface, marked=marked)
        costs.append((walk.most(rules), walk.lists))
    (cost, lists), (with_mark, _) = costs
    return WorstPacket(cost, max(cost, with_mark, key=lambda one: one.ns), tuple(sorted(lists.items())))


@dataclass(slots=True)
class _Walk:
    table: Table
    interface: str
    marked: bool
    lists: dict[str, int] = field(default_factory=dict)
    _known: dict[str, Cost] = field(default_factory=dict)
    _chains: dict[str, tuple[Rule, ...]] = field(init=False)
    _maps: dict[str, VerdictMap] = field(init=False)

    def __post_init__(self) -> None:
        self._chains = {chain.name: chain.rules for chain in self.table.chains}
        self._maps = {contents.name: contents for contents in self.table.maps}

    def _chain(self, name: str) -> Cost:
        if name not in self._known:
            rules = self._chains[name]
            if len(rules) >= LONG:
                self.lists[name] = len(rules)
            self._known[name] = self.most(rules)
        return self._known[name]

    def most(self, rules: "tuple[Rule, ...] | list[Rule]") -> Cost:
        """The most that a list of rules costs, whichever of them a packet matches."""
        passed, worst = Cost(), Cost()
        for rule in rules:
            passed += Cost(0, 1)
            if not self._possible(rule):
                continue
            behind, ends = self._behind(rule)
            for end in ends:
                worst = max(worst, passed + end, key=lambda one: one.ns)
            passed += behind
            if not rule.matches and any(isinstance(one, Goto) for one in rule.statements):
                return worst
        return max(worst, passed, key=lambda one: one.ns)

    def _possible(self, rule: Rule) -> bool:
        if not self.marked and _MARKED in rule.matches:
            return False
        if any(match.key in _OTHERS for match in rule.matches):
            return False
        names = (m.value for m in rule.matches if m.key in (Key.IIFNAME, Key.OIFNAME) and not m.negated)
        return all(
            self.interface.startswith(name.text) if isinstance(name, Beginning) else name == self.interface
            for name in names
        )

    def _behind(self, rule: Rule) -> tuple[Cost, list[Cost]]:
        """The cost that a rule adds to what comes behind it, and those of packets that do not come back from it."""
        lookups = Cost(sum(1 for match in rule.matches if isinstance(match.value, SetRef)))
        ends: list[Cost] = []
        for statement in rule.statements:
            comes_back, gone = Cost(), Cost()
            if isinstance(statement, Vmap):
                lookups += Cost(1)
            for verdict in self._verdicts(statement):
                if isinstance(verdict, Jump):
                    comes_back = max(comes_back, self._chain(verdict.chain), key=lambda one: one.ns)
                elif isinstance(verdict, Goto):
                    gone = max(gone, self._chain(verdict.chain), key=lambda one: one.ns)
            ends.append(lookups + gone)
            lookups += comes_back
        return lookups, ends

    def _verdicts(self, statement: Statement) -> Iterator[Verdict]:
        match statement:
            case Jump() | Goto() | Return():
                yield statement
            case Vmap(key, name):
                elements = self._maps[name].elements
                own = key in (Key.IIFNAME, Key.OIFNAME)
                verdicts = {id(v): v for element, v in elements if not own or element == self.interface}
                yield from verdicts.values()
            case _:
                pass
