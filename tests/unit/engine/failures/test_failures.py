"""Messages and exit statuses of every verb when the host or the daemon fails in the middle of it."""

import errno
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from json import dumps, loads
from pathlib import Path
from typing import Self

import pytest

from hostfw.build.cache import EngineCache
from hostfw.build.candidate import check_candidate
from hostfw.cli.output.console import ExitCode
from hostfw.control import channel, client
from hostfw.control.handlers import handle
from hostfw.control.messages import Apply, Report, ServiceReport
from hostfw.control.socket import Refusal, answer_bytes, our_version
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed, NoTrial
from hostfw.host.lock import LockHeld
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.host.store import atomic_files
from hostfw.host.store.codec import StateError
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.store.generations.last_event import load_event
from hostfw.host.systemd.rollback_timer import WatchdogError
from hostfw.model.host.facts import Interface
from lab.fakes.fakes import FakeClock
from tests.unit.cli_runs import UPLINK, WEB, Machine, Ran, machine
from tests.unit.engine.trial.test_trial import NEW, OLD, deadline_command, lets_in, session, state

NOW = FakeClock().now()
OK = NftResult(ok=True)
OTHER_RELEASE = "hostfwctl and the running hostfw.service are of different releases"
RESTART = "`systemctl restart hostfw` starts the installed release; the rules in force stay"
UNCHANGED = "; the ruleset in force is unchanged\n"
NOT_KNOWN = "; the active rules are unknown: run `hostfwctl status`\n"
NFT_ERRORS = "".join(f"/dev/stdin:{n}:1-9: Error: No such file or directory\nadd rule {n}\n^^^^\n" for n in range(60))

Injection = Callable[[Machine, pytest.MonkeyPatch], None]


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with an accepted generation that lets port 80 in; 443 is written, not applied."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    assert made.hostfwctl("apply").status == 0
    session(made, OLD)
    made.write(web=WEB.replace("80", "443"))
    return made


def _full(*folders: str) -> Injection:
    """Disks that take nothing more."""

    def inject(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        real = atomic_files._temporary

        def refuse(path: Path, mode: int) -> tuple[Path, int]:
            if any(path.is_relative_to(host.directory / folder) for folder in folders):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, mode)

        monkeypatch.setattr(atomic_files, "_temporary", refuse)

    return inject


def _lock_held(_: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Held:
        def __init__(self, _: Path) -> None:
            pass

        def __enter__(self) -> Self:
            raise LockHeld("another process is changing the ruleset and was not done within 30 s (pid 7)")

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("tests.unit.cli_runs.WriterLock", Held)


def _nft(*answers: NftResult | NftFailure) -> Injection:
    return lambda host, _: host.kernel.failures.extend(answers)


def _all(*injections: Injection) -> Injection:
    def inject(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        for one in injections:
            one(host, monkeypatch)

    return inject


REFUSED = NftResult(ok=False, error=NFT_ERRORS, line=1, column=1)
DIED = NftFailure("the nft worker (pid 8) died of SIGSEGV while checking a script", unchanged=True)
LOST = NftFailure("the nft worker (pid 8) gave no answer within 30 s and was killed", unchanged=False)


def _unreadable(number: int, words: str) -> Injection:
    def inject(host: Machine, _: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> KernelTables:
            raise NetlinkError(number, "reading the tables hostfw", "", words)

        host.kernel.read_tables = host.kernel.read_names = refuse  # type: ignore[method-assign]
        host.kernel.read_sets = refuse  # type: ignore[method-assign]
        host.kernel.read_some = refuse  # type: ignore[assignment]

    return inject


def _no_watchdog(_: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise WatchdogError("`systemd-run` failed: no bus")

    monkeypatch.setattr(Machine, "arm", refuse)


def _link_to_nowhere(host: Machine, _: pytest.MonkeyPatch) -> None:
    (host.config / "more.yaml").symlink_to(host.directory / "nowhere")


def _pipe(host: Machine, _: pytest.MonkeyPatch) -> None:
    import os

    os.mkfifo(host.config / "pipe.yaml")


def _damaged(host: Machine, _: pytest.MonkeyPatch) -> None:
    for path in state(host).glob("generations/*/generation.json"):
        path.write_bytes(b"\0")


def _nothing(_: Machine, __: pytest.MonkeyPatch) -> None:
    return None


BLOCK = ("lockdown", "--all")
TRIAL = ("apply", "--confirm-within", "90s")
BUSY = _unreadable(errno.EAGAIN, "it kept changing while it was read")
FORBIDDEN = _unreadable(errno.EPERM, "")
FULL_STATE, FULL_RUN, FULL = _full("var"), _full("run"), _full("var", "run")
SAID_FULL = "could not be saved: var: the disk is full"

TABLE: tuple[tuple[str, tuple[str, ...], Injection, int, str, int], ...] = (
    # name, verb, what fails, exit status, the end of what is said, the port that is let in afterwards
    ("state full", ("apply",), FULL_STATE, 1, f"{SAID_FULL}: after a reboot an earlier generation is in force\n", 443),
    ("state full", ("reload",), FULL_STATE, 1, f"{SAID_FULL}: after a reboot an earlier generation is in force\n", 443),
    ("run full", ("apply",), FULL_RUN, 0, "ms\n", 443),
    ("state full", TRIAL, FULL_STATE, 1, f"hostfwctl: the generation {SAID_FULL}{UNCHANGED}", 80),
    ("run full", TRIAL, FULL_RUN, 1, f"the disk is full{UNCHANGED}", 80),
    ("state full", ("rollback", "--to", "1"), FULL_STATE, 0, "in force, and accepted\n", 80),
    (
        "both full",
        BLOCK,
        _all(FULL, _nft(OK, OK)),
        1,
        "the disk is full: a reboot ends the block\n",
        80,
    ),
    ("lock held", ("apply",), _lock_held, 1, f"(pid 7){UNCHANGED}", 80),
    ("lock held", TRIAL, _lock_held, 1, f"(pid 7){UNCHANGED}", 80),
    ("lock held", ("confirm",), _lock_held, 1, f"(pid 7){UNCHANGED}", 80),
    ("lock held", ("rollback",), _lock_held, 1, f"(pid 7){UNCHANGED}", 80),
    ("lock held", ("rollback", "--to", "1"), _lock_held, 1, f"(pid 7){UNCHANGED}", 80),
    ("lock held", ("disable", "--remove-rules"), _lock_held, 1, "(pid 7)", 80),
    ("lock held", BLOCK, _lock_held, 1, "", 80),
    ("lock held", ("status",), _lock_held, 0, "", 80),
    ("lock held", ("history",), _lock_held, 0, "", 80),
    ("nft refuses what is prepared", ("apply",), _nft(REFUSED), 1, f"No such file or directory{UNCHANGED}", 80),
    ("nft refuses the switch", ("apply",), _nft(OK, REFUSED), 1, f"such file or directory{UNCHANGED}", 80),
    ("nft refuses", BLOCK, _nft(REFUSED), 1, f"No such file or directory{UNCHANGED}", 80),
    ("nft dies over what is prepared", ("apply",), _nft(LOST), 1, f"and was killed{UNCHANGED}", 80),
    ("nft dies over the check", ("apply",), _nft(OK, DIED), 1, f"checking a script{UNCHANGED}", 80),
    ("nft dies over the switch", ("apply",), _nft(OK, OK, LOST), 1, f"and was killed{NOT_KNOWN}", 80),
    ("nft dies over the check", BLOCK, _nft(DIED), 1, f"checking a script{UNCHANGED}", 80),
    ("nft dies over the commit", BLOCK, _nft(OK, LOST), 1, f"and was killed{NOT_KNOWN}", 80),
    ("dump interrupted", ("apply",), BUSY, 1, f"it kept changing while it was read{UNCHANGED}", 80),
    ("dump interrupted", ("status",), BUSY, 1, "it kept changing while it was read\n", 80),
    ("dump interrupted", ("doctor",), BUSY, 1, "it kept changing while it was read\n", 80),
    ("dump interrupted", ("disable", "--remove-rules"), BUSY, 1, "", 80),
    ("not permitted", ("apply",), FORBIDDEN, 4, "hint: run it as root\n", 80),
    ("not permitted", ("status",), FORBIDDEN, 4, "hint: run it as root\n", 80),
    ("no watchdog", TRIAL, _no_watchdog, 1, f"no bus{UNCHANGED}", 80),
    ("a link that leads nowhere", ("apply",), _link_to_nowhere, 3, "nothing was changed\n", 80),
    ("a link that leads nowhere", ("validate",), _link_to_nowhere, 3, "1 problem in 1 file\n", 80),
    ("a link that leads nowhere", ("diff",), _link_to_nowhere, 3, "", 80),
    ("a pipe", ("apply",), _pipe, 3, "nothing was changed\n", 80),
    ("a damaged state", ("rollback", "--to", "1"), _damaged, 1, "", 80),
    ("a damaged state", ("apply",), _damaged, 0, "ms\n", 443),
    ("a damaged state", TRIAL, _damaged, 1, "", 80),
    ("nothing pending", ("confirm",), _nothing, 0, "there is nothing to confirm\n", 80),
    ("nothing pending", ("rollback",), _nothing, 1, "the active generation is accepted\n", 80),
    ("no such generation", ("rollback", "--to", "99"), _nothing, 1, "", 80),
)


@pytest.mark.parametrize(
    ("verb", "inject", "status", "said", "port"),
    [pytest.param(*row[1:], id=f"{row[0]}: {' '.join(row[1])}") for row in TABLE],
)
def test_a_failure_is_said_as_it_is(
    host: Machine,
    monkeypatch: pytest.MonkeyPatch,
    verb: tuple[str, ...],
    inject: Injection,
    status: int,
    said: str,
    port: int,
) -> None:
    """Exit status, message and what the kernel holds agree; no line is longer than a person reads."""
    with monkeypatch.context() as patch:
        read_tables, read_names = host.kernel.read_tables, host.kernel.read_names
        inject(host, patch)
        done = host.hostfwctl(*verb)
        host.kernel.read_tables, host.kernel.read_names = read_tables, read_names  # type: ignore[method-assign]

    assert done.status == status, done
    assert said in f"{done.err}\n", done.err
    assert {wanted for wanted in (80, 443) if lets_in(host, wanted)} == {port}
    assert max(map(len, done.err.splitlines()), default=0) < 400, done.err
    assert "Traceback" not in done.err
    assert "unchanged; " not in done.err


def test_what_was_not_saved_is_known_to_the_doctor(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a full disk, until something is applied that can be written down."""
    with monkeypatch.context() as patch:
        FULL_STATE(host, patch)
        assert host.hostfwctl("apply").status == 1
    assert "Not saved:     the next boot enforces another generation" in host.hostfwctl("status").out
    found = json.loads(host.hostfwctl("doctor", "-o", "json").out)["items"]
    assert [item["message"] for item in found if "could not be saved" in item["message"]] == [
        f"generation {_in_force(host)} is in force and could not be saved: the next boot enforces an earlier one"
    ]
    assert host.hostfwctl("apply").status == 0
    found = json.loads(host.hostfwctl("doctor", "-o", "json").out)["items"]
    assert not any("could not be saved" in item["message"] for item in found)


def test_an_interface_that_comes_does_not_make_it_saved(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resync accepts nothing that was not accepted; a rollback or a confirmation does."""
    host.write(uplink=UPLINK.replace("interfaceName: eth0", 'interfaceName: "*"'))
    with monkeypatch.context() as patch:
        FULL_STATE(host, patch)
        assert host.hostfwctl("apply").status == 1
        engine = Engine(Directories(host.config, state(host), host.directory / "run"), host.host(), cache=EngineCache())
        candidate = check_candidate(*read_configuration(host.config))
        assert isinstance(applied := engine.apply(candidate), Applied)
        host.facts = replace(host.facts, interfaces=(*host.facts.interfaces, Interface("eth9", 9)))
        assert isinstance(engine.resync(applied.generation), Applied)

    assert _is_saved(host) is False
    assert host.hostfwctl(*TRIAL).status == 0
    assert "could not be saved" not in host.hostfwctl("doctor").out
    assert host.hostfwctl("confirm", "--console").status == 0
    assert _is_saved(host) is True


def _is_saved(host: Machine) -> object:
    return json.loads(host.hostfwctl("status", "-o", "json").out)["saved"]


def test_a_record_that_cannot_be_written_does_not_lie(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of what was in force before would have `status` tell of another program's changes."""
    with monkeypatch.context() as patch:
        FULL_RUN(host, patch)
        assert host.hostfwctl("apply").status == 0
    shown = host.hostfwctl("status")

    assert "another program" not in shown.out
    assert "not on record" in shown.out


def test_a_run_directory_that_is_mounted_read_only_has_nobody_blamed(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of before cannot even be removed: what an apply wrote differs from it, and nobody else was there."""

    def frozen(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def kept(*_: object) -> None:
        raise StateError("the record cannot be removed: the file system is mounted read-only")

    with monkeypatch.context() as patch:
        _full("run")(host, patch)
        patch.setattr("hostfw.engine.kernel.state.record.forget_active", kept)
        patch.setattr("hostfw.host.store.generations.active.Path.write_text", frozen)
        patch.setattr("hostfw.engine.reading.status.is_read_only", lambda path: path.name == "run")
        patch.setattr("hostfw.cli.verbs.configuration.diff.is_read_only", lambda path: path.name == "run")
        assert host.hostfwctl("apply").status == 0
        shown, told, differing = (host.hostfwctl(verb) for verb in ("status", "doctor", "diff"))

    assert "not on record: the run directory is mounted read-only" in shown.out
    said = "changed by hostfw or by another program, since no record can be written in the run directory"
    for done in (shown, told, differing):
        assert said in " ".join(f"{done.out}{done.err}".split()), done
        assert "another program changed" not in f"{done.out}{done.err}"


@pytest.mark.parametrize("gone", ["accepted", "."])
def test_a_state_directory_that_lost_what_was_accepted_is_said_to_have(host: Machine, gone: str) -> None:
    """The next boot does not have what is in force, until it is applied again."""
    path = state(host) / gone
    shutil.rmtree(path) if gone == "." else path.unlink()
    shown, told = host.hostfwctl("status"), host.hostfwctl("doctor")

    said = (
        "no accepted generation is stored, so the next boot enforces the failsafes alone; `hostfwctl apply` stores it"
    )
    assert said in " ".join(shown.out.split())
    assert told.status == 1
    assert "has no accepted generation: the next boot enforces the failsafes alone" in " ".join(told.out.split())
    assert host.hostfwctl("apply").status == 0
    assert "Not saved" not in host.hostfwctl("status").out
    assert "no accepted generation" not in host.hostfwctl("doctor").out


def test_what_is_rolled_back_is_so_although_its_record_stays(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of failure has the watchdog try again; whoever comes next ends it."""
    host.hostfwctl(*TRIAL)
    command = deadline_command(host)
    host.clock.wait(91)
    with monkeypatch.context() as patch:
        patch.setattr("hostfw.host.store.generations.trial.sync_directory", _refuse)
        done = host.hostfwctl(*command)

    assert done.status == 1
    assert "rolled back (it was not confirmed in time)" in done.err
    assert "the disk is full: the next hostfwctl tries again\n" in done.err
    assert lets_in(host, 80)
    assert host.hostfwctl("apply").status == 0


def test_what_cannot_be_accepted_goes_on_waiting(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmation that cannot be written down is none, and says when it is rolled back."""
    host.hostfwctl(*TRIAL)
    session(host, NEW)
    with monkeypatch.context() as patch:
        patch.setattr("hostfw.host.store.generations.generations.link_atomically", _refuse)
        done = host.hostfwctl("confirm")

    assert done.status == 1
    assert "the disk is full; generation " in done.err
    assert "is rolled back in 90 s" in done.err
    assert host.hostfwctl("confirm").status == 0


def test_an_apply_that_ends_a_lost_trial_says_what_is_in_force(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of the trial cannot be removed: the generation is in force, and the status is that of a failure."""
    host.hostfwctl(*TRIAL)
    _damaged(host, monkeypatch)
    host.clock.wait(91)
    with monkeypatch.context() as patch:
        patch.setattr("hostfw.host.store.generations.trial.sync_directory", _refuse)
        done = host.hostfwctl("apply")

    assert done.status == 1
    assert "in force: 1 policy" in done.err
    assert "unchanged" not in done.err


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "var")


def _in_force(host: Machine) -> str:
    return str(json.loads(host.hostfwctl("status", "-o", "json").out)["generation"])


# The daemon


@dataclass
class FakeDaemon:
    """Something that listens at the control socket and says one thing."""

    says: bytes
    asked: int = 0


@contextmanager
def daemon(host: Machine, says: bytes) -> Iterator[FakeDaemon]:
    """A daemon that answers every request with these bytes, and closes."""
    made = FakeDaemon(says)
    path = host.directory / "run" / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    channel, _ = listener.accept()
                except OSError:
                    return
                with channel:
                    made.asked += 1
                    data = b""
                    while not data.endswith(b"\0") and (part := channel.recv(1 << 16)):
                        data += part
                    if made.says == b"silence":
                        channel.settimeout(5)
                        channel.recv(1)
                    else:
                        channel.sendall(made.says)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            path.unlink()


def envelope(version: object, content: object = None) -> bytes:
    """An answer of some release."""
    return dumps({"version": version, "content": content}).encode() + b"\0"


OURS = loads(our_version())
REFUSED_BY_THE_FIRST = {
    "type": "Refusal",
    "message": "the daemon does not understand the request: version 1 is spoken here, not abc",
    "hint": "`systemctl restart hostfw`",
    "elsewhere": False,
}
REPORT = ServiceReport(1, NOW, "abc", "", 0, 0, 0, 0, 0, 0, listening=True)
ANSWERS = {
    "nothing": b"",
    "half an answer": answer_bytes(NoTrial())[:-5],
    "silence": b"silence",
    "garbage": b"\xff\xfe{\0",
    "no JSON object": b"[]\0",
    "deep garbage": b"[" * 100_000 + b"\0",
    "a long integer": envelope(OURS, {"type": "TakenBack"})[:-3] + b',"generation":' + b"9" * 5000 + b"}}\0",
    "another release": envelope(2, {"type": "NothingPending", "more": 1}),
    "the first release": envelope(1, REFUSED_BY_THE_FIRST),
    "a version that is none": envelope({"a": []}),
    "another kind of value": envelope(OURS, {"type": "Reply"}),
    "an unknown field": envelope(OURS, {"type": "NothingPending", "more": 1}),
    "a report": answer_bytes(REPORT),
    "a refusal": answer_bytes(Refusal("the daemon does not understand the request: version 2 is spoken here")),
    "a failure": answer_bytes(Failed("this is a defect of hostfw: KeyError: 1")),
}
UNDERSTOOD = ("a refusal", "a failure", "another release", "the first release")


@pytest.mark.parametrize("name", ANSWERS)
def test_a_daemon_that_answers_badly_is_a_failure(host: Machine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nothing is done here, since the daemon may be at it; the active rules are unknown, unless it says so."""
    monkeypatch.setattr("hostfw.cli.verbs.in_force.apply.ask", partial(client.ask, timeout_s=0.3))
    with daemon(host, ANSWERS[name]) as there:
        done = host.hostfwctl("apply")

    assert there.asked == 1
    assert done.status == 1, done
    assert done.err.rstrip().count("\n") <= 1
    assert ("the active rules are unknown" in done.err) == (name not in UNDERSTOOD)
    assert lets_in(host, 80)


@pytest.mark.parametrize("name", ["another release", "the first release"])
@pytest.mark.parametrize(
    ("verb", "status", "said"),
    [
        (("apply",), 1, f"hostfwctl: {OTHER_RELEASE}{UNCHANGED}  hint: {RESTART}\n"),
        (("reload",), 1, f"hostfwctl: {OTHER_RELEASE}{UNCHANGED}  hint: {RESTART}\n"),
        (("confirm",), 1, f"hostfwctl: {OTHER_RELEASE}{UNCHANGED}  hint: {RESTART}\n"),
        (("rollback",), 1, f"hostfwctl: {OTHER_RELEASE}{UNCHANGED}  hint: {RESTART}\n"),
        (("rollback", "--to", "1"), 1, f"hostfwctl: {OTHER_RELEASE}{UNCHANGED}  hint: {RESTART}\n"),
        (("status",), 0, OTHER_RELEASE),
        (("doctor",), 1, OTHER_RELEASE),
    ],
    ids=str,
)
def test_a_daemon_of_another_release_is_named_as_that(
    host: Machine, name: str, verb: tuple[str, ...], status: int, said: str
) -> None:
    """Every verb says what is the matter and what to do; nothing is changed."""
    with daemon(host, ANSWERS[name]):
        done = host.hostfwctl(*verb)

    assert done.status == status, done
    assert said in done.out + done.err, done
    assert lets_in(host, 80)


@pytest.mark.parametrize("name", ANSWERS)
def test_at_the_deadline_no_daemon_stands_in_the_way(host: Machine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever it says or does not say: what was not confirmed is rolled back here."""
    monkeypatch.setattr("hostfw.cli.verbs.in_force.rollback._DEADLINE_TIMEOUT_S", 0.3)
    host.hostfwctl(*TRIAL)
    command = deadline_command(host)
    host.clock.wait(91)
    with daemon(host, ANSWERS[name]) as there:
        done = host.hostfwctl(*command)

    assert there.asked == 1
    assert done.status == 0, done
    assert lets_in(host, 80)
    assert not lets_in(host, 443)
    event = load_event(state(host))
    assert event is not None
    assert event.kind == "rolled-back"


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    ("asking", "verb"), [("output.reports.service_lines", "status"), ("verbs.host.doctor", "doctor")]
)
def test_looking_at_the_host_outlasts_a_bad_daemon(
    host: Machine, monkeypatch: pytest.MonkeyPatch, name: str, asking: str, verb: str
) -> None:
    """The active generation is shown nevertheless, with the trouble of the daemon."""
    monkeypatch.setattr(f"hostfw.cli.{asking}.report", lambda run_of: channel.report(run_of, 0.3))
    with daemon(host, ANSWERS[name]):
        done = host.hostfwctl(verb, "-o", "json")

    assert done.status == (0 if verb == "status" or name == "a report" else 1), done
    shown = json.loads(done.out)
    assert (shown["service"] is None) == (name != "a report") if verb == "status" else shown
    assert "Traceback" not in done.err


def test_a_report_is_still_a_report(host: Machine) -> None:
    """The daemon that answers as it should is shown."""
    with daemon(host, answer_bytes(REPORT)):
        shown = json.loads(host.hostfwctl("status", "-o", "json").out)

    assert shown["service"]["generation"] == "abc"
    assert Report() == Report()


def test_a_block_is_ended_although_it_cannot_be_forgotten(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status says that the next boot blocks again."""
    host.kernel.failures.extend([OK, OK])
    assert host.hostfwctl(*BLOCK).status == 0
    host.blocked = BlockTable(())
    monkeypatch.setattr("hostfw.host.store.block.sync_directory", _refuse)
    monkeypatch.setattr("hostfw.host.nftables.writing.block_table.delete_block", lambda: True)
    done = host.hostfwctl("unblock")

    assert done.status == 1
    assert "the next boot blocks the host again" in done.err


@pytest.mark.parametrize("seconds", [-1.0, 0.5, 86_401.0, 1e308])
def test_a_trial_of_no_sensible_length_is_refused(host: Machine, seconds: float) -> None:
    """Whoever speaks to the daemon without hostfwctl is answered in the same words."""
    engine = Engine(Directories(host.config, state(host), host.directory / "run"), host.host())

    reply = handle(engine, Apply(confirm_within_s=seconds))

    assert isinstance(reply, Failed)
    assert reply.message.startswith("a change cannot wait ")
    assert lets_in(host, 80)


# Every verb

WRITING: tuple[tuple[str, ...], ...] = (
    ("apply",),
    ("apply", "--confirm-within", "90s"),
    ("reload",),
    ("confirm",),
    ("rollback",),
    ("rollback", "--to", "1"),
    BLOCK,
    ("unblock",),
    ("disable", "--remove-rules"),
)
READING: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "-o", "json"),
    ("doctor",),
    ("history",),
    ("diff",),
    ("diff", "--nft"),
    ("validate",),
    ("compile",),
    ("get", "gnp"),
    ("describe", "gnp", "web"),
    ("interfaces",),
    ("explain", "192.0.2.9", "192.0.2.1:80", "--in", "eth0"),
    ("staged",),
    ("promote", "web"),
    ("selector", "all()"),
    ("counters",),
    ("version",),
    ("schema",),
    ("completion", "bash"),
)
SPEAK_OTHERWISE = ("diff", "doctor", "explain", "validate")
"""Verbs whose answer is on standard output whatever it is; the status says in short which it is."""
ALWAYS: dict[str, Injection] = {
    "nothing": _nothing,
    "full disks": FULL,
    "the kernel changes without pause": BUSY,
    "not permitted": FORBIDDEN,
    "damaged generations": _damaged,
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", ALWAYS)
def test_no_verb_ends_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    """Each ends with a status that there is; with another than 0 it says why, and with 0 it complains of nothing."""
    hosts = [(f"{number}", (verb,)) for number, verb in enumerate(WRITING)]
    for folder, verbs in (*hosts, ("reading", READING)):
        directory = tmp_path / folder
        directory.mkdir()
        with monkeypatch.context() as patch:
            host = machine(directory, patch)
            host.write(web=WEB, uplink=UPLINK)
            assert host.hostfwctl("apply").status == 0
            host.write(web=WEB.replace("80", "443"))
            ALWAYS[failure](host, patch)
            answers = [(verb, host.hostfwctl(*verb)) for verb in verbs]
        for verb, done in answers:
            _agrees(verb, done)


def _agrees(verb: tuple[str, ...], done: Ran) -> None:
    assert done.status in set(ExitCode), (verb, done)
    assert "Traceback" not in done.err, (verb, done)
    assert done.status == 0 or done.out or done.err, (verb, done)
    assert done.status != 0 or "hostfwctl: " not in done.err, (verb, done)
    assert done.status == 0 or verb[0] in SPEAK_OTHERWISE or "hostfwctl: " in done.err, (verb, done)
