"""A command at a deadline, by systemd or by a process of our own."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.host.systemd import rollback_timer as watchdog
from hostfw.host.systemd.rollback_timer import WatchdogError, arm, by_systemd, disarm

PATIENCE_S = 10


def wait_for(what: Callable[[], bool]) -> bool:
    """True if it comes true in time."""
    until = monotonic() + PATIENCE_S
    while not what() and monotonic() < until:
        sleep(0.02)
    return what()


@pytest.fixture(autouse=True)
def _without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostfw.host.systemd.rollback_timer.by_systemd", lambda: False)


def test_the_command_runs_after_the_time_and_not_before(tmp_path: Path) -> None:
    """In a session of its own, with nothing of ours open."""
    mark = tmp_path / "mark"
    script = 'ls -l /proc/self/fd >"$1.fds"; cut -d " " -f 6 /proc/$$/stat >"$1.sid"; : >"$1"'
    with (tmp_path / "secret").open("w"):
        arm("hostfw-test-1", 0.5, ("sh", "-c", script, "sh", str(mark)))

    sleep(0.1)
    assert not mark.exists()
    assert wait_for(mark.exists)
    assert "secret" not in mark.with_suffix(".fds").read_text()
    assert int(mark.with_suffix(".sid").read_text()) != os.getsid(0)


def test_what_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it ends with 0."""
    monkeypatch.setattr("hostfw.host.systemd.rollback_timer._WAIT", watchdog._WAIT.replace("sleep 5", "sleep 0.05"))
    tries = tmp_path / "tries"

    arm("hostfw-test-2", 0, ("sh", "-c", 'echo >>"$1"; [ $(wc -l <"$1") = 3 ]', "sh", str(tries)))

    assert wait_for(lambda: tries.exists() and tries.read_text() == "\n\n\n")
    sleep(0.3)
    assert tries.read_text() == "\n\n\n"


def test_what_is_disarmed_does_not_run(tmp_path: Path) -> None:
    """Its processes are gone, sleep and all; disarming again, or what never was, does nothing."""
    timer = arm("hostfw-test-3", 0.3, ("touch", str(tmp_path / "mark")))
    pid = int(timer.split(":")[1])

    disarm(timer)
    disarm(timer)
    disarm("process:1:hostfw-test-3")
    disarm(f"process:{os.getpid()}:hostfw-test-3")
    disarm("nonsense")

    sleep(0.5)
    assert not (tmp_path / "mark").exists()
    assert not Path(f"/proc/{pid}").exists() or "hostfw" not in Path(f"/proc/{pid}/cmdline").read_text()


def tool(folder: Path, name: str, script: str) -> None:
    """A program of ours in the place of one of systemd's."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_systemd_gets_a_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That goes off to the tenth of a second, tries again, and finds this very source; it is stopped by its name."""
    monkeypatch.setattr("hostfw.host.systemd.rollback_timer.by_systemd", lambda: True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("systemd-run", "systemctl"):
        tool(tmp_path, name, f"printf '%s\\n' \"$@\" >{tmp_path}/{name}.arguments")

    timer = arm("hostfw-rollback-7", 90, watchdog.hostfwctl("rollback", "--if-pending=7"))
    disarm(timer)

    lines = (tmp_path / "systemd-run.arguments").read_text().splitlines()
    assert timer == "unit:hostfw-rollback-7"
    assert {"--unit=hostfw-rollback-7", "--on-active=90.000s", "--timer-property=AccuracySec=100ms"} <= set(lines)
    assert {"--property=Restart=on-failure", "--property=StartLimitIntervalSec=0", "--collect"} <= set(lines)
    assert any(line.startswith(f"--setenv=PYTHONPATH={Path(__file__).parents[3]}") for line in lines)
    assert lines[lines.index("--") + 1 :] == [sys.executable, "-P", "-m", "hostfw.cli", "rollback", "--if-pending=7"]
    assert (tmp_path / "systemctl.arguments").read_text() == "stop\nhostfw-rollback-7.timer\n"


def test_a_timer_that_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With systemd's own words: without it nothing may be switched."""
    monkeypatch.setattr("hostfw.host.systemd.rollback_timer.by_systemd", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    tool(tmp_path, "systemd-run", "echo 'Failed to connect to bus' >&2; exit 1")

    with pytest.raises(WatchdogError, match="`systemd-run` failed: Failed to connect to bus"):
        arm("hostfw-rollback-7", 90, ("true",))


@pytest.mark.parametrize(
    ("name", "booted", "net", "mnt", "expected"),
    [
        ("a host that systemd runs", True, True, True, True),
        ("a container without systemd", False, True, True, False),
        ("a network namespace on such a host", True, False, True, False),
        ("other files than systemd sees", True, True, False, False),
    ],
)
def test_systemd_must_see_what_we_see(
    tmp_path: Path, name: str, booted: bool, net: bool, mnt: bool, expected: bool
) -> None:
    """Its timer would change the firewall of the host, not that of the namespace that we are in."""
    systemd = tmp_path / "systemd"
    if booted:
        systemd.mkdir()
    for pid, kinds in (("1", {"net": True, "mnt": True}), ("thread-self", {"net": net, "mnt": mnt})):
        (tmp_path / pid / "ns").mkdir(parents=True)
        for kind, same in kinds.items():
            target = tmp_path / (kind if same else f"{kind}-other")
            target.touch()
            (tmp_path / pid / "ns" / kind).symlink_to(target)

    assert by_systemd(systemd, tmp_path) is expected, name


def test_what_may_not_be_seen_is_not_systemd(tmp_path: Path) -> None:
    """As for one who is not root."""
    assert by_systemd(tmp_path, tmp_path) is False


def test_a_service_in_a_sandbox_is_where_its_timers_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not look at the first process, but systemd told it that it is no child of a service."""
    look = Path.stat

    def refused(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if "1/ns" in str(path):
            raise PermissionError(str(path))
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refused)
    found = []
    for pid in (os.getpid(), os.getppid()):
        monkeypatch.setenv("SYSTEMD_EXEC_PID", str(pid))
        found.append(by_systemd(tmp_path, tmp_path))

    assert found == [True, False]
