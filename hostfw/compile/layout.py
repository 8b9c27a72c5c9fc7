"""The layout of a program: which rules become lookups, which stay linear, and the chains that hold them.

A linear rule costs 3 to 35 ns and a map lookup 60 to 100 ns (kernel 6.18), so short programs stay a list that reads
like the policy; longer ones are cut into cells by protocol and destination port, and a packet meets only the rules
of its cell. The choice never changes a verdict: cells are disjoint and keep the order of their rules.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hostfw.compile.addresses import Region, prefixes_of, regions
from hostfw.compile.builder import TableBuilder
from hostfw.compile.cells import (
    EVERYTHING,
    Cell,
    applies,
    names_ports,
    needs_protocol,
    protocols_named,
)
from hostfw.compile.linear import Linear
from hostfw.compile.matches import tests_of
from hostfw.compile.ports import joined, label, rules_by_run
from hostfw.compile.program import Program, ProgramRule, Segment, Staged, conditions_of, with_staged
from hostfw.model.values import PORT_PROTOCOLS, Cidr, Family, PortRange, address_text
from hostfw.nft.objects import (
    Accept,
    Drop,
    ElementType,
    Goto,
    Key,
    Match,
    Rule,
    Verdict,
    Vmap,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Lays programs of one direction and hook out in one table."""

    linear: Linear

    @property
    def builder(self) -> TableBuilder:
        """The table that is laid out."""
        return self.linear.builder

    def chain(self, purpose: str, program: Program) -> str:
        """The chain to go to for a verdict of the program."""
        self.builder.counters(_counters(program.segments, self.builder.family))
        return self.builder.chain(purpose, self._rules(program))

    def _rules(self, program: Program) -> list[Rule]:
        if self._is_short(program):
            return self.linear.rules(program.segments, EVERYTHING)
        preamble, *rest = program.segments
        return [*self.linear.rules((preamble,), EVERYTHING), *self._by_protocol(tuple(rest))]

    def _is_short(self, program: Program) -> bool:
        conditions = conditions_of(program.segments)
        if len(conditions) > self.builder.costs.linear_rules:
            return False
        if any(needs_protocol(condition) for condition in conditions):
            return False
        tests = (tests_of(condition, EVERYTHING, self.builder) for condition in conditions)
        return sum(t.count for t in tests if t is not None) <= self.builder.costs.linear_rules

    def _by_protocol(self, segments: tuple[Segment, ...]) -> list[Rule]:
        protocols = protocols_named(conditions_of(segments))
        rules = [
            Rule((Match(Key.PROTOCOL, number),), (Goto(self._protocol_chain(number, segments)),))
            for number in protocols
        ]
        others = Cell(other_than=frozenset(protocols))
        return [*rules, *self._leaf(f"{self.linear.direction.short}/other", segments, others)]

    def _protocol_chain(self, number: int, segments: tuple[Segment, ...]) -> str:
        purpose = f"{self.linear.direction.short}/{_PROTOCOL_NAMES.get(number, str(number))}"
        relevant = _restricted(segments, lambda rule: applies(rule.condition, number))
        if number not in PORT_PROTOCOLS or not any(names_ports(c) for c in conditions_of(relevant)):
            return self.builder.chain(purpose, self._leaf(purpose, relevant, Cell(number)))
        return self.builder.chain(purpose, self._by_port(purpose, number, relevant))

    def _by_port(self, purpose: str, number: int, segments: tuple[Segment, ...]) -> list[Rule]:
        """Leaves by destination port; the widest leaf's rules follow the dispatch instead of being gone to."""
        leaves: dict[tuple[Rule, ...], list[PortRange]] = {}
        for run, relevant in rules_by_run(segments, number):
            leaf = f"{purpose}/{label([run])}"
            rules = tuple(self._leaf(leaf, relevant, Cell(number, ports=run)))
            leaves.setdefault(rules, []).append(run)
        widest = max(leaves, key=lambda rules: sum(run.last - run.first + 1 for run in leaves[rules]))
        targets: list[tuple[PortRange, Verdict]] = []
        for rules, runs in leaves.items():
            if rules == widest:
                continue
            verdict = self._verdict(f"{purpose}/{label(runs)}", rules)
            targets.extend((run, verdict) for run in joined(runs))
        return [*self._dispatch_ports(purpose, sorted(targets)), *widest]

    def _dispatch_ports(self, purpose: str, targets: list[tuple[PortRange, Verdict]]) -> Iterator[Rule]:
        if len(targets) <= self.builder.costs.linear_ports:
            for run, verdict in targets:
                value = run.first if run.first == run.last else run
                yield Rule((Match(Key.DPORT, value),), (verdict,))
            return
        expanded = self.builder.costs.expanded_ports
        narrow = [(run, verdict) for run, verdict in targets if run.last - run.first < expanded]
        wide = [(run, verdict) for run, verdict in targets if run.last - run.first >= expanded]
        if narrow:
            elements = tuple((port, verdict) for run, verdict in narrow for port in range(run.first, run.last + 1))
            name = self.builder.verdict_map(f"{purpose}/ports", ElementType.PORT, elements)
            yield Rule((), (Vmap(Key.DPORT, name),))
        if len(wide) <= self.builder.costs.linear_ports:
            yield from (Rule((Match(Key.DPORT, run),), (verdict,)) for run, verdict in wide)
        else:
            name = self.builder.verdict_map(f"{purpose}/ranges", ElementType.PORT, tuple(wide), interval=True)
            yield Rule((), (Vmap(Key.DPORT, name),))

    def _verdict(self, purpose: str, rules: Sequence[Rule]) -> Verdict:
        """The verdict that leads through the rules: theirs, if it is all that they hold, or a goto to a chain."""
        match rules:
            case [Rule((), (Accept() | Drop() | Goto() as verdict,))]:
                return verdict
            case _:
                return Goto(self.builder.chain(purpose, list(rules)))

    def _leaf(self, purpose: str, segments: tuple[Segment, ...], cell: Cell) -> list[Rule]:
        """The rules of a cell: a list, or dispatched by source or destination, whichever tells more apart."""
        costs, family = self.builder.costs, self.builder.family
        if sum(map(len, segments)) <= costs.linear_rules:
            return self.linear.rules(segments, cell)
        sides = [
            (prefixes_of(segments, family, costs.dispatched_prefixes, source=source), source)
            for source, region in ((True, cell.source), (False, cell.destination))
            if region is None
        ]
        prefixes, source = max(sides, key=lambda side: len(side[0]), default=(set(), True))
        lengths = {cidr.length for cidr in prefixes if cidr.length}
        if len(prefixes) <= costs.linear_prefixes or len(lengths) > costs.prefix_lengths:
            return self.linear.rules(segments, cell)
        found = list(regions(segments, prefixes, family, costs.dispatched_prefixes, source=source))
        copied = sum(len(segment) for region in found for segment in region.segments)
        if copied > costs.copies * sum(map(len, segments)) + len(found):
            return self.linear.rules(segments, cell)
        return self._by_address(purpose, found, cell, source=source)

    def _by_address(self, purpose: str, found: list[Region], cell: Cell, *, source: bool) -> list[Rule]:
        """Verdict maps by prefix, one a length and longest first, then the rules for all other addresses."""
        effective: dict[Cidr | None, list[Rule]] = {}
        elements: dict[int, list[tuple[int, Verdict]]] = defaultdict(list)
        for region in found:
            prefix = region.prefix
            within = replace(cell, source=prefix) if source else replace(cell, destination=prefix)
            leaf = f"{purpose}/{address_text(prefix.family, prefix.address)}"
            rules = self._leaf(leaf, region.segments, within)
            if region.parent is not None and rules != effective[region.parent]:
                elements[prefix.length].append((prefix.address, self._verdict(leaf, rules)))
            effective[prefix] = rules
        key = Key.SADDR if source else Key.DADDR
        maps = [
            (
                length,
                self.builder.verdict_map(f"{purpose}/{key}/{length}", ElementType.ADDRESS, tuple(elements[length])),
            )
            for length in sorted(elements, reverse=True)
        ]
        return [*(Rule((), (Vmap(key, name, length),)) for length, name in maps), *effective[found[0].prefix]]


def _counters(segments: Iterable[Segment], family: Family) -> Iterator[str]:
    for segment in segments:
        for rule in with_staged(segment):
            if family in rule.condition.families and not isinstance(rule.outcome, Staged):
                yield rule.outcome.counter


def _restricted(segments: Iterable[Segment], keep: Callable[[ProgramRule], bool]) -> tuple[Segment, ...]:
    return tuple(tuple(rule for rule in segment if keep(rule)) for segment in segments)


_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}
