"""`hostfwctl rules`: what is in force in the order of evaluation, a line a rule, numbered."""

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import datetime

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.active_plan import ActivePlan, active_plan
from hostfw.cli.outcomes import this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.expiry_text import notes_of
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.nft_rules import warn_of_nft_rules
from hostfw.cli.output.tables import Column, Gives
from hostfw.cli.quick.rules_in_order import Line, rules_in_order
from hostfw.engine.kernel.counts.counters import Value, Values, values_of
from hostfw.model.values import FAMILIES

_NONE = "-"
_COLUMNS = (
    Column("NO", right=True),
    Column("WAY"),
    Column("ACTION"),
    Column("WHAT", rank=2, least=20, gives=Gives.LINES),
    Column("BY", rank=3, least=16, gives=Gives.FEW_LINES),
    Column("ON"),
    Column("PACKETS", right=True),
    Column("WRITTEN IN", rank=4, least=12, gives=Gives.START),
)
_STAGES = {"untracked": "untracked", "pre-dnat": "pre-dnat", "forwarded": "forwarded"}
"""The part that a direction alone does not say."""


USAGE = "[-o table|wide|json]"
HELP = Page(
    """\
List what is in force on this host, a line a rule, in the order in which a
packet meets them: what comes in, then what goes out. WAY is in or out; BY is
the tier and policy, or the reason of what decides without one; PACKETS is
what the rule decided so far, of both IP versions, and WRITTEN IN is its file
in /etc/hostfw and line. -o wide adds the HostEndpoints that it governs, -v
all prefixes and ports of a rule that has many.
Packets of established connections are let through before all of it. Notes below the
table say when a rule expires, or that it has expired, and give its reason and its
ticket (annotations hostfw.io/expires, hostfw.io/reason and hostfw.io/ticket).

Where a rule is not met like the others, WAY says so: untracked (doNotTrack),
pre-dnat, forwarded (applyOnForward, for what passes through this host).""",
    """\
hostfwctl rules
hostfwctl rules -o wide
hostfwctl rules -o json | jq .items""",
    """\
0  done
4  nothing in force, or not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Print the rules with what they counted so far."""
    known = active_plan(options)
    values = values_of(this_host().read_tables())
    if not values or known is None:
        why = "the active generation is not on record" if values else "nothing is in force"
        console.complain(why, "`hostfwctl apply` puts the configuration into force")
        return ExitCode.UNAVAILABLE
    lines = tuple(rules_in_order(known.plan))
    warn_of_nft_rules(known.plan, console)
    notes = _notes(known, this_host().now())
    if options.output is Output.JSON:
        items = [_item(number, line, values) for number, line in enumerate(lines, 1)]
        content = {"generation": known.generation, "items": items, "notes": notes}
        console.data(json_text(document("RuleList", content)))
    else:
        _print_table(lines, values, options, console)
        for note in notes:
            said = "; ".join(filter(None, (note["expires"], note["reason"], note["ticket"])))
            console.data(*console.filled(f"{note['name']}: {said}"))
    return ExitCode.DONE


def _notes(known: ActivePlan, now: datetime) -> list[dict[str, str]]:
    """The notes of what has any: until when it counts, or that it counts no more, its reason and its ticket."""
    every = (
        (resource, dict(notes_of(type(resource).__name__, resource.metadata, known.plan.expired, now)))
        for resource in known.resources.all()
        if resource.metadata.annotations
    )
    return [
        {
            "kind": type(resource).__name__,
            "name": resource.metadata.full_name,
            **{name: notes.get(name, "") for name in ("expires", "reason", "ticket")},
        }
        for resource, notes in every
        if notes
    ]


def _print_table(lines: Sequence[Line], values: Values, options: Options, console: Console) -> None:
    wide, whole = options.output is Output.WIDE, console.verbosity > 0
    rows = (
        (
            str(number),
            " ".join(filter(None, [line.direction.short, _STAGES.get(line.stage, "")])),
            line.action,
            line.what if whole else line.short or line.what,
            line.by,
            *([", ".join(line.endpoints) or "all"] if wide else []),
            str(_count(line, values).packets),
            line.origin.removeprefix(f"{options.config_dir}/") or _NONE,
        )
        for number, line in enumerate(lines, 1)
    )
    columns = (column for column in _COLUMNS if wide or column.heading != "ON")
    console.table(tuple(columns), rows, "-o wide", wide=wide)


def _item(number: int, line: Line, values: Values) -> Document:
    return {
        "number": number,
        "direction": line.direction.value,
        "stage": line.stage,
        "action": line.action,
        "what": line.what,
        "by": line.by,
        "endpoints": list(line.endpoints),
        "origin": line.origin or None,
        "counter": line.counter,
        **_count(line, values)._asdict(),
    }


def _count(line: Line, values: Values) -> Value:
    """The packets and bytes of both families."""
    first, second = (values.get((family, line.counter), Value()) for family in FAMILIES)
    return first.plus(second)
