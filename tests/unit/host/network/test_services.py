"""Owners of sockets: the process, and the unit that the system's manager started it in."""

from pathlib import Path

import pytest

from hostfw.host.network.sockets.services import Owner, read_owners
from tests.unit.builders.proc_builders import process

UNITS = [
    ("/system.slice/ssh.service", "ssh.service"),
    ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
    ("/system.slice/podman.service/nginx.service", "nginx.service"),
    ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service", "user@1000.service"),
    ("/user.slice/user-1000.slice/user@1000.service/user@0.service/ssh.service", "user@1000.service"),
    ("/box/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service"),
    ("/system.slice/user@example.service/ssh.service", "ssh.service"),
    ("/", ""),
]


@pytest.mark.parametrize(("cgroup", "unit"), UNITS)
def test_a_user_s_own_units_do_not_pass_for_the_system_s(tmp_path: Path, cgroup: str, unit: str) -> None:
    """A unit below a user's manager is that user's, who may call it ssh.service."""
    process(tmp_path, 20, "sshd", 10, uid=1000, cgroup=cgroup, fd3="socket:[7]")

    assert read_owners({7}, tmp_path) == {7: Owner("sshd", unit)}
