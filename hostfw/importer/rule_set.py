"""A rule set as netfilter evaluates it: chains of rules, which jump, return and decide (iptables(8))."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from hostfw.importer.conditions import Condition, Interfaces, anything
from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.packets.packet import Packet
from hostfw.model.positions import Position
from hostfw.model.values import Family

MOST_ENTRIES = 20_000
"""Most rules that chains may come to when each jump is replaced by the rules of its chain."""


class Hook(StrEnum):
    """Built-in chains of the table filter."""

    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    FORWARD = "FORWARD"


class Verdict(StrEnum):
    """The end of a packet's way."""

    ALLOW = "allow"
    DENY = "deny"


class Return(NamedTuple):
    """Back to the rule behind the jump."""


class Continue(NamedTuple):
    """On to the next rule: what a rule of no consequence for the verdict does."""


class Jump(NamedTuple):
    """On to another chain; with `goto`, its end is the end of this one too."""

    chain: str
    goto: bool = False


Target = Verdict | Return | Continue | Jump


class Bound(NamedTuple):
    """The test of a rule on the source of a packet: to be within a limit or beyond it; `was` says that in words."""

    limit: SourceLimit
    beyond: bool
    was: str


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """A rule of a chain. `unsaid` says why policy cannot say it, and is empty if policy can.

    `by_kind` is True if it asks whether a destination is of this host or a broadcast, which the routing table tells.
    `bound` is what it asks of the source besides; `limit` is what each source may have of what it allows. `note` is
    what there is to say of a rule that policy says in another way.
    """

    position: Position
    text: str
    condition: Condition
    target: Target
    unsaid: str = ""
    by_kind: bool = False
    bound: Bound | None = None
    limit: SourceLimit | None = None
    note: str = ""


class Stage(NamedTuple):
    """A chain at a hook, and what is done with what reaches its end; what it allows goes on to the next stage."""

    chain: str
    end: Verdict


@dataclass(frozen=True, slots=True)
class ForeignRules:
    """The chains of one family, and by hook those that a packet meets one after the other.

    iptables has one chain at a hook; nftables has any number, and a packet passes if each of them lets it.
    """

    family: Family
    chains: Mapping[str, tuple[ForeignRule, ...]] = field(default_factory=dict)
    stages: Mapping[Hook, tuple[Stage, ...]] = field(default_factory=dict)
    interfaces: Interfaces = field(default_factory=Interfaces)

    def verdict(self, hook: Hook, packet: Packet, into: str, out: str) -> Verdict:
        """The verdict on a packet, rule by rule as the kernel goes; rules that policy cannot say are passed over."""
        for stage in self.stages.get(hook, ()):
            if (self._walk(stage.chain, packet, into, out) or stage.end) is Verdict.DENY:
                return Verdict.DENY
        return Verdict.ALLOW

    def reached(self, hook: Hook) -> Iterator[ForeignRule]:
        """The rules that a packet of a hook may meet."""
        waiting, seen = [stage.chain for stage in self.stages.get(hook, ())], set[str]()
        while waiting:
            chain = waiting.pop()
            if chain in seen:
                continue
            seen.add(chain)
            for rule in self.chains.get(chain, ()):
                yield rule
                if isinstance(rule.target, Jump):
                    waiting.append(rule.target.chain)

    def _walk(self, chain: str, packet: Packet, into: str, out: str) -> Verdict | None:
        for rule in self.chains.get(chain, ()):
            if rule.unsaid or not rule.condition.matches(packet, into, out):
                continue
            match rule.target:
                case Verdict():
                    return rule.target
                case Return():
                    return None
                case Jump(chain=name, goto=goto):
                    found = self._walk(name, packet, into, out)
                    if found is not None or goto:
                        return found
                case Continue():
                    pass
        return None


class Entry(NamedTuple):
    """A rule of the list that a hook comes to. The first entry that matches decides."""

    condition: Condition
    verdict: Verdict
    rule: ForeignRule | None


class TooManyEntriesError(Exception):
    """Chains whose list is longer than anybody would read."""


def flattened(rules: ForeignRules, hook: Hook) -> tuple[Entry, ...]:
    """The list that is equal to a hook's chains; its last entry is the end of the hook. Raises TooManyEntriesError."""
    rules = replace(rules, chains={name: tuple(_with_returns_as_one(listed)) for name, listed in rules.chains.items()})
    found: tuple[Entry, ...] = (Entry(anything(rules.family), Verdict.ALLOW, None),)
    for stage in rules.stages.get(hook, ()):
        listed = _followed(rules, _Rest(rules.chains.get(stage.chain, ()), _End(stage.end)), anything(rules.family))
        found = _shortened(_then(found, _shortened(listed, rules.family)), rules.family)
    return found


def _with_returns_as_one(listed: Iterable[ForeignRule]) -> Iterator[ForeignRule]:
    """The rules that count, with those that return one after the other as one where a single condition says it.

    What returns is listed once for each rule that lets it, with all that follows the chain.
    """
    before: ForeignRule | None = None
    for rule in listed:
        if rule.unsaid or isinstance(rule.target, Continue):
            continue
        joined = None
        if before is not None and isinstance(before.target, Return) and isinstance(rule.target, Return):
            joined = before.condition.joined(rule.condition)
        if joined is not None and before is not None:
            before = replace(before, condition=joined)
            continue
        if before is not None:
            yield before
        before = rule
    if before is not None:
        yield before


def _shortened(entries: Iterable[Entry], family: Family) -> tuple[Entry, ...]:
    """The same list without what nothing can reach. Raises TooManyEntriesError."""
    everything = anything(family)
    found: list[Entry] = []
    known: set[Condition] = set()
    for entry in entries:
        if len(found) >= MOST_ENTRIES:
            raise TooManyEntriesError
        if entry.condition in known:
            # Whoever matches has been decided about: the end of a hook is listed for each who returns to it.
            continue
        known.add(entry.condition)
        found.append(entry)
        if entry.condition == everything:
            break
    return tuple(found)


def _then(first: Iterable[Entry], later: Sequence[Entry]) -> Iterator[Entry]:
    """The list of two stages: what the first allows meets the second."""
    for entry in first:
        if entry.verdict is Verdict.DENY:
            yield entry
            continue
        for other in later:
            condition = entry.condition.also(other.condition)
            if condition.is_void:
                continue
            denied = other.verdict is Verdict.DENY
            yield Entry(condition, other.verdict, other.rule if denied else _allowing(entry.rule, other.rule))
            if condition == entry.condition:
                break


def _allowing(first: ForeignRule | None, other: ForeignRule | None) -> ForeignRule | None:
    """The rule that an entry stands for that two stages allow: the one with a limit, or the first."""
    if first is None or (first.limit is None and other is not None and other.limit is not None):
        return other
    return first


class _End(NamedTuple):
    """The end of a hook, which decides about all that reach it."""

    verdict: Verdict


class _Rest(NamedTuple):
    """The rules behind a jump, and what follows them."""

    rules: tuple[ForeignRule, ...]
    then: "_Rest | _End"


def _followed(rules: ForeignRules, rest: _Rest | _End, within: Condition) -> Iterator[Entry]:
    """List what packets of a condition meet from here on, to the end of the hook."""
    if isinstance(rest, _End):
        yield Entry(within, rest.verdict, None)
        return
    yield from _listed(rules, rest, within)
    yield from _followed(rules, rest.then, within)


def _listed(rules: ForeignRules, rest: _Rest, within: Condition) -> Iterator[Entry]:
    """List what packets of a condition meet in the rest of a chain; those left go on to what is listed next.

    Packets that return early must not meet the rest of the chain, so what follows the chain is listed for them before.
    """
    for place, rule in enumerate(rest.rules):
        condition = within.also(rule.condition)
        if rule.unsaid or condition.is_void:
            continue
        everybody = condition == within
        match rule.target:
            case Verdict():
                yield Entry(condition, rule.target, rule)
            case Return() if not everybody:
                yield from _followed(rules, rest.then, condition)
            case Jump(chain=name, goto=True):
                yield from _followed(rules, _Rest(rules.chains.get(name, ()), rest.then), condition)
            case Jump(chain=name):
                behind = _Rest(rest.rules[place + 1 :], rest.then)
                yield from _listed(rules, _Rest(rules.chains.get(name, ()), behind), condition)
                continue
            case Continue():
                continue
        if everybody:
            return
