"""Expiry while the service runs: what has its moment goes out of force at it, whatever becomes of the clock.

Trials and blocks have timers of systemd, which stand still while the host sleeps. The kernel tells of the end of a
sleep as it tells of a clock that was set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET): they are waited for here then.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from hostfw.build.generation import Generation
from hostfw.daemon.reports.announcer import Announcer
from hostfw.daemon.reports.troubles import Part, Troubles
from hostfw.daemon.retries.backoff import Retry
from hostfw.daemon.writer import WriterThread
from hostfw.engine.block import end_block_in_time
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.block_state import BlockContext
from hostfw.engine.reading.deadline import is_due, left_s
from hostfw.host.store.generations.generations import accepted_until
from hostfw.host.store.generations.trial import load_trial
from hostfw.host.time.clock_alarm import ClockNews

_ADJUSTED_S = 1.0
"""A step that is smaller is not told."""
_SHORTLY_S = 0.02


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
    """Waits for the next moment at which something expires. `look` has the host compared with what is in force.

    `run` ends trials and blocks in time.
    """

    def __init__(
        self, announcer: Announcer, look: Callable[[], None], writer: WriterThread, troubles: Troubles
    ) -> None:
        """Waits for nothing before `follow`."""
        self._announcer = announcer
        self._troubles = troubles
        self._look = look
        self._writer = writer
        self._is_noted = asyncio.Event()
        self._next: datetime | None = None

    def follow(self, before: Generation | None, now: Generation, alarm: Alarm | None) -> None:
        """Tell what is out of force since another generation is in force, and wait for what comes next."""
        self._announcer.expired(before, now)
        self._next = now.plan.next_expiry
        self._set(alarm)

    def follow_script(self, alarm: Alarm | None) -> None:
        """Wait for the end of what the stored script allows, of which nothing else is known."""
        self._next = accepted_until(self._writer.engine.directories.state)
        self._set(alarm)

    def note(self, news: ClockNews, alarm: Alarm | None) -> None:
        """Take in that a moment has come, or that the clock was set."""
        if abs(news.step_s) >= _ADJUSTED_S:
            self._announcer.clock_set(news.step_s)
        if news.step_s:
            self._writer.woken()
            self._set(alarm)
            self.look_at_deadlines()
        self._look()

    def look_at_deadlines(self) -> None:
        """Have trials and blocks ended whose time is over, and wait for the end of the others."""
        self._is_noted.set()

    async def run(self) -> None:
        """End what should have ended; what fails is tried again."""
        left: float | None = None
        retry = Retry()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._is_noted.wait()
            self._is_noted.clear()
            found = await self._writer.write(_end_in_time)
            if isinstance(found, Failed):
                self._troubles.report(Part.DEADLINES, f"a trial or a lockdown is over and stays: {found.message}")
                left = retry.failed()
            else:
                self._troubles.clear(Part.DEADLINES)
                retry.succeeded()
                left = found

    def missed(self, alarm: Alarm | None) -> None:
        """Look at once, and wait with another alarm: steps may not have been told."""
        self._set(alarm)
        self.look_at_deadlines()
        self._look()

    def _set(self, alarm: Alarm | None) -> None:
        if alarm is not None:
            alarm.set(self._next)


def _end_in_time(engine: Engine) -> float | Failed | None:
    """End the trial or the block whose time is over; gives the seconds until the next is to end, None without any."""
    directories, host = engine.directories, engine.host
    if is_due(directories, host):
        ended = engine.expire()
        if isinstance(ended, Failed):
            return ended
    trial, _ = load_trial(directories.state)
    left = end_block_in_time(BlockContext(directories, host))
    if isinstance(left, Failed):
        return left
    waits = [] if left is None else [left]
    if trial is not None:
        waits.append(left_s(trial, host))
    return max(min(waits), 0.0) + _SHORTLY_S if waits else None


class MemberEnds:
    """Ends of members of external sets that could not be put right: trouble while it is so, and tried again."""

    def __init__(self, troubles: Troubles, look: Callable[[], None]) -> None:
        """Waits for nothing before `written`."""
        self._troubles = troubles
        self._look = look
        self._retry = Retry()
        self._again: asyncio.TimerHandle | None = None

    def written(self, unsettled: str) -> None:
        """Look at what came of a write; `unsettled` is what is wrong, empty if nothing is."""
        if not unsettled:
            self._troubles.clear(Part.MEMBERS)
            self._retry.succeeded()
            if self._again is not None:
                self._again.cancel()
                self._again = None
            return
        self._troubles.report(Part.MEMBERS, unsettled)
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(self._retry.failed(), self._try)

    def _try(self) -> None:
        self._again = None
        self._look()
