"""Connections that are older than the ruleset go on when it comes into force, and nobody else comes in with them.

The policy denies all egress, so that the host may speak only within what is established, and the host always speaks
first: nothing that the peer sends helps.
"""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from threading import Event, Thread
from time import monotonic

import pytest

from hostfw.host.netlink.messages import NETLINK_NETFILTER, NFGENMSG, NetlinkSocket
from hostfw.host.network.connections.conntrack import KernelConntrack
from hostfw.host.network.sockets.sockets import read_connections
from hostfw.model.values import FAMILIES, TCP, Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, open_socket, run, set_sysctl
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe
from lab.service import service

Hostfwctl = Callable[..., CompletedProcess[str]]

AT_ONCE_S = 1.0
"""Time limit for a packet, retransmitted by TCP included; the first retransmission comes after 0.2 s."""

AFTER_A_FLUSH_S = 3.0
"""Time limit for the service to notice, from the first denied packet."""

ADDRESSES = {
    Family.V4: (socket.AF_INET, "192.0.2.1", "192.0.2.2"),
    Family.V6: (socket.AF_INET6, "2001:db8::1", "2001:db8::2"),
}

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {node: host, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'web'
  types: [Ingress, Egress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [22]}}
    - {action: Allow, protocol: UDP, destination: {ports: [5300]}}
  egress: []
"""
FORWARDING = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: wan, labels: {side: wan}}
spec: {node: host, interfaceName: wan0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: inside-only-begins}
spec: {selector: side == 'wan', types: [Ingress, Egress], applyOnForward: true, ingress: [], egress: [{action: Allow}]}
"""
SETTINGS = "node: host\nfailsafe: {inbound: [], outbound: []}\n"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A connection, by the sockets of both ends."""

    name: str
    near: socket.socket
    far: socket.socket

    def host_speaks(self, patience_s: float = AT_ONCE_S) -> bool:
        """Have the host send something, and tell if it arrives in time; UDP is sent again as a program would."""
        self.far.settimeout(0.1)
        tcp = self.near.type == socket.SOCK_STREAM
        if tcp:
            self.near.sendall(b"x")
        deadline = monotonic() + patience_s
        while monotonic() < deadline:
            if not tcp:
                # Denied by output.
                with suppress(PermissionError):
                    self.near.send(b"x")
            try:
                if self.far.recv(100):
                    return True
            except TimeoutError:
                continue
        return False


@contextmanager
def conversations(host: Namespace, peer: Namespace) -> Iterator[list[Conversation]]:
    """TCP that the peer began at ports 22 and 8080 and that the host began, and connected UDP, over both families."""
    with ExitStack() as ends:
        found: list[Conversation] = []
        for family in FAMILIES:
            found += [_tcp(ends, f"{family:d} in {port}", family, (host, peer), port) for port in (22, 8080)]
            turned = _tcp(ends, f"{family:d} out", family, (peer, host), 443)
            found.append(Conversation(turned.name, turned.far, turned.near))
            found.append(_udp(ends, f"{family:d} udp", family, (host, peer)))
        yield found


def _tcp(ends: ExitStack, name: str, family: Family, nodes: tuple[Namespace, Namespace], port: int) -> Conversation:
    """The first node listens."""
    number, *addresses = ADDRESSES[family]
    where = {"host": addresses[0], "peer": addresses[1]}
    server, client = (ends.enter_context(open_socket(node, number, socket.SOCK_STREAM)) for node in nodes)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((where[nodes[0].name], port))
    server.listen()
    client.connect(server.getsockname()[:2])
    return Conversation(name, ends.enter_context(server.accept()[0]), client)


def _udp(ends: ExitStack, name: str, family: Family, nodes: tuple[Namespace, Namespace]) -> Conversation:
    number, *addresses = ADDRESSES[family]
    near, far = (ends.enter_context(open_socket(node, number, socket.SOCK_DGRAM)) for node in nodes)
    near.bind((addresses[0], 5300))
    far.bind((addresses[1], 5301))
    near.connect((addresses[1], 5301))
    far.connect((addresses[0], 5300))
    return Conversation(name, near, far)


def stand_still(found: list[Conversation], patience_s: float = AT_ONCE_S) -> list[str]:
    """The conversations in which what the host sends does not arrive."""
    return [conversation.name for conversation in found if not conversation.host_speaks(patience_s)]


@contextmanager
def _speaking(conversation: Conversation) -> Iterator[None]:
    """Let a conversation go on by itself; afterwards all that was said has arrived, if it ever will.

    It is slow enough that nothing is said between two transactions that follow each other at once.
    """
    ended = Event()

    def speak() -> None:
        while not ended.wait(0.8):
            conversation.near.send(b".")
            conversation.far.send(b".")

    speaker = Thread(target=speak)
    speaker.start()
    try:
        yield
    finally:
        ended.set()
        speaker.join()
        conversation.far.settimeout(AT_ONCE_S)
        with suppress(TimeoutError):
            while conversation.far.recv(100):
                pass


def _flush(node: Namespace) -> None:
    """Delete every entry, as `conntrack -F` does."""
    with inside(node), NetlinkSocket(NETLINK_NETFILTER) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            assert netlink.ask_each(1 << 8 | 2, 0, [NFGENMSG.pack(family, 0, 0)], "flushing") == [0]


@pytest.fixture
def talk(host: Namespace, peer: Namespace, installation: Installation) -> Iterator[list[Conversation]]:
    """Connections that are there, while a policy is written and nothing is in force."""
    (installation.config / "hostfw.yaml").write_text(SETTINGS)
    (installation.config / "policy.yaml").write_text(POLICY)
    with conversations(host, peer) as found:
        assert stand_still(found) == []
        yield found


def test_the_first_apply_cuts_nobody_off(talk: list[Conversation], hostfwctl: Hostfwctl) -> None:
    """Whoever began it and whatever policy says of a new one: it goes on, though the host speaks first."""
    applied = hostfwctl("apply")

    assert "stand still" not in applied.stderr
    assert stand_still(talk) == []


def test_nobody_else_comes_in_with_them(lab: Lab, talk: list[Conversation], hostfwctl: Hostfwctl) -> None:
    """Only connections that have sockets are known; another connection like one of these is denied."""
    with inside(lab["host"]):
        before = read_connections()

    hostfwctl("apply")

    with open_socket(lab["peer"], socket.AF_INET, socket.SOCK_STREAM) as other:
        other.settimeout(DENY_PATIENCE_S)
        with pytest.raises(OSError, match="timed out"):
            other.connect(("192.0.2.1", 8080))
    with inside(lab["host"]):
        moved = tuple(one._replace(peer_port=one.peer_port ^ 1) for one in before)
        assert len(before) == len(talk)
        assert KernelConntrack().unknown(before) == ()
        assert set(KernelConntrack().unknown(moved)) == set(moved)


def test_it_ends_with_the_connection(lab: Lab, talk: list[Conversation], hostfwctl: Hostfwctl) -> None:
    """A connection that has ended is not let in again from the same port, as none is that was tracked all along."""
    hostfwctl("apply")
    (ended,) = (one for one in talk if one.name == "4 in 8080")
    here, there = ended.near.getsockname(), ended.far.getsockname()
    ended.near.close()
    ended.far.settimeout(AT_ONCE_S)
    while ended.far.recv(100):
        pass
    ended.far.close()

    with open_socket(lab["peer"], socket.AF_INET, socket.SOCK_STREAM) as again:
        again.bind(there)
        again.settimeout(DENY_PATIENCE_S)
        with pytest.raises(OSError, match="timed out"):
            again.connect(here)


def test_after_removed_rules(talk: list[Conversation], hostfwctl: Hostfwctl, host: Namespace, peer: Namespace) -> None:
    """Connections that began while no rules were in force go on when the rules come back."""
    hostfwctl("apply")
    hostfwctl("disable", "--remove-rules")
    with ExitStack() as ends:
        later = [_tcp(ends, "later", family, (host, peer), 9090) for family in FAMILIES]

        hostfwctl("apply")

        assert stand_still([*talk, *later]) == []


def test_a_flush_of_connection_tracking(talk: list[Conversation], hostfwctl: Hostfwctl, host: Namespace) -> None:
    """Without the service an apply makes known again what policy would let either side begin, and nothing else."""
    hostfwctl("apply")
    _flush(host)

    hostfwctl("apply")

    # Nobody may begin what port 8080 and the host's own connections are.
    assert stand_still(talk) == [f"{family} {which}" for family in (4, 6) for which in ("in 8080", "out")]


def test_the_service_notices_a_flush(
    talk: list[Conversation], installation: Installation, host: Namespace, tmp_path: Path
) -> None:
    """The first packet that is denied of a connection that policy allows has it made known again."""
    with service(installation, tmp_path / "log"):
        assert stand_still(talk) == []
        _flush(host)
        allowed = [one for one in talk if one.name.endswith(("in 22", "udp"))]

        assert stand_still(allowed, AFTER_A_FLUSH_S) == []
        assert stand_still(talk) == [f"{family} {which}" for family in (4, 6) for which in ("in 8080", "out")]


def test_sockets_of_other_kinds_go_on_as_well(
    installation: Installation, hostfwctl: Hostfwctl, host: Namespace, peer: Namespace
) -> None:
    """IPv4 at a socket of IPv6, link-local, closed by the peer in one direction, and not yet taken by its program."""
    (installation.config / "hostfw.yaml").write_text(SETTINGS)
    (installation.config / "policy.yaml").write_text(POLICY)
    with ExitStack() as ends:

        def connected(name: str, port: int, own: str, address: str, *, taken: bool = True) -> Conversation:
            scope = socket.if_nametoindex
            server = ends.enter_context(open_socket(host, socket.AF_INET6, socket.SOCK_STREAM))
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            with inside(host):
                server.bind((own, port, 0, scope("eth0") if own.startswith("fe80") else 0))
            server.listen()
            number = socket.AF_INET6 if ":" in address else socket.AF_INET
            client = ends.enter_context(open_socket(peer, number, socket.SOCK_STREAM))
            with inside(peer):
                client.connect((address, port, 0, scope("eth0")) if number == socket.AF_INET6 else (address, port))
            return Conversation(name, ends.enter_context(server.accept()[0]) if taken else server, client)

        local = next(
            str(info["local"])
            for info in json.loads(run(host, ["ip", "-j", "-6", "address", "show", "eth0"]).stdout)[0]["addr_info"]
            if info["scope"] == "link"
        )
        found = [
            connected("mapped", 8081, "::", "192.0.2.1"),
            connected("link-local", 8082, local, local),
            connected("half closed", 8083, "::", "2001:db8::1"),
        ]
        waiting = connected("waiting", 8084, "::", "2001:db8::1", taken=False)
        found[-1].far.shutdown(socket.SHUT_WR)
        assert found[-1].near.recv(1) == b""

        hostfwctl("apply")
        found.append(Conversation("waiting", ends.enter_context(waiting.near.accept()[0]), waiting.far))

        assert stand_still(found) == []


def test_flows_from_port_to_port_of_a_bridge_go_on(routed_lab: Lab, tmp_path: Path) -> None:
    """Where br_netfilter has them pass the rules for forwarded packets, though the host routes nothing."""
    host, inner, outer = (routed_lab[name] for name in ("host", "inner", "outer"))
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        pytest.skip("br_netfilter is not loaded")
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        set_sysctl(host, key, "0")
    set_sysctl(host, "net.bridge.bridge-nf-call-iptables", "1")
    commands = ("link add br0 type bridge", "link set br0 up", "link set lan0 master br0", "link set wan0 master br0")
    run(host, ["ip", "-batch", "-"], text="\n".join(commands) + "\n")
    (link,) = (one["ifname"] for one in json.loads(run(inner, ["ip", "-j", "link"]).stdout) if one["ifname"] != "lo")
    run(inner, ["ip", "address", "add", "192.0.2.3/24", "dev", link])
    installation = install(host, tmp_path / "hostfw")
    policy = FORWARDING.replace("wan0", "br0").replace("egress: [{action: Allow}]", "egress: []")
    (installation.config / "policy.yaml").write_text(policy)
    (installation.config / "hostfw.yaml").write_text("node: host\n")
    with ExitStack() as ends:
        server = ends.enter_context(open_socket(outer, socket.AF_INET, socket.SOCK_STREAM))
        client = ends.enter_context(open_socket(inner, socket.AF_INET, socket.SOCK_STREAM))
        server.bind(("192.0.2.2", 443))
        server.listen()
        client.connect(("192.0.2.2", 443))
        talk = Conversation("bridged", ends.enter_context(server.accept()[0]), client)
        with _speaking(talk):
            hostfwctl(installation, "apply")

        assert talk.host_speaks()
        with open_socket(inner, socket.AF_INET, socket.SOCK_STREAM) as later:
            later.settimeout(DENY_PATIENCE_S)
            with pytest.raises(OSError, match="timed out"):
                later.connect(("192.0.2.2", 443))


@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_forwarded_flows_go_on(
    routed_lab: Lab, tmp_path: Path, family: Family, kind: socket.SocketKind, *, before: bool
) -> None:
    """A flow through the host of which both sides were seen goes on when rules come, also after they were removed."""
    installation = install(routed_lab["host"], tmp_path / "hostfw")
    (installation.config / "policy.yaml").write_text(FORWARDING)
    (installation.config / "hostfw.yaml").write_text("node: host\n")
    if before:
        hostfwctl(installation, "apply")
        hostfwctl(installation, "disable", "--remove-rules")
    number, _, address = ADDRESSES[family]
    with ExitStack() as ends:
        server = ends.enter_context(open_socket(routed_lab["outer"], number, kind))
        client = ends.enter_context(open_socket(routed_lab["inner"], number, kind))
        server.bind((address, 443))
        if kind == socket.SOCK_STREAM:
            server.listen()
        client.connect((address, 443))
        if kind == socket.SOCK_STREAM:
            served = ends.enter_context(server.accept()[0])
        else:
            client.send(b"hello")
            server.connect(server.recvfrom(100)[1])
            served = server
        talk = Conversation("forwarded", served, client)
        with _speaking(talk):
            hostfwctl(installation, "apply")

        assert talk.host_speaks()
    refused = Flow("outer", "inner", TCP, 443, family)
    assert probe(routed_lab, (refused,), DENY_PATIENCE_S)[0].verdict is not Verdict.ALLOWED
