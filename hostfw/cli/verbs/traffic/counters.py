"""`hostfwctl counters`: how many packets and bytes each policy rule and each reason decided."""

from argparse import ArgumentParser
from collections.abc import Sequence
from time import sleep
from typing import NamedTuple

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.active_plan import ActivePlan, active_plan
from hostfw.cli.outcomes import this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.durations import duration_s
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column, Gives
from hostfw.engine.context import Host
from hostfw.engine.kernel.counts.counters import (
    Counter,
    LogCounter,
    OtherCounter,
    ReasonCounter,
    RuleCounter,
    Value,
    Values,
    counters_of,
    values_of,
)
from hostfw.host.time import clock
from hostfw.model.values import BRIDGE, FAMILIES, TABLE_FAMILIES, Family, TableFamily

_NONE = "-"
_WORD_COLUMNS = (
    Column("ACTION"),
    Column("BY", rank=2, least=22),
    Column("KIND"),
    Column("ORIGIN", rank=3, least=14, gives=Gives.START),
)
"""The texts of a rule beside its numbers."""


class Reading(NamedTuple):
    """Values of counters, and with an interval their growth during it, in `seconds`."""

    values: Values
    gained: Values | None = None
    seconds: float = 0


USAGE = "[--policy NAME] [--rate TIME] [-o table|wide|json]"
HELP = Page(
    """\
Print how many packets and bytes each policy rule decided, with the file and line that
it is written in, and how many every other reason did: failsafes, ends of tiers, and so
on. Of a connection only what begins it counts: what belongs to an established one
is let through before. Counters live on when policy changes, and begin anew at boot.

With -o wide IPv4 and IPv6 stand apart as well. With -o json this is a document of kind
Counters (hostfw.io/v1).""",
    """\
hostfwctl counters
hostfwctl counters --policy web --rate 5s
hostfwctl counters -o json | jq '.rules[] | select(.packets == 0) | .origin'""",
    """\
0  printed
1  the counters could not be read, or no such policy is in force
4  nothing is in force, or not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("--policy", metavar="NAME", help="only of this policy: NAME, TIER/NAME or profile/NAME")
    parser.add_argument(
        "--rate", dest="rate_s", type=duration_s, metavar="TIME", help="also measure packets per second over TIME"
    )
    add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Read the counters, with --rate twice, and print what they stand for."""
    known = active_plan(options)
    reading = _read(this_host(), options.rate_s)
    if not reading.values:
        console.complain("nothing is in force", "`hostfwctl apply` puts the configuration into force")
        return ExitCode.UNAVAILABLE
    if known is None:
        console.warn("the active generation is not on record: counters are not attributed to rules")
    found = counters_of(known.plan if known else None, reading.values)
    wanted = [counter for counter in found if _is_wanted(counter, options.policy)]
    if options.policy is not None and not wanted:
        console.complain(f'no policy "{options.policy}" is in force on this host')
        return ExitCode.FAILED
    if options.output is Output.JSON:
        console.data(json_text(document("Counters", _content(wanted, reading, known))))
    else:
        wide = options.output is Output.WIDE
        _print_table(wanted, reading, console, wide=wide)
    return ExitCode.DONE


def _read(host: Host, rate_s: int | None) -> Reading:
    values = values_of(host.read_tables())
    if rate_s is None:
        return Reading(values)
    began_s = clock.monotonic()
    sleep(rate_s)
    after = values_of(host.read_tables())
    gained = {key: value.since(values.get(key, Value())) for key, value in after.items()}
    return Reading(after, gained, clock.monotonic() - began_s)


def _is_wanted(counter: Counter, policy: str | None) -> bool:
    if policy is None:
        return True
    if not isinstance(counter, RuleCounter):
        return False
    of = counter.identity
    return policy in (of.policy, f"{of.tier or 'profile'}/{of.policy}")


# ------------------------------------------------------------------------------------------------------ for people


def _print_table(counters: Sequence[Counter], reading: Reading, console: Console, *, wide: bool) -> None:
    """Print a row a counter, with its numbers to the right of their columns."""
    numbers = (Column(heading, right=True) for heading in _number_headings(reading, wide=wide))
    words = (column for column in _WORD_COLUMNS if wide or column.heading != "KIND")
    rows = ((*_numbers(counter.name, reading, wide=wide), *_words(counter, wide=wide)) for counter in counters)
    console.table((*numbers, *words), rows, "-o wide", wide=wide)


def _number_headings(reading: Reading, *, wide: bool) -> tuple[str, ...]:
    by_family = [f"{what}{family:d}" for family in FAMILIES for what in ("PACKETS", "BYTES")] if wide else ()
    rates = ("PACKETS/S", "BYTES/S") if reading.gained is not None else ()
    return ("PACKETS", "BYTES", *rates, *by_family)


def _numbers(name: str, reading: Reading, *, wide: bool) -> tuple[str, ...]:
    by_family = [number for family in FAMILIES for number in _of(reading.values, family, name)] if wide else ()
    rates = [f"{rate:.1f}" for rate in _rates(name, reading)] if reading.gained is not None else ()
    return (*map(str, _total(reading.values, name)), *rates, *map(str, by_family))


def _words(counter: Counter, *, wide: bool) -> tuple[str, ...]:
    kind = origin = action = _NONE
    match counter:
        case RuleCounter():
            kind, origin = counter.identity.kind, counter.origin or _NONE
            action = f"{'would-' if counter.staged else ''}{counter.action.lower()}"
        case ReasonCounter() | LogCounter():
            action = counter.action.lower()
        case OtherCounter():
            pass
    return (action, counter.by, *((kind,) if wide else ()), origin)


# ---------------------------------------------------------------------------------------------------- for machines


def _content(counters: Sequence[Counter], reading: Reading, known: ActivePlan | None) -> Document:
    return {
        "generation": known.generation if known else None,
        "seconds": round(reading.seconds, 3) if reading.gained is not None else None,
        "rules": [_rule_item(c, reading) for c in counters if isinstance(c, RuleCounter)],
        "reasons": [_reason_item(c, reading) for c in counters if isinstance(c, ReasonCounter)],
        "log": [_item(c, reading) for c in counters if isinstance(c, LogCounter)],
        "others": [_item(c, reading) for c in counters if isinstance(c, OtherCounter)],
    }


def _rule_item(counter: RuleCounter, reading: Reading) -> Document:
    of = counter.identity
    return {
        "kind": of.kind,
        "tier": of.tier,
        "policy": of.policy,
        "direction": of.direction.value,
        "rule": of.index,
        "action": counter.action.value,
        "reason": counter.reason.value,
        "staged": counter.staged,
        "origin": counter.origin,
        **_item(counter, reading),
    }


def _reason_item(counter: ReasonCounter, reading: Reading) -> Document:
    return {
        "reason": counter.reason.value,
        "direction": counter.direction.value,
        "action": counter.action.value,
        "tier": counter.tier,
        "failsafe": str(counter.failsafe) if counter.failsafe else "",
        "place": counter.place,
        **_item(counter, reading),
    }


def _item(counter: Counter, reading: Reading) -> Document:
    values = reading.values
    seen = [family for family in TABLE_FAMILIES if family is not BRIDGE or (family, counter.name) in values]
    families = {family.nft: _of(values, family, counter.name)._asdict() for family in seen}
    rates = zip(("packets", "bytes"), _rates(counter.name, reading), strict=True)
    return {
        "counter": counter.name,
        **_total(values, counter.name)._asdict(),
        **families,
        **({"perSecond": {what: round(rate, 3) for what, rate in rates}} if reading.gained is not None else {}),
    }


def _of(values: Values, family: TableFamily, name: str) -> Value:
    return values.get((family, name), Value())


def _total(values: Values, name: str) -> Value:
    """Both IP versions together, and what ports of bridges were denied."""
    return _of(values, Family.V4, name).plus(_of(values, Family.V6, name)).plus(_of(values, BRIDGE, name))


def _rates(name: str, reading: Reading) -> tuple[float, float]:
    """Packets and bytes per second."""
    gained = _total(reading.gained or {}, name)
    seconds = max(reading.seconds, 0.001)
    return gained.packets / seconds, gained.bytes / seconds
