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
from hostfw.compile.ports import PortCut, cut_by_port, joined, label
from hostfw.compile.program import Program, ProgramRule, Segment, Staged, conditions_of, with_staged
from hostfw.model.values import PORT_PROTOCOLS, Cidr, Family, PortRange
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
        if not any(needs_protocol(condition) for condition in conditions_of(program.segments)):
            short = self._short_list(program.segments, EVERYTHING)
            if short is not None:
                return short
        preamble, *rest = program.segments
        return [*self.linear.rules((preamble,), EVERYTHING), *self._by_protocol(tuple(rest))]

    def _short_list(self, segments: tuple[Segment, ...], cell: Cell) -> list[Rule] | None:
        """The rules of a cell as a list, if that is short enough not to be cut."""
        limit = self.builder.costs.linear_rules
        if len(conditions_of(segments)) > limit:
            return None
        rules = self.linear.rules(segments, cell)
        return rules if len(rules) <= limit else None

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
        return self.builder.chain(purpose, self._leaf(purpose, relevant, Cell(number)))

    def _leaf(self, purpose: str, segments: tuple[Segment, ...], cell: Cell) -> list[Rule]:
        """The rules of a cell: a list, or cut by port or by address, whichever repeats fewer of them."""
        short = self._short_list(segments, cell)
        if short is not None:
            return short
        copies, rules = self.builder.costs.copies, sum(map(len, segments))
        cut = self._port_cut(segments, cell)
        if cut is not None and cut.copied <= copies * rules:
            return self._by_port(purpose, cut, cell)
        found, source = self._regions(segments, cell)
        copied = sum(len(segment) for region in found for segment in region.segments)
        by_address = bool(found) and copied <= copies * (rules + len(found))
        by_port = cut is not None and cut.copied <= copies * (rules + len(cut.runs))
        if cut is not None and by_port and not (by_address and copied < cut.copied):
            return self._by_port(purpose, cut, cell)
        if by_address:
            return self._by_address(purpose, found, cell, source=source)
        return self.linear.rules(segments, cell)

    def _port_cut(self, segments: tuple[Segment, ...], cell: Cell) -> PortCut | None:
        """The cut by destination port, where there is one to make."""
        if cell.ports is not None or cell.protocol not in PORT_PROTOCOLS or cell.protocol is None:
            return None
        return cut_by_port(segments, cell.protocol) if any(map(names_ports, conditions_of(segments))) else None

    def _regions(self, segments: tuple[Segment, ...], cell: Cell) -> tuple[list[Region], bool]:
        """The regions of the side that tells more addresses apart, and whether that is the source; none if too few."""
        costs, family = self.builder.costs, self.builder.family
        sides = [
            (prefixes_of(segments, family, costs.dispatched_prefixes, source=source), source)
            for source, region in ((True, cell.source), (False, cell.destination))
            if region is None
        ]
        prefixes, source = max(sides, key=lambda side: len(side[0]), default=(set(), True))
        lengths = {cidr.length for cidr in prefixes if cidr.length}
        if len(prefixes) <= costs.linear_prefixes or len(lengths) > costs.prefix_lengths:
            return [], source
        return list(regions(segments, prefixes, family, costs.dispatched_prefixes, source=source)), source

    def _by_port(self, purpose: str, cut: PortCut, cell: Cell) -> list[Rule]:
        """Leaves by destination port; the widest leaf's rules follow the dispatch instead of being gone to."""
        leaves: dict[tuple[Rule, ...], list[PortRange]] = {}
        for run, relevant in cut.leaves():
            rules = tuple(self._leaf(f"{purpose}/{label([run])}", relevant, replace(cell, ports=run)))
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

    def _by_address(self, purpose: str, found: list[Region], cell: Cell, *, source: bool) -> list[Rule]:
        """Verdict maps by prefix, one a length and longest first, then the rules for all other addresses."""
        key = Key.SADDR if source else Key.DADDR
        # Addresses that the same rules are for share a chain, so it is not called after one of them.
        leaf = f"{purpose}/{key}"
        effective: dict[Cidr | None, list[Rule]] = {}
        elements: dict[int, list[tuple[int, Verdict]]] = defaultdict(list)
        for region in found:
            prefix = region.prefix
            within = replace(cell, source=prefix) if source else replace(cell, destination=prefix)
            rules = self._leaf(leaf, region.segments, within)
            if region.parent is not None and rules != effective[region.parent]:
                elements[prefix.length].append((prefix.address, self._verdict(leaf, rules)))
            effective[prefix] = rules
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
