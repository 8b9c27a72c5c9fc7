"""Figures for Prometheus, as the text that node_exporter's textfile collector reads.

Names follow Prometheus' conventions: base units, `_total` for what only grows, moments in seconds since 1970. A gauge
that has nothing to tell is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS
from hostfw.engine.kernel.counts.counters import (
    Counter,
    LogCounter,
    OtherCounter,
    ReasonCounter,
    RuleCounter,
    Value,
    Values,
)
from hostfw.model.packets.decisions import OF_LIMITS
from hostfw.model.values import BRIDGE, TABLE_FAMILIES, Family, TableFamily

ALL_RULES = 2000
"""So many rules have series from the start. Of more, only those that a packet has met: the others are most of them."""

_FAMILY_WORDS: dict[TableFamily, str] = {Family.V4: "ipv4", Family.V6: "ipv6", BRIDGE: "bridge"}


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """Figures of log records since the service started; `is_listening` is True while the log can be read."""

    records: int = 0
    entries: int = 0
    lost: int = 0
    missed: int = 0
    unwritten: int = 0
    is_listening: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of the service, without counters of the kernel.

    `generation` and `applied_at` are those of what is in force, `counts` how much it holds and governs. `repairs` is
    how often changes by other programs were repaired since `started_at`. `is_troubled` is whether something
    keeps what should be in force from being so; `changed` and `changed_at` are the outcome of the last change and its
    moment, and `deadline` is when an unconfirmed one is rolled back.
    """

    version: str
    started_at: datetime
    generation: str = ""
    applied_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    repairs: int = 0
    is_troubled: bool = False
    changed: str = ""
    changed_at: datetime | None = None
    deadline: datetime | None = None
    audit: AuditFigures = AuditFigures()


def metrics_text(figures: Figures, counters: Iterable[Counter], values: Values) -> str:
    """Every metric with its help and its type; one without samples is left out."""
    metrics = (*_service(figures), *_audit(figures.audit), *_counted(tuple(counters), values))
    return "".join(line for metric in metrics if metric.samples for line in _lines(metric))


Labels = tuple[tuple[str, str], ...]


class _Sample(NamedTuple):
    labels: Labels
    value: float


class _Metric(NamedTuple):
    """A metric with its samples; `type` is gauge or counter."""

    name: str
    type: str
    help: str
    samples: tuple[_Sample, ...]


def _service(figures: Figures) -> Iterator[_Metric]:
    yield _info("build_info", "The version of hostfw.", version=figures.version)
    yield _moment("start_time_seconds", "When the service began.", figures.started_at)
    yield _info("generation_info", "The generation in force.", generation=figures.generation)
    yield _moment("generation_applied_timestamp_seconds", "When it was put into force.", figures.applied_at)
    held = tuple(_Sample((("kind", kind),), number) for kind, number in figures.counts.items())
    yield _Metric("hostfw_generation_objects", "gauge", "How much of each kind it holds and governs.", held)
    yield _gauge("trouble", "Whether something keeps the accepted generation from being active.", figures.is_troubled)
    yield _info("last_change_info", "The result of the last change.", outcome=figures.changed)
    yield _moment("last_change_timestamp_seconds", "When that was.", figures.changed_at)
    yield _gauge("confirmation_pending", "Whether a change waits to be confirmed.", figures.deadline is not None)
    yield _moment("confirmation_deadline_timestamp_seconds", "When it is rolled back.", figures.deadline)
    yield _total("repairs_total", "Repairs of changes by other programs.", figures.repairs)


def _audit(audit: AuditFigures) -> Iterator[_Metric]:
    yield _gauge("audit_listening", "Whether log records can be read.", audit.is_listening)
    yield _total("audit_records_total", "Log records that were read.", audit.records)
    yield _total("audit_records_lost_total", "Log records that found the buffer full.", audit.lost)
    yield _total(
        "audit_records_missed_total", "Log records that were missed while the service was not running.", audit.missed
    )
    yield _total("audit_entries_total", "Journal entries that came of log records.", audit.entries)
    yield _total("audit_entries_unwritten_total", "Journal entries that the journal refused.", audit.unwritten)


def _counted(counters: tuple[Counter, ...], values: Values) -> Iterator[_Metric]:
    """The counters of the ruleset, by what they stand for."""
    rules, staged, drops, failsafes, log, kept, others = (list[tuple[Labels, str]]() for _ in range(7))
    for counter in counters:
        match counter:
            case RuleCounter():
                (staged if counter.staged else rules).append((_rule_labels(counter), counter.name))
            case ReasonCounter(failsafe=None):
                drops.append((_drop_labels(counter), counter.name))
            case ReasonCounter():
                failsafes.append((_failsafe_labels(counter), counter.name))
            case LogCounter(name=name):
                (log if name == LOG_RECORDS else kept).append(((("limit", name.rpartition("/")[2]),), name))
            case OtherCounter(name=name):
                others.append(((("counter", name),), name))
    if len(rules) + len(staged) > ALL_RULES:
        rules, staged = (
            [(labels, name) for labels, name in of if _has_counted(name, values)] for of in (rules, staged)
        )
    yield from _traffic("rule", "that met a policy rule", rules, values)
    yield from _traffic("staged_rule", "that met a rule of a staged policy", staged, values)
    yield from _traffic("drop", "that were denied without a policy rule", drops, values)
    yield from _traffic("failsafe", "that a failsafe let through", failsafes, values)
    yield from _traffic("unaccounted", "of counters whose rule is not on record", others, values)
    records = [((), name) for _, name in log]
    yield _samples("log_records_total", "Log records that the kernel made.", records, values, _packets)
    yield _samples("log_suppressed_total", "Packets that a limit kept from the log.", kept, values, _packets)


def _rule_labels(counter: RuleCounter) -> Labels:
    """The digest keeps the series of a rule apart from that of another at the same place later."""
    of = counter.identity
    number = f".{of.number}" if of.number else ""
    return (
        ("kind", of.kind),
        ("tier", of.tier),
        ("policy", of.policy),
        ("direction", of.direction.value),
        ("rule", str(of.index)),
        ("digest", of.digest + number),
        ("action", counter.action.value),
        # Without a limit the label is empty, which is the same as none.
        *((("reason", counter.reason.value),) if counter.reason in OF_LIMITS else ()),
    )


def _drop_labels(counter: ReasonCounter) -> Labels:
    return (("reason", counter.reason.value), ("direction", counter.direction.value), ("tier", counter.tier))


def _failsafe_labels(counter: ReasonCounter) -> Labels:
    of = str(counter.failsafe)
    return (("failsafe", of), ("direction", counter.direction.value), ("place", counter.place))


def _has_counted(name: str, values: Values) -> bool:
    return any(values.get((family, name), Value()).packets for family in TABLE_FAMILIES)


def _traffic(name: str, whose: str, counters: Iterable[tuple[Labels, str]], values: Values) -> Iterator[_Metric]:
    yield _samples(f"{name}_packets_total", f"Packets {whose}.", counters, values, _packets)
    yield _samples(f"{name}_bytes_total", f"Bytes of packets {whose}.", counters, values, _bytes)


def _packets(value: Value) -> int:
    return value.packets


def _bytes(value: Value) -> int:
    return value.bytes


def _samples(
    name: str, help_: str, counters: Iterable[tuple[Labels, str]], values: Values, number: Callable[[Value], int]
) -> _Metric:
    """A sample for each family whose table has the counter."""
    samples = (
        _Sample((*labels, ("family", _FAMILY_WORDS[family])), number(values[family, counter]))
        for labels, counter in counters
        for family in TABLE_FAMILIES
        if (family, counter) in values
    )
    return _Metric(f"hostfw_{name}", "counter", help_, tuple(samples))


def _gauge(name: str, help_: str, number: float) -> _Metric:
    return _Metric(f"hostfw_{name}", "gauge", help_, (_Sample((), number),))


def _total(name: str, help_: str, number: int) -> _Metric:
    return _Metric(f"hostfw_{name}", "counter", help_, (_Sample((), number),))


def _moment(name: str, help_: str, moment: datetime | None) -> _Metric:
    samples = () if moment is None else (_Sample((), moment.timestamp()),)
    return _Metric(f"hostfw_{name}", "gauge", help_, samples)


def _info(name: str, help_: str, **labels: str) -> _Metric:
    """A text, which is a label of a sample that is always 1."""
    return _Metric(
        f"hostfw_{name}", "gauge", help_, (_Sample(tuple(labels.items()), 1),) if all(labels.values()) else ()
    )


def _lines(metric: _Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.type}\n"
    for labels, value in metric.samples:
        inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
        yield f"{metric.name}{{{inner}}} {_number(value)}\n" if inner else f"{metric.name} {_number(value)}\n"


def _number(value: float) -> str:
    """Whole numbers in full: a counter of bytes has more digits than a float shows."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
