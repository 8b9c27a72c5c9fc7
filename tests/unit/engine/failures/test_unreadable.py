"""Files of the run and state directories that cannot be read for a moment: nothing is taken for absent or for damaged.

What was in force, accepted, on trial, blocked or a member stays, and nothing is missing once they can be read.
"""

import errno
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hostfw.audit.attribution import Attribution
from hostfw.build.cache import EngineCache
from hostfw.cli.command_line.parser import parse
from hostfw.cli.input.log_events import LogEvents
from hostfw.daemon.audit.losses import Entries, open_audit_losses
from hostfw.engine.apply.applied import Applied
from hostfw.engine.block import restore_block
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.counts.log_counts import LogCounts
from hostfw.engine.kernel.state.record import is_of_another, write_owed
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.external_members import Held
from hostfw.engine.members.member_changes import _Decision, _kept, moment
from hostfw.engine.outcomes import Confirmed, Failed, MembersChange, MembersChanged, NoTrial, RolledBack
from hostfw.engine.reading.block_state import BlockContext
from hostfw.engine.reading.standing import standing
from hostfw.engine.reconcile import Resumed
from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import Nflog
from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.host.store.audit_checkpoint import AuditCheckpoint, AuditCheckpointFile
from hostfw.host.store.block import load_block
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.configuration.files import _bad_way
from hostfw.host.store.generations.active import load_active, record_stamp
from hostfw.host.store.generations.generations import (
    accepted_number,
    accepted_until,
    generation_folder,
    generations,
    load_accepted,
)
from hostfw.host.store.generations.trial import load_trial
from hostfw.host.store.members.members import SavedMembers, load_members, save_members
from hostfw.model.plan import ExternalSet
from hostfw.model.values import Family, host_cidr
from tests.unit.cli_runs import DIRECTORIES, UPLINK, WEB, Machine, machine
from tests.unit.engine.failures.test_recovery import NEW, OLD, OLDER, Points, Station, _without_disk

_CALLS = ((io, "open"), (os, "open"), (os, "readlink"), (os, "stat"), (os, "lstat"), (os, "listdir"), (os, "scandir"))
_RECORD = "generation.json"
PASSING = (errno.EIO, errno.EINTR, errno.ENOMEM, errno.EMFILE)


@contextmanager
def unreadable(folder: Path, name: str, number: int = errno.EIO) -> Iterator[list[str]]:
    """Let every look at what has that name below a folder fail for a while; gives the calls that failed."""
    met: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for owner, call in _CALLS:
            real = getattr(owner, call)

            def look(*of: Any, real: Any = real, call: str = call, **named: Any) -> Any:  # noqa: ANN401  whatever it takes
                path = str(of[0])
                writes = call == "open" and len(of) > 1 and isinstance(of[1], int) and of[1] & (os.O_WRONLY | os.O_RDWR)
                if path.startswith(f"{folder}/") and Path(path).name == name and not writes:
                    met.append(call)
                    raise OSError(number, os.strerror(number), path)
                return real(*of, **named)

            patch.setattr(owner, call, look)
        yield met


@pytest.fixture(name="station")
def _station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    """A service that has put OLD into force after OLDER, both accepted."""
    station = Station(tmp_path, Points(), monkeypatch)
    for port in (OLDER, OLD):
        assert isinstance(station.apply(port), Applied)
    return station


def _begin(station: Station) -> object:
    """Take over as a service that knows nothing."""
    station.current = None
    return Engine(station.directories, station.machine.host()).resume()


def test_a_service_that_starts_does_not_begin_anew(station: Station) -> None:
    """Something was accepted, and nothing that is written in /etc meanwhile takes its place."""
    run, state = station.directories.run, station.directories.state
    for number in PASSING:
        for folder, name in ((state, "accepted"), (state, "generation.json"), (state, "sources.json"), (run, _RECORD)):
            with unreadable(folder, name, number) as met:
                resumed = _begin(station)
            assert met, name
            assert isinstance(resumed, Failed), (name, resumed)
            assert "cannot be read" in resumed.message
            assert station.in_kernel() == {OLD}
    station.restart()
    station.check_agreement(OLD)


def test_a_script_that_cannot_be_read_is_compiled_again(station: Station) -> None:
    """Its sources say the same, so nobody has to wait for the disk."""
    for name in ("ruleset.nft", "lasting.nft"):
        with unreadable(station.directories.state, name) as met:
            resumed = _begin(station)
        assert met or name == "lasting.nft"
        assert isinstance(resumed, Resumed), resumed
        assert resumed.from_sources
        assert station.in_kernel() == {OLD}


def test_what_another_hostfwctl_put_into_force_stays(station: Station) -> None:
    """The service compares with the record, and does not overwrite what it cannot compare."""
    station.machine.write(web=WEB.replace("80", str(NEW)), uplink=UPLINK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostfw.cli.outcomes.Host", station.machine.host)
        assert station.machine.hostfwctl("apply", "--accept-loss").status == 0
    assert station.in_kernel() == {NEW}
    current = station.current
    assert current is not None
    with unreadable(station.directories.run, "generation.json") as met:
        followed = station.do(lambda engine: engine.resync(current))
        repaired = station.do(lambda engine: engine.repair(current))
        saved = station.do(lambda engine: engine.save(current))
    assert met
    assert [type(one) for one in (followed, repaired, saved)] == [Failed] * 3
    assert station.in_kernel() == {NEW}
    station.do(lambda engine: engine.resync(current))
    station.check_agreement(NEW)


def test_what_could_not_be_saved_is_still_taken_over(station: Station) -> None:
    """The record says what is in force, and its copy in the run directory what that is."""
    assert isinstance(station.apply(OLDER), Applied)
    _without_disk(station, "state")
    for name in ("generation.json", "accepted", "sources.json"):
        with unreadable(station.directories.run, name) as met:
            resumed = _begin(station)
        assert met, name
        assert isinstance(resumed, Failed), (name, resumed)
        assert station.in_kernel() == {OLD}
    station.restart()
    station.check_agreement(OLD)


@pytest.mark.parametrize(("folder", "number"), [("var", errno.EIO), ("run", errno.ENOMEM)])
def test_a_trial_goes_on(station: Station, folder: str, number: int) -> None:
    """It can still be confirmed: its record is neither damaged nor of another boot."""
    assert isinstance(station.apply(NEW, 90), Applied)
    current = station.current
    assert current is not None
    with unreadable(station.machine.directory / folder, "pending.json", number) as met:
        resumed = _begin(station)
        station.do(lambda engine: engine.resync(current))
        applied = station.apply(OLDER)
        confirmed = station.do(lambda engine: engine.confirm(console=True))
        status = station.do(lambda engine: engine.status())
    assert met
    assert [type(one) for one in (resumed, applied, confirmed, status)] == [Failed] * 4
    assert station.in_kernel() == {NEW}
    assert load_trial(station.directories.state)[0] is not None
    assert isinstance(station.do(lambda engine: engine.confirm(console=True)), Confirmed)
    station.restart()
    station.check_agreement(NEW)


def test_a_trial_is_rolled_back_when_it_is_asked_for(station: Station) -> None:
    """At its deadline, by its timer, or by hand: a record that cannot be read keeps nobody from it."""
    assert isinstance(station.apply(NEW, 90), Applied)
    trial, _ = load_trial(station.directories.state)
    assert trial is not None
    station.machine.clock.wait(91)
    with unreadable(station.directories.state, "pending.json") as met:
        taken = station.do(lambda engine: engine.rollback(trial.token))
    assert met
    assert isinstance(taken, RolledBack), taken
    assert station.in_kernel() == {OLD}


def test_a_timer_that_another_trial_left_takes_nothing_back(station: Station) -> None:
    """The record of this boot says whose trial is running, on a file system of its own."""
    assert isinstance(station.apply(NEW, 90), Applied)
    with unreadable(station.directories.state, "pending.json") as met:
        taken = station.do(lambda engine: engine.rollback("of another trial"))
    assert met
    assert isinstance(taken, NoTrial), taken
    assert station.in_kernel() == {NEW}


def test_a_trial_ends_although_what_is_accepted_stays_unreadable(station: Station) -> None:
    """Long after its deadline, by the way back on its own record; before that the error may pass."""
    assert isinstance(station.apply(NEW, 90), Applied)
    trial, _ = load_trial(station.directories.state)
    assert trial is not None
    station.machine.clock.wait(91)
    with unreadable(station.directories.state, "accepted") as met:
        early = station.do(lambda engine: engine.rollback(trial.token))
        station.machine.clock.wait(40)
        late = station.do(lambda engine: engine.rollback(trial.token))
    assert met
    assert isinstance(early, Failed), early
    assert isinstance(late, RolledBack), late
    assert station.in_kernel() == {OLD}


def test_governed_interfaces_stay_on_record(station: Station) -> None:
    """Nothing is governed anew, and no record of it is written, while it is not known what was governed."""
    number = accepted_number(station.directories.state)
    assert number is not None
    engine = Engine(station.directories, station.machine.host())
    before = standing(engine.directories, engine.host)
    assert before.interfaces
    file = generation_folder(station.directories.state, number) / "governance.json"
    written = file.read_bytes()
    with unreadable(station.directories.state, "governance.json") as met, pytest.raises(Unreadable):
        standing(engine.directories, engine.host)
    assert met
    assert file.read_bytes() == written


def test_nothing_is_accepted_while_the_generations_cannot_be_listed(station: Station) -> None:
    """No number is taken again, and nobody waits for ever for another."""
    before = generations(station.directories.state)
    with unreadable(station.directories.state, "generations") as met:
        applied = station.apply(NEW)
    assert met
    assert isinstance(applied, Applied)
    assert applied.unsaved
    assert generations(station.directories.state) == before
    station.go_on(applied)
    station.check_agreement(NEW)


def test_an_accepted_generation_that_stays_unreadable_can_be_replaced(station: Station) -> None:
    """A bad sector of the disk is nobody's reason to keep a policy: who takes the loss gets the new one accepted."""
    station.machine.write(web=WEB.replace("80", str(NEW)), uplink=UPLINK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostfw.cli.outcomes.Host", station.machine.host)
        folder = generation_folder(station.directories.state, accepted_number(station.directories.state) or 0)
        with unreadable(folder, "sources.json"):
            done = station.machine.hostfwctl("apply", "--accept-loss")
    assert done.status == 0, done
    accepted, problems = load_accepted(station.directories.state)
    assert accepted is not None, problems
    assert station.in_kernel() == {NEW}


FEED = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: banned, labels: {list: banned}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: banned}
spec:
  order: 1
  selector: role == 'web'
  ingress:
    - {action: Deny, source: {selector: list == 'banned'}}
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK, banned=FEED)
    assert made.hostfwctl("apply").status == 0
    return made


def test_kept_members_are_not_lost_for_a_new_one(host: Machine) -> None:
    """Bans of before stay kept for the next boot, and it is said that the new one is not."""
    state = host.directory / "var"
    ban = host_cidr(Family.V4, 0xCB007107)
    save_members(state, "banned", SavedMembers(moment(host.host()), {ban: None}))
    directories = Directories(*(host.directory / name for name in ("etc", "var", "run")))
    new = host_cidr(Family.V4, 0xCB007108)
    decision = _Decision(MembersChanged("banned", (new,)), new={new: None})
    with unreadable(state, "banned.json") as met:
        writer = Writer(directories, host.host(), host.kernel)
        changed = _kept(writer, MembersChange("banned", (new,)), decision, Held(ExternalSet("banned", 65_536), ()))
    assert met
    assert "cannot be read" in changed.unsaved[0]
    assert load_members(state, "banned").ends == {ban: None}


@pytest.mark.parametrize("name", ["banned.json", "members"])
def test_kept_members_are_put_back_once_they_can_be_read(host: Machine, name: str) -> None:
    """They are not taken for put back by an apply that could not read them."""
    state = host.directory / "var"
    save_members(state, "banned", SavedMembers(moment(host.host()), {host_cidr(Family.V4, 0xCB007107): None}))
    for path in (host.directory / "run" / "members").glob("*"):
        path.unlink()
    with unreadable(state, name) as met:
        done = host.hostfwctl("reload")
    assert met
    assert "could not be put back" in done.err
    assert not (host.directory / "run" / "members" / "banned").exists()


def test_a_block_stays(host: Machine) -> None:
    """It is put back once its record can be read; and who wants to block or to release can, whatever is on record."""
    host.kernel.failures.extend([NftResult(ok=True)] * 4)
    assert host.hostfwctl("lockdown", "--all").status == 0
    directories = Directories(*(host.directory / name for name in ("etc", "var", "run")))
    context = BlockContext(directories, host.host())
    for name in ("block.json", "block.nft"):
        with unreadable(directories.state, name) as met:
            assert isinstance(restore_block(context), Failed)
            assert isinstance(Engine(directories, host.host()).resume(), Failed)
            assert host.hostfwctl("lockdown", "--all").status == 0
        assert met
        host.kernel.failures.extend([NftResult(ok=True)] * 4)
    assert load_block(directories.state) is not None
    with unreadable(directories.state, "block.json"):
        assert host.hostfwctl("unblock").status == 0
    assert load_block(directories.state) is None


@pytest.mark.parametrize("verb", ["status", "history", "doctor", "confirm --console", "diff", "rules", "counters"])
def test_what_cannot_be_read_is_said(host: Machine, verb: str) -> None:
    """No verb says that nothing is there, and none is done."""
    for folder, name in (("run", "generation.json"), ("var", "accepted"), ("run", "begun"), ("var", "expires")):
        with unreadable(host.directory / folder, name) as met:
            done = host.hostfwctl(*verb.split())
        if met:
            assert done.status not in (0, 10), (name, done)
            assert "cannot be read: input/output error" in done.err + done.out, (name, done)


def test_what_has_expired_is_not_taken_for_lasting(station: Station) -> None:
    """Nothing is put into force before it is known what has expired."""
    for number in PASSING:
        with unreadable(station.directories.state, "expires", number) as met:
            applied = station.apply(NEW)
            with pytest.raises(HostError, match="cannot be read"):
                accepted_until(station.directories.state)
        assert met
        assert isinstance(applied, Failed)
        assert "cannot be read" in applied.message
        assert station.in_kernel() == {OLD}


def test_a_record_that_cannot_be_looked_at_is_nobody_else_s(station: Station) -> None:
    """Records that are owed stay owed, and nothing in force is given up for what is on record."""
    run, current = station.directories.run, station.current
    assert current is not None
    record, _ = load_active(run)
    assert record is not None
    cache = EngineCache()
    cache.done.owed, cache.done.stamp = replace(record, id="another"), record_stamp(run)
    for number in PASSING:
        with unreadable(run, "generation.json", number):
            assert record_stamp(run) is None
            assert write_owed(run, cache)
        assert cache.done.owed is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hostfw.engine.kernel.state.record.record_stamp", lambda _: None)
            with pytest.raises(HostError, match="cannot be read"):
                is_of_another(run, cache, "yet another")
    assert not write_owed(run, cache)
    written, _ = load_active(run)
    assert written is not None
    assert written.id == "another"


def test_records_of_the_log_are_told_as_missed_once_it_is_known_which(tmp_path: Path) -> None:
    """And what could not be kept is kept as soon as it can be, by whichever file is there then."""
    told: list[Mapping[str, str]] = []
    outbox = cast("Entries", SimpleNamespace(send=told.append))
    AuditCheckpointFile(tmp_path).save(AuditCheckpoint(10, 0))
    losses = open_audit_losses(tmp_path, outbox, lambda: LogCounts(15, {}))
    for number in PASSING:
        with pytest.MonkeyPatch.context() as patch:
            for call in ("pread", "pwrite"):
                patch.setattr(f"hostfw.host.store.audit_checkpoint.os.{call}", failing(number))
            losses.before_joining()
            losses.joined()
            losses.reported(1)
            losses.keep()
            assert losses.wait_s(0.0) is not None
        assert not told
    losses.due(0.0)
    assert [entry["MESSAGE"] for entry in told if "5 " in entry["MESSAGE"]], told
    assert AuditCheckpointFile(tmp_path).load() == AuditCheckpoint(16, 0)
    assert losses.wait_s(0.0) is None
    (tmp_path / "audit.heard").unlink()
    losses.reported(1)
    losses.keep()
    assert AuditCheckpointFile(tmp_path).load() == AuditCheckpoint(17, 0)


def failing(number: int) -> Callable[..., object]:
    """A system call that fails."""

    def call(*_: object) -> object:
        raise OSError(number, os.strerror(number))

    return call


def test_the_way_to_the_configuration_is_not_trusted_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's folder may be above it."""
    monkeypatch.setattr("hostfw.host.store.configuration.files.suspicion", failing(errno.EIO))
    problem = _bad_way(tmp_path, 0)
    assert problem is not None
    assert "cannot be read" in problem.message


def test_the_log_is_followed_all_the_same(host: Machine) -> None:
    """Another generation is learnt of once it can be read."""
    names = [f"--{name}-dir={host.directory / folder}" for name, folder in DIRECTORIES]
    events = LogEvents(parse([*names, "drops", "--follow"]), cast("Nflog", None), Attribution(), (None, None))
    with unreadable(host.directory / "run", "generation.json") as met:
        events._recheck()
    assert met
    assert events.mark == (None, None)
    events._checked_s = float("-inf")
    events._recheck()
    assert events.mark != (None, None)


def test_an_error_that_lasts_is_no_passing_one(tmp_path: Path) -> None:
    """Damage is told from what may be read a moment later."""
    (tmp_path / "accepted").symlink_to("accepted")
    accepted, problems = load_accepted(tmp_path)
    assert accepted is None
    assert problems
    with unreadable(tmp_path, "pending.json"), pytest.raises(HostError, match="cannot be read"):
        load_trial(tmp_path)
    assert load_trial(tmp_path) == (None, ())
