"""Signals to the service in every phase: those that mean nothing to it change nothing, the others end it in order."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from hostfw.host.lock import writer_lock
from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import inside, process
from lab.service import start
from tests.kernel.conftest import Hostfwctl
from tests.kernel.drift.test_drift import WITH_MAPS
from tests.kernel.packets.connections import admits

_NOISE = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGCHLD,
    signal.SIGWINCH,
    signal.SIGCONT,
)
_PATIENCE_S = 30


@contextmanager
def _started(installation: Installation) -> Iterator["subprocess.Popen[bytes]"]:
    """A service from the moment at which it has heard of signals, and a reader of what it tells."""
    with ExitStack() as ends:
        daemon = start(installation)
        assert daemon.stderr is not None
        reader = Thread(target=daemon.stderr.read, daemon=True)
        reader.start()
        # Closed last: as long as somebody reads, to close it waits for the end of the service.
        ends.callback(daemon.stderr.close)
        ends.callback(reader.join, 5)
        ends.callback(daemon.wait)
        ends.callback(daemon.kill)
        _wait(lambda: _caught(daemon.pid) >> (signal.SIGHUP - 1) & 1)
        yield daemon


def _caught(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)


def _wait(holds: object) -> None:
    assert callable(holds)
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < deadline, "it did not come about in time"
        sleep(0.005)


@contextmanager
def _noise(pid: int) -> Iterator[None]:
    """All signals that mean nothing but a reload, one after the other, for the length of the block."""
    ended = Event()

    def make() -> None:
        number = 0
        # The process may end, and be waited for, within the block.
        with suppress(ProcessLookupError):
            while not ended.wait(0.01):
                os.kill(pid, _NOISE[number % len(_NOISE)])
                number += 1

    thread = Thread(target=make)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(autouse=True)
def _configured(installation: Installation, hostfwctl: Hostfwctl) -> None:
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")


def test_signals_that_mean_nothing_change_nothing_in_any_phase(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """At the start, while an apply and a repair are on their way, and at the end."""
    with _started(installation) as daemon, _noise(daemon.pid):
        _wait((installation.run / "control.sock").exists)
        (installation.config / "policy.yaml").write_text(WITH_MAPS.replace("ports: [443]", "ports: [444]"))
        applied = hostfwctl("apply", "--accept-loss", check=False)
        assert applied.returncode == 0, applied.stderr
        sleep(1)
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait(_PATIENCE_S) == 0
    assert (admits(lab, 80), admits(lab, 444)) == (True, False)
    assert "Drift:" not in hostfwctl("status").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment_s", [0.0, 0.1, 0.3, 0.6])
def test_it_ends_in_order_at_any_moment_of_its_start(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, number: signal.Signals, moment_s: float
) -> None:
    """With status 0, or by the signal where nothing has begun; the rules stay whole."""
    with _started(installation) as daemon:
        sleep(moment_s)
        daemon.send_signal(number)
        assert daemon.wait(_PATIENCE_S) in (0, -number)
    assert (admits(lab, 80), admits(lab, 443)) == (True, False)
    assert "Drift:" not in hostfwctl("status").stdout


@pytest.mark.soak
def test_it_ends_while_it_waits_for_another_writer(lab: Lab, installation: Installation) -> None:
    """In the time that systemd gives it, although the other one holds the lock for longer."""
    with inside(lab["host"]), writer_lock(installation.run), _started(installation) as daemon:
        sleep(2)
        began = monotonic()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(45) == 0
        assert monotonic() - began < 45


@pytest.mark.parametrize("moment_s", [0.05, 0.2, 0.4])
def test_an_apply_that_is_on_its_way_has_an_answer_that_is_true(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, moment_s: float
) -> None:
    """Whatever is sent to the service until it has ended."""
    with _started(installation) as daemon:
        _wait((installation.run / "control.sock").exists)
        hostfwctl("status")
        (installation.config / "policy.yaml").write_text(WITH_MAPS.replace("ports: [80]", "ports: [81]"))
        arguments = [*installation.arguments, "apply", "--accept-loss"]
        with process(lab["host"], arguments, environment=environment()) as applying:
            sleep(0.3 + moment_s)
            daemon.send_signal(signal.SIGTERM)
            with _noise(daemon.pid):
                _, said = applying.communicate(timeout=_PATIENCE_S)
                assert daemon.wait(_PATIENCE_S) == 0
    assert applying.returncode in (0, 1), said
    assert admits(lab, 81) is (applying.returncode == 0), said
    assert admits(lab, 80) is (applying.returncode != 0), said
    assert not admits(lab, 443)
    assert "Drift:" not in hostfwctl("status").stdout
