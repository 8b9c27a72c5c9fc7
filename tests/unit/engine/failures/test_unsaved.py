"""A generation that was accepted and could not be written down: nobody who comes next loses it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.build.cache import EngineCache
from hostfw.engine.checks.lockout import LockoutRequest
from hostfw.engine.checks.members import members_check
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed, NoTrial, RolledBack
from hostfw.engine.reading.stored_active import stored_active
from hostfw.engine.reconcile import Resumed
from hostfw.host.nftables.writing.script_runner import NftFailure
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import load_accepted
from hostfw.host.store.generations.trial import load_trial
from hostfw.model.plan import ExternalSet, Member
from hostfw.model.values import Family, host_cidr
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine
from tests.unit.engine.failures.test_failures import FULL, FULL_STATE
from tests.unit.engine.trial.test_trial import lets_in

OLDER, OLD, NEW = 79, 80, 81


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with OLDER accepted, and OLD in force that a full disk did not take."""
    host = machine(tmp_path, monkeypatch)
    host.write(web=WEB.replace("80", str(OLDER)), uplink=UPLINK)
    assert host.hostfwctl("apply").status == 0
    host.write(web=WEB.replace("80", str(OLD)))
    with monkeypatch.context() as patch:
        FULL_STATE(host, patch)
        done = host.hostfwctl("apply")
    assert done.status == 1
    assert "after a reboot an earlier generation is in force" in done.err
    return host


def _engine(host: Machine, cache: EngineCache | None = None) -> Engine:
    return Engine(Directories(host.config, host.directory / "var", host.directory / "run"), host.host(), cache=cache)


def _in_kernel(host: Machine) -> set[int]:
    return {port for port in (OLDER, OLD, NEW) if lets_in(host, port)}


def _accepted_id(host: Machine) -> str:
    accepted, _ = load_accepted(host.directory / "var")
    assert accepted is not None
    return accepted.id


def test_it_is_what_changes_of_members_are_judged_by(host: Machine) -> None:
    """It is in force, though no generation with its id is stored."""
    engine = _engine(host)
    record, _ = load_active(engine.directories.run)
    assert record is not None
    assert record.id != _accepted_id(host)
    stored = stored_active(engine.directories)
    assert stored is not None
    assert stored.id == record.id


def test_a_change_of_members_is_refused_where_nothing_tells_what_is_in_force(host: Machine) -> None:
    """Judged by a policy without sets, nobody would lose anything by it."""
    engine = _engine(host)
    shutil.rmtree(host.directory / "run/unsaved")
    writer = Writer(engine.directories, host.host(), host.kernel)
    external, of = ExternalSet("bans", 10, None), Member(host_cidr(Family.V4, 0xC0000202))
    lockout = LockoutRequest(host.host().baseline(), accepted=False)

    refused, _ = members_check(writer, lockout)(external, (), (of,))
    accepted, _ = members_check(writer, replace(lockout, accepted=True))(external, (), (of,))

    assert refused is not None
    assert "nobody can tell whom this would cut off" in refused.message
    assert accepted is None


def test_a_service_that_takes_over_has_it_in_force_and_saves_it(host: Machine) -> None:
    """Another hostfwctl accepted it, so what was accepted before is not what is to be in force."""
    resumed = _engine(host, EngineCache()).resume()
    assert isinstance(resumed, Resumed)
    assert resumed.from_sources
    assert _in_kernel(host) == {OLD}
    assert _accepted_id(host) == resumed.id
    assert not (host.directory / "run" / "unsaved").exists()
    assert "Not saved" not in host.hostfwctl("status").out


def test_a_service_that_takes_over_keeps_it_while_the_disk_is_full(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in force all the same, and saved as soon as that is possible."""
    cache = EngineCache()
    engine = _engine(host, cache)
    with monkeypatch.context() as patch:
        FULL_STATE(host, patch)
        resumed = engine.resume()
    assert isinstance(resumed, Resumed)
    assert _in_kernel(host) == {OLD}
    assert cache.done.unsaved
    assert _accepted_id(host) != resumed.id
    assert _engine(host, EngineCache()).resume() == Resumed(resumed.id)
    assert _accepted_id(host) == resumed.id


def test_with_both_disks_full_what_was_accepted_before_is_in_force_again(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of it then but its rules."""
    host.write(web=WEB.replace("80", str(NEW)))
    with monkeypatch.context() as patch:
        FULL(host, patch)
        assert host.hostfwctl("apply").status == 1
    assert _in_kernel(host) == {NEW}
    assert isinstance(_engine(host, EngineCache()).resume(), Resumed)
    assert _in_kernel(host) == {OLDER}


def test_the_way_back_of_a_trial_is_what_was_in_force(host: Machine) -> None:
    """It is saved first, and a trial that ends leads to it, not to what was accepted before it."""
    host.write(web=WEB.replace("80", str(NEW)))
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    assert _in_kernel(host) == {NEW}
    host.clock.wait(91)
    trial, _ = load_trial(host.directory / "var")
    assert trial is not None
    assert isinstance(_engine(host).rollback(trial.token), RolledBack)
    assert _in_kernel(host) == {OLD}


def test_no_trial_begins_while_there_is_no_way_back(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changes, and the reason is said."""
    host.write(web=WEB.replace("80", str(NEW)))
    with monkeypatch.context() as patch:
        FULL_STATE(host, patch)
        done = host.hostfwctl("apply", "--confirm-within", "90s")
    assert done.status == 1
    assert "there is no way back: " in done.err
    assert UNCHANGED in done.err
    assert _in_kernel(host) == {OLD}


@pytest.fixture(name="expired")
def _expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with OLD accepted, and a trial of NEW that nobody confirmed and nobody has ended yet."""
    host = machine(tmp_path, monkeypatch)
    host.write(web=WEB.replace("80", str(OLD)), uplink=UPLINK)
    assert host.hostfwctl("apply").status == 0
    host.write(web=WEB.replace("80", str(NEW)))
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    host.clock.wait(91)
    return host


def test_a_change_that_fails_after_a_trial_ended_does_not_say_that_nothing_changed(expired: Machine) -> None:
    """The trial was rolled back on its way."""
    (expired.config / "uplink.yaml").unlink()
    done = expired.hostfwctl("reload")
    assert done.status == 1
    assert _in_kernel(expired) == {OLD}
    assert UNCHANGED not in done.err
    assert "had been rolled back: it was not confirmed in time; nothing else was changed" in done.err


def test_a_change_that_fails_after_the_end_of_a_trial_failed_says_that_nothing_is_known(expired: Machine) -> None:
    """The end may have come into force or not, so nobody may say that the ruleset is unchanged."""
    expired.write(web=WEB.replace("80", str(OLDER)))
    lost = NftFailure("no answer", unchanged=False)
    dead = NftFailure("it died", unchanged=True)
    ok = expired.kernel._run("")[0]
    for answers in ([lost], [ok, lost], [ok, ok, lost], [ok, ok, ok, lost]):
        expired.kernel.failures.clear()
        expired.kernel.failures.extend([*answers, *[dead] * 20])
        before = _in_kernel(expired)
        done = expired.hostfwctl("reload")
        assert done.status == 1
        if UNCHANGED in done.err:
            assert _in_kernel(expired) == before
    expired.kernel.failures.clear()


def test_a_trial_whose_record_stays_does_not_stand_in_the_way(
    expired: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rolled back, and nothing is in force for 0 more seconds."""
    expired.write(web=WEB.replace("80", str(OLDER)))

    def refuse(*_: object) -> None:
        raise StateError("that nothing is pending could not be saved")

    with monkeypatch.context() as patch:
        patch.setattr("hostfw.engine.trial.rollback.forget_trial", refuse)
        done = expired.hostfwctl("reload")
    assert "more seconds" not in done.err
    assert done.status == 1
    assert "that nothing is pending could not be saved" in done.err
    assert _in_kernel(expired) == {OLDER}
    assert expired.hostfwctl("status").status == 0
    assert _in_kernel(expired) == {OLDER}


def test_a_trial_that_could_not_be_given_up_is_not_said_to_have_changed_nothing(
    expired: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over before its deadline takes what is on record for what is in force."""
    engine = _engine(expired)
    assert isinstance(engine.expire(), RolledBack)
    ok = expired.kernel._run("")[0]

    def refuse(*_: object) -> None:
        raise StateError("that nothing is pending could not be saved")

    expired.kernel.failures.extend([ok, NftFailure("it died", unchanged=True)])
    with monkeypatch.context() as patch:
        patch.setattr("hostfw.engine.trial.trial.forget_trial", refuse)
        done = expired.hostfwctl("apply", "--confirm-within", "90s")
    expired.kernel.failures.clear()
    assert done.status == 1
    assert UNKNOWN in done.err
    assert "that nothing is pending could not be saved" in done.err


def test_a_damaged_timer_does_not_make_a_trial_end_as_by_a_reboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its deadline counts: on a host where nothing was accepted before, a reboot would leave it in force."""
    host = machine(tmp_path, monkeypatch)
    host.write(web=WEB, uplink=UPLINK)
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    (host.directory / "run" / "pending.json").write_bytes(b"\0")
    assert _engine(host).expire() is None
    assert lets_in(host, OLD)
    host.clock.wait(91)
    assert isinstance(_engine(host).expire(), RolledBack)
    assert not host.kernel.read_tables().ip.exists
    assert isinstance(_engine(host).rollback(), NoTrial | Failed)
