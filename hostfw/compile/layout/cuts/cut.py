"""The layout of a program: which rules become lookups, which stay linear, and the chains that hold them.

A linear rule costs 3 to 35 ns and a map lookup 60 to 100 ns (kernel 6.18), so short programs stay a list that reads
like the policy; longer ones are cut into cells by protocol and destination port, and a packet meets only the rules
of its cell. The choice never changes a verdict: cells are disjoint and keep the order of their rules.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

from hostfw.compile.incremental.memo import CompileCache, Memo
from hostfw.compile.incremental.rule_changes import Changes, any_needs_protocol, changes, counters_of, protocols_of
from hostfw.compile.layout.cuts.by_address import Prefixes, Region, ShortLists, denied_nets, regions
from hostfw.compile.layout.cuts.by_port import NotCut, PortCut, cut_again, cut_by_port, joined, label
from hostfw.compile.layout.cuts.cells import (
    EVERYTHING,
    Cell,
    applies,
    names_ports,
)
from hostfw.compile.layout.ranking.ranked import RankedList
from hostfw.compile.layout.rule_list import RuleList
from hostfw.compile.program import Deny, Program, ProgramRule, Segment, conditions_of
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.values import PORT_PROTOCOLS, Cidr, PortRange
from hostfw.nft.objects import ElementType
from hostfw.nft.rules import Accept, Drop, Goto, Jump, Key, Match, Rule, Verdict, Vmap

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Layout:
    """Lays programs of one direction and hook out in one table.

    `reject` is whether their denials tell the sender: the same purpose has one layout that does and one that does not.
    """

    rule_list: RuleList
    cache: CompileCache
    reject: bool

    @property
    def builder(self) -> TableBuilder:
        """The table that is laid out."""
        return self.rule_list.builder

    def chain(self, purpose: str, program: Program) -> str:
        """The chain to go to for a verdict of the program."""
        writer, direction, segments = self.rule_list.writer, self.rule_list.direction, program.segments
        place = (self.builder.family, purpose, direction, self.reject, writer.allow, writer.again, writer.logging)
        shared_place = (purpose, direction, self.reject)
        shared = self.cache.shared_part(shared_place, segments)
        name, counters = self.cache.layout.get_or_make(
            place, segments, lambda memo: self._chain(purpose, segments, memo, shared)
        )
        self.builder.counters(counters)
        self.cache.note_chain(place, shared_place, counters)
        return name

    def _chain(
        self, purpose: str, segments: tuple[Segment, ...], memo: Memo, shared: Memo
    ) -> tuple[str, frozenset[str]]:
        counters = shared.get_or_make("counters", segments, partial(_worked_out, counters_of, segments, shared))
        return self.builder.chain(purpose, self._rules(segments, memo, shared)), counters[self.builder.family]

    def _rules(self, segments: tuple[Segment, ...], memo: Memo, shared: Memo) -> list[Rule]:
        needs = partial(_worked_out, any_needs_protocol, segments, shared)
        if not shared.get_or_make("needs protocol", segments, needs):
            short = self._short_list(segments, EVERYTHING)
            if short is not None:
                return short
        preamble, *rest = segments
        return [*self.rule_list.rules((preamble,), EVERYTHING), *self._by_protocol(tuple(rest), memo, shared)]

    def _short_list(self, segments: tuple[Segment, ...], cell: Cell) -> list[Rule] | None:
        """The rules of a cell as a list, if that is short enough not to be cut."""
        limit = self.builder.costs.linear_rules
        if any(True for _ in islice(conditions_of(segments), limit, None)):
            return None
        rules = self.rule_list.rules(segments, cell)
        return rules if len(rules) <= limit else None

    def _by_protocol(self, segments: tuple[Segment, ...], memo: Memo, shared: Memo) -> list[Rule]:
        protocols = shared.get_or_make("protocols", segments, partial(_worked_out, protocols_of, segments, shared))
        rules: list[Rule] = []
        for number in protocols:
            relevant = shared.get_or_make(number, segments, partial(_of_protocol, segments, number))
            name = memo.get_or_make(number, relevant, partial(self._protocol_chain, number, relevant, shared))
            rules.append(Rule((Match(Key.PROTOCOL, number),), (Goto(name),)))
        others = frozenset(protocols)
        relevant = shared.get_or_make("other", segments, partial(_of_others, segments, others))
        purpose = f"{self.rule_list.direction.short}/other"
        return [*rules, *self._leaf(purpose, relevant, Cell(other_than=others), memo, shared)]

    def _protocol_chain(self, number: int, relevant: tuple[Segment, ...], shared: Memo, memo: Memo) -> str:
        purpose = f"{self.rule_list.direction.short}/{_PROTOCOL_NAMES.get(number, str(number))}"
        return self.builder.chain(purpose, self._leaf(purpose, relevant, Cell(number), memo, shared))

    def _leaf(
        self, purpose: str, segments: tuple[Segment, ...], cell: Cell, memo: Memo, shared: Memo | None = None
    ) -> list[Rule]:
        """The rules of a cell: a list, or cut by port or by address, whichever repeats fewer of them.

        `memo` is what the cell belongs to; `shared` has what the cut by port is in both tables.
        """
        # The cut of before is changed segment by segment: it counts those as well in which the cell has no rule.
        every, segments = segments, tuple(filter(None, segments))
        short = self._short_list(segments, cell)
        if short is not None:
            return short
        copies, rules = self.builder.costs.copies_of_rule, sum(map(len, segments))
        cut = self._port_cut(every, cell, shared)
        if cut is not None and cut.copied <= copies * rules:
            return self._by_port(purpose, cut, cell, memo)
        found, source = self._regions(segments, cell, shared)
        copied = sum(len(segment) for region in found for segment in region.segments)
        by_address = bool(found) and copied <= copies * (rules + len(found))
        by_port = cut is not None and cut.copied <= copies * (rules + len(cut.leaves))
        if cut is not None and by_port and not (by_address and copied < cut.copied):
            return self._by_port(purpose, cut, cell, memo)
        if by_address:
            return self._by_address(purpose, found, cell, memo, source=source)
        return RankedList(self.rule_list).rules(purpose, segments, cell, memo)

    def _port_cut(self, segments: tuple[Segment, ...], cell: Cell, shared: Memo | None) -> PortCut | None:
        """The cut by destination port, where there is one to make."""
        protocol = cell.protocol
        if cell.ports is not None or protocol is None or protocol not in PORT_PROTOCOLS:
            return None
        if not any(map(names_ports, conditions_of(segments))):
            return None
        if shared is None:
            return cut_by_port(segments, protocol, self.builder.costs.copies_of_rule)
        anew = partial(_cut_anew, segments, protocol, self.builder.costs.copies_of_rule)
        cut = shared.get_or_make(("ports", protocol), segments, anew)
        return cut if isinstance(cut, PortCut) else None

    def _prefixes(
        self, segments: tuple[Segment, ...], cell: Cell, shared: Memo | None, *, source: bool
    ) -> Collection[Cidr]:
        """The prefixes that the rules of a cell tell apart on one side."""
        short = self.builder.short_lists
        if shared is None:
            return Prefixes.of(segments, short, source=source).lists
        place = ("prefixes", cell.protocol, self.builder.family, source)
        return shared.get_or_make(place, segments, partial(_counted, segments, short, source)).lists

    def _regions(self, segments: tuple[Segment, ...], cell: Cell, shared: Memo | None) -> tuple[list[Region], bool]:
        """The regions of the side that tells more addresses apart, and whether that is the source; none if too few."""
        costs, short = self.builder.costs, self.builder.short_lists
        sides = [
            (self._prefixes(segments, cell, shared, source=source), source)
            for source, region in ((True, cell.source), (False, cell.destination))
            if region is None
        ]
        prefixes, source = max(sides, key=lambda side: len(side[0]), default=((), True))
        lengths = {cidr.length for cidr in prefixes if cidr.length}
        if len(prefixes) <= costs.linear_prefixes or len(lengths) > costs.prefix_lengths:
            return [], source
        # What is not worth its copies is not copied to the end to find out.
        room = costs.copies_of_rule * (sum(map(len, segments)) + len(prefixes) + 1)
        found: list[Region] = []
        for region in regions(segments, prefixes, short, source=source):
            found.append(region)
            room -= sum(map(len, region.segments))
            if room < 0:
                return [], source
        return found, source

    def _by_port(self, purpose: str, cut: PortCut, cell: Cell, memo: Memo) -> list[Rule]:
        """Leaves by destination port; the widest leaf's rules follow the dispatch instead of being gone to."""
        leaves: dict[int, tuple[tuple[Rule, ...], list[PortRange]]] = {}
        width: defaultdict[int, int] = defaultdict(int)
        for run, rules in memo.get_or_make_each(cut.leaves, partial(self._port_leaf, purpose, cell)):
            # Equal lists are one object.
            which = id(rules)
            width[which] += run.last - run.first + 1
            if which in leaves:
                leaves[which][1].append(run)
            else:
                leaves[which] = rules, [run]
        widest = max(width, key=width.__getitem__)
        tail = leaves[widest][0]
        others = [leaf for which, leaf in leaves.items() if which != widest]
        causes = ((runs[0].first, (rules, runs, tail)) for rules, runs in others)
        verdicts = memo.get_or_make_each(causes, partial(self._port_verdict, purpose))
        targets: list[tuple[PortRange, Verdict]] = []
        for (_, runs), (_, verdict) in zip(others, verdicts, strict=True):
            if len(runs) == 1:
                targets.append((runs[0], verdict))
            else:
                targets.extend((run, verdict) for run in joined(runs))
        targets.sort(key=lambda target: target[0].first)
        return [*self._dispatch_ports(purpose, targets), *tail]

    def _port_leaf(
        self, purpose: str, cell: Cell, run: PortRange, relevant: tuple[Segment, ...], memo: Memo
    ) -> tuple[Rule, ...]:
        rules = self._leaf(f"{purpose}/{label([run])}", relevant, replace(cell, ports=run), memo)
        return self.cache.one_list(rules)

    def _port_verdict(
        self, purpose: str, _: int, leaf: tuple[tuple[Rule, ...], list[PortRange], tuple[Rule, ...]], _memo: Memo
    ) -> Verdict:
        rules, runs, tail = leaf
        return self._verdict(f"{purpose}/{label(runs)}", rules, tail)

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

    def _verdict(self, purpose: str, rules: Sequence[Rule], tail: Sequence[Rule]) -> Verdict:
        """The verdict that leads through the rules: theirs, if it is all that they hold, or that of a chain.

        `tail` is what a packet meets next that comes back from there.
        """
        verdict = _only_verdict(rules)
        if verdict is not None:
            return verdict
        own = self.builder.own_rules(rules, tail)
        if own is None:
            return Goto(self.builder.chain(purpose, rules))
        return Jump(self.builder.chain(purpose, own))

    def _by_address(self, purpose: str, found: list[Region], cell: Cell, memo: Memo, *, source: bool) -> list[Rule]:
        """Verdict maps by prefix, one a length and longest first, then the rules for all other addresses."""
        key = Key.SADDR if source else Key.DADDR
        # Addresses that the same rules are for share a chain, so it is not called after one of them.
        leaf = f"{purpose}/{key}"
        effective: dict[Cidr | None, tuple[Rule, ...]] = {}
        elements: dict[int, list[tuple[int, Verdict]]] = defaultdict(list)
        for region in found:
            prefix = region.prefix
            make = partial(self._region_leaf, leaf, region, cell, source)
            denied = self._denied(region, source=source)
            # What remains to be tested of these depends on what is known of the cell, the protocols that have others.
            rules = memo.get_or_make((key, prefix), (region.segments, cell), make) if denied is None else denied
            if region.parent is not None and rules is not effective[region.parent]:
                # Behind the map of this length stand those of the shorter ones, which lead to the region around it.
                around = effective[region.parent]
                verdict = _only_verdict(rules)
                if verdict is None:
                    make_verdict = partial(self._region_verdict, leaf, rules, around)
                    verdict = memo.get_or_make(("verdict", key, prefix), (rules, around), make_verdict)
                elements[prefix.length].append((prefix.address, verdict))
            effective[prefix] = rules
        maps = [
            (
                length,
                self.builder.verdict_map(f"{purpose}/{key}/{length}", ElementType.ADDRESS, tuple(elements[length])),
            )
            for length in sorted(elements, reverse=True)
        ]
        return [*(Rule((), (Vmap(key, name, length),)) for length, name in maps), *effective[found[0].prefix]]

    def _denied(self, region: Region, *, source: bool) -> tuple[Rule, ...] | None:
        """The rules of a region whose first rule denies every packet of it, whatever the cell; None of any other."""
        rule = region.segments[0][0] if region.segments else None
        if rule is None or not isinstance(rule.effect, Deny):
            return None
        nets, rules = self.builder.denying(rule, source, partial(self._denying, rule, source))
        prefix = region.prefix
        within = any(net.length <= prefix.length and net.contains(prefix.address) for net in nets)
        return rules if within else None

    def _denying(self, rule: ProgramRule, source: bool) -> tuple[tuple[Cidr, ...], tuple[Rule, ...]]:  # noqa: FBT001
        nets = denied_nets(rule.condition, self.builder.family, self.builder.costs.dispatched_prefixes, source=source)
        rules = [Rule((), self.rule_list.writer.statements(rule.effect, ()))] if nets else []
        return nets, self.cache.one_list(rules)

    def _region_leaf(self, purpose: str, region: Region, cell: Cell, source: bool, memo: Memo) -> tuple[Rule, ...]:  # noqa: FBT001
        within = replace(cell, source=region.prefix) if source else replace(cell, destination=region.prefix)
        return self.cache.one_list(self._leaf(purpose, region.segments, within, memo))

    def _region_verdict(self, purpose: str, rules: Sequence[Rule], around: Sequence[Rule], _: Memo) -> Verdict:
        return self._verdict(purpose, rules, around)


def _only_verdict(rules: Sequence[Rule]) -> Verdict | None:
    """The verdict that is all that some rules hold, None where they hold more."""
    match rules:
        case [Rule((), (Accept() | Drop() | Goto() as verdict,))]:
            return verdict
        case _:
            return None


def _worked_out(
    work_out: Callable[[tuple[Segment, ...], Changes | None, object], _T],
    segments: tuple[Segment, ...],
    shared: Memo,
    memo: Memo,
) -> _T:
    """Something of the last segments of a program: what it was the last time, changed by what differs since."""
    before, now = shared.previous, shared.key
    if not isinstance(before, tuple) or not isinstance(now, tuple) or len(before) != len(now):
        return work_out(segments, None, None)
    first = len(now) - len(segments)
    changed = shared.get_or_make(("changes", first), segments, lambda _: changes(before[first:], segments))
    return work_out(segments, changed, memo.previous)


def _cut_anew(segments: tuple[Segment, ...], protocol: int, copies: int, memo: Memo) -> PortCut | NotCut:
    """The cut by destination port: the one of before, as far as it holds."""
    return cut_again(segments, protocol, copies, memo.previous)


def _counted(segments: tuple[Segment, ...], short: ShortLists, source: bool, memo: Memo) -> Prefixes:  # noqa: FBT001
    """The prefixes of one side: those of before, changed by what differs."""
    before = memo.previous if isinstance(memo.previous, Prefixes) else None
    return Prefixes.of(segments, short, before, source=source)


def _of_protocol(segments: Iterable[Segment], number: int, _: Memo) -> tuple[Segment, ...]:
    """The rules that a packet of the protocol can match."""
    return tuple(tuple([rule for rule in segment if applies(rule.condition, number)]) for segment in segments)


def _of_others(segments: Iterable[Segment], protocols: frozenset[int], _: Memo) -> tuple[Segment, ...]:
    """The rules that a packet of a protocol without a cell of its own can match."""
    return tuple(
        tuple([rule for rule in segment if not ((p := rule.condition.protocol) and p.number in protocols)])
        for segment in segments
    )


_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}
