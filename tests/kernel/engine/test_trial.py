"""Changes that roll themselves back, on a real kernel: at the deadline, after a kill, after a reboot, or not at all."""

import json
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess
from time import monotonic, sleep

import pytest

from hostfw.host.nftables.tables import read_generation
from hostfw.host.store.generations.trial import load_rollback_timer
from hostfw.host.systemd.rollback_timer import disarm
from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, open_socket, process, run
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe
from tests.kernel.web_policy import web_policy

Hostfwctl = Callable[..., CompletedProcess[str]]

WITHIN_S = 3
SLACK_S = 20
"""Time beyond the deadline that a busy machine may take to start Python and commit."""

_BLOCK = re.compile(r"^\t\w.*?^\t\}$", re.MULTILINE | re.DOTALL)
_LEARNT = re.compile(r"(?<=\d)\t# count \d+|(?<=flags dynamic)([^}]*?)\n\s*elements = \{[^}]*\}")
"""The elements that rules have put into a set, and their number, which nft tells since 1.1.4."""

SSHD = """\
import ctypes, os, socket, subprocess, sys
ctypes.CDLL(None).prctl(15, b"sshd", 0, 0, 0)
server = socket.create_server(("::", 22), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    if os.fork() == 0:
        server.close()
        while connection.recv(100):
            command = ["sh", "-c", '"$@"; exit $?', "sh", *sys.argv[1:]]
            done = subprocess.run(command, capture_output=True, text=True)
            connection.sendall(f"{done.returncode} {done.stderr}\\0".encode())
        os._exit(0)
    connection.close()
"""
"""An ssh server as far as processes and sockets go: a session confirms whenever it is sent something."""


def policy(port: int, settings: str = "node: host\n") -> dict[str, str]:
    """A configuration that lets one TCP port in at eth0."""
    return {"hostfw.yaml": settings, "policy.yaml": web_policy(port)}


def write(installation: Installation, files: dict[str, str]) -> None:
    """Write a configuration."""
    for name, text in files.items():
        (installation.config / name).write_text(text)


@pytest.fixture
def accepted(installation: Installation, hostfwctl: Hostfwctl) -> Iterator[str]:
    """The ruleset of an accepted generation; one that lets another port in is written. No watchdog is left behind."""
    write(installation, policy(80))
    hostfwctl("apply")
    before = ours(installation.node)
    write(installation, policy(443))
    yield before
    stop_watchdog(installation)


def stop_watchdog(installation: Installation) -> None:
    """Stop it, as a shutdown of the host does."""
    timer = load_rollback_timer(installation.run)
    if timer is not None:
        disarm(timer.watchdog)


def ours(host: Namespace) -> str:
    """Both our tables without the values of counters and what rules have put into sets, in an order of its own."""
    tables = (run(host, ("nft", "-s", "list", "table", family, "hostfw"), check=False) for family in ("ip", "ip6"))
    fixed = (_LEARNT.sub(r"\1", table.stdout) for table in tables)
    return "\n".join(block for table in fixed for block in sorted(_BLOCK.findall(table)))


def comes_back(host: Namespace, ruleset: str, within_s: float) -> float:
    """Wait until a ruleset is in force again; gives how long that took, or fails."""
    started = monotonic()
    while ours(host) != ruleset:
        assert monotonic() < started + within_s, "it did not come back"
        sleep(0.1)
    return monotonic() - started


def last_event(hostfwctl: Hostfwctl) -> tuple[str, str]:
    """The kind and reason of the last event."""
    event = json.loads(hostfwctl("status", "-o", "json").stdout)["lastEvent"]
    return event["kind"], event["reason"]


def settled(installation: Installation) -> None:
    """Wait until nothing is pending: the ruleset comes back a moment before the record goes."""
    started = monotonic()
    while (installation.state / "pending.json").exists():
        assert monotonic() < started + SLACK_S
        sleep(0.1)


def test_it_comes_back_by_itself(installation: Installation, accepted: str, hostfwctl: Hostfwctl) -> None:
    """Nobody does anything: at the deadline what was accepted is in force, and no earlier."""
    hostfwctl("apply", "--confirm-within", f"{WITHIN_S}s")
    applied = monotonic()
    assert "dport 443" in ours(installation.node)

    comes_back(installation.node, accepted, WITHIN_S + SLACK_S)

    assert monotonic() - applied > WITHIN_S - 1
    settled(installation)
    assert last_event(hostfwctl) == ("rolled-back", "it was not confirmed in time")
    late = hostfwctl("confirm", "--console", check=False)
    assert late.returncode == 5
    assert "was rolled back at " in late.stderr


@pytest.mark.parametrize("commits", [1, 2, 3], ids=["prepare", "switch", "sweep"])
def test_a_killed_apply_comes_back(
    installation: Installation, accepted: str, hostfwctl: Hostfwctl, commits: int
) -> None:
    """Kill -9 as soon as a step has reached the kernel: what was accepted is in force after the deadline."""
    host = installation.node
    with inside(host):
        before = read_generation()
    command = (*installation.arguments, "apply", "--confirm-within", f"{WITHIN_S}s")
    with process(host, command, environment=environment()) as applying:
        with inside(host):
            while read_generation() < before + commits and applying.poll() is None:
                pass
        applying.send_signal(signal.SIGKILL)
        applying.wait()
    killed = applying.returncode == -signal.SIGKILL
    pending = (installation.state / "pending.json").exists()

    sleep(WITHIN_S)
    settled(installation)
    event = last_event(hostfwctl)
    enforced = ours(host)
    write(installation, policy(80))
    again = hostfwctl("apply").stderr

    assert killed
    assert pending or commits == 1, "the way back is written before the switch"
    assert event == (("rolled-back", "it was not confirmed in time") if pending else ("applied", ""))
    # A kill before the switch leaves what was built aside, which the next apply sweeps.
    assert again.startswith("no change") or not pending
    assert enforced == accepted or not pending
    assert accepted == ours(host)


def test_a_reboot_comes_up_with_what_was_accepted(
    installation: Installation, accepted: str, hostfwctl: Hostfwctl
) -> None:
    """All that is left is the disk: what a boot loads is the accepted generation, and so is what hostfwctl says."""
    host = installation.node
    hostfwctl("apply", "--confirm-within", "10m")
    stop_watchdog(installation)
    for path in installation.run.iterdir():
        path.unlink()
    run(host, ("nft", "flush", "ruleset"))

    run(host, ("nft", "-f", str(installation.state / "last-good.nft")))
    booted = ours(host)

    assert last_event(hostfwctl) == ("rolled-back", "the host was started again before it was confirmed")
    assert accepted == booted == ours(host)
    assert hostfwctl("confirm", "--console", check=False).returncode == 5


def test_a_reboot_without_a_boot_service_is_made_good(
    installation: Installation, accepted: str, hostfwctl: Hostfwctl
) -> None:
    """Nothing was loaded: the first hostfwctl puts what was accepted into force."""
    hostfwctl("apply", "--confirm-within", "10m")
    stop_watchdog(installation)
    for path in installation.run.iterdir():
        path.unlink()
    run(installation.node, ("nft", "flush", "ruleset"))

    hostfwctl("status")

    assert accepted == ours(installation.node)


@contextmanager
def sshd(installation: Installation) -> Iterator[None]:
    """An ssh server on the host whose sessions run `hostfwctl confirm`."""
    command = (sys.executable, "-c", SSHD, *installation.arguments, "confirm")
    with process(installation.node, command, environment=environment()) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield


@contextmanager
def session(peer: Namespace, family: Family) -> Iterator[socket.socket]:
    """A session of ssh from the neighbour, that has done something already."""
    address = {Family.V4: (socket.AF_INET, "192.0.2.1"), Family.V6: (socket.AF_INET6, "2001:db8::1")}[family]
    with open_socket(peer, address[0], socket.SOCK_STREAM) as connection:
        connection.settimeout(SLACK_S)
        connection.connect((address[1], 22))
        yield connection


def confirm(connection: socket.socket) -> tuple[int, str]:
    """Type `hostfwctl confirm` in a session: its exit status and messages."""
    connection.sendall(b"confirm")
    answer = b""
    while not answer.endswith(b"\0"):
        part = connection.recv(4096)
        assert part, "the session ended"
        answer += part
    status, _, messages = answer.decode().removesuffix("\0").partition(" ")
    return int(status), messages


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.usefixtures("accepted")
def test_only_a_new_session_confirms(
    installation: Installation, peer: Namespace, hostfwctl: Hostfwctl, family: Family
) -> None:
    """An old session, which goes on working, is refused; a new one is believed, and nothing rolls it back."""
    with sshd(installation), session(peer, family) as old:
        assert confirm(old)[0] == 0, "nothing is pending yet"
        hostfwctl("apply", "--confirm-within", "30s")

        refused = confirm(old)
        with session(peer, family) as new:
            believed = confirm(new)

    assert refused[0] == 1
    assert refused[1].startswith("hostfwctl: this ssh connection was there before the change")
    assert believed[0] == 0, believed[1]
    assert "dport 443" in ours(installation.node)
    assert last_event(hostfwctl)[0] == "confirmed"
    assert not (installation.state / "pending.json").exists()


def test_no_session_does_not_confirm(installation: Installation, accepted: str, hostfwctl: Hostfwctl) -> None:
    """The test's own process is no ssh server, so it is refused; the console is accepted."""
    hostfwctl("apply", "--confirm-within", "30s")

    refused = hostfwctl("confirm", check=False)

    assert refused.returncode == 1
    assert "--console" in refused.stderr
    assert hostfwctl("confirm", "--console").returncode == 0
    assert ours(installation.node) != accepted


def test_back_to_a_number(installation: Installation, accepted: str, hostfwctl: Hostfwctl) -> None:
    """An earlier generation is in force again, chain by chain, and what the next boot loads is the same."""
    hostfwctl("apply")
    numbers = [item["number"] for item in json.loads(hostfwctl("history", "-o", "json").stdout)["items"]]

    hostfwctl("rollback", "--to", str(min(numbers)))
    back = ours(installation.node)
    run(installation.node, ("nft", "flush", "ruleset"))
    run(installation.node, ("nft", "-f", str(installation.state / "last-good.nft")))

    assert accepted == back == ours(installation.node)


def test_the_first_of_all_goes_back_to_no_ruleset(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Before it there was none."""
    write(installation, policy(80))
    hostfwctl("apply", "--confirm-within", f"{WITHIN_S}s")

    comes_back(installation.node, "", WITHIN_S + SLACK_S)
    settled(installation)

    assert hostfwctl("status", check=False).returncode == 4


@pytest.mark.timeout(300)
def test_ten_of_ten_lockouts_come_back(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """A policy without failsafes that lets nobody in: the neighbour reaches the host again within the window."""
    way_in = Flow("peer", "host", TCP, 22, Family.V4)
    closed = "node: host\nfailsafe: {inbound: [], outbound: []}\n"
    write(installation, policy(80))
    hostfwctl("apply")
    before = ours(installation.node)
    took_s: list[float] = []

    for number in range(10):
        write(installation, policy(1000 + number, closed))
        hostfwctl("apply", "--confirm-within", "2s")
        if number == 0:
            assert probe(lab, (way_in,), DENY_PATIENCE_S)[0].verdict is not Verdict.ALLOWED
        took_s.append(comes_back(installation.node, before, 2 + SLACK_S))
        settled(installation)

    assert len(took_s) == 10
    assert probe(lab, (way_in,), DENY_PATIENCE_S)[0].verdict is Verdict.ALLOWED
