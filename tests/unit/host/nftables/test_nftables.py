"""The nft worker: what it answers, and what becomes of one that dies or hangs.

The worker is a real process; libnftables in it is a stand-in that does what the script's first word says.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.host.lock import LockHeld, WriterLock
from hostfw.host.nftables import nft_version as version
from hostfw.host.nftables.nft_version import nft_version
from hostfw.host.nftables.writing import script_runner as nftables
from hostfw.host.nftables.writing.script_runner import NftablesWorker, NftFailure, NftResult, SpareWorker

ROOT = Path(__file__).parents[4]
STAND_IN = """
import os, signal, sys, time
from pathlib import Path

class Nftables:
    def set_dry_run(self, check):
        self.check = check

    def cmd_from_file(self, name):
        script = Path(os.fsdecode(name)).read_text()
        word, _, rest = script.partition(" ")
        match word:
            case "crash":
                print("corrupted double-linked list", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(60)
            case "slow":
                time.sleep(1)
                Path(rest).write_text("done")
            case "refuse":
                return 1, b"", name + b":" + rest.encode()
            case "size":
                return 1, b"", b"%d" % len(script)
            case "dry":
                return 1, b"", str(self.check).encode()
            case "descriptors":
                found = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
                return 1, b"", "\\n".join(os.readlink(one) for one in found if os.path.lexists(one)).encode()
            case "long":
                return 1, b"", b"x" * 1_000_000
        return 0, b"", b""
"""


@pytest.fixture(autouse=True)
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nftables.py").write_text(STAND_IN)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


@pytest.fixture
def worker() -> Iterator[NftablesWorker]:
    """A worker that waits a little for its library."""
    with NftablesWorker(timeout_s=10) as worker:
        yield worker


def gone(pid: int) -> bool:
    """True if a process ends within ten seconds."""
    deadline = monotonic() + 10
    while monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        sleep(0.02)
    return False


def test_a_script_that_passes_is_ok(worker: NftablesWorker) -> None:
    """Checked or committed."""
    assert worker.check("fine") == NftResult(ok=True)
    assert worker.commit("fine") == NftResult(ok=True)


def test_only_a_commit_is_no_dry_run(worker: NftablesWorker) -> None:
    """Each request says which it is, whatever the one before was."""
    assert [worker.check("dry ").error, worker.commit("dry ").error, worker.check("dry ").error] == [
        "True",
        "False",
        "True",
    ]


@pytest.mark.parametrize(
    ("error", "line", "column"),
    [
        ("3:25-28: Error: syntax error, unexpected string\nadd rule\n     ^^^^\n", 3, 25),
        ("12:7: Error: odd\n7:1-2: Error: second\n", 12, 7),
        ("Error: no position at all\n", None, None),
        ("4:1-2: Warning: not that\n9:3-4: Error: but this\n", 9, 3),
    ],
)
def test_errors_are_nfts_own_with_the_first_position(
    worker: NftablesWorker, error: str, line: int | None, column: int | None
) -> None:
    """The name of the file that libnftables read is left out of them."""
    assert worker.check(f"refuse {error}") == NftResult(ok=False, error=error, line=line, column=column)


@pytest.mark.parametrize("size", [0, 1, 100_000, 20_000_000])
def test_scripts_of_any_size_arrive_whole(worker: NftablesWorker, size: int) -> None:
    """Far beyond what a pipe holds."""
    script = "size " + "ä" * (size // 2)

    assert worker.check(script).error == str(len(script))


def test_an_endless_error_text_is_cut(worker: NftablesWorker) -> None:
    """20,000 lines that are refused need no 20,000 explanations."""
    assert len(worker.check("long ").error) == 256 * 1024


@pytest.mark.parametrize(
    ("script", "fate"),
    [
        ("crash ", r"died of SIGSEGV while {doing} a script: corrupted double-linked list"),
        ("exit ", r"ended with status 3 while {doing} a script"),
    ],
)
def test_a_worker_that_dies_is_a_failure(worker: NftablesWorker, script: str, fate: str) -> None:
    """While it checked, nothing has changed; while it committed, nobody knows. The next request has a new worker."""
    with pytest.raises(NftFailure) as checking:
        worker.check(script)
    with pytest.raises(NftFailure) as committing:
        worker.commit(script)

    assert checking.value.unchanged
    assert not committing.value.unchanged
    said = checking.value.message.partition(") ")[2]
    assert said == fate.format(doing="checking")
    said = committing.value.message.partition(") ")[2]
    assert said == fate.format(doing="committing")
    assert worker.check("fine").ok


def test_a_worker_that_hangs_is_killed() -> None:
    """No sooner than its time is up, and it alone."""
    with NftablesWorker(timeout_s=0.5) as bystander, NftablesWorker(timeout_s=1.0) as worker:
        assert bystander.check("fine").ok
        assert worker.check("fine").ok
        pid, started = worker.pid, monotonic()
        with pytest.raises(NftFailure, match="gave no answer within 1 s and was killed while committing") as caught:
            worker.commit("hang ")

        assert 0.9 < monotonic() - started < 5
        assert pid is not None
        assert gone(pid)
        assert not caught.value.unchanged
        assert bystander.check("fine").ok
        assert worker.check("fine").ok


def test_a_worker_killed_while_idle_is_replaced(worker: NftablesWorker) -> None:
    """As by the kernel when memory runs out."""
    assert worker.check("fine").ok
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    sleep(0.1)

    assert worker.commit("fine").ok
    assert worker.pid != first


def test_an_interrupted_request_leaves_no_answer_behind(
    worker: NftablesWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a commit runs: it is finished, and the next request gets its own answer."""
    marker = tmp_path / "marker"
    assert worker.check("fine").ok

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(nftables, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.commit(f"slow {marker}")

    assert marker.read_text() == "done"
    assert worker.check("refuse 1:1: Error: mine\n").error == "1:1: Error: mine\n"


def test_a_closed_worker_ends_and_can_be_used_again(worker: NftablesWorker) -> None:
    """Closing gives memory back; the next request starts another."""
    assert worker.check("fine").ok
    pid = worker.pid
    assert pid is not None
    worker.close()

    assert worker.pid is None
    assert gone(pid)
    assert worker.check("fine").ok


def test_a_commit_outlives_its_killed_parent_and_holds_the_lock(tmp_path: Path) -> None:
    """Kill -9 in the middle of an apply: nobody else writes until the worker has done what it was given."""
    marker = tmp_path / "marker"
    parent = f"""
import os, threading, time
from pathlib import Path
from hostfw.host.lock import WriterLock
from hostfw.host import nftables
from hostfw.host.lock import LockHeld, WriterLock
from hostfw.host.nftables.writing.script_runner import NftablesWorker
with WriterLock(Path({str(tmp_path)!r})) as lock:
    worker = NftablesWorker(keep_open=(lock.fileno(),))
    worker.check("fine")
    print(worker.pid, flush=True)
    threading.Timer(0.1, os.kill, (os.getpid(), 9)).start()
    worker.commit("slow {marker}")
"""
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    killed = subprocess.run(
        [sys.executable, "-c", parent], env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False
    )

    assert killed.returncode == -signal.SIGKILL
    assert not marker.exists()
    with pytest.raises(LockHeld, match="left behind by pid"), WriterLock(tmp_path, timeout_s=0):
        pass
    with WriterLock(tmp_path, timeout_s=10):
        assert marker.read_text() == "done"
    assert gone(int(killed.stdout))


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP", "USR1", "USR2"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
def test_a_worker_leaves_signals_to_its_parent(worker: NftablesWorker, number: str, *, at_once: bool) -> None:
    """Ctrl-C does not reach it, and what is sent to a whole service (`systemctl kill`) does not end it."""
    if not at_once:
        assert worker.check("fine").ok
    pid = worker.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    if not (at_once and number == "INT"):
        # That one ends Python before it has begun; nothing but a terminal sends it, to the group that we are not in.
        os.kill(pid, signal.Signals[f"SIG{number}"])

    assert worker.commit("fine").ok
    assert worker.pid == pid


def test_a_worker_blocks_and_ignores_nothing_but_what_is_left_to_its_parent() -> None:
    """SIGALRM ends a request that hangs, even where who started us ignored or blocked it."""
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        with NftablesWorker() as worker:
            assert worker.pid is not None
            assert worker.check("fine") is not None
            blocked, ignored = (_signals(worker.pid, field) for field in ("SigBlk", "SigIgn"))
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    assert not blocked
    assert signal.SIGALRM not in ignored
    assert {signal.SIGTERM, signal.SIGHUP} <= ignored


def _signals(pid: int, field: str) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith(field)).split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_a_worker_inherits_nothing_but_what_it_is_given(tmp_path: Path) -> None:
    """Other sockets and locks of the parent would live as long as the worker; what it is given as long as a request."""
    with (tmp_path / "kept").open("w") as kept, (tmp_path / "other").open("w") as other:
        os.set_inheritable(other.fileno(), True)
        with NftablesWorker(keep_open=(kept.fileno(),)) as worker:
            at_work = worker.check("descriptors ").error.splitlines()
            again = worker.check("descriptors ").error.splitlines()
            folder = Path(f"/proc/{worker.pid}/fd")
            at_rest = [one.readlink() for one in folder.iterdir()]

    assert at_work.count(kept.name) == again.count(kept.name) == 1
    assert other.name not in at_work
    assert len(at_work) < 8
    assert Path(kept.name) not in at_rest


def test_a_spare_worker_is_the_one_of_the_last_time() -> None:
    """The next change waits for no start; one that has died meanwhile, or had a long script, is replaced."""
    spare, started = SpareWorker(), list[int]()
    try:
        pids = []
        for script in ("fine", "fine", "fine".ljust(1_000_000), "fine"):
            with NftablesWorker(started=started.append, spare=spare) as worker:
                assert worker.commit(script).ok
                pids.append(worker.pid)
        first, second, third, fourth = pids
        assert first == second == third
        assert first is not None
        assert gone(first)
        assert fourth is not None
        os.kill(fourth, signal.SIGKILL)
        os.waitid(os.P_PID, fourth, os.WEXITED | os.WNOWAIT)
        with NftablesWorker(started=started.append, spare=spare) as worker:
            assert worker.commit("fine").ok
            fifth = worker.pid
    finally:
        spare.close()

    assert started == [first, fourth, fifth]
    assert fifth is not None
    assert gone(fifth)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "raise ModuleNotFoundError('No module named nftables')",
            "ended with status 1 while starting: ModuleNotFoundError",
        ),
        ("import os; os._exit(127)", "ended with status 127 while starting"),
    ],
)
def test_a_worker_that_cannot_start_says_why(tmp_path: Path, content: str, expected: str) -> None:
    """Nothing was changed, and the missing package is named."""
    (tmp_path / "nftables.py").write_text(content)

    with NftablesWorker() as worker, pytest.raises(NftFailure) as caught:
        worker.commit("fine")

    assert expected in caught.value.message
    assert caught.value.unchanged
    assert caught.value.hint == "is the package python3-nftables installed?"


def test_an_interpreter_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade of Python under a running daemon."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")

    with pytest.raises(NftFailure, match="cannot be started") as caught:
        NftablesWorker()

    assert caught.value.unchanged


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("echo 'nftables v1.0.6 (Lester Gooch #5)'", "1.0.6"),
        ("echo 'nftables v1.1.3 (Commodore Bullmoose #4)'", "1.1.3"),
        ("exit 1", ""),
        ("echo", ""),
    ],
)
def test_the_version_of_nft_is_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    """Or nothing, where it says nothing."""
    nft = tmp_path / "nft"
    nft.write_text(f"#!/bin/sh\n{program}\n")
    nft.chmod(0o755)
    monkeypatch.setattr(version, "_NFT_PATHS", (str(tmp_path / "none"), str(nft)))

    assert nft_version() == expected


def test_without_nft_there_is_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that only compiles needs none."""
    monkeypatch.setattr(version, "_NFT_PATHS", ())

    assert nft_version() == ""
