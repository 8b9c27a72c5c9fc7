"""What the outcomes of rules are in nftables: statements, and the chains that deny and log."""

from dataclasses import dataclass
from functools import lru_cache

from hostfw.audit.prefix import LogTag, encode
from hostfw.compile.builder import TableBuilder
from hostfw.compile.matches import Tests
from hostfw.compile.program import Allow, Deny, Exempt, LogOnly, Outcome, Pass, Staged, WouldDecide
from hostfw.model.settings import Logging
from hostfw.model.values import TCP, Family
from hostfw.nft.objects import (
    Accept,
    CounterRef,
    Drop,
    Dynamic,
    ElementType,
    Goto,
    Jump,
    Key,
    Log,
    Match,
    OverLimit,
    Reject,
    Return,
    Rule,
    SetRef,
    Statement,
    Verdict,
)

LOG_RECORDS = "log/records"
"""The counter of the log records that were made, whoever reads them."""
SUPPRESSED = ("log/suppressed/source", "log/suppressed/no-room", "log/suppressed/shared")
"""The counters of the packets that were not logged, by the limit that they were beyond."""

LOG_SOURCES = 16_384
"""How many sources have a limit of their own at a time, in each family: some 4 MB of the kernel's memory."""
_SOURCE_BITS = {Family.V4: 32, Family.V6: 64}
"""What one source is: a host of IPv6 has as many addresses as it likes, in its /64."""
_SOURCE_TIMEOUT_S = 60
"""How long a source keeps its room after its last packet: longer than a client waits before it tries again."""
_LONGEST_TIMEOUT_S = 3600
_REJECT, _LIMITS = "reject", "limits"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes of one hook in one table. `allow` is what Allow does there, its verdict last."""

    builder: TableBuilder
    logging: Logging
    allow: tuple[Statement, ...]

    def statements(self, outcome: Outcome, on_pass: tuple[Verdict, ...]) -> tuple[Statement, ...]:
        """What a rule does once its tests hold; `on_pass` is where a Pass goes, nowhere if the next rule will do."""
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
                return (Jump(self._log_chain(outcome)),)
            case WouldDecide():
                return (Goto(self._log_chain(outcome)),)
            case Staged():
                raise AssertionError("a staged policy is a chain of its own")

    def _log_chain(self, log: LogOnly | WouldDecide) -> str:
        """A chain that counts, logs within the limits, and comes back."""
        return self.builder.once(log, lambda: self._new_log_chain(log))

    def _new_log_chain(self, log: LogOnly | WouldDecide) -> str:
        first, *others = self._beyond_the_limits(Return())
        counted = Rule(first.matches, (CounterRef(log.counter), *first.statements))
        return self.builder.chain("log", [counted, *others, Rule((), self._record(log.tag))])

    def log_any_chain(self, log: LogOnly, tests: Tests) -> str:
        """A chain that logs once, however many of the alternatives match, and comes back."""
        record = Goto(self._log_chain(log))
        return self.builder.chain("log/any", [Rule(alternative, (record,)) for alternative in tests.alternatives()])

    def _deny_chain(self, deny: Deny) -> str:
        """A chain that counts, logs within the limits, and ends the packet."""
        return self.builder.once(deny, lambda: self._new_deny_chain(deny))

    def _new_deny_chain(self, deny: Deny) -> str:
        end = Goto(self.builder.once(_REJECT, self._reject_chain)) if deny.reject else Drop()
        limits = self.builder.once(
            (_LIMITS, end), lambda: self.builder.chain("log/limits", self._beyond_the_limits(end))
        )
        return self.builder.chain(
            f"deny/{deny.tag.policy or deny.tag.reason}",
            [Rule((), (CounterRef(deny.counter), Jump(limits))), Rule((), (*self._record(deny.tag), end))],
        )

    def _reject_chain(self) -> str:
        tcp = Rule((Match(Key.PROTOCOL, TCP.number),), (Reject(tcp_reset=True),))
        return self.builder.chain("reject", [tcp, Rule((), (Reject(),))])

    def _record(self, tag: LogTag) -> tuple[Statement, ...]:
        """A log record, which is counted, so that whoever reads the log can tell whether any is missing."""
        return CounterRef(LOG_RECORDS), Log(encode(tag), self.logging.group, self.logging.snaplen_bytes)

    def _beyond_the_limits(self, end: Verdict) -> tuple[Rule, ...]:
        """The rules of the limits, whose sets and counters the table has then."""
        self.builder.counters((LOG_RECORDS, *SUPPRESSED))
        for name, dynamic in _sets(self.logging):
            self.builder.dynamic_set(name, ElementType.ADDRESS, dynamic)
        return _limits(self.logging, self.builder.family, end)


@lru_cache(maxsize=32)
def _limits(logging: Logging, family: Family, end: Verdict) -> tuple[Rule, ...]:
    """What becomes of packets that are not logged, each counted; those that may be go on behind these rules.

    First each source has a limit of its own, so that none can hide another. A dynamic set that is full, as with
    spoofed sources, takes no more and would let every packet through: all sources without room share the limit of
    one, so that those who have room are still told of. Behind that all share one limit.
    """
    own = logging.rate_per_second, logging.burst_packets
    shared = logging.shared_rate_per_second, logging.shared_burst_packets
    sources, no_room, everyone = (name for name, _ in _sets(logging))
    source_bits = _SOURCE_BITS[family]
    by_source, by_no_room, by_everyone = SUPPRESSED
    without_room = Match(Key.SADDR, SetRef(sources, source_bits), negated=True)
    return (
        Rule((), (OverLimit(sources, source_bits, *own), CounterRef(by_source), end)),
        Rule((without_room,), (OverLimit(no_room, 0, *own), CounterRef(by_no_room), end)),
        Rule((), (OverLimit(everyone, 0, *shared), CounterRef(by_everyone), end)),
    )


@lru_cache(maxsize=32)
def _sets(logging: Logging) -> tuple[tuple[str, Dynamic], ...]:
    """The dynamic sets of the limits. An element keeps the limit that it was made with, so names say what it is."""
    rate, burst = logging.rate_per_second, logging.burst_packets
    # A source that was forgotten begins anew with a whole burst, so it is remembered for as long as that takes.
    timeout_s = min(max(_SOURCE_TIMEOUT_S, -(-burst // rate)), _LONGEST_TIMEOUT_S)
    own, shared = f"{rate}-{burst}", f"{logging.shared_rate_per_second}-{logging.shared_burst_packets}"
    return (
        (f"log/sources.{own}-{LOG_SOURCES}-{timeout_s}s", Dynamic(LOG_SOURCES, timeout_s)),
        (f"log/no-room.{own}", Dynamic(1)),
        (f"log/shared.{shared}", Dynamic(1)),
    )
