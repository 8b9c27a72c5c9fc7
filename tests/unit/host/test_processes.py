"""The processes above one, from /proc."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from hostfw.host.process.processes import Ancestor, ancestors
from tests.unit.builders.proc_builders import process


def test_they_are_listed_nearest_first(tmp_path: Path) -> None:
    """With the inodes of their sockets, and names that hold brackets and blanks."""
    process(tmp_path, 1, "systemd", 0)
    process(tmp_path, 20, "sshd", 1, fd3="socket:[77]", fd4="/dev/null", fd5="socket:[78]")
    process(tmp_path, 30, "odd) S 1 (name", 20, fd0="pipe:[5]")
    process(tmp_path, 40, "hostfwctl", 30)

    assert ancestors(40, tmp_path) == (
        Ancestor(30, "odd) S 1 (name", frozenset()),
        Ancestor(20, "sshd", frozenset({77, 78})),
        Ancestor(1, "systemd", frozenset()),
    )


def test_what_has_just_gone_ends_the_list(tmp_path: Path) -> None:
    """A parent that vanishes is not made up, nor is a circle followed for ever."""
    process(tmp_path, 40, "hostfwctl", 30)
    process(tmp_path, 50, "a", 51)
    process(tmp_path, 51, "b", 50)

    assert ancestors(40, tmp_path) == ()
    assert [found.pid for found in ancestors(50, tmp_path)] == [51]


def test_descriptors_that_may_not_be_seen_are_not_none(tmp_path: Path) -> None:
    """Not to know is another thing than to have no sockets."""
    process(tmp_path, 20, "sshd", 1)
    process(tmp_path, 40, "hostfwctl", 20)
    (tmp_path / "20/fd").rmdir()

    assert ancestors(40, tmp_path) == (Ancestor(20, "sshd", None),)


def test_our_own_parent_is_found() -> None:
    """By its pid, and with a socket that it holds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        script = "from hostfw.host.process.processes import ancestors; print(ancestors()[0])"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
        )
        inode = os.fstat(ours.fileno()).st_ino

    assert f"pid={os.getpid()}," in done.stdout
    assert str(inode) in done.stdout
