"""Effects of rules in nftables: statements, and the chains that deny and log."""

from dataclasses import dataclass

from hostfw.audit.log_prefix import LogTag, encode
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, Kind, deny_limits, log_limits
from hostfw.compile.layout.nft_rules.matches import Tests
from hostfw.compile.layout.nft_rules.source_limits import limited_chain
from hostfw.compile.program import Allow, Deny, Effect, Exempt, Limited, LogOnly, Pass, Staged, WouldDecide
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.settings import Logging
from hostfw.model.values import TCP
from hostfw.nft.rules import (
    Accept,
    CounterRef,
    Drop,
    Goto,
    Jump,
    Key,
    Log,
    Match,
    Reject,
    Return,
    Rule,
    Statement,
    Verdict,
)

_REJECT, _LOGGED, _STAGED = "reject", "log", "staged"


@dataclass(frozen=True, slots=True)
class StatementWriter:
    """The statements of one hook's effects in one table. `allow` is what Allow does there, its verdict last.

    Where a packet meets the rules of an earlier hook `again`, it was counted and logged there, and what exempted it
    there decides nothing here.
    """

    builder: TableBuilder
    logging: Logging
    allow: tuple[Statement, ...]
    again: bool = False

    def statements(self, effect: Effect, on_pass: tuple[Verdict, ...]) -> tuple[Statement, ...]:
        """The statements of a rule; `on_pass` is the target of a Pass, None where the next rule is.

        Nothing at all where the next rule will do and nothing is to be counted or logged.
        """
        match effect:
            case Limited() if self.again:
                return self.statements(effect.within, on_pass)
            case Allow() if self.again:
                return self.allow
            case Exempt() if self.again:
                return (Return(),)
            case Pass() if self.again:
                return on_pass
            case LogOnly() | WouldDecide() if self.again:
                return ()
            case Allow(counter):
                return (CounterRef(counter), *self.allow)
            case Exempt(counter):
                return (CounterRef(counter), Accept())
            case Deny(unrecorded=True):
                return (CounterRef(effect.counter), self._end(effect))
            case Deny():
                return (Goto(self._deny_chain(effect)),)
            case Limited():
                return (Goto(self._limited_chain(effect)),)
            case Pass(counter):
                return (CounterRef(counter), *on_pass)
            case LogOnly():
                return (Jump(self._log_chain(effect)),)
            case WouldDecide(unrecorded=True):
                return (CounterRef(effect.counter), Return())
            case WouldDecide():
                return (Goto(self._log_chain(effect)),)
            case Staged():
                raise AssertionError("a staged policy is a chain of its own")

    def _limited_chain(self, limited: Limited) -> str:
        """A chain that tells what is within a limit from what is not."""
        within, beyond, without_room = (
            self.statements(one, ()) for one in (limited.within, limited.beyond, limited.without_room)
        )
        return self.builder.once(
            (limited, within), lambda: limited_chain(self.builder, limited, within, beyond, without_room)
        )

    def _log_chain(self, log: LogOnly | WouldDecide) -> str:
        """A chain that counts, logs within the limits, and comes back."""
        return self.builder.once(log, lambda: self._new_log_chain(log))

    def _new_log_chain(self, log: LogOnly | WouldDecide) -> str:
        kind = Kind(log.tag.direction, _STAGED if log.tag.staged else _LOGGED, log.by_source)
        first, *others = log_limits(self.builder, self.logging, kind, Return())
        # Most packets are counted at the price of no rule more.
        is_counted = () if first.matches else (CounterRef(log.counter),)
        counted = [] if is_counted else [Rule((), (CounterRef(log.counter),))]
        within = Rule(first.matches, (*is_counted, *first.statements))
        return self.builder.chain("log", [*counted, within, *others, Rule((), self._record(log.tag))])

    def log_any_chain(self, log: LogOnly, tests: Tests) -> str:
        """A chain that logs once, however many of the alternatives match, and comes back."""
        record = Goto(self._log_chain(log))
        return self.builder.chain("log/any", [Rule(alternative, (record,)) for alternative in tests.alternatives()])

    def _deny_chain(self, deny: Deny) -> str:
        """A chain that counts, logs within the limits, and ends the packet."""
        return self.builder.once(deny, lambda: self._new_deny_chain(deny))

    def _new_deny_chain(self, deny: Deny) -> str:
        end = self._end(deny)
        kind = Kind(deny.tag.direction, deny.tag.reason.value, deny.by_source)
        limits = deny_limits(self.builder, self.logging, kind, end)
        return self.builder.chain(
            f"deny/{deny.tag.policy or deny.tag.reason}",
            [Rule((), (CounterRef(deny.counter), Jump(limits))), Rule((), (*self._record(deny.tag), end))],
        )

    def _end(self, deny: Deny) -> Verdict:
        return Goto(self.builder.once(_REJECT, self._reject_chain)) if deny.reject else Drop()

    def _reject_chain(self) -> str:
        tcp = Rule((Match(Key.PROTOCOL, TCP.number),), (Reject(tcp_reset=True),))
        return self.builder.chain("reject", [tcp, Rule((), (Reject(),))])

    def _record(self, tag: LogTag) -> tuple[Statement, ...]:
        """A log record, which is counted, so that whoever reads the log can tell whether any is missing."""
        return CounterRef(LOG_RECORDS), Log(encode(tag), self.logging.group, self.logging.snaplen_bytes)
