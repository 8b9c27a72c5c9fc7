"""Expiry while the service runs: the alarm, steps of the clock in both directions, and what the journal says."""

import asyncio
import ctypes
import errno
import select
import socket
import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from hostfw.daemon import expiries
from hostfw.daemon.dependencies import Dependencies
from hostfw.daemon.retries import backoff
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.host.store.generations.trial import load_trial
from hostfw.host.time.clock_alarm import ClockAlarm, ClockNews
from hostfw.journal.message_ids import MessageId
from tests.unit.cli_runs import WEB
from tests.unit.daemon.test_service import World, live, serving, until
from tests.unit.engine.trial.test_trial import lets_in

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ENDING = WEB.replace("name: web\n", "name: web\n  annotations: {hostfw.io/expires: '2030-01-01T12:00:00Z'}\n")


class FakeAlarm:
    """An alarm that goes off when it is told to; `moments` are those that it was set to."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.news: deque[ClockNews] = deque()
        self.moments: list[datetime | None] = []

    def fileno(self) -> int:
        """Readable once it has gone off."""
        return self._ours.fileno()

    def set(self, moment: datetime | None) -> None:
        """Note it."""
        self.moments.append(moment)

    def read(self) -> ClockNews:
        """The reason that was told."""
        self._ours.recv(1)
        return self.news.popleft()

    def go_off(self, step_s: float = 0.0) -> None:
        """Go off, because of a step or not."""
        self.news.append(ClockNews(step_s))
        self._theirs.send(b".")

    def close(self) -> None:
        """Let it be."""
        self._ours.close()
        self._theirs.close()


class Timed(World):
    """A service whose policy expires at noon, and its alarm."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.machine.write(web=ENDING)
        self.alarms: list[FakeAlarm] = []

    def outside(self) -> Dependencies:
        """With the alarm in the place of the kernel's."""

        def listen() -> FakeAlarm:
            self.alarms.append(FakeAlarm())
            return self.alarms[-1]

        return replace(super().outside(), listen_clock=listen)

    def set_clock(self, moment: datetime, *, step: bool) -> None:
        """Let it be another moment, and the alarm go off."""
        before = self.machine.clock.now()
        self.machine.clock.moment += moment - before
        self.alarms[-1].go_off((moment - before).total_seconds() if step else 0.0)

    def ids(self) -> list[str]:
        """The kinds of entries so far."""
        return [entry.get("MESSAGE_ID", "") for entry in self.journal.sent]


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Timed:
    return Timed(tmp_path)


def is_open(world: Timed) -> bool:
    """True if the policy is in force."""
    return lets_in(world.machine, 80)


def test_it_is_out_of_force_at_its_moment_and_stays_so(world: Timed) -> None:
    """It is told once, with what is in force now; the clock that is set back afterwards is told, and opens nothing."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            assert is_open(world)
            assert world.alarms[-1].moments[-1] == NOON
            world.set_clock(NOON, step=False)
            await until(lambda: not is_open(world))
            await until(world.is_whole)
            assert world.alarms[-1].moments[-1] is None
            world.set_clock(NOON - timedelta(hours=3), step=True)
            await until(lambda: MessageId.CLOCK_SET in world.ids())
            await until(world.is_whole)
            assert not is_open(world)
        assert world.ids().count(MessageId.RESOURCES_EXPIRED) == 1
        assert world.told("GlobalNetworkPolicy/web expired")
        assert world.told("as something expired")

    live(story())


def test_a_step_forward_past_the_moment_ends_it_at_once(world: Timed) -> None:
    """As does the end of a sleep in which it passed."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.set_clock(NOON + timedelta(days=1), step=True)
            await until(lambda: not is_open(world))
            assert world.told("was set forward by")

    live(story())


def test_a_clock_that_is_far_behind_closes_until_it_is_set(world: Timed) -> None:
    """Nothing has expired: as soon as the clock is right it is open again."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            right = world.machine.clock.now()
            world.set_clock(datetime(2000, 1, 1, tzinfo=UTC), step=True)
            await until(lambda: not is_open(world))
            await until(lambda: MessageId.CLOCK_BEHIND in world.ids())
            world.set_clock(right + timedelta(hours=1), step=True)
            await until(lambda: is_open(world))
            assert MessageId.RESOURCES_EXPIRED not in world.ids()

    live(story())


def test_it_does_not_come_back_with_the_next_start(world: Timed) -> None:
    """Whatever the clock says by then; what expired while nothing ran is gone from the first moment."""

    async def first() -> None:
        async with serving(world):
            await until(world.is_whole)
            assert is_open(world)

    async def second() -> None:
        async with serving(world):
            await until(world.is_whole)
            assert not is_open(world)

    live(first())
    world.machine.clock.moment = NOON + timedelta(days=2)
    live(second())
    world.machine.clock.moment = NOON - timedelta(hours=1)
    live(second())


def test_a_script_that_stands_in_for_what_does_not_build_ends_too(world: Timed) -> None:
    """The service has nothing but the script, and looks at the clock whenever it tries to build again."""

    async def first() -> None:
        async with serving(world):
            await until(world.is_whole)

    async def second() -> None:
        async with serving(world):
            await until(lambda: "its stored script is in force" in world.report().trouble)
            assert is_open(world)
            world.set_clock(NOON + timedelta(minutes=1), step=True)
            await until(lambda: not is_open(world))

    live(first())
    world.faults.add("observe", *([HostError("it cannot be had")] * 1000))
    live(second())


def test_what_cannot_be_compiled_at_its_moment_ends_all_the_same(world: Timed) -> None:
    """The script of what lasts takes its place, and what was accepted once it builds again."""
    world.machine.write(other=WEB.replace("name: web", "name: other").replace("80", "81"))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            assert is_open(world)
            world.faults.add("observe", *([HostError("it cannot be had")] * 4))
            world.set_clock(NOON, step=False)
            await until(lambda: not is_open(world))
            assert lets_in(world.machine, 81)
            await until(world.is_whole)
            assert not is_open(world)
            assert lets_in(world.machine, 81)

    live(story())


def test_what_fails_keeps_nothing_in_force_that_expires_meanwhile(
    world: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the service would wait with the next try."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            monkeypatch.setattr(backoff, "RETRY_FIRST_S", 3600)
            monkeypatch.setattr(backoff, "RETRY_LONGEST_S", 3600)
            world.faults.add("observe", *([HostError("it cannot be had")] * 1000))
            world.plug_in("eth7")
            await until(lambda: "interfaces could not be followed" in world.report().trouble)
            assert is_open(world)
            world.set_clock(NOON, step=False)
            await until(lambda: not is_open(world))

    live(story())


def test_a_script_ends_at_its_moment_however_long_the_next_try_is_away(
    world: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has nothing but the script, and waits for the end of that."""

    async def first() -> None:
        async with serving(world):
            await until(world.is_whole)

    async def second() -> None:
        async with serving(world):
            await until(lambda: "its stored script is in force" in world.report().trouble)
            await until(lambda: world.alarms[-1].moments[-1:] == [NOON])
            world.set_clock(NOON, step=False)
            await until(lambda: not is_open(world))

    live(first())
    for name in ("RETRY_FIRST_S", "RETRY_LONGEST_S"):
        monkeypatch.setattr(backoff, name, 3600)
    world.faults.add("observe", *([HostError("it cannot be had")] * 1000))
    live(second())


def test_a_trial_that_the_host_slept_through_is_rolled_back_once_it_is_awake(world: Timed) -> None:
    """The timer of systemd counts no sleep; what is left after it is waited for."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.machine.write(other=WEB.replace("name: web", "name: other").replace("80", "81"))
            tried = await asyncio.to_thread(world.machine.hostfwctl, "apply", "--confirm-within", "1m")
            assert tried.status == 0, tried
            world.machine.clock.sleep(30)
            world.alarms[-1].go_off(1e-9)
            await asyncio.sleep(0.2)
            assert lets_in(world.machine, 81)
            world.machine.clock.sleep(31)
            world.alarms[-1].go_off(1e-9)
            await until(lambda: not lets_in(world.machine, 81))
            await until(lambda: load_trial(world.directories.state) == (None, ()))

    live(story())


def test_the_alarm_of_the_kernel_goes_off_at_its_moment() -> None:
    """Not before, at once where that has passed, and never where it is set to nothing."""
    alarm = ClockAlarm()
    try:
        alarm.set(datetime.now(UTC) + timedelta(seconds=0.3))
        started_s = time.monotonic()
        assert alarm.read() == ClockNews()
        wait_for(alarm, 5)
        assert time.monotonic() - started_s >= 0.25
        assert alarm.read() == ClockNews(0.0)
        alarm.set(datetime.now(UTC) - timedelta(days=1))
        wait_for(alarm, 5)
        alarm.set(None)
        assert not is_readable(alarm, 0.1)
    finally:
        alarm.close()


def wait_for(alarm: ClockAlarm, seconds: float) -> None:
    """Wait until it has gone off."""
    assert is_readable(alarm, seconds)


def is_readable(alarm: ClockAlarm, seconds: float) -> bool:
    """True if it goes off within some seconds."""
    return bool(select.select([alarm], [], [], seconds)[0])


def test_a_step_that_nobody_has_read_when_the_alarm_is_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux refuses to set it then with ECANCELED, and forgets the step; the clock of the tests cannot be set."""
    alarm = ClockAlarm()
    libc = alarm._libc
    refusals = [errno.ECANCELED]

    def refuse(*arguments: object) -> int:
        done: int = libc.timerfd_settime(*arguments)
        if refusals:
            ctypes.set_errno(refusals.pop())
            return -1
        return done

    monkeypatch.setattr(alarm, "_libc", SimpleNamespace(timerfd_settime=refuse))
    try:
        for _ in range(2):
            alarm.set(datetime.now(UTC) + timedelta(hours=1))
        wait_for(alarm, 5)
        assert alarm.read().step_s
        alarm.set(datetime.now(UTC) + timedelta(hours=1))
        assert not is_readable(alarm, 0.1)
    finally:
        alarm.close()


def test_what_has_expired_and_stays_is_trouble(world: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is so: an opening that outlives its end is nothing to be silent about."""
    monkeypatch.setattr(backoff, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(backoff, "RETRY_LONGEST_S", 0.05)
    failing = [Failed("the kernel refuses it")]
    right = Engine.end_by_script
    monkeypatch.setattr(Engine, "end_by_script", lambda engine, now: failing[0] if failing else right(engine, now))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add("observe", *([HostError("it cannot be had")] * 12))
            world.set_clock(NOON, step=False)
            await until(lambda: "what has expired stays: the kernel refuses it" in world.report().trouble)
            failing.clear()
            await until(lambda: not is_open(world))
            await until(lambda: not world.report().trouble)

    live(story())


def test_an_end_of_a_trial_that_fails_is_trouble(world: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, at longer and longer intervals, and told meanwhile."""
    monkeypatch.setattr(backoff, "RETRY_FIRST_S", 0.01)
    failing: list[Failed] = []
    right = expiries._end_in_time
    monkeypatch.setattr(expiries, "_end_in_time", lambda engine: failing[0] if failing else right(engine))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            failing.append(Failed("the record cannot be read"))
            world.set_clock(NOON - timedelta(minutes=7), step=True)
            await until(lambda: "a trial or a lockdown is over and stays" in world.report().trouble)
            failing.clear()
            await until(lambda: not world.report().trouble)

    live(story())
