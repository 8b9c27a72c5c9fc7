"""Reports of events: a table as they come, lines of JSON, or a ranking at the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hostfw.audit.packet_event import PacketEvent
from hostfw.cli.output.console import Console, Style, painted
from hostfw.cli.output.documents import document, json_text
from hostfw.cli.output.tables import Column, Gives
from hostfw.cli.output.terminal import cell_width, printable, wrapped
from hostfw.journal.packet_entry import json_line
from hostfw.model.time.moments import moment_text

_NONE = "-"
_TOP = 10
_HEADINGS = ("TIME", "ACTION", "COUNT", "INTERFACE", "PROTOCOL", "SOURCE", "DESTINATION", "BY", "ORIGIN")
_WIDTHS = (12, 6, 5, 9, 8, 21, 21, 28, 0)
"""Widths that most rows need; a wider cell widens the column for all later rows."""
_FOLDED_BELOW = 160
"""A terminal that is narrower has no row for an event, but lines."""
_LAST = 4
"""So many cells stand below the others there."""
_DATED = 23
_GAP = "  "
_BELOW = " " * 6

_QUESTIONS = {"sources": "source", "destinations": "destination", "ports": "port", "policies": "by"}
"""Rankings, and the noun of one of their entries."""


class Report(Protocol):
    """A consumer of events. `packets` and `events` are those that it has taken."""

    packets: int
    events: int

    def begin(self) -> None:
        """Before the first event."""

    def take(self, event: PacketEvent) -> None:
        """One event."""

    def end(self) -> None:
        """After the last."""


@dataclass(slots=True)
class JsonLines:
    """A line of JSON an event, with the fields of docs/audit.md."""

    console: Console
    packets: int = 0
    events: int = 0

    def begin(self) -> None:
        """Nothing precedes the first line."""

    def take(self, event: PacketEvent) -> None:
        """Print the event at once."""
        _count(self, event)
        self.console.data(json_line(event))
        self.console.out.flush()

    def end(self) -> None:
        """Nothing follows the last line."""


@dataclass(slots=True)
class Table:
    """A row an event, below headings that are there from the start; with `dated` each time has its date."""

    console: Console
    dated: bool = False
    packets: int = 0
    events: int = 0
    _widths: list[int] = field(default_factory=lambda: list(_WIDTHS))

    def begin(self) -> None:
        """Print the headings."""
        if self.dated:
            self._widths[0] = _DATED
        self._print(*(painted(line, Style.HEADING, on=self.console.colour_out) for line in self._lines(_HEADINGS)))

    def take(self, event: PacketEvent) -> None:
        """Print the event at once."""
        _count(self, event)
        self._print(*self._lines(tuple(map(printable, _cells(event, dated=self.dated)))))

    def end(self) -> None:
        """Nothing follows the last row."""

    def _print(self, *lines: str) -> None:
        self.console.data(*lines)
        self.console.out.flush()

    def _lines(self, cells: Sequence[str]) -> list[str]:
        """The row of an event, or several lines where the terminal is too narrow for rows, or for this one."""
        width = self.console.width_out
        if width is None or width >= _FOLDED_BELOW:
            widths = self._widths
            line = self._line(cells)
            if width is None or cell_width(line) <= width:
                return [line]
            self._widths = widths
        return self._folded(cells)

    def _line(self, cells: Sequence[str]) -> str:
        self._widths = [max(width, cell_width(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        padded = [cell + " " * (width - cell_width(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        return _GAP.join(padded).rstrip()

    def _folded(self, cells: Sequence[str]) -> list[str]:
        """The packet and its interface, then source and destination, then the rule; nothing is cut off."""
        source, destination, by, origin = cells[-_LAST:]
        head = self._line((*cells[:-_LAST], "", "", "", ""))
        ends = source if source == destination else f"{source} -> {destination}"
        rule = by if origin == _NONE else f"{by}{_GAP}{origin}"
        below = (f"{_BELOW}{text}" for text in (ends, rule))
        return [head, *(line for text in below for line in wrapped(text, self.console.width_out, _BELOW))]


@dataclass(slots=True)
class Top:
    """A ranking of sources, destinations and rules: nothing until the end."""

    console: Console
    as_json: bool = False
    packets: int = 0
    events: int = 0
    _counts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _QUESTIONS})

    def begin(self) -> None:
        """Nothing is known yet."""

    def take(self, event: PacketEvent) -> None:
        """Count the event."""
        _count(self, event)
        for name, answer in zip(_QUESTIONS, _answers(event), strict=True):
            self._counts[name][answer] += event.count

    def end(self) -> None:
        """Print the most frequent of each."""
        most = {name: _most(counts) for name, counts in self._counts.items()}
        if self.as_json:
            lists = {
                name: [{_QUESTIONS[name]: answer, "packets": packets} for answer, packets in answers]
                for name, answers in most.items()
            }
            self.console.data(json_text(document("TopDrops", {"packets": self.packets, **lists})))
            return
        for number, (name, answers) in enumerate(most.items()):
            rows = [(str(packets), answer) for answer, packets in answers]
            self.console.data(*([""] if number else []))
            asked = Column(_QUESTIONS[name].upper(), rank=1, gives=Gives.LINES)
            self.console.table((Column("PACKETS", right=True), asked), rows)


def _answers(event: PacketEvent) -> tuple[str, ...]:
    packet = event.packet
    port = "" if packet.destination_port is None else f" {packet.destination_port}"
    what = f"{event.protocol or _NONE}{port}"
    by = event.by if event.action == "deny" else f"{event.by} ({event.action})"
    return packet.source_text or _NONE, packet.destination_text or _NONE, what, by


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_TOP]


def _cells(event: PacketEvent, *, dated: bool) -> tuple[str, ...]:
    return (
        moment_text(event.first) if dated else f"{event.first.astimezone():%H:%M:%S %Z}",
        event.action,
        str(event.count),
        event.interface or _NONE,
        event.protocol or _NONE,
        event.source or _NONE,
        event.destination or _NONE,
        event.by,
        _GAP.join(filter(None, (event.origin or _NONE, _notes(event)))),
    )


def _notes(event: PacketEvent) -> str:
    """The notes of the policy: why it is there, and its ticket."""
    notes = ", ".join(filter(None, (event.why, event.ticket)))
    return f"({notes})" if notes else ""


def _count(report: Report, event: PacketEvent) -> None:
    report.packets += event.count
    report.events += 1
