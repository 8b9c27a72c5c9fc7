"""What the outcomes of rules are in nftables: statements, and the chains that deny and log."""

from dataclasses import dataclass

from hostfw.audit.prefix import encode
from hostfw.compile.builder import TableBuilder
from hostfw.compile.matches import Tests
from hostfw.compile.program import Allow, Deny, Exempt, LogOnly, Outcome, Pass, Staged, WouldDecide
from hostfw.model.settings import Logging
from hostfw.model.values import TCP
from hostfw.nft.objects import (
    Accept,
    CounterRef,
    Drop,
    Goto,
    Key,
    Limit,
    Log,
    Match,
    Reject,
    Rule,
    Statement,
    Verdict,
)

LOG_RECORDS = "log/records"
"""The counter of the log records that were made, whoever reads them."""
SUPPRESSED = ("log/suppressed/source", "log/suppressed/no-room", "log/suppressed/shared")
"""The counters of the packets that were not logged, by the limit that they were beyond."""


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
                return self._log_statements(outcome)
            case WouldDecide():
                return (Goto(self._log_chain(outcome)),)
            case Staged():
                raise AssertionError("a staged policy is a chain of its own")

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

    def log_any_chain(self, log: LogOnly, tests: Tests) -> str:
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
