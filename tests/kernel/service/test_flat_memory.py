"""The memory of the service stays flat, however often it writes and however many interfaces come and go."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import process, run
from lab.service import Service, reload_repeatedly, service
from tests.kernel.web_policy import two_endpoints

_MOST_GROWTH = 1.05
"""The limit of memory, as a share of its use after every operation has run once."""

_TOLD = frozenset({1, 10, 25, 50, 75, 100})
"""Rounds of a hundred writes and a hundred link events whose figures are printed."""

_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: has(role)
  ingress:
  - {{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}
"""
_FLAPS = """
for number in $(seq "$1"); do
    ip link add flap0 type veth peer name other0
    sleep "$2"
    ip link delete flap0
    sleep "$2"
done
"""


@pytest.fixture(name="running")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    _configure(installation, 80)
    with service(installation, tmp_path / "log") as running:
        yield running


def _configure(installation: Installation, port: int) -> None:
    (installation.config / "policy.yaml").write_text(two_endpoints("flap0") + _POLICY.format(port=port))


def _write(installation: Installation, times: int, first: int) -> None:
    """Put so many configurations into force, from the `first` on, each of which is like none before it."""
    reload_repeatedly(installation, times, lambda number: _configure(installation, 1000 + first + number))


def _flap(lab: Lab, times: int, pause_s: float) -> None:
    """Have an interface come and go, so many times; after a pause each has been acted on."""
    with process(lab["host"], ["sh", "-ec", _FLAPS, "sh", str(times), str(pause_s)]) as flapping:
        assert flapping.wait() == 0


@pytest.mark.timeout(300)
def test_writes_leave_nothing_behind(installation: Installation, running: Service) -> None:
    """A write frees everything that it does not keep, reference cycles included."""
    _write(installation, 100, 0)
    before = running.resident_bytes
    _write(installation, 200, 100)

    assert running.resident_bytes < before * _MOST_GROWTH


@pytest.mark.timeout(300)
def test_interfaces_that_come_and_go_leave_nothing_behind(lab: Lab, running: Service) -> None:
    """Each is followed by a reading of the host and a write."""
    _flap(lab, 50, 0.1)
    before, told = running.resident_bytes, len(running.told("flap0"))
    # On a machine that is busy some come and go before they are acted on.
    while len(running.told("flap0")) < told + 100:
        _flap(lab, 25, 0.1)

    assert running.resident_bytes < before * _MOST_GROWTH


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_ten_thousand_writes_and_link_events_leave_nothing_behind(
    lab: Lab, installation: Installation, running: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """The memory after the first hundred of each is what there is after all of them."""
    _write(installation, 100, 0)
    _flap(lab, 50, 0.1)
    found = [running.resident_bytes]
    for number in range(1, 101):
        _write(installation, 100, 100 * number)
        _flap(lab, 50, 0.02)
        found.append(running.resident_bytes)
        if number in _TOLD:
            with capsys.disabled():
                print(f"\nround {number}: {found[-1] / found[0] - 1:+.2%} of {found[0] >> 10} KiB")  # noqa: T201  for who runs the soak
    time.sleep(1)
    run(lab["host"], [*installation.arguments, "status"], environment=environment())

    assert max(found) < found[0] * _MOST_GROWTH
