"""Whether a confirmation comes through a connection that is newer than the switch."""

import pytest

from hostfw.engine.confirm import objection
from hostfw.host.processes import Ancestor
from hostfw.host.sockets import TcpSocket

SHELL = Ancestor(90, "bash", frozenset({7}))
SUDO = Ancestor(95, "sudo", frozenset({8}))
LISTENER = Ancestor(10, "sshd", frozenset({1}))
SOCKETS = (TcpSocket(100, 20), TcpSocket(101, 21), TcpSocket(102, 22))

_NOT_NOTED = "which connections were there before the change was not noted, so yours proves nothing"
_OLD = "this ssh connection was there before the change, which does not touch established connections"
_NO_SSH = "this is no ssh session, so that nothing shows that the host can still be reached"
_NO_CONNECTION = "the ssh server above this process holds no TCP connection in this network"
_NOT_SEEN = "the connection of sshd (pid 50) cannot be looked at"


def sshd(*inodes: int, name: str = "sshd") -> Ancestor:
    """An ssh server with these sockets."""
    return Ancestor(50, name, frozenset(inodes))


CASES = [
    ("a new session", (SHELL, sshd(20), LISTENER), {101}, None),
    ("a new session under sudo", (SUDO, SUDO, SHELL, sshd(20), sshd(20), LISTENER), {101}, None),
    ("a new session of OpenSSH 9.8", (SHELL, sshd(20, name="sshd-session"), LISTENER), {101}, None),
    ("a new session of Dropbear", (SHELL, sshd(20, name="dropbear")), set(), None),
    ("an old session", (SHELL, sshd(20), LISTENER), {100}, _OLD),
    ("an old session with a port forwarded since", (SHELL, sshd(20, 21)), {100}, _OLD),
    ("a new session with a port forwarded", (SHELL, sshd(20, 21)), {102}, None),
    ("a new session at a server that an old one started", (SHELL, sshd(20), SHELL, sshd(21)), {101}, None),
    ("an old one at a server that a new one started", (SHELL, sshd(21), SHELL, sshd(20)), {101}, _OLD),
    ("no ssh server above, as in tmux", (SHELL, Ancestor(1, "systemd", frozenset())), set(), _NO_SSH),
    ("nothing above", (), set(), _NO_SSH),
    ("a program that is called like one", (Ancestor(9, "sshd-like", frozenset({20})),), set(), _NO_SSH),
    ("a server without a connection", (SHELL, LISTENER), set(), _NO_CONNECTION),
    ("a server in another network", (SHELL, sshd(99)), set(), _NO_CONNECTION),
    (
        "a server that may not be looked at",
        (SHELL, Ancestor(50, "sshd", None)),
        set(),
        "the connection of sshd (pid 50)",
    ),
    ("connections that were not noted", (SHELL, sshd(20)), None, _NOT_NOTED),
]


@pytest.mark.parametrize(("ancestors", "noted", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_only_a_newer_connection_counts(
    ancestors: tuple[Ancestor, ...], noted: set[int] | None, expected: str | None
) -> None:
    """What is older or cannot be told is an objection, with what to do about it."""
    found = objection(ancestors, SOCKETS, noted)

    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.message.startswith(expected)
        assert "`hostfwctl confirm --console` confirms nevertheless" in found.hint
