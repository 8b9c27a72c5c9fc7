"""Failures around a verb: hostfwctl ends with a message and a status, without a traceback."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from hostfw.cli.main import run
from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError
from tests.unit.cli_runs import hostfwctl

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "hostfw.cli"]


def caused(error: Exception, cause: Exception) -> Exception:
    """An error as it is after `raise error from cause`."""
    error.__cause__ = cause
    return error


FAILURES: list[tuple[str, BaseException, int, str]] = [
    ("the world outside fails", HostError("no answer", "ask again"), 1, "no answer\n  hint: ask again\n"),
    (
        "the kernel wants privileges",
        NetlinkError(errno.EPERM, "reading the tables hostfw"),
        4,
        "reading the tables hostfw: Operation not permitted\n  hint: run it as root\n",
    ),
    (
        "a failure because of privileges",
        caused(HostError("the run directory is no good"), PermissionError(errno.EACCES, "Permission denied")),
        4,
        "the run directory is no good\n  hint: run it as root\n",
    ),
    (
        "a directory of others",
        PermissionError(errno.EACCES, "Permission denied", "/var/lib/hostfw"),
        4,
        "/var/lib/hostfw: Permission denied\n  hint: run it as root\n",
    ),
    ("a full disk", OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device\n"),
    (
        "a package is missing",
        ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2.iproute"),
        1,
        "the Python module pyroute2.iproute is missing\n  hint: apt install python3-pyroute2\n",
    ),
]


@pytest.mark.parametrize(("error", "status", "message"), [c[1:] for c in FAILURES], ids=[c[0] for c in FAILURES])
def test_a_failure_is_a_message(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    """Errors of the machine end with a message, the next step where there is one, and a status."""
    monkeypatch.setattr("hostfw.cli.verbs.host.version.run", raising(error))

    assert hostfwctl("version") == (status, "", f"hostfwctl: {message}")


DEFECTS = [
    ("a defect of ours", KeyError("chain")),
    ("a module of ours is missing", ModuleNotFoundError("No module named 'hostfw.gone'", name="hostfw.gone")),
]


@pytest.mark.parametrize("error", [c[1] for c in DEFECTS], ids=[c[0] for c in DEFECTS])
def test_a_defect_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Defects of hostfw are shown with their traceback."""
    monkeypatch.setattr("hostfw.cli.verbs.host.version.run", raising(error))

    with pytest.raises(type(error)):
        run(["version"], StringIO(), StringIO())


def raising(error: BaseException) -> Callable[..., int]:
    """A verb that fails."""

    def fail(*_: object) -> int:
        raise error

    return fail


def test_a_reader_that_leaves_is_no_failure_to_speak_of() -> None:
    """`hostfwctl ... | head` ends quietly, as other tools do: with 128 and the number of SIGPIPE."""
    with subprocess.Popen(
        [*COMMAND, "validate", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        messages = process.stderr.read()

    assert (process.returncode, messages) == (141, b"")


def test_a_reader_of_both_streams_that_leaves_is_no_failure_either() -> None:
    """`hostfwctl ... 2>&1 | head` as well, where the messages have nobody to read them."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "nonsense"], cwd=ROOT, stdout=writer, stderr=writer, check=False)
    os.close(writer)

    assert done.returncode == 141


def test_a_full_disk_under_the_output_is_said() -> None:
    """Data that could not be written is never taken for all there was."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "--version"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr == "hostfwctl: the output cannot be written: No space left on device\n"


def test_closed_streams_are_no_defect() -> None:
    """A verb runs with its streams closed, as some daemons start their children."""
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *COMMAND, "--version"], cwd=ROOT, check=False)

    assert done.returncode == 0


def test_an_interrupt_ends_with_its_status() -> None:
    """Ctrl-C ends a verb that waits, without a traceback."""
    with subprocess.Popen(
        [*COMMAND, "validate", "-f", "-"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds, so that this returns only when it is being read.
        process.stdin.write(b"#" * (1 << 20))
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert (process.returncode, out, err) == (130, b"", b"")


def test_what_a_parent_ignored_and_blocked_does_not_hide_how_children_end() -> None:
    """While SIGCHLD is ignored every child counts as one that succeeded, systemd-run among them."""
    program = """
import signal, subprocess, sys
from hostfw.cli import main
from hostfw.cli.verbs.host import version
from hostfw.host.systemd.rollback_timer import _run
def run(options, console):
    _run(["false"])
version.run = run
sys.argv = ["hostfwctl", "version"]
sys.exit(main())
"""
    before = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
os.execv(sys.argv[1], sys.argv[1:])
"""
    run = subprocess.run(
        [sys.executable, "-c", before, sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert "`false` failed: status 1" in run.stderr
