"""The output of `make try`: a table of flows for a terminal of 100 columns, or plain text for a pipe."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap
from typing import TextIO

from hostfw.journal.packet_entry import json_line
from lab.stories.flows import Story
from lab.stories.story import Shown

WIDTH = 100
_ROUTE, _WHAT, _FAMILY, _EXPECTED, _SEEN = 21, 9, 6, 7, 9
_DECIDED = WIDTH - 2 - _ROUTE - _WHAT - _FAMILY - _EXPECTED - _SEEN
_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"


@dataclass(frozen=True, slots=True)
class Style:
    """Style of the output: colour, and characters beyond ASCII."""

    colour: bool
    unicode: bool

    def paint(self, text: str, code: str) -> str:
        """The text in a colour or weight (an SGR code), if there is colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    @property
    def arrow(self) -> str:
        """The sign between the two ends of a flow."""
        return "→" if self.unicode else "->"


def style_of(stream: TextIO = sys.stdout) -> Style:
    """Colour on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb."""
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour, (stream.encoding or "").lower().startswith("utf"))


def heading(story: Story, style: Style) -> str:
    """The line above a story's table, and the table's own head."""
    columns = (("flow", _ROUTE + _WHAT + _FAMILY), ("expect", _EXPECTED), ("seen", _SEEN), ("decided by", 0))
    head = "".join(f"{name:{width}}" if width else name for name, width in columns)
    return f"{style.paint(story.name, _BOLD)}  {story.title}\n\n  {style.paint(head, _DIM)}"


def rows(shown: Iterable[Shown], style: Style) -> Iterator[str]:
    """A line a flow; a flow that went alike over both families takes one."""
    for _, alike in groupby(shown, key=_but_for_family):
        yield from _row(tuple(alike), style)


def audit_record(shown: Iterable[Shown], style: Style) -> Iterator[str]:
    """The audit record of a denied flow, rather of one that a rule denied: a line of JSON, folded at its spaces."""
    recorded = [(each.expected.flow, each.record) for each in shown if each.record is not None]
    if not recorded:
        return
    flow, record = next((each for each in recorded if each[1].origin), recorded[0])
    port = "" if flow.port is None else f" {flow.port}"
    yield ""
    yield f"  audit record of {flow.source} {style.arrow} {flow.destination}, {flow.protocol}{port}:"
    for line in wrap(json_line(record), WIDTH - 2, break_on_hyphens=False):
        yield style.paint(f"  {line}", _DIM)


def summary(shown: Iterable[Shown], seconds: float, style: Style) -> str:
    """The line below a story's table."""
    flows = tuple(shown)
    astray = sum(not each.as_expected for each in flows)
    text = f"{len(flows)} flows, all as expected" if not astray else f"{len(flows)} flows, {astray} not as expected"
    painted = style.paint(text, _RED if astray else _GREEN)
    return f"\n  {painted}{f'{seconds:.1f} s':>{WIDTH - 2 - len(text)}}\n"


def total(counts: Iterable[Shown], failures: int, seconds: float, style: Style) -> str:
    """The last line: how many flows, how many as expected, and how long it all took."""
    flows = tuple(counts)
    astray = sum(not each.as_expected for each in flows)
    text = f"{len(flows)} flows: {len(flows) - astray} as expected, {astray} not"
    if failures:
        text += f"; {failures} example{'s' if failures > 1 else ''} not shown"
    painted = style.paint(text, f"{_BOLD};{_RED if astray or failures else _GREEN}")
    return f"{painted}{f'{seconds:.1f} s':>{WIDTH - len(text)}}"


def _but_for_family(shown: Shown) -> tuple[object, ...]:
    expected, flow = shown.expected, shown.expected.flow
    ends = (flow.source, flow.destination, flow.protocol, flow.port)
    return (*ends, expected.allowed, expected.by, shown.verdict, shown.decided, shown.as_expected)


def _row(alike: tuple[Shown, ...], style: Style) -> Iterator[str]:
    shown = alike[0]
    flow = shown.expected.flow
    route = f"{flow.source} {style.arrow} {flow.destination}"
    what = f"{flow.protocol}{'' if flow.port is None else f' {flow.port}'}"
    families = " ".join(f"v{each.expected.flow.family:d}" for each in alike)
    expected = "allow" if shown.expected.allowed else "deny"
    seen = style.paint(f"{shown.verdict:{_SEEN}}", _colour(shown))
    first, *others = _folded(shown.decided or "-")
    start = f"{route:{_ROUTE}}{what:{_WHAT}}{families:{_FAMILY}}{expected:{_EXPECTED}}"
    yield f"  {start}{seen}{first}"
    indent = " " * (WIDTH - _DECIDED)
    yield from (f"{indent}{other}" for other in others)
    if not shown.as_expected:
        yield indent + style.paint(f"not as expected: {'allow' if shown.expected.allowed else 'deny'} by", _RED)
        yield from (indent + style.paint(line, _RED) for line in _folded(shown.expected.by))


def _colour(shown: Shown) -> str:
    if not shown.as_expected:
        return _RED
    return _GREEN if shown.expected.allowed else _YELLOW


def _folded(decided: str) -> list[str]:
    """Two rules that do not fit side by side, one below the other."""
    return [decided] if len(decided) <= _DECIDED else decided.replace(", ", ",\n").split("\n")
