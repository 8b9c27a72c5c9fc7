"""Folding: similar packets within a window become one event, with the first, the last and their number.

A flood must not bury what else happens, nor fill memory: at most `most` events are open at a time, and the oldest is
given out early for a new one. Nothing is ever lost: the counts of all events that come out are those that went in.

Where an event must not wait, the first of its kind is given out at once, and those like it follow folded, once a
window, for as long as they come.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from hostfw.audit.packet_event import PacketEvent

WINDOW_S = 1.0
"""Time that an event waits for others like it: short enough for a person who watches."""
MOST_OPEN = 4096
"""Most events that wait at a time: some megabytes."""

_NO_MOMENT = datetime.fromtimestamp(0, UTC)

T = TypeVar("T")


@dataclass(slots=True)
class Aggregate:
    """The events that wait for others like them. Moments are seconds of one monotonic clock, from the caller.

    `at_once` is whether the first of its kind is given out as it comes. `evicted` counts those kinds that were closed
    before their window had ended, for want of room.
    """

    window_s: float = WINDOW_S
    most: int = MOST_OPEN
    at_once: bool = False
    evicted: int = 0
    _open: dict[PacketEvent, tuple[float, PacketEvent | None]] = field(default_factory=dict)

    @property
    def packets(self) -> int:
        """The number of packets in the events that wait."""
        return sum(event.count for _, event in self._open.values() if event is not None)

    def add(self, event: PacketEvent, now_s: float) -> tuple[PacketEvent, ...]:
        """Take an event in; gives those whose time is up, and the oldest if there was no room left."""
        out = self.due(now_s)
        key = _aggregation_key(event)
        if key in self._open:
            since_s, known = self._open[key]
            self._open[key] = since_s, event if known is None else aggregated(known, event)
            return out
        if len(self._open) >= self.most:
            _, oldest = self._open.pop(next(iter(self._open)))
            out = out if oldest is None else (*out, oldest)
            self.evicted += 1
        self._open[key] = now_s, None if self.at_once else event
        return (*out, event) if self.at_once else out

    def due(self, now_s: float) -> tuple[PacketEvent, ...]:
        """Give out the events whose window has ended, in the order in which they began."""
        out = []
        while self.wait_s(now_s) == 0:
            key = next(iter(self._open))
            _, event = self._open.pop(key)
            if event is not None:
                out.append(event)
                if self.at_once:
                    self._open[key] = now_s, None
        return tuple(out)

    def wait_s(self, now_s: float) -> float | None:
        """Time until the next window ends; None if none is open."""
        if not self._open:
            return None
        since_s, _ = next(iter(self._open.values()))
        return max(since_s + self.window_s - now_s, 0.0)

    def flush(self) -> tuple[PacketEvent, ...]:
        """Give out everything, as at the end."""
        out = tuple(event for _, event in self._open.values() if event is not None)
        self._open.clear()
        return out


def aggregated(one: PacketEvent, other: PacketEvent) -> PacketEvent:
    """Two events that are alike as one."""
    ours, theirs = one.packet, other.packet
    packet = replace(
        ours,
        source_port=_common(ours.source_port, theirs.source_port),
        length=_common(ours.length, theirs.length),
        hop_limit=_common(ours.hop_limit, theirs.hop_limit),
        fragment=_common(ours.fragment, theirs.fragment),
        icmp_id=_common(ours.icmp_id, theirs.icmp_id),
        truncated=ours.truncated or theirs.truncated,
    )
    first, last = min(one.first, other.first), max(one.last, other.last)
    return replace(one, packet=packet, first=first, last=last, count=one.count + other.count)


def _aggregation_key(event: PacketEvent) -> PacketEvent:
    """The event without what packets that fare alike may differ in; a client takes a new source port each time."""
    packet = replace(
        event.packet, source_port=None, length=None, hop_limit=None, fragment=None, icmp_id=None, truncated=False
    )
    return replace(event, packet=packet, first=_NO_MOMENT, last=_NO_MOMENT, count=0)


def _common(one: T, other: T) -> T | None:
    return one if one == other else None
