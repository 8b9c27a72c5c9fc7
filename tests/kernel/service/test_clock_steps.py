"""A clock that is set forward and back, and a host that sleeps, under a rule that ends: what real packets meet.

The clock of a machine is one for all its containers, so the service runs in this process, with a clock that is set.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from hostfw.control.channel import report
from hostfw.daemon.dependencies import Dependencies
from hostfw.engine.context import Directories, Host
from hostfw.host.errors import HostError
from hostfw.host.time import clock
from hostfw.model.values import TCP, Family
from lab.fakes.fakes import FakeJournal
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import inside
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe
from tests.kernel.service.beside_service import PATIENCE_S, live
from tests.unit.daemon.test_expiries import FakeAlarm

LATE_S = 5.0
"""Longest time that anything may outlive its own while something of ours runs."""
_DAY_S = 86_400.0


class Clockwork:
    """A host whose clock on the wall, and whose sleep, are what a test makes them."""

    def __init__(self, installation: Installation) -> None:
        self.directories = Directories(installation.config, installation.state, installation.run)
        self.alarm = FakeAlarm()
        self.ahead_s = 0.0
        self.slept_s = 0.0

    def set_clock(self, ahead_s: float) -> None:
        """Set the clock to so many seconds ahead of the machine's; the kernel tells of the step."""
        step_s, self.ahead_s = ahead_s - self.ahead_s, ahead_s
        self.alarm.go_off(step_s)

    def sleep(self, seconds: float) -> None:
        """Suspend and wake up: the wall and the time since the boot have gone on, and nothing ran."""
        self.slept_s += seconds
        self.set_clock(self.ahead_s + seconds)

    def is_settled(self) -> bool:
        """True once the service listens and has no trouble."""
        try:
            said = report(self.directories)
        except HostError:
            return False
        return said is not None and not said.trouble

    def live(self, story: Callable[[], None]) -> None:
        """Let a story happen beside the service, on a thread."""
        host = Host(
            now=lambda: clock.now() + timedelta(seconds=self.ahead_s),
            uptime=lambda: monotonic() + self.slept_s,
        )
        live(self.directories, Dependencies(FakeJournal(), host=host, listen_clock=lambda: self.alarm), story)


def took_s(holds: Callable[[], bool]) -> float:
    """The seconds until something holds."""
    began = monotonic()
    while not holds():
        assert monotonic() < began + PATIENCE_S
    return monotonic() - began


@pytest.fixture(name="host")
def _host(routed_lab: Lab, tmp_path: Path) -> Installation:
    host = install(routed_lab["host"], tmp_path / "hostfw")
    hostfwctl(host, "allow", "tcp/81")
    hostfwctl(host, "allow", "tcp/80", "for", "2h")
    return host


def is_open(lab: Lab) -> bool:
    """True if the port that is open for a time lets anybody in; the one that is open for good lets everybody in.

    While it closes, one IP version may be asked before that and the other one after it.
    """
    asked = [Flow("outer", "host", TCP, port, family) for port in (80, 81) for family in Family]
    *timed, lasting_v4, lasting_v6 = (
        result.verdict is Verdict.ALLOWED for result in probe(lab, asked, DENY_PATIENCE_S)
    )
    assert lasting_v4
    assert lasting_v6
    return any(timed)


@pytest.mark.parametrize("act", ["set forward", "asleep"])
def test_a_moment_that_passed_in_one_step_ends_a_rule_for_good(routed_lab: Lab, host: Installation, act: str) -> None:
    """Within five seconds, by a clock that was set or a sleep; setting it back opens nothing, nor does a restart."""
    clockwork = Clockwork(host)

    def story() -> None:
        took_s(clockwork.is_settled)
        assert is_open(routed_lab)
        (clockwork.set_clock if act == "set forward" else clockwork.sleep)(3 * 3600.0)
        assert took_s(lambda: not is_open(routed_lab)) < LATE_S
        clockwork.set_clock(0)
        assert_stays_closed(routed_lab, clockwork)

    def again() -> None:
        assert_stays_closed(routed_lab, clockwork)

    with inside(host.node):
        clockwork.live(story)
        clockwork.alarm = FakeAlarm()
        clockwork.live(again)


def assert_stays_closed(lab: Lab, clockwork: Clockwork) -> None:
    """Closed before and after the service has nothing left to do."""
    took_s(clockwork.is_settled)
    assert not is_open(lab)


def test_a_clock_that_is_a_day_behind_closes_what_ends_until_it_is_right(routed_lab: Lab, host: Installation) -> None:
    """By such a clock it would be open for a day longer."""
    clockwork = Clockwork(host)

    def story() -> None:
        took_s(clockwork.is_settled)
        clockwork.set_clock(-_DAY_S)
        assert took_s(lambda: not is_open(routed_lab)) < LATE_S
        clockwork.set_clock(0)
        assert took_s(lambda: is_open(routed_lab)) < PATIENCE_S

    with inside(host.node):
        clockwork.live(story)
