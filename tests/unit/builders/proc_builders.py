"""Processes as /proc shows them, in a directory of a test."""

from pathlib import Path

ROOTS = Path("/usr/bin/env")
"""A program that is root's on every host."""
NOBODY = 4294967295
"""The audit session of who never logged in."""


def process(
    proc: Path,
    pid: int,
    name: str,
    parent: int,
    *,
    uid: int = 0,
    executable: Path = ROOTS,
    session: int = NOBODY,
    cgroup: str = "/system.slice/ssh.service",
    **descriptors: str,
) -> None:
    """A process, with what its descriptors lead to: `fd3="socket:[7]"`."""
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} {pid} {pid} 0 -1 4194560 1 2 3\n")
    (folder / "status").write_text(f"Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t0\t0\t0\t0\n")
    (folder / "exe").symlink_to(executable)
    (folder / "sessionid").write_text(str(session))
    (folder / "cgroup").write_text(f"0::{cgroup}\n")
    for number, target in descriptors.items():
        (folder / "fd" / number.removeprefix("fd")).symlink_to(target)
