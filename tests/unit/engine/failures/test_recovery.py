"""The result of an apply that fails anywhere: at each call to the outside, before and after its effect.

The model has four places that may disagree: the kernel, the record in the run directory, what is accepted in the state
directory, and what the service remembers. After any failure the answer is true at that moment, and what the service
does next leads all four to one generation: the one that was asked for if it was said to be in force, and otherwise the
one that was accepted.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar
from zlib import crc32

import pytest

from hostfw.build.cache import Done, EngineCache
from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation
from hostfw.daemon.repair.repair import Tampering, _repair
from hostfw.daemon.writer import defect
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.deploy.disturbances import Enforced
from hostfw.engine.kernel.writer import Observer
from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed, Status
from hostfw.engine.reconcile import Resumed, build_base_protection
from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import load_accepted
from hostfw.model.settings import Settings
from tests.unit.cli_runs import FACTS, UPLINK, WEB, Machine
from tests.unit.engine.trial.test_trial import lets_in

OLD, NEW, OLDER = 80, 81, 79
T = TypeVar("T")
_MUTATORS = ("check", "commit", "activate", "delete", "amend")
_SCRIPTS = ("kernel.check", "kernel.commit")
_FILE_CALLS = ("open", "fsync", "replace", "rename", "symlink", "unlink", "mkdir", "link")
_TRIES = 8
_STEP = 5
"""The distance between the places without --soak."""
_FEWEST = 5


@dataclass
class Points:
    """Every call to the outside, counted; the one with the number `due` fails in some way."""

    kind: str = ""
    due: int = 0
    count: int = 0
    lasts: bool = False
    is_on: bool = False
    is_dead: bool = False
    met: str = ""

    def is_due(self, name: str) -> bool:
        """True if this call is to fail."""
        if not self.is_on:
            return False
        self.count += 1
        if self.count == self.due or (self.lasts and self.count >= self.due):
            self.met = self.met or name
            return True
        return False

    def around(self, name: str, call: Callable[[], Any], *, sends: bool = False) -> Any:  # noqa: ANN401  what it gives
        """Make a call, and fail before it, or after it if it is one that sends."""
        if self.is_dead:
            raise Killed(name)
        if not self.is_due(name):
            return call()
        match self.kind:
            case "killed":
                self.is_dead = True
                raise Killed(name)
            case "host":
                raise HostError(f"injected into {name}")
            case "defect":
                raise RuntimeError(f"injected into {name}")
            case "lost" if sends:
                call()
                raise _lost(name)
            case "dead" if sends:
                if name in _SCRIPTS:
                    raise NftFailure(f"the worker died in {name}", unchanged=True)
                raise NetlinkError(errno.ENOBUFS, f"injected into {name}")
            case _:
                return call()


class Killed(BaseException):
    """The process was killed: nothing that it does on its way out has an effect."""


def _lost(name: str) -> HostError:
    """An answer that did not come, although what was sent took effect."""
    if name in _SCRIPTS:
        return NftFailure(f"the worker died in {name}", unchanged=False)
    return NetlinkError(errno.ETIMEDOUT, f"injected into {name}")


class Station:
    """An engine that remembers, kept as the service keeps it, and what the service does next with it."""

    def __init__(self, root: Path, points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = Machine(root)
        self.machine.config.mkdir(parents=True)
        self.points = points
        self.current: Generation | None = None
        self.directories = Directories(*(root / name for name in ("etc", "var", "run")))
        self.engine = self._engine(EngineCache())
        _wrap_functions(self.points, monkeypatch)
        _wrap_files(self.points, root, monkeypatch)

    def _engine(self, cache: EngineCache) -> Engine:
        host = self.machine.host()
        points, kernel = self.points, self.machine.kernel

        class Kernel:
            def __getattr__(self, name: str) -> Any:  # noqa: ANN401  what the kernel in memory has
                found = getattr(kernel, name)
                if name not in _MUTATORS:
                    return found
                return lambda *of: points.around(f"kernel.{name}", lambda: found(*of), sends=True)

        wrapped: dict[str, Any] = {
            name: _wrapped(points, f"host.{name}", getattr(host, name))
            for name in ("observe", "read_tables", "read_some", "read_generation", "read_digests", "read_block", "now")
        }
        host = replace(host, nftables=lambda _: Kernel(), **wrapped)
        return Engine(self.directories, host, Observer(active=self._told), cache)

    def _told(self, generation: Generation | None) -> None:
        self.current = generation

    def do(self, work: Callable[[Engine], T]) -> T | Failed:
        """As the thread does that writes."""
        try:
            return work(self.engine)
        except Exception as error:  # noqa: BLE001  as there
            self.engine = self._engine(EngineCache(done=self.done))
            return defect(error)

    @property
    def done(self) -> Done:
        """Knowledge about files."""
        assert self.engine.cache is not None
        return self.engine.cache.done

    def restart(self) -> None:
        """Have another service begin, which knows nothing, and takes over."""
        self.current = None
        self.engine = self._engine(EngineCache())
        resumed: object = None
        for _ in range(_TRIES):
            resumed = self.do(lambda engine: engine.resume())
            if not isinstance(resumed, Failed):
                break
        assert isinstance(resumed, Resumed), resumed
        self.go_on(resumed)

    def apply(self, port: int, within_s: float | None = None) -> object:
        """Ask for a generation that lets a port in."""
        self.machine.write(web=WEB.replace("80", str(port)), uplink=UPLINK)
        cache = self.engine.cache
        assert cache is not None
        found = check_candidate(*read_configuration(self.machine.config), cache=cache.candidate)
        return self.do(lambda engine: engine.apply(found, within_s, accept_loss=True))

    def go_on(self, outcome: object) -> None:
        """Do what the service does of its own accord after an answer, until there is nothing left to do."""
        midway = self.done.begun or (isinstance(outcome, Failed) and outcome.in_force == UNKNOWN)
        if midway or self.current is None:
            damage = Tampering(doubt=True, midway="it was to fail" if midway else "", is_script=self.current is None)
            repaired: object = None
            for _ in range(_TRIES):
                # It has a `current` and nothing else of the service's charge that is looked at here.
                repaired = self.do(lambda engine: _repair(engine, self, damage))  # type: ignore[arg-type]
                if not isinstance(repaired, Failed) and not self.done.begun:
                    break
            assert not isinstance(repaired, Failed), repaired
        files = self.done
        for _ in range(_TRIES):
            if files.owed is None and not files.unsaved:
                break
            self.do(lambda engine: engine.save(self.current))

    def follow(self) -> None:
        """Have an interface come and go."""
        for facts in (FACTS, replace(FACTS, interfaces=FACTS.interfaces[:1] + FACTS.interfaces[2:])):
            self.machine.facts = facts
            current = self.current
            assert current is not None
            followed = self.do(lambda engine: engine.resync(current))  # noqa: B023  called at once
            assert isinstance(followed, Applied), followed

    def current_port(self) -> int | None:
        """The port of what the service takes to be in force."""
        return _port_of(self.current.script) if self.current is not None else None

    def in_kernel(self) -> set[int]:
        """The ports that the kernel lets in."""
        return {port for port in (OLDER, OLD, NEW) if lets_in(self.machine, port)}

    def unused(self) -> set[str]:
        """The chains, sets and maps in the kernel that nothing of the current generation uses."""
        assert self.current is not None
        tables = self.machine.kernel.read_names()
        there = {chain.name for table in tables.every for chain in table.chains}
        there |= {one.name for table in tables.every for one in table.sets}
        wanted = self.current.ruleset.tables
        used: set[str] = set()
        for table in wanted:
            used |= {chain.name for chain in table.chains} | {base.name for base in table.base_chains}
            used |= {one.name for one in table.sets} | {one.name for one in table.maps}
        return there - used

    def check_agreement(self, port: int) -> None:
        """All places have the one generation, and the boot will have it."""
        status = self.engine.status()
        assert isinstance(status, Status), status
        assert self.in_kernel() == {port}
        assert status.in_force
        assert status.drift == ()
        record, problems = load_active(self.directories.run)
        accepted, damage = load_accepted(self.directories.state)
        assert record is not None, problems
        assert accepted is not None, damage
        assert self.current is not None
        assert self.unused() == set()
        assert record.id == accepted.id == self.current.id
        assert record.saved
        assert _port_of(accepted.script) == port
        boot = self.directories.state / "last-good.nft"
        assert boot.read_text() == accepted.script


def _port_of(script: str) -> int | None:
    """The port that a script lets in."""
    return next((port for port in (OLDER, OLD, NEW) if re.search(rf"dport {port}\b|\b{port} :", script)), None)


def _wrapped(points: Points, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *of, **named: points.around(name, lambda: function(*of, **named))


def _wrap_functions(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of hostfw.host in modules of the engine."""
    for name, module in list(sys.modules.items()):
        if not name.startswith(("hostfw.engine.", "hostfw.build.cache")):
            continue
        for known, item in list(vars(module).items()):
            of = getattr(item, "__module__", "")
            if isinstance(item, FunctionType) and of.startswith("hostfw.host.store") and known != "load_json":
                monkeypatch.setattr(module, known, _wrapped(points, f"{of}.{known}", item))


def _wrap_files(points: Points, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers of files below a directory: a full disk."""
    for name in _FILE_CALLS:
        real = getattr(os, name)

        def call(*of: Any, real: Any = real, name: str = name, **named: Any) -> Any:  # noqa: ANN401  whatever it takes
            ours = isinstance(of[0], int) or any(f"{root}/{folder}" in f"{of[0]} {of[-1]}" for folder in ("var", "run"))
            if not ours:
                return real(*of, **named)
            if points.kind == "killed" and "apply-" in str(of[0]):
                # The kernel gives the lock of a killed process back.
                return real(*of, **named)
            if points.is_dead:
                raise Killed(name)
            if points.kind == "disk" and points.is_due(f"os.{name}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(of[0]))
            if points.kind == "killed" and points.is_due(f"os.{name}"):
                points.is_dead = True
                raise Killed(name)
            return real(*of, **named)

        monkeypatch.setattr(os, name, call)
    for owner, name in ((io, "open"), (os, "readlink"), (os, "stat"), (os, "lstat")):
        real = getattr(owner, name)

        def read(*of: Any, real: Any = real, name: str = name, **named: Any) -> Any:  # noqa: ANN401  whatever it takes
            ours = any(f"{root}/{folder}/" in str(of[0]) for folder in ("var", "run"))
            if ours and points.kind == "unreadable" and points.is_due(f"{name} {Path(str(of[0])).name}"):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(of[0]))
            return real(*of, **named)

        monkeypatch.setattr(owner, name, read)


BEFORE: dict[str, Callable[[Station], None]] = {
    "everything agrees": lambda _: None,
    "the last was not recorded": lambda station: _without_disk(station, "run"),
    "the last was not accepted": lambda station: _without_disk(station, "state"),
}


def _without_disk(station: Station, which: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if which == "run":
            for name in ("save_active", "forget_active"):
                patch.setattr(f"hostfw.engine.kernel.state.record.{name}", _full)
        else:
            patch.setattr("hostfw.build.cache.save_accepted", _full)
        assert isinstance(station.apply(OLD), Applied)


def _full(*_: object, **__: object) -> None:
    from hostfw.host.store.codec import StateError

    raise StateError("the disk is full")


@contextmanager
def case_of(base: Path, before: str, points: Points) -> Iterator[Station]:
    """A service with OLD in force, whatever came before, where something is to begin."""
    with pytest.MonkeyPatch.context() as patch:
        station = Station(base, points, patch)
        first = OLD if before == "everything agrees" else OLDER
        assert isinstance(station.apply(first), Applied)
        BEFORE[before](station)
        assert station.in_kernel() == {OLD}
        yield station


def _run(base: Path, before: str, points: Points) -> None:
    """One apply with one failure, and what follows."""
    with case_of(base, before, points) as station:
        points.is_on = True
        outcome = station.apply(NEW)
        points.is_on = False
        accepted, _ = load_accepted(station.directories.state)
        if isinstance(outcome, Applied):
            assert station.in_kernel() == {NEW}
            end = NEW
        else:
            assert isinstance(outcome, Failed), outcome
            end = OLD
            if outcome.in_force == UNKNOWN:
                # What was accepted, unless it was accepted and could not be written down.
                known = accepted is not None and _port_of(accepted.script) == NEW
                end = NEW if known or (station.done.unsaved and station.current_port() == NEW) else OLD
            else:
                assert outcome.in_force == UNCHANGED, outcome
                assert station.in_kernel() == {OLD}
        station.go_on(outcome)
        if not isinstance(outcome, Applied) and outcome.in_force == UNCHANGED and before != "everything agrees":
            # Nothing was done: what was owed before is owed still, and paid by now.
            assert station.in_kernel() == {OLD}
        station.check_agreement(end)
        station.follow()
        station.check_agreement(end)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("before", list(BEFORE))
@pytest.mark.parametrize(
    "kind",
    ["host", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("defect", "lost", "dead", "disk", "full disk"))],
)
def test_whatever_fails_all_agree_in_the_end(tmp_path: Path, before: str, kind: str, soak: bool) -> None:
    """One failure at each place in turn, under --soak at every one; a disk may be full until the apply is over."""
    lasts = kind == "full disk"
    seed = crc32(f"{before} {kind}".encode())
    for number in count(1 if soak else 1 + seed % _STEP, 1 if soak else _STEP):
        points = Points("disk" if lasts else kind, number, lasts=lasts)
        try:
            _run(tmp_path / str(number), before, points)
        except AssertionError as error:
            raise AssertionError(f"{before}, {kind}, point {number} ({points.met}): {error}") from error
        if not points.met:
            break
    assert number > _FEWEST, "hardly anything was called"


def test_base_protection_amid_a_change_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It empties the chains that were just prepared: they are written again, and the next repair agrees."""
    station = Station(tmp_path / "host", Points(), monkeypatch)
    assert isinstance(station.apply(OLD), Applied)
    kernel = station.machine.kernel
    assert kernel.meddle("delete table ip hostfw\ndelete table ip6 hostfw").ok
    check = kernel.check

    def late(script: str) -> NftResult:
        assert kernel.meddle(build_base_protection(Settings(), FACTS).script).ok
        return check(script)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "check", late)
        damage = Tampering(changes=["another program deleted the tables"])
        assert isinstance(station.do(lambda engine: _repair(engine, station, damage)), Enforced)  # type: ignore[arg-type]
    assert station.in_kernel() == {OLD}
    damage = Tampering(doubt=True, guarded=True)
    assert isinstance(station.do(lambda engine: _repair(engine, station, damage)), Enforced)  # type: ignore[arg-type]
    station.check_agreement(OLD)
