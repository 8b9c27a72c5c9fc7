"""The service on a host that sleeps: members of sets end in time, and what cannot be shortened is trouble.

The service runs in this process, in the namespace of a node, with an alarm and a clock that the test controls.
"""

from collections.abc import Callable
from time import monotonic, sleep

import pytest

from hostfw.control.channel import report
from hostfw.daemon.dependencies import Dependencies
from hostfw.engine.context import Directories, Host
from hostfw.engine.kernel.deploy import transactions
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.host.nftables.writing.script_runner import Nftables
from lab.fakes.fakes import FakeJournal
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import inside
from tests.kernel.conftest import Hostfwctl
from tests.kernel.service.beside_service import PATIENCE_S, live
from tests.kernel.sets.test_external_sets import POLICY, nft
from tests.kernel.sets.test_set_verb import members
from tests.unit.daemon.test_expiries import FakeAlarm


class Sleeper:
    """A host with a service that sleeps when it is told to."""

    def __init__(self, installation: Installation) -> None:
        self.directories = Directories(installation.config, installation.state, installation.run)
        self.alarms: list[FakeAlarm] = []
        self.slept_s = 0.0

    def listen(self) -> FakeAlarm:
        """An alarm that goes off by `sleep` alone."""
        self.alarms.append(FakeAlarm())
        return self.alarms[-1]

    def sleep(self, seconds: float) -> None:
        """Sleep, and wake up: the kernel says that the clock was set."""
        self.slept_s += seconds
        self.alarms[-1].go_off(1e-9)

    def trouble(self) -> str:
        """The trouble that the service reports."""
        try:
            said = report(self.directories)
        except HostError as error:
            return error.message
        return "it does not listen" if said is None else said.trouble

    def live(self, story: Callable[[], None]) -> None:
        """Let a story happen beside the service, on a thread."""
        host = Host(uptime=lambda: monotonic() + self.slept_s)
        live(self.directories, Dependencies(FakeJournal(), host=host, listen_clock=self.listen), story)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < deadline
        sleep(0.05)


@pytest.fixture(name="sleeper")
def _sleeper(installation: Installation, hostfwctl: Hostfwctl) -> Sleeper:
    (installation.config / "policy.yaml").write_text(POLICY)
    hostfwctl("apply")
    return Sleeper(installation)


def test_members_that_came_since_the_last_look_lose_what_the_host_slept(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, sleeper: Sleeper
) -> None:
    """And those that come after the sleep do not, whenever the service looks again."""

    def story() -> None:
        until(lambda: sleeper.trouble() == "")
        sleep(0.5)
        nft(lab, "add element ip hostfw external/bans { 192.0.2.4 timeout 150m, 192.0.2.5 timeout 1h }")
        sleep(0.5)
        sleeper.sleep(7200)
        until(lambda: set(members(hostfwctl, "bans")) == {"192.0.2.4"})
        nft(lab, "add element ip hostfw external/bans { 192.0.2.6 timeout 1h }")
        hostfwctl("reload")
        sleeper.sleep(0)
        sleep(0.5)
        now = members(hostfwctl, "bans")
        assert 1680 < (now["192.0.2.4"] or 0) <= 1800
        assert 3480 < (now["192.0.2.6"] or 0) <= 3600

    with inside(installation.node):
        sleeper.live(story)


def test_what_cannot_be_shortened_is_trouble_and_tried_again(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it is so."""
    refusing, commit = [True], transactions.commit

    def refuse(script: str, nftables: Nftables) -> Failed | None:
        return Failed("no memory") if refusing[0] else commit(script, nftables)

    monkeypatch.setattr("hostfw.engine.members.member_times.commit", refuse)

    def story() -> None:
        until(lambda: sleeper.trouble() == "")
        nft(lab, "add element ip hostfw external-nets/bans { 192.0.2.4-192.0.2.9 timeout 150m }")
        sleep(0.5)
        sleeper.sleep(7200)
        until(lambda: "192.0.2.4-192.0.2.9 of bans would stay longer" in sleeper.trouble())
        assert "no memory" in hostfwctl("status").stdout
        sleep(3)
        refusing[0] = False
        until(lambda: sleeper.trouble() == "")
        assert all(1680 < (left_s or 0) <= 1800 for left_s in members(hostfwctl, "bans").values())

    with inside(installation.node):
        sleeper.live(story)
