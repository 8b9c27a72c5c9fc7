"""Reference pages that the code fills: exit statuses of every verb, and metrics."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from hostfw.cli.command_line.verb_table import VERBS
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.daemon.metrics.text import AuditFigures, Figures, metrics_text
from hostfw.engine.kernel.counts.counters import (
    Counter,
    LogCounter,
    OtherCounter,
    ReasonCounter,
    RuleCounter,
    Value,
    Values,
)
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import RuleIdentity
from hostfw.model.settings import FailsafePort
from hostfw.model.values import FAMILIES, TCP, Action, Direction


def exit_statuses() -> str:
    """The page of exit statuses: of every verb what its help says."""
    tables = "\n".join(
        f"## {verb.name}\n\n| status | means |\n|---|---|\n{''.join(_status_rows(verb.load().HELP.exits))}"
        for verb in VERBS
    )
    return f"# Exit statuses\n\nThose of each verb of `hostfwctl`, as `hostfwctl VERB --help` has them.\n\n{tables}"


def _status_rows(exits: str) -> Iterator[str]:
    for entry in re.split(r"^ *(?=\d)", exits, flags=re.MULTILINE):
        status, _, meaning = " ".join(entry.split()).partition(" ")
        if status:
            yield f"| {status} | {meaning.replace('|', chr(92) + '|')} |\n"


class Metric(NamedTuple):
    """A metric as the service writes it: its name, type and help, and the names of its labels."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...]


def metrics() -> str:
    """The page of metrics, from what the service writes where each of them has a sample."""
    rows = "".join(
        f"| `{each.name}` | {each.type} | {each.help} | {', '.join(f'`{label}`' for label in each.labels)} |\n"
        for each in every_metric()
    )
    return (
        "# Metrics\n\n"
        "With `metrics: {textfile: /run/hostfw/hostfw.prom}` in `hostfw.yaml` the service writes these for the\n"
        "textfile collector of Prometheus's node_exporter. A gauge that has nothing to tell is left out.\n\n"
        f"| metric | type | is | labels |\n|---|---|---|---|\n{rows}"
    )


def every_metric() -> tuple[Metric, ...]:
    """Every metric, in the order in which the service writes them."""
    lines = metrics_text(_FIGURES, _COUNTERS, _VALUES).splitlines()
    helps = [line.removeprefix("# HELP ").partition(" ") for line in lines if line.startswith("# HELP ")]
    types = dict(line.removeprefix("# TYPE ").split(" ") for line in lines if line.startswith("# TYPE "))
    return tuple(Metric(name, types[name], text, _labels(name, lines)) for name, _, text in helps)


def _labels(name: str, lines: list[str]) -> tuple[str, ...]:
    sample = next(line for line in lines if re.match(rf"{name}[ {{]", line))
    return tuple(re.findall(r'(\w+)="', sample))


def _rule(name: str, *, staged: bool) -> RuleCounter:
    kind = "StagedGlobalNetworkPolicy" if staged else "GlobalNetworkPolicy"
    identity = RuleIdentity(kind, "default", "web", Direction.INGRESS, "0" * 12, 0, 0)
    return RuleCounter(name, identity, Action.DENY, "web.yaml:9", staged)


_MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
_FIGURES = Figures(
    version="0",
    started_at=_MOMENT,
    generation="0",
    applied_at=_MOMENT,
    counts={"policies": 1},
    changed="applied",
    changed_at=_MOMENT,
    deadline=_MOMENT,
    audit=AuditFigures(),
)
"""Figures of a service that has something to tell of everything."""
_COUNTERS: tuple[Counter, ...] = (
    _rule("rule", staged=False),
    _rule("staged", staged=True),
    ReasonCounter("drop", Reason.END_OF_TIER, Direction.INGRESS, "default"),
    ReasonCounter("failsafe", Reason.FAILSAFE, Direction.INGRESS, failsafe=FailsafePort(TCP, 22)),
    *(LogCounter(name) for name in (LOG_RECORDS, *SUPPRESSED)),
    OtherCounter("other"),
)
"""A counter of each kind that there is."""
_VALUES: Values = {(family, counter.name): Value() for family in FAMILIES for counter in _COUNTERS}
