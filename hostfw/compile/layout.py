"""The layout of a program: which rules become lookups, which stay linear, and the chains that hold them.

A linear rule costs 3 to 35 ns and a map lookup 60 to 100 ns (kernel 6.18), so short programs stay a list that reads
like the policy; longer ones are cut into cells by protocol and destination port, and a packet meets only the rules
of its cell. The choice never changes a verdict: cells are disjoint and keep the order of their rules.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hostfw.audit.prefix import encode
from hostfw.compile.builder import TableBuilder
from hostfw.compile.cells import (
    EVERYTHING,
    Cell,
    applies,
    names_ports,
    needs_protocol,
    protocols_named,
)
from hostfw.compile.matches import Tests, tests_of
from hostfw.compile.ports import joined, label, rules_by_run
from hostfw.compile.program import (
    Allow,
    Deny,
    Exempt,
    LogOnly,
    Outcome,
    Pass,
    Program,
    ProgramRule,
    Segment,
    Staged,
    WouldDecide,
    conditions_of,
    with_staged,
)
from hostfw.model.settings import Logging
from hostfw.model.values import PORT_PROTOCOLS, TCP, Family, PortRange
from hostfw.nft.objects import (
    Accept,
    CounterRef,
    Drop,
    ElementType,
    Goto,
    Jump,
    Key,
    Limit,
    Log,
    Match,
    Reject,
    Return,
    Rule,
    Statement,
    Verdict,
    Vmap,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Lays programs out in one table. `allow` is what Allow does in the programs' hook, its verdict last."""

    builder: TableBuilder
    logging: Logging
    allow: tuple[Statement, ...]

    def chain(self, purpose: str, program: Program) -> str:
        """The chain to go to for a verdict of the program."""
        self.builder.counters(_counters(program.segments, self.builder.family))
        return self.builder.chain(purpose, self._rules(program))

    def _rules(self, program: Program) -> list[Rule]:
        if self._is_short(program):
            return self._linear(program.segments, EVERYTHING, program)
        preamble, *rest = program.segments
        return [*self._linear((preamble,), EVERYTHING, program), *self._by_protocol(tuple(rest), program)]

    def _is_short(self, program: Program) -> bool:
        conditions = conditions_of(program.segments)
        if len(conditions) > self.builder.costs.linear_rules:
            return False
        if any(needs_protocol(condition) for condition in conditions):
            return False
        tests = (tests_of(condition, EVERYTHING, self.builder) for condition in conditions)
        return sum(t.count for t in tests if t is not None) <= self.builder.costs.linear_rules

    def _by_protocol(self, segments: tuple[Segment, ...], program: Program) -> list[Rule]:
        protocols = protocols_named(conditions_of(segments))
        rules = [
            Rule((Match(Key.PROTOCOL, number),), (Goto(self._protocol_chain(number, segments, program)),))
            for number in protocols
        ]
        others = Cell(other_than=frozenset(protocols))
        return [*rules, *self._linear(segments, others, program)]

    def _protocol_chain(self, number: int, segments: tuple[Segment, ...], program: Program) -> str:
        purpose = f"{program.direction.short}/{_PROTOCOL_NAMES.get(number, str(number))}"
        relevant = _restricted(segments, lambda rule: applies(rule.condition, number))
        if number not in PORT_PROTOCOLS or not any(names_ports(c) for c in conditions_of(relevant)):
            return self.builder.chain(purpose, self._linear(relevant, Cell(number), program))
        return self.builder.chain(purpose, self._by_port(purpose, number, relevant, program))

    def _by_port(self, purpose: str, number: int, segments: tuple[Segment, ...], program: Program) -> list[Rule]:
        """Leaves by destination port; the widest leaf's rules follow the dispatch instead of being gone to."""
        leaves: dict[tuple[Rule, ...], list[PortRange]] = {}
        for run, relevant in rules_by_run(segments, number):
            rules = tuple(self._linear(relevant, Cell(number, ports=run), program))
            leaves.setdefault(rules, []).append(run)
        widest = max(leaves, key=lambda rules: sum(run.last - run.first + 1 for run in leaves[rules]))
        targets: list[tuple[PortRange, Verdict]] = []
        for rules, runs in leaves.items():
            if rules == widest:
                continue
            chain = self.builder.chain(f"{purpose}/{label(runs)}", list(rules))
            targets.extend((run, Goto(chain)) for run in joined(runs))
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

    def _linear(self, segments: Sequence[Segment], cell: Cell, program: Program) -> list[Rule]:
        """The rules of a cell, tried one after the other, up to the first that decides every packet of the cell."""
        rules: list[Rule] = []
        for place, segment in enumerate(segments):
            tested = self._tested(segment, cell)
            passes = any(isinstance(rule.outcome, Pass) and not tests.unconditional for rule, tests in tested)
            if passes and isinstance(self.allow[-1], Accept):
                # Returning to a list of jumps keeps the number of paths through the tiers a sum. As gotos they would
                # be a product, and the kernel walks every path when it checks a transaction.
                tier = self.builder.chain(_pass_purpose(program), self._segment(tested, Return(), cell))
                rules.append(Rule((), (Jump(tier),)))
                continue
            on_pass: Verdict = Return()
            if passes:
                rest = self._linear(segments[place + 1 :], cell, program)
                on_pass = Goto(self.builder.chain(_pass_purpose(program), rest))
            rules.extend(self._segment(tested, on_pass, cell))
            if _decides(tested):
                break
        return rules

    def _tested(self, rules: Iterable[ProgramRule], cell: Cell) -> list[tuple[ProgramRule, Tests]]:
        """The rules that a packet of the cell can match, with what remains to be tested."""
        return [(rule, tests) for rule in rules if (tests := tests_of(rule.condition, cell, self.builder))]

    def _segment(self, tested: Iterable[tuple[ProgramRule, Tests]], on_pass: Verdict, cell: Cell) -> list[Rule]:
        """The rules of a segment; an unconditional Pass only counts, for what follows is the next segment."""
        rules: list[Rule] = []
        for rule, tests in _reached(tested):
            if isinstance(rule.outcome, Staged):
                rules.extend(self._staged(rule.outcome, cell))
                continue
            if isinstance(rule.outcome, LogOnly) and tests.count > 1:
                rules.append(Rule((), (Jump(self._log_any_chain(rule.outcome, tests)),)))
                continue
            statements = self._statements(rule.outcome, () if tests.unconditional else (on_pass,))
            rules.extend(Rule(alternative, statements) for alternative in tests.alternatives())
        return rules

    def _statements(self, outcome: Outcome, on_pass: tuple[Verdict, ...]) -> tuple[Statement, ...]:
        match outcome:
            case Allow(counter):
                return (CounterRef(counter), *self.allow)
            case Exempt(counter):
                return (CounterRef(counter), Accept())
            case Deny():
                return (Goto(self._deny_chain(outcome)),)
            case Pass(counter):
                return (CounterRef(counter), *on_pass)
            case LogOnly():
                return self._log_statements(outcome)
            case WouldDecide():
                return (Goto(self._log_chain(outcome)),)
            case Staged():
                raise AssertionError("a staged policy is a chain of its own")

    def _staged(self, staged: Staged, cell: Cell) -> Iterator[Rule]:
        """A jump to what a staged policy would have done, if a packet of the cell can match any of it."""
        rules = self._segment(self._tested(staged.rules, cell), Return(), cell)
        if rules:
            yield Rule((), (Jump(self.builder.chain("staged", rules)),))

    def _log_statements(self, log: LogOnly | WouldDecide | Deny) -> tuple[CounterRef, Limit, Log]:
        to = self.logging
        return (
            CounterRef(log.counter),
            Limit(to.rate_per_second, to.burst_packets),
            Log(encode(log.tag), to.group, to.snaplen_bytes),
        )

    def _log_chain(self, log: LogOnly | WouldDecide) -> str:
        """A chain that logs and comes back."""
        return self.builder.once(log, lambda: self.builder.chain("log", [Rule((), self._log_statements(log))]))

    def _log_any_chain(self, log: LogOnly, tests: Tests) -> str:
        """A chain that logs once, however many of the alternatives match, and comes back."""
        record = Goto(self._log_chain(log))
        return self.builder.chain("log/any", [Rule(alternative, (record,)) for alternative in tests.alternatives()])

    def _deny_chain(self, deny: Deny) -> str:
        return self.builder.once(deny, lambda: self._new_deny_chain(deny))

    def _new_deny_chain(self, deny: Deny) -> str:
        rules = [Rule((), self._log_statements(deny))]
        if deny.reject:
            rules.append(Rule((Match(Key.PROTOCOL, TCP.number),), (Reject(tcp_reset=True),)))
            rules.append(Rule((), (Reject(),)))
        else:
            rules.append(Rule((), (Drop(),)))
        return self.builder.chain(f"deny/{deny.tag.policy or deny.tag.reason}", rules)


def _pass_purpose(program: Program) -> str:
    return f"{program.direction.short}/pass"


def _reached(tested: Iterable[tuple[ProgramRule, Tests]]) -> Iterator[tuple[ProgramRule, Tests]]:
    """The rules up to the first that decides every packet."""
    for rule, tests in tested:
        yield rule, tests
        if tests.unconditional and not isinstance(rule.outcome, LogOnly | Staged):
            return


def _decides(tested: Iterable[tuple[ProgramRule, Tests]]) -> bool:
    """Whether no packet leaves the segment undecided, apart from those that a Pass sends on."""
    return any(
        tests.unconditional and isinstance(rule.outcome, Allow | Exempt | Deny) for rule, tests in _reached(tested)
    )


def _counters(segments: Iterable[Segment], family: Family) -> Iterator[str]:
    for segment in segments:
        for rule in with_staged(segment):
            if family in rule.condition.families and not isinstance(rule.outcome, Staged):
                yield rule.outcome.counter


def _restricted(segments: Iterable[Segment], keep: Callable[[ProgramRule], bool]) -> tuple[Segment, ...]:
    return tuple(tuple(rule for rule in segment if keep(rule)) for segment in segments)


_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}
