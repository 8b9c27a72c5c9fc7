"""An empty /etc/hostfw, with real packets: closed inward but for the failsafes, open outward, over IPv4 and IPv6."""

import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.model.values import FAMILIES, ICMP, TCP, UDP, Family, Protocol
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import open_socket, run
from lab.packets.packet_records import drop_log
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, control, probe

FAILSAFES = ((TCP, 22), (UDP, 68), (UDP, 546))
CLOSED = ((TCP, 80), (TCP, 179), (TCP, 5432), (TCP, 6443), (UDP, 53), (UDP, 123), (UDP, 161), (ICMP, None))
OUTWARD = ((TCP, 22), (TCP, 443), (TCP, 5432), (UDP, 53), (UDP, 5000), (ICMP, None))

Hostfwctl = Callable[..., CompletedProcess[str]]


def _flows(source: str, destination: str, conversations: tuple[tuple[Protocol, int | None], ...]) -> tuple[Flow, ...]:
    return tuple(Flow(source, destination, *each, family) for each in conversations for family in FAMILIES)


def _verdicts(lab: Lab, flows: tuple[Flow, ...], patience_s: float) -> dict[str, Verdict]:
    return {str(outcome.flow): outcome.verdict for outcome in probe(lab, flows, patience_s)}


@pytest.fixture
def empty(lab: Lab, hostfwctl: Hostfwctl) -> Lab:
    """`lab` with an empty configuration in force on the host, after every flow has passed without it."""
    control(lab, (*_flows("peer", "host", FAILSAFES + CLOSED), *_flows("host", "peer", OUTWARD)))
    hostfwctl("apply")
    return lab


def test_inward_the_failsafes_are_open(empty: Lab) -> None:
    """The ssh server and the DHCP clients of both families can be reached."""
    flows = _flows("peer", "host", FAILSAFES)

    assert _verdicts(empty, flows, ALLOW_PATIENCE_S) == dict.fromkeys(map(str, flows), Verdict.ALLOWED)


def test_inward_all_else_is_dropped_and_says_why(empty: Lab, installation: Installation) -> None:
    """No answer comes, and each packet's log record names the unmanaged interface."""
    flows = _flows("peer", "host", CLOSED)

    with drop_log(installation) as log:
        outcomes = probe(empty, flows, DENY_PATIENCE_S)
        deniers = {str(outcome.flow): log.denier(outcome.sent) for outcome in outcomes}

    assert {str(o.flow): o.verdict for o in outcomes} == dict.fromkeys(map(str, flows), Verdict.DROPPED)
    assert deniers == dict.fromkeys(map(str, flows), "unmanaged-interface (ingress)")


def test_outward_everything_is_open(empty: Lab) -> None:
    """Whatever the host asks for, it gets the answer to."""
    flows = _flows("host", "peer", OUTWARD)

    assert _verdicts(empty, flows, ALLOW_PATIENCE_S) == dict.fromkeys(map(str, flows), Verdict.ALLOWED)


def test_what_the_host_says_to_itself_is_let_alone(empty: Lab) -> None:
    """Over 127.0.0.1 and ::1 as over its own addresses."""
    own = _flows("host", "host", ((TCP, 5432), (UDP, 53), (ICMP, None)))
    loopback = tuple(
        Flow("host", "host", protocol, port, family, address)
        for family, address in ((Family.V4, "127.0.0.1"), (Family.V6, "::1"))
        for protocol, port in ((TCP, 5432), (UDP, 53), (ICMP, None))
    )
    flows = own + loopback

    assert [o.verdict for o in probe(empty, flows, ALLOW_PATIENCE_S)] == [Verdict.ALLOWED] * len(flows)


@pytest.mark.parametrize("asking", ["host", "peer"])
def test_neighbours_find_each_other_anew(empty: Lab, asking: str) -> None:
    """With their neighbour tables empty, both sides resolve the other's address: discovery passes both ways."""
    for node in ("host", "peer"):
        run(empty[node], ["ip", "neighbour", "flush", "dev", "eth0", "nud", "all"])
    answering = "peer" if asking == "host" else "host"
    flows = _flows(asking, answering, ((TCP, 22),))

    assert _verdicts(empty, flows, ALLOW_PATIENCE_S) == dict.fromkeys(map(str, flows), Verdict.ALLOWED)


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "192.0.2.2"), (socket.AF_INET6, "2001:db8::2")], ids=["IPv4", "IPv6"]
)
def test_an_icmp_error_comes_back(empty: Lab, family: socket.AddressFamily, address: str) -> None:
    """An error about a packet of ours is related to it, so path MTU discovery works too."""
    with open_socket(empty["host"], family, socket.SOCK_DGRAM) as client:
        client.settimeout(ALLOW_PATIENCE_S)
        client.connect((address, 9))
        client.send(b"nobody listens there")

        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


def test_what_is_forwarded_is_let_alone(routed_lab: Lab, tmp_path: Path) -> None:
    """Between unmanaged interfaces packets pass both ways, failsafe or not."""
    conversations = ((TCP, 22), (TCP, 80), (UDP, 161), (ICMP, None))
    flows = _flows("inner", "outer", conversations) + _flows("outer", "inner", conversations)
    control(routed_lab, flows)
    hostfwctl(install(routed_lab["host"], tmp_path / "hostfw"), "apply")

    assert _verdicts(routed_lab, flows, ALLOW_PATIENCE_S) == dict.fromkeys(map(str, flows), Verdict.ALLOWED)


def test_a_second_apply_changes_nothing(empty: Lab, hostfwctl: Hostfwctl) -> None:
    """The ruleset, handles and all, is the same afterwards."""
    before = run(empty["host"], ["nft", "--handle", "--stateless", "list", "ruleset"]).stdout

    hostfwctl("apply")

    assert before
    assert run(empty["host"], ["nft", "--handle", "--stateless", "list", "ruleset"]).stdout == before
