"""Processes that serve ssh, and those over whose connection somebody is logged in."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hostfw.host.network.sockets.ssh_servers import SshServer, connections_of_caller, read_ssh_servers, remote_hosts
from hostfw.host.process.processes import Ancestor
from tests.unit.builders.proc_builders import NOBODY, ROOTS, process

SCOPE = "/user.slice/user-0.slice/session-3.scope"


def debian12(proc: Path, *, session: int, cgroup: str = "/system.slice/ssh.service", listener: int = NOBODY) -> None:
    """OpenSSH 9.2: who listens, the monitor of one connection, and beneath it what runs as the user."""
    process(proc, 10, "sshd", 1, session=listener, fd3="socket:[1]")
    process(proc, 20, "sshd", 10, session=session, cgroup=cgroup, fd4="socket:[7]")
    process(proc, 30, "sshd", 20, uid=1000, session=session, cgroup=cgroup, fd4="socket:[7]")


def by_socket(servers: Iterable[SshServer]) -> list[SshServer]:
    """Servers in the order of their sockets."""
    return sorted(servers, key=lambda server: sorted(server.sockets))


def test_a_session_of_audit_is_a_login(tmp_path: Path) -> None:
    """As pam_loginuid makes one; what runs as the user is not believed, and need not be."""
    debian12(tmp_path, session=5)

    servers, seen = read_ssh_servers(tmp_path)

    assert seen
    assert by_socket(servers) == [
        SshServer("sshd", frozenset({1}), serves_one=False, logged_in=False),
        SshServer("sshd", frozenset({7}), serves_one=True, logged_in=True, beneath=frozenset({7})),
    ]


def test_what_a_session_forwards_is_that_of_its_own_process_and_of_no_other(tmp_path: Path) -> None:
    """A user may call a program sshd, and it is no child of the monitor."""
    debian12(tmp_path, session=5)
    (tmp_path / "30/fd/5").symlink_to("socket:[8]")
    process(tmp_path, 31, "sshd", 30, uid=1000, session=5, fd4="socket:[9]")
    process(tmp_path, 32, "sshd", 1, uid=1000, session=5, fd4="socket:[11]")

    assert {inode for server in read_ssh_servers(tmp_path)[0] for inode in server.beneath} == {7, 8}


def test_a_scope_of_logind_is_a_login(tmp_path: Path) -> None:
    """The kernel's audit may have no session, as in some containers."""
    debian12(tmp_path, session=NOBODY, cgroup=SCOPE)

    assert [server.logged_in for server in by_socket(read_ssh_servers(tmp_path)[0])] == [False, True]


def test_before_a_login_there_is_none(tmp_path: Path) -> None:
    """The monitor of whoever has merely connected."""
    debian12(tmp_path, session=NOBODY)

    assert not any(server.logged_in for server in read_ssh_servers(tmp_path)[0])


def test_a_server_that_somebody_started_by_hand_logs_nobody_in(tmp_path: Path) -> None:
    """Its connections belong to the session of whoever started it, until they have their own."""
    debian12(tmp_path, session=5, listener=5)

    assert [server.logged_in for server in read_ssh_servers(tmp_path)[0] if server.serves_one] == [False]


def test_openssh_10_and_dropbear(tmp_path: Path) -> None:
    """Programs of other names, and a server without PAM: whoever it starts a program for was let in."""
    process(tmp_path, 10, "sshd", 1, fd3="socket:[1]")
    process(tmp_path, 20, "sshd-session", 10, session=5, fd4="socket:[7]")
    process(tmp_path, 21, "sshd-session", 10, fd4="socket:[8]")
    process(tmp_path, 22, "sshd-auth", 21, uid=100, fd4="socket:[8]")
    process(tmp_path, 40, "dropbear", 1, fd3="socket:[2]")
    process(tmp_path, 50, "dropbear", 40, fd4="socket:[9]")
    process(tmp_path, 51, "bash", 50)
    process(tmp_path, 60, "dropbear", 40, fd4="socket:[10]")

    servers, _ = read_ssh_servers(tmp_path)

    assert {next(iter(server.sockets)): server.logged_in for server in servers} == {
        1: False,
        2: False,
        7: True,
        8: False,
        9: True,
        10: False,
    }


def _of_a_user(folder: Path) -> Path:
    program = folder / "sshd"
    shutil.copyfile(ROOTS, program)
    if os.geteuid() == 0:
        os.chown(program, 1000, -1)
    return program


def _writable(folder: Path) -> Path:
    program = folder / "sshd"
    shutil.copyfile(ROOTS, program)
    program.chmod(0o777)
    return program


def _makes_root(folder: Path) -> Path:
    program = folder / "sshd"
    shutil.copyfile(ROOTS, program)
    program.chmod(0o4755)
    return program


@pytest.mark.parametrize(
    "program",
    [_of_a_user, _writable, _makes_root, lambda folder: folder / "gone"],
    ids=["of-a-user", "writable", "makes-root", "gone"],
)
def test_what_others_can_have_put_there_serves_nobody(tmp_path: Path, program: Callable[[Path], Path]) -> None:
    """Although it is root, and is called sshd."""
    process(tmp_path, 20, "sshd", 1, session=5, executable=program(tmp_path), fd4="socket:[7]")

    assert read_ssh_servers(tmp_path) == ((), True)


def test_a_user_serves_nobody(tmp_path: Path) -> None:
    """Whatever they call their program."""
    process(tmp_path, 20, "sshd", 1, uid=1000, session=5, fd4="socket:[7]")

    assert read_ssh_servers(tmp_path) == ((), True)


def test_what_cannot_be_seen_is_said(tmp_path: Path) -> None:
    """As in a sandbox, where sockets of others are hidden."""
    process(tmp_path, 20, "sshd", 1)
    (tmp_path / "20/fd").rmdir()

    assert read_ssh_servers(tmp_path) == ((), False)


def test_the_callers_connection_is_that_of_the_nearest_server() -> None:
    """That can be believed, and holds one."""
    above = (
        Ancestor(60, "bash", frozenset({3})),
        Ancestor(50, "sshd", frozenset({8}), trusted=False),
        Ancestor(40, "sshd", frozenset({7})),
        Ancestor(30, "sshd", frozenset({9})),
    )

    assert connections_of_caller(above, frozenset({3, 7, 8, 9})) == {7}
    assert connections_of_caller(above, frozenset({3, 9})) == {9}
    assert connections_of_caller(above[:2], frozenset({3, 8})) == frozenset()


def test_logind_says_from_where_somebody_is_logged_in(tmp_path: Path) -> None:
    """By ssh alone; the pipe that it keeps beside a session is not read."""
    os.mkfifo(tmp_path / "1.ref")
    (tmp_path / "1").write_text("# private\nUID=0\nREMOTE=1\nREMOTE_HOST=203.0.113.9\nSERVICE=sshd\n")
    (tmp_path / "2").write_text("UID=0\nREMOTE=1\nREMOTE_HOST=203.0.113.10\nSERVICE=cockpit\n")
    (tmp_path / "3").write_text("UID=0\nREMOTE=0\nSERVICE=login\n")

    assert remote_hosts(tmp_path) == {"203.0.113.9"}
    assert remote_hosts(tmp_path / "none") == frozenset()
