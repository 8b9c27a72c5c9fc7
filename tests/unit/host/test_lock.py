"""One writer at a time."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.host.errors import HostError
from hostfw.host.lock import LockHeld, WriterLock, directory_of

ROOT = Path(__file__).parents[3]


@contextmanager
def another_writer(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its input ends."""
    script = f"""
import sys
from pathlib import Path
from hostfw.host.lock import WriterLock
with WriterLock(Path({str(run_dir)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_lock_is_had_again_and_again(tmp_path: Path) -> None:
    """The directory is made where there is none, the file is root's alone, and goes with the lock."""
    for _ in range(3):
        with WriterLock(tmp_path / "run"):
            (file,) = (tmp_path / "run").iterdir()
            assert file.name == f"apply-{Path('/proc/self/ns/net').stat().st_ino}.lock"
            assert file.stat().st_mode & 0o777 == 0o600

    assert list((tmp_path / "run").iterdir()) == []


def test_many_writers_take_turns(tmp_path: Path) -> None:
    """Although each takes the file of the lock with it: never are two at work."""
    at_work, most = 0, 0

    def write() -> None:
        nonlocal at_work, most
        for _ in range(20):
            with WriterLock(tmp_path):
                at_work += 1
                most = max(most, at_work)
                sleep(0.001)
                at_work -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not any(thread.is_alive() for thread in threads)
    assert most == 1


def test_one_directory_has_the_locks_whatever_the_run_directory(tmp_path: Path) -> None:
    """It is made where there is none; who cannot have it there has it in the run directory."""
    locks = tmp_path / "run" / "hostfw"

    assert directory_of(tmp_path / "a", locks) == directory_of(tmp_path / "b", locks) == locks
    assert locks.stat().st_mode & 0o777 == 0o755
    put_away = tmp_path / "file"
    put_away.write_text("")
    assert directory_of(tmp_path / "a", put_away / "hostfw") == tmp_path / "a"
    assert directory_of(tmp_path / "a", Path("/proc/hostfw")) == tmp_path / "a"


def test_a_second_writer_is_told_who_is_first(tmp_path: Path) -> None:
    """After waiting as long as it was told to."""
    with another_writer(tmp_path) as other:
        started = monotonic()
        with pytest.raises(LockHeld) as caught:
            WriterLock(tmp_path, timeout_s=0.2).acquire()

        assert 0.2 <= monotonic() - started < 5
        assert caught.value.message == (
            f"another process is changing the ruleset and was not done within 0.2 s (pid {other.pid})"
        )
        assert caught.value.hint == f"`ps -fp {other.pid}` shows what it is"


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    """And goes on as soon as it is done."""
    with another_writer(tmp_path) as other:
        assert other.stdin is not None
        threading.Timer(0.2, other.stdin.close).start()
        with WriterLock(tmp_path, timeout_s=10):
            assert other.wait(10) == 0


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    """Nothing has to be cleaned up by hand."""
    with another_writer(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()

        with WriterLock(tmp_path, timeout_s=0):
            pass


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    """A daemon has several."""
    with WriterLock(tmp_path), pytest.raises(LockHeld):
        WriterLock(tmp_path, timeout_s=0).acquire()


def test_releasing_lets_the_next_in_although_a_worker_holds_the_descriptor(tmp_path: Path) -> None:
    """The worker of a daemon lives longer than one apply."""
    lock = WriterLock(tmp_path)
    lock.acquire()
    worker = os.dup(lock.fileno())
    lock.release()

    with WriterLock(tmp_path, timeout_s=0):
        pass
    os.close(worker)


def test_the_descriptor_is_there_while_the_lock_is_held(tmp_path: Path) -> None:
    """And not before."""
    lock = WriterLock(tmp_path)
    with pytest.raises(HostError, match="not held"):
        lock.fileno()
    with lock:
        assert os.get_inheritable(lock.fileno()) is False


def test_a_run_directory_that_is_cleared_gives_no_two_locks(tmp_path: Path) -> None:
    """Whoever waited for the old file takes the lock of the new one, or none."""
    run = tmp_path / "run"
    with another_writer(run) as first:
        lock = WriterLock(run, timeout_s=10)
        waiter = threading.Thread(target=lock.acquire)
        waiter.start()
        run.rename(tmp_path / "cleared")
        waiter.join(10)
        assert not waiter.is_alive()
        assert first.poll() is None

        with pytest.raises(LockHeld):
            WriterLock(run, timeout_s=0).acquire()
        lock.release()


@pytest.mark.parametrize("content", ["", "x", "-1", "99999999999999999999"])
def test_a_holder_that_is_not_known_is_not_named(tmp_path: Path, content: str) -> None:
    """The pid in the file is for people and may be missing."""
    with another_writer(tmp_path):
        (file,) = tmp_path.iterdir()
        file.write_text(content)

        with pytest.raises(LockHeld, match="another process is changing the ruleset"):
            WriterLock(tmp_path, timeout_s=0).acquire()


def test_a_run_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """With the path and what to do."""
    (tmp_path / "run").write_text("")

    with pytest.raises(HostError, match=r"apply-\d+\.lock: cannot be locked: not a directory") as caught:
        WriterLock(tmp_path / "run").acquire()

    assert "--run-dir" in caught.value.hint


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """It could point at any file of root's."""
    target = tmp_path / "target"
    (tmp_path / f"apply-{Path('/proc/self/ns/net').stat().st_ino}.lock").symlink_to(target)

    with pytest.raises(HostError, match="cannot be locked"):
        WriterLock(tmp_path).acquire()

    assert not target.exists()
