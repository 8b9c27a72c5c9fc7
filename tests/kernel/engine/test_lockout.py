"""The baseline of real sockets, and the effect of policies on it compared with the lockout check."""

import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build
from hostfw.engine.checks.lost_connections import check_lockout, losses
from hostfw.host.network.baseline import collect, collect_by_ports
from hostfw.host.network.interfaces.links import observe
from hostfw.host.network.network_needs import leases
from hostfw.host.store.configuration.files import read_paths
from hostfw.model.host.baseline import Baseline, Gateway, LeaseKind, Listener
from hostfw.model.values import Family, parse_address
from lab.hostfwctl import environment
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, open_socket, process, run

SERVER = """\
import ctypes, os, socket, subprocess, sys
name, address, port, *command = sys.argv[1:]
nobody = name.endswith("-before-login")
name, _, onward = name.removesuffix("-before-login").partition("-onward-")
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.create_server((address, int(port)), family=family, dualstack_ipv6=address == "::")
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    if os.fork() == 0:
        server.close()
        if not nobody:
            open("/proc/self/loginuid", "w").write("0")
        if onward and os.fork() == 0:
            os.setuid(65534)
            beyond = socket.create_connection((onward, 22))
            connection.sendall(b"+")
            connection.recv(1)
            os._exit(0)
        if not onward:
            connection.sendall(b"+")
        forwarded = socket.create_server(("127.0.0.1", 0))
        while connection.recv(100):
            done = subprocess.run(command, capture_output=True, text=True)
            connection.sendall((done.stdout or done.stderr).encode() + b"\\0")
        os._exit(0)
    connection.close()
"""
"""An ssh server as far as processes and sockets go: a session forwards a port and runs a command when it is told to.

Whoever connects is logged in, as pam_loginuid has it, unless the name says otherwise. With -onward-ADDRESS in
the name each session goes on to port 22 there, from a process that is the user's, as OpenSSH does for a jump host.
"""

SEE = """\
import json
from dataclasses import asdict
from hostfw.host.network.baseline import collect
print(json.dumps(asdict(collect())))
"""

CLOSED = "node: host\nfailsafe: none\n"
WEB_ALONE = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: host, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [443]}}]
  egress: [{action: Allow}]
"""


@contextmanager
def ssh_server(
    host: Namespace, name: str, address: str, port: int, python: Sequence[str] = (sys.executable,)
) -> Iterator[None]:
    """A program of that name that takes connections at an address and port, each in a process of its own."""
    command = [*python, "-c", SERVER, name, address, str(port), sys.executable, "-c", SEE]
    with process(host, command, environment=environment()) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield


@contextmanager
def session(peer: Namespace, address: str, port: int) -> Iterator[socket.socket]:
    """A connection to the host."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with open_socket(peer, family, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect((address, port))
        assert connection.recv(1) == b"+"
        yield connection


def seen_from(connection: socket.socket) -> dict[str, Any]:
    """The baseline that is collected within a session."""
    connection.sendall(b"look")
    answer = b""
    while not answer.endswith(b"\0"):
        part = connection.recv(65536)
        assert part, answer
        answer += part
    found: dict[str, Any] = json.loads(answer[:-1])
    return found


def generation(tmp_path: Path, host: Namespace, settings: str, text: str) -> Generation:
    """The generation of a configuration on the host."""
    (tmp_path / "hostfw.yaml").write_text(settings)
    (tmp_path / "policy.yaml").write_text(text)
    configuration, problems = read_paths([tmp_path])
    candidate = check_candidate(configuration, problems)
    with inside(host):
        built = build(candidate, observe(candidate.settings.node))
    assert isinstance(built, Generation), built
    return built


def value(text: str) -> int:
    """An address as a baseline has it."""
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


def test_sessions_and_servers_are_told_by_the_processes_that_hold_them(lab: Lab) -> None:
    """Of both families, with the interface that they come by; one's own is marked, a forwarded port is no server."""
    host, peer = lab["host"], lab["peer"]
    with ExitStack() as stack:
        for server in (("sshd", "::", 22), ("dropbear", "192.0.2.1", 2222), ("httpd", "::", 443)):
            stack.enter_context(ssh_server(host, *server))
        mine = stack.enter_context(session(peer, "192.0.2.1", 22))
        stack.enter_context(session(peer, "2001:db8::1", 22))
        stack.enter_context(session(peer, "192.0.2.1", 443))
        seen = seen_from(mine)

    found = {(s["own"], s["family"], s["peer"], s["local"], s["local_port"], s["interface"]) for s in seen["sessions"]}
    assert found == {
        (True, 4, value("192.0.2.2"), value("192.0.2.1"), 22, "eth0"),
        (False, 6, value("2001:db8::2"), value("2001:db8::1"), 22, "eth0"),
    }
    assert [(item["family"], item["port"], item["address"], item["server"]) for item in seen["listeners"]] == [
        (4, 22, None, "sshd"),
        (4, 2222, value("192.0.2.1"), "dropbear"),
        (6, 22, None, "sshd"),
    ]
    assert seen["sees_processes"] is True


def test_who_goes_on_to_another_host_is_seen_and_must_get_there(lab: Lab, tmp_path: Path) -> None:
    """A jump host that lets nobody on locks out whoever is behind it; a connection of a mere user is no matter."""
    host, peer = lab["host"], lab["peer"]
    with (
        open_socket(peer, socket.AF_INET, socket.SOCK_STREAM) as behind,
        ssh_server(host, "sshd-onward-192.0.2.2", "192.0.2.1", 2222),
    ):
        behind.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        behind.bind(("192.0.2.2", 22))
        behind.listen()
        with session(peer, "192.0.2.1", 2222), inside(host):
            baseline = collect()

    assert [(one.peer, one.peer_port, one.local, one.interface) for one in baseline.outgoing] == [
        (value("192.0.2.2"), 22, value("192.0.2.1"), "eth0")
    ]
    assert [(one.peer, one.local_port) for one in baseline.sessions] == [(value("192.0.2.2"), 2222)]
    built = generation(tmp_path, host, CLOSED, WEB_ALONE.replace("egress: [{action: Allow}]", "egress: []"))
    lost = losses(built.plan, built.facts, Baseline(outgoing=baseline.outgoing))
    assert [loss.what for loss in lost] == ["another ssh connection from this host to port 22 of 192.0.2.2 on eth0"]


def test_who_has_not_logged_in_has_no_session(lab: Lab) -> None:
    """A connection to the port is all that anybody may have; the server is there nevertheless."""
    host, peer = lab["host"], lab["peer"]
    with ssh_server(host, "sshd-before-login", "::", 22), session(peer, "192.0.2.1", 22), inside(host):
        baseline = collect()

    assert baseline.sessions == ()
    assert baseline.listeners == (Listener(Family.V4, 22), Listener(Family.V6, 22))


def test_who_runs_the_command_is_logged_in(lab: Lab) -> None:
    """However the server tells it, or does not."""
    with (
        ssh_server(lab["host"], "sshd-before-login", "::", 22),
        session(lab["peer"], "192.0.2.1", 22) as mine,
        session(lab["peer"], "2001:db8::1", 22),
    ):
        seen = seen_from(mine)

    assert [(found["own"], found["family"]) for found in seen["sessions"]] == [(True, 4)]


def test_a_name_is_that_of_root_alone(lab: Lab) -> None:
    """A user may call a program as they like: it serves no ssh, and nobody is logged in over it."""
    host, peer = lab["host"], lab["peer"]
    as_user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3")
    with (
        ssh_server(host, "sshd-before-login", "::", 8080, python=as_user),
        session(peer, "192.0.2.1", 8080),
        inside(host),
    ):
        baseline = collect()

        by_ports = collect_by_ports({8080})

    assert (baseline.sessions, baseline.listeners) == ((), ())
    assert baseline.sees_processes
    assert (by_ports.sessions, by_ports.listeners) == ((), ())


def test_without_processes_a_server_is_what_is_at_its_ports(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the sandboxed daemon sees it: a session is from where systemd-logind says that somebody is logged in."""
    host, peer = lab["host"], lab["peer"]
    with ssh_server(host, "sshd", "::", 22), session(peer, "192.0.2.1", 22), inside(host):
        nobody = collect_by_ports({22, 2222})
        monkeypatch.setattr("hostfw.host.network.baseline.remote_hosts", lambda: frozenset({"192.0.2.2"}))
        somebody = collect_by_ports({22, 2222})

    assert nobody.sessions == ()
    assert [(found.family, found.peer, found.own) for found in somebody.sessions] == [
        (Family.V4, value("192.0.2.2"), False)
    ]
    assert nobody.listeners == (
        Listener(Family.V4, 22, None, "the ssh server"),
        Listener(Family.V6, 22, None, "the ssh server"),
    )
    assert not nobody.sees_processes


def test_gateways_are_those_of_the_default_routes(routed_lab: Lab) -> None:
    """Of both families, also as one of several next hops, and on a link without an address to go to."""
    host = routed_lab["host"]
    run(host, ["ip", "route", "replace", "default", "nexthop", "via", "192.0.2.2", "nexthop", "dev", "lan0"])
    with inside(host):
        found = collect().gateways

    assert found == (
        Gateway(Family.V4, "lan0"),
        Gateway(Family.V4, "wan0", value("192.0.2.2")),
        Gateway(Family.V6, "wan0", value("2001:db8::2")),
    )


def test_leases_are_the_addresses_that_end(lab: Lab, tmp_path: Path) -> None:
    """By DHCP, DHCPv6 or router advertisement, with the server that the client's lease names."""
    host = lab["host"]
    for address in ("198.51.100.5/24", "198.51.100.6/24", "2001:db8::5/128", "2001:db8::6/64"):
        nodad = ["nodad"] if ":" in address else []
        run(
            host, ["ip", "address", "add", address, "dev", "eth0", "valid_lft", "3600", "preferred_lft", "1800", *nodad]
        )
    (tmp_path / "2").write_text("ADDRESS=198.51.100.5\nSERVER_ADDRESS=198.51.100.1\n")
    (tmp_path / "dhclient.eth0.leases").write_text(
        'lease {\n  interface "eth0";\n  fixed-address 198.51.100.6;\n'
        "  option dhcp-server-identifier 198.51.100.2;\n  renew 1 2026/11/20 12:00:00;\n}\n"
    )
    with inside(host):
        found = leases(tmp_path, tmp_path)

    assert [(lease.kind, lease.interface, lease.address, lease.server) for lease in found] == [
        (LeaseKind.DHCP, "eth0", value("198.51.100.5"), value("198.51.100.1")),
        (LeaseKind.DHCP, "eth0", value("198.51.100.6"), value("198.51.100.2")),
        (LeaseKind.DHCP, "eth0", value("2001:db8::5"), None),
        (LeaseKind.ROUTER_ADVERTISEMENT, "eth0", value("2001:db8::6"), None),
    ]


def test_what_is_said_to_be_lost_is_lost_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    """A policy without ssh: the session goes on, another cannot be made, and the check had said so."""
    host, peer = lab["host"], lab["peer"]
    # Connection tracking begins with the first ruleset; what was there before is new to it.
    run(host, ["nft", "-f", "-"], text=generation(tmp_path, host, "node: host\n", WEB_ALONE).script)
    built = generation(tmp_path, host, CLOSED, WEB_ALONE)
    with ssh_server(host, "sshd", "::", 22), session(peer, "192.0.2.1", 22) as mine:
        with inside(host):
            baseline = collect()
        said = [str(loss) for loss in losses(built.plan, built.facts, baseline) if loss.kind == "ssh-session"]
        run(host, ["nft", "-f", "-"], text=built.script)
        still = seen_from(mine)
        again = _connects(peer, "192.0.2.1", 22)

    lost = "another ssh connection like that from 192.0.2.2 to port 22 on eth0 would be lost"
    why = "no ingress rule in tier default allows it, whose end denies it for HostEndpoint uplink"
    assert said == [f"{lost}: {why} ({tmp_path}/policy.yaml:1)"]
    assert (len(still["sessions"]), again) == (1, False)


def test_a_change_that_keeps_the_session_is_not_refused(lab: Lab, tmp_path: Path) -> None:
    """With the failsafe of the settings; and what nobody listens on or is connected to is nobody's loss."""
    host, peer = lab["host"], lab["peer"]
    built = generation(tmp_path, host, "node: host\n", WEB_ALONE)
    with ssh_server(host, "sshd", "::", 22), session(peer, "192.0.2.1", 22), inside(host):
        baseline = collect()

    lockout = check_lockout(built.plan, None, built.facts, Baseline(baseline.sessions, baseline.listeners))
    assert (lockout.refused, lockout.warned) == ((), ())


def _connects(peer: Namespace, address: str, port: int) -> bool:
    with open_socket(peer, socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect((address, port))
        except TimeoutError:
            return False
        return True
