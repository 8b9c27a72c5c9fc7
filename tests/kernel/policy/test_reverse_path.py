"""The reverse path filter, with packets that come in by interfaces that no route leads back through."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

import pytest

from hostfw.model.values import TCP, UDP, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import open_socket, run, set_sysctl
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe
from tests.kernel.web_policy import OPEN

Hostfwctl = Callable[..., CompletedProcess[str]]

_NETS = {Family.V4: "192.0.2.0/24", Family.V6: "2001:db8::/64"}
_HOST = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
_PEER = {Family.V4: "192.0.2.2", Family.V6: "2001:db8::2"}
_REASON = "drop/in/no-reverse-path"


def _apply(installation: Installation, hostfwctl: Hostfwctl, settings: str) -> None:
    (installation.config / "hostfw.yaml").write_text(f"node: host\n{settings}")
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply", "--accept-loss")


def _gets_in(lab: Lab, family: Family, protocol: str = "udp", port: int = 9999) -> bool:
    """True if the host receives a packet of the peer, whatever way its answer would take."""
    flow = Flow("peer", "host", {"tcp": TCP, "udp": UDP}[protocol], port, family)
    before = _received(lab, port)
    probe(lab, (flow,), DENY_PATIENCE_S)
    return _received(lab, port) > before


def _received(lab: Lab, port: int) -> int:
    listed = run(lab["host"], ["nft", "list", "counter", "inet", "seen", f"p{port}"]).stdout
    return int(listed.split("packets ")[1].split()[0])


@contextmanager
def _connected(lab: Lab, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection of the peer to the host."""
    kind = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    with open_socket(lab["host"], kind, socket.SOCK_STREAM) as listening:
        listening.bind((_HOST[family], 9998))
        listening.listen()
        with open_socket(lab["peer"], kind, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect((_HOST[family], 9998))
            listening.settimeout(5)
            server, _ = listening.accept()
            with server:
                server.settimeout(5)
                yield client, server


@pytest.fixture
def watched(lab: Lab) -> Lab:
    """A host that counts what gets past every filter, without the kernel's own reverse path filter."""
    for name in ("all", "eth0"):
        set_sysctl(lab["host"], f"net.ipv4.conf.{name}.rp_filter", "0")
    ports = (9999, 22)
    rules = "\n".join(f"meta iifname eth0 th dport {port} counter name p{port}" for port in ports)
    counters = "\n".join(f"counter p{port} {{ }}" for port in ports)
    text = f"table inet seen {{\n{counters}\nchain c {{\ntype filter hook input priority 300;\n{rules}\n}}\n}}\n"
    run(lab["host"], ["nft", "-f", "-"], text=text)
    run(lab["host"], ["ip", "link", "add", "other0", "type", "veth", "peer", "name", "other1"])
    for name in ("other0", "other1"):
        run(lab["host"], ["ip", "link", "set", name, "up"])
    return lab


def _route_elsewhere(lab: Lab, family: Family) -> None:
    """Let the route to the peer lead out on another interface, while the host's address stays."""
    length = family.bits
    run(lab["host"], ["ip", f"-{family:d}", "route", "add", f"{_PEER[family]}/{length}", "dev", "other0"])


def _route_nowhere(lab: Lab, family: Family) -> None:
    run(lab["host"], ["ip", f"-{family:d}", "route", "del", _NETS[family], "dev", "eth0"])


@pytest.mark.parametrize("family", [Family.V4, Family.V6])
def test_a_source_that_a_route_leads_to_elsewhere_is_denied_by_strict_alone(
    watched: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """The failsafe port stays, and a connection that was there; the denial has its own counter."""
    _apply(installation, hostfwctl, "reversePathFilter: strict\n")
    ordinary = Flow("peer", "host", UDP, 9999, family)
    assert probe(watched, (ordinary,), ALLOW_PATIENCE_S)[0].verdict is Verdict.ALLOWED

    with _connected(watched, family) as (client, server):
        _route_elsewhere(watched, family)
        client.send(b"still here")
        assert server.recv(99) == b"still here"
    assert not _gets_in(watched, family)
    assert _gets_in(watched, family, "tcp", 22), "a failsafe port"
    assert _counted(watched) > 0

    _apply(installation, hostfwctl, "reversePathFilter: loose\n")
    assert _gets_in(watched, family)
    _apply(installation, hostfwctl, "")
    assert _gets_in(watched, family)


@pytest.mark.parametrize("family", [Family.V4, Family.V6])
def test_a_source_that_no_route_leads_to_is_denied_by_loose_too(
    watched: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """And not without the setting."""
    _apply(installation, hostfwctl, "reversePathFilter: loose\n")
    _route_nowhere(watched, family)
    assert not _gets_in(watched, family)
    assert (
        "no-reverse-path" in hostfwctl("explain", _PEER[family], _to_host(family), "--in", "eth0", check=False).stdout
    )
    assert hostfwctl("status").stdout.startswith("State:         in force")

    _apply(installation, hostfwctl, "")
    assert _gets_in(watched, family)


def _to_host(family: Family) -> str:
    return "192.0.2.1:9999/udp" if family is Family.V4 else "[2001:db8::1]:9999/udp"


def _counted(lab: Lab) -> int:
    listed = run(lab["host"], ["nft", "list", "counters"]).stdout
    return sum(int(part.split("packets ")[1].split()[0]) for part in listed.split(f"counter {_REASON} ")[1:])
