"""Expiry while the service runs: what has its moment goes out of force at it, whatever becomes of the clock."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from hostfw.build.generation import Generation
from hostfw.daemon.announcer import Announcer
from hostfw.host.clock_alarm import ClockNews

_ADJUSTED_S = 1.0
"""A step that is smaller is not told."""


class Alarm(Protocol):
    """An alarm such as `ClockAlarm`."""

    def fileno(self) -> int:
        """The descriptor that is readable once it has gone off."""

    def set(self, moment: datetime | None) -> None:
        """Go off at a moment, or never."""

    def read(self) -> ClockNews:
        """The reason why it went off."""

    def close(self) -> None:
        """Let it be."""


class Expiries:
    """Waits for the next moment at which something expires. `look` has the host compared with what is in force."""

    def __init__(self, announcer: Announcer, look: Callable[[], None]) -> None:
        """Waits for nothing before `follow`."""
        self._announcer = announcer
        self._look = look
        self._next: datetime | None = None

    def follow(self, before: Generation | None, now: Generation, alarm: Alarm | None) -> None:
        """Tell what is out of force since another generation is in force, and wait for what comes next."""
        self._announcer.expired(before, now)
        self._next = now.plan.next_expiry
        self._set(alarm)

    def note(self, news: ClockNews, alarm: Alarm | None) -> None:
        """Take in that a moment has come, or that the clock was set."""
        if abs(news.step_s) >= _ADJUSTED_S:
            self._announcer.clock_set(news.step_s)
        if news.step_s:
            self._set(alarm)
        self._look()

    def missed(self, alarm: Alarm | None) -> None:
        """Look at once, and wait with another alarm: steps may not have been told."""
        self._set(alarm)
        self._look()

    def _set(self, alarm: Alarm | None) -> None:
        if alarm is not None:
            alarm.set(self._next)
