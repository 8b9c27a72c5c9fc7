"""`hostfwctl staged`: what a staged policy would have done so far, by its counters and the last of its packets."""

from argparse import ArgumentParser
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from hostfw.audit.attribution import policies_of
from hostfw.audit.packet_event import IDENTIFIER, PacketEvent
from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.active_plan import ActivePlan, active_plan
from hostfw.cli.outcomes import this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.reports.drops_report import Table
from hostfw.cli.output.tables import Column, Gives
from hostfw.engine.kernel.counts.counters import RuleCounter, Value, Values, counters_of_rule, values_of
from hostfw.host.journal.reader import open_history
from hostfw.journal.message_ids import MessageId
from hostfw.journal.packet_entry import event_of, fields
from hostfw.model.values import FAMILIES, Action

SAMPLES = 10
"""Most packets that are shown."""
_NONE = "-"
_COLUMNS = (
    Column("PACKETS", right=True),
    Column("BYTES", right=True),
    Column("ACTION"),
    Column("BY", rank=2, least=22),
    Column("ORIGIN", rank=3, least=14, gives=Gives.START),
)


class _Counted(NamedTuple):
    """A rule of the policy, and what it saw of both families."""

    counter: RuleCounter
    value: Value


USAGE = "NAME [-o table|json]"
HELP = Page(
    """\
Print how many packets each rule of a staged policy would have denied, allowed, passed
or logged since it is in force, and the last of these packets out of the journal. Of a
connection only what begins it counts: what belongs to an established one never meets
policy. A staged policy decides nothing; `promote` has the change that enforces it.

With -o json this is a document of kind StagedPolicy (hostfw.io/v1), whose samples have
the fields of the journal (docs/audit.md).""",
    """\
hostfwctl staged web
hostfwctl staged web -o json | jq '.rules[] | [.action, .packets]'""",
    """\
0  printed
1  no such policy is staged here
4  nothing is in force, or not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("name", metavar="NAME", help="the staged policy: NAME or TIER/NAME")
    add_output(parser.add_argument, Output.TABLE, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Print the counters of the policy's rules, and its last packets out of the journal."""
    known = active_plan(options)
    if known is None:
        console.complain(
            "the active generation is not on record", "`hostfwctl apply` puts the configuration into force"
        )
        return ExitCode.UNAVAILABLE
    wanted = [rule for rule in _staged(known) if options.name in _names(rule)]
    if not wanted:
        names = sorted({rule.identity.policy for rule in _staged(known)})
        hint = f"staged are: {', '.join(names)}" if names else "no staged policy governs an interface of this host"
        console.complain(f'no staged policy "{options.name}" is in force on this host', hint)
        return ExitCode.FAILED
    values = values_of(this_host().read_tables())
    rules = [_Counted(rule, _total(values, rule.name)) for rule in wanted]
    samples = _samples(wanted)
    if options.output is Output.JSON:
        console.data(json_text(document("StagedPolicy", _content(known, rules, samples))))
        return ExitCode.DONE
    console.table(_COLUMNS, map(_row, rules))
    if samples:
        console.data("")
        report = Table(console, dated=True)
        report.begin()
        for event in samples:
            report.take(event)
    console.say(_summary(rules))
    return ExitCode.DONE


def _staged(known: ActivePlan) -> tuple[RuleCounter, ...]:
    """The rules of staged policies that are in force, in order, each once."""
    found = {
        counter.name: counter
        for policy in policies_of(known.plan)
        for rule in policy.rules
        if policy.staged
        for counter in counters_of_rule(rule, staged=True)
    }
    return tuple(found.values())


def _names(rule: RuleCounter) -> tuple[str, str]:
    return rule.identity.policy, f"{rule.identity.tier}/{rule.identity.policy}"


def _total(values: Values, name: str) -> Value:
    v4, v6 = (values.get((family, name), Value()) for family in FAMILIES)
    return v4.plus(v6)


def _samples(rules: Sequence[RuleCounter]) -> list[PacketEvent]:
    """The last packets of the policy since the boot, none where there is no journal."""
    policies = {(rule.identity.tier, rule.identity.policy) for rule in rules}
    history = open_history(IDENTIFIER, (MessageId.PACKET_STAGED,), None)
    if history is None:
        return []
    events = (event_of(entry) for entry in history.entries())
    return list(deque((e for e in events if e is not None and (e.tier, e.policy) in policies), maxlen=SAMPLES))


def _row(rule: _Counted) -> tuple[str, ...]:
    counter, value = rule
    return (str(value.packets), str(value.bytes), _action(counter), counter.by, counter.origin or _NONE)


def _action(rule: RuleCounter) -> str:
    return f"would-{rule.action.lower()}"


def _summary(rules: Sequence[_Counted]) -> str:
    """The total effect that it would have had; of a connection only the first packets count."""
    by_action = {
        action: sum(rule.value.packets for rule in rules if rule.counter.action is action) for action in Action
    }
    parts = [f"{action.lower()} {packets}" for action, packets in by_action.items() if packets]
    would = f"would have decided to {', '.join(parts)}" if parts else "has seen nothing yet"
    return f"of the packets that reached it, it {would}; `hostfwctl promote` has the change that enforces it"


def _content(known: ActivePlan, rules: Sequence[_Counted], samples: Sequence[PacketEvent]) -> Document:
    of = rules[0].counter.identity
    return {
        "generation": known.generation,
        "tier": of.tier,
        "policy": of.policy,
        "rules": [
            {
                "direction": rule.counter.identity.direction.value,
                "rule": rule.counter.identity.index,
                "action": rule.counter.action.value,
                "origin": rule.counter.origin,
                "counter": rule.counter.name,
                **rule.value._asdict(),
            }
            for rule in rules
        ],
        "samples": [fields(event) for event in samples],
    }
