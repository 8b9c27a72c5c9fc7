"""Logins over real ssh, and the connections that prove that the host can be reached: both OpenSSH versions."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from lab.hosts.host import Host
from lab.namespace import open_socket, process, run
from tests.system.street import HOST, OPEN, PEER, POLICY, SETTINGS, Street, eventually

_CLOSED = f"{SETTINGS}failsafe: {{inbound: []}}\n"
_OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=3")
_FORWARDED = 2222

Command = Callable[..., Sequence[str]]


@pytest.fixture
def ssh(host: Host, street: Street, tmp_path: Path) -> Command:
    """The command line of a session of root on the host, or of another user, or with more options."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text()
    host.run(["useradd", "--create-home", "--shell", "/bin/bash", "someone"])
    for home in ("/root", "/home/someone"):
        host.write(f"{home}/.ssh/authorized_keys", public, 0o600)
        host.run(["chmod", "700", f"{home}/.ssh"])
    host.run(["chown", "-R", "someone:", "/home/someone/.ssh"])
    base = ["ssh", "-q", "-i", str(key), *(word for option in _OPTIONS for word in ("-o", option))]

    def command(*words: str, user: str = "root", at: str = HOST, options: Sequence[str] = ()) -> Sequence[str]:
        return [*base, *options, f"{user}@{at}", *words]

    host.run(["systemctl", "start", "ssh"])
    assert eventually(lambda: run(street.peer, command("true"), check=False).returncode == 0, 20) is not None
    return command


@contextmanager
def logged_in(street: Street, command: Sequence[str]) -> Iterator[None]:
    """A session that goes on until the end of the block."""
    with process(street.peer, command) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "in\n"
        yield


def test_a_block_keeps_who_is_logged_in(host: Host, street: Street, ssh: Command) -> None:
    """Root and another user, apart from the caller; whoever has only connected is cut off, now and after a reboot."""
    stay = "echo in; sleep 60"
    with (
        open_socket(street.peer, socket.AF_INET, socket.SOCK_STREAM) as stranger,
        logged_in(street, ssh(stay)),
        logged_in(street, ssh(stay, user="someone")),
    ):
        stranger.settimeout(5)
        stranger.connect((HOST, 22))
        assert stranger.recv(100).startswith(b"SSH-2.0-")
        port = stranger.getsockname()[1]
        sleep(1)
        said = run(street.peer, ssh("hostfwctl lockdown")).stderr
        kept = [line for line in said.splitlines() if "kept: ssh from" in line]
        run(street.peer, ssh("hostfwctl unblock"), check=False)
        host.run(["hostfwctl", "unblock"], check=False)

    assert len(kept) == 3, said
    assert f"port {port} " not in said


def test_who_has_only_connected_vetoes_nothing(host: Host, street: Street, ssh: Command) -> None:
    """A policy that denies them comes into force, though it is their ssh that it closes; a session has it refused."""
    denied = POLICY.replace("  ingress:\n", f"  ingress:\n    - {{action: Deny, source: {{nets: [{PEER}/32]}}}}\n")
    host.write("/etc/hostfw/hostfw.yaml", _CLOSED)
    host.write("/etc/hostfw/policy.yaml", denied)
    with logged_in(street, ssh("echo in; sleep 60")):
        refused = host.run(["hostfwctl", "apply"], check=False)
    with open_socket(street.peer, socket.AF_INET, socket.SOCK_STREAM) as stranger:
        stranger.settimeout(5)
        stranger.connect((HOST, 22))
        assert stranger.recv(100).startswith(b"SSH-2.0-")
        done = eventually(lambda: host.run(["hostfwctl", "apply"], check=False).returncode == 0, 10)

    assert f"this would cut the host off: another ssh connection like that from {PEER}" in refused.stderr
    assert done is not None


def test_a_forwarded_port_does_not_confirm(host: Host, street: Street, ssh: Command) -> None:
    """A new session through an old one comes over lo; a new one from outside counts."""
    forward = ssh("echo in; sleep 60", options=["-L", f"{_FORWARDED}:127.0.0.1:22"])
    with logged_in(street, forward):
        host.write("/etc/hostfw/policy.yaml", POLICY.replace(f"[{OPEN}, 22]", "[22]"))
        run(street.peer, ssh("hostfwctl apply --confirm-within 90s"))
        inner = ssh("hostfwctl confirm", at="127.0.0.1", options=["-p", str(_FORWARDED)])
        refused = run(street.peer, inner, check=False)
        accepted = run(street.peer, ssh("hostfwctl confirm"), check=False)

    assert refused.returncode == 1, refused
    assert "this ssh connection comes from the host itself (127.0.0.1)" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr
