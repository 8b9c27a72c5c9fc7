"""`hostfwctl pull`, killed at each step that writes, and on disks that take nothing more: the old bundle or the new."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.builders.bundle_builders import bundle
from tests.unit.cli.verbs.fleet.test_pull import URL, Web, lets_in, linked, policy, pull, record
from tests.unit.cli_runs import Machine, machine

_CALLS = ((io, "open"), (os, "open"), *((os, name) for name in ("unlink", "rename", "replace", "symlink", "mkdir")))
_FOLDERS = ("etc", "var", "run")


class Killed(BaseException):
    """The process is no more."""


def _writes(name: str, arguments: tuple[Any, ...]) -> bool:
    if name != "open":
        return True
    how = arguments[1] if len(arguments) > 1 else "r"
    return bool(how & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(how, int) else "w" in how


def _around_writes(host: Machine, patch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """Have something done before each write below the directories of the host."""
    ours = tuple(f"{host.directory / folder}/" for folder in _FOLDERS)

    def wrap(owner: Any, name: str) -> None:  # noqa: ANN401  a module
        real = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  whatever it takes
            path = str(arguments[1] if name == "symlink" else arguments[0])
            if f"{path}/".startswith(ours) and ".lock" not in path and _writes(name, arguments):
                before()
            return real(*arguments, **named)

        patch.setattr(owner, name, call)

    for owner, name in _CALLS:
        wrap(owner, name)


@pytest.fixture(name="web")
def _web(monkeypatch: pytest.MonkeyPatch) -> Web:
    made = Web()
    monkeypatch.setattr("hostfw.cli.fleet.bundles.fetched.fetch", made.fetch)
    return made


def _with_seven(folder: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> Machine:
    """A host on which bundle 7 is in force, and 8 is offered."""
    folder.mkdir()
    host = machine(folder, monkeypatch)
    web.has[URL] = bundle(7, policy(8081))
    assert pull(host).status == 0
    web.has[URL] = bundle(8, policy(8082))
    return host


def _steps(folder: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> int:
    """The number of writes that a pull makes."""
    host, counted = _with_seven(folder, monkeypatch, web), []
    with pytest.MonkeyPatch.context() as patch:
        _around_writes(host, patch, lambda: counted.append(1))
        assert pull(host).status == 0
    return len(counted)


def _killed_at(host: Machine, step: int) -> None:
    """Pull, and let the process be no more from a write on: nothing that it cleans up happens either."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done >= step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        _around_writes(host, patch, count)
        with pytest.raises(Killed):
            pull(host)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_step_leaves_one_bundle_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web, every: int
) -> None:
    """The directory has a whole one, and the next pull finishes what was begun, before or after the deadline."""
    steps = _steps(tmp_path / "all", monkeypatch, web)
    assert steps > 40
    ends = set()
    for step in range(1, steps + 1, every):
        host = _with_seven(tmp_path / str(step), monkeypatch, web)
        _killed_at(host, step)

        assert linked(host) in ("7", "8"), step
        assert lets_in(host) in ("8081", "8082"), step
        ends.add((linked(host), lets_in(host)))
        files = sorted(path.name for path in (host.config / "bundle").iterdir())
        assert files == ["ends", "web.yaml"], step

        if step % 2:
            host.clock.wait(90)
            for _, command in [*host.timers.values()]:
                words = command[command.index("rollback") :]
                assert host.hostfwctl(*words).status == 0, step
        again = pull(host)
        for _ in range(2):
            # What was on trial was rolled back at first, or a lock was left for a while.
            again = again if again.status == 0 and linked(host) == "8" else pull(host)
        assert (again.status, linked(host), lets_in(host)) == (0, "8", "8082"), (step, again)
        assert record(host)["inForce"] == 8
        assert "no change: " in host.hostfwctl("reload").err, step
    if every == 1:
        assert ends == {("7", "8081"), ("7", "8082"), ("8", "8082")}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_any_step_takes_no_bundle_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web, every: int
) -> None:
    """It is said, and with room again the next pull takes it."""
    steps = _steps(tmp_path / "all", monkeypatch, web)
    for step in range(1, steps + 1, every):
        host = _with_seven(tmp_path / str(step), monkeypatch, web)
        done = 0

        def fill(step: int = step) -> None:
            nonlocal done
            done += 1
            if done >= step:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

        with pytest.MonkeyPatch.context() as patch:
            _around_writes(host, patch, fill)
            full = pull(host)
        assert full.status != 0, step
        assert "disk is full" in full.err or "No space left" in full.err, (step, full)
        assert linked(host) in ("7", "8"), step

        host.clock.wait(90)
        for _, command in [*host.timers.values()]:
            host.hostfwctl(*command[command.index("rollback") :])
        again = pull(host)
        again = again if again.status == 0 and linked(host) == "8" else pull(host)
        assert (again.status, linked(host), lets_in(host)) == (0, "8", "8082"), (step, again)


def test_a_bundle_whose_pulls_are_interrupted_each_time_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    """It may be what interrupts them."""
    host = _with_seven(tmp_path / "host", monkeypatch, web)

    def die(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostfw.cli.fleet.bundles.health.run_command", die)
        for _ in range(3):
            with pytest.raises(Killed):
                pull(host, "--confirm-by", "true")
            assert linked(host) == "7"
        stopped = pull(host, "--confirm-by", "true")
    assert stopped.status == 5
    assert "bundle 8 was begun 3 times and interrupted each time" in stopped.err
    assert lets_in(host) == "8081"
    assert host.hostfwctl("rollback").status == 1, "nothing waits to be confirmed"
    assert pull(host, "--retry").status == 0
