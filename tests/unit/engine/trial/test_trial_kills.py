"""Killed at every step of a trial: what is left is confirmed, or is rolled back by what was armed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.host.store.generations.generations import load_accepted
from hostfw.host.store.generations.trial import load_trial
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine
from tests.unit.engine.trial.test_trial import WITHIN, lets_in, state

VERBS = {
    "apply": (WITHIN,),
    "another apply": (WITHIN, WITHIN),
    "confirm": (WITHIN, ("confirm", "--console")),
    "rollback": (WITHIN, ("rollback",)),
}


class Killed(BaseException):
    """The process has ended here."""


class Steps:
    """Counts the steps that reach the disk, the kernel or the watchdog, and kills before or after one of them."""

    def __init__(self) -> None:
        self.taken = 0
        self.deadly: int | None = None
        self.before = False

    def step(self, act: Callable[[], object]) -> object:
        """Take one, if it is not the last."""
        self.taken += 1
        deadly = self.taken == self.deadly
        if deadly and self.before:
            raise Killed
        result = act()
        if deadly:
            raise Killed
        return result


@contextmanager
def counted(host: Machine, steps: Steps) -> Iterator[None]:
    """Let every effect be a step."""
    commit, fsync, arm, disarm = host.kernel.commit, os.fsync, host.arm, host.disarm
    rename, replace = Path.rename, Path.replace

    def counted_commit(script: str) -> NftResult:
        result = steps.step(lambda: commit(script))
        assert isinstance(result, NftResult)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host.kernel, "commit", counted_commit)
        patch.setattr(Path, "rename", lambda path, target: steps.step(lambda: rename(path, target)))
        patch.setattr(Path, "replace", lambda path, target: steps.step(lambda: replace(path, target)))
        patch.setattr(os, "fsync", lambda descriptor: steps.step(lambda: fsync(descriptor)))
        patch.setattr(Machine, "arm", lambda _, *arguments: steps.step(lambda: arm(*arguments)))
        patch.setattr(Machine, "disarm", lambda _, timer: steps.step(lambda: disarm(timer)))
        yield


def run(directory: Path, monkeypatch: pytest.MonkeyPatch, verbs: tuple[tuple[str, ...], ...], steps: Steps) -> Machine:
    """Accept port 80, then run the verbs for port 443 until the last of them ends or is killed."""
    host = machine(directory, monkeypatch)
    host.write(web=WEB, uplink=UPLINK)
    host.hostfwctl("apply")
    host.write(web=WEB.replace("80", "443"))
    for verb in verbs[:-1]:
        host.hostfwctl(*verb)
        host.write(web=WEB.replace("80", "8443"))
    try:
        with counted(host, steps):
            host.hostfwctl(*verbs[-1])
    except Killed:
        pass
    return host


def deadline(host: Machine) -> None:
    """Let every watchdog run that is armed still."""
    host.clock.wait(100)
    for _, command in tuple(host.timers.values()):
        assert host.hostfwctl(*command[command.index("rollback") :]).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_a_kill_at_any_step_leaves_no_one_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline nothing is pending, and what is accepted is in force: the old, or if confirmed the new."""
    whole = Steps()
    (tmp_path / "whole").mkdir()
    run(tmp_path / "whole", monkeypatch, VERBS[name], whole)
    outcomes: set[int] = set()

    for number in range(2 * whole.taken):
        steps = Steps()
        steps.deadly, steps.before = number // 2 + 1, number % 2 == 0
        directory = tmp_path / str(number)
        directory.mkdir()
        host = run(directory, monkeypatch, VERBS[name], steps)
        deadline(host)

        accepted, problems = load_accepted(state(host))
        in_force = {port for port in (80, 443, 8443) if lets_in(host, port)}
        assert load_trial(state(host)) == (None, ()), number
        assert accepted is not None
        assert problems == ()
        assert len(in_force) == 1, number
        assert f"ports: [{min(in_force)}]" in accepted.configuration.resources[-1].text, number
        outcomes |= in_force

    assert whole.taken > 4
    assert outcomes == ({80, 443} if name == "confirm" else {80})
