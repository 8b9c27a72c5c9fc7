"""Answers to questions that the host asks of everybody on a link, with the setting for them and without."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

import pytest

from hostfw.model.values import Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, open_socket, run
from tests.kernel.web_policy import ETH0

Hostfwctl = Callable[..., CompletedProcess[str]]

_POLICY = f"""\
{ETH0}\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: out}}
spec:
  egress: [{{action: Deny, protocol: UDP, destination: {{ports: [3702]}}}}, {{action: Allow}}]
"""
_SOCKETS = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}
_GROUPS = {Family.V4: "239.255.255.250", Family.V6: "ff02::c"}
_HOST = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
_NEIGHBOUR = {Family.V4: "192.0.2.2", Family.V6: "2001:db8::2"}
_STRANGER = {Family.V4: "203.0.113.9", Family.V6: "2001:db8:bad::9"}
_WAIT_S = 0.5


@contextmanager
def _bound(node: Namespace, family: Family, address: str, port: int = 0) -> Iterator[socket.socket]:
    """A UDP socket that can ask everybody on eth0."""
    with open_socket(node, _SOCKETS[family], socket.SOCK_DGRAM) as one, inside(node):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        index = socket.if_nametoindex("eth0")
        if family is Family.V4:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        else:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        one.bind((address, port))
        one.settimeout(_WAIT_S)
        yield one


def _hears(asking: socket.socket, peer: Namespace, family: Family, source: str, to: int | None = None) -> bool:
    """True if what a peer sends from an address reaches the socket, or another port of the host if one is said."""
    with _bound(peer, family, source) as answering:
        answering.sendto(b"here", (_HOST[family], asking.getsockname()[1] if to is None else to))
        try:
            return asking.recv(99) == b"here"
        except TimeoutError:
            return False


@pytest.fixture
def peers(lab: Lab) -> Lab:
    """A neighbour that has the address of a stranger too."""
    for family, length in ((Family.V4, 32), (Family.V6, 128)):
        stranger = [f"{_STRANGER[family]}/{length}", "dev", "eth0", *(["nodad"] if family is Family.V6 else [])]
        run(lab["peer"], ["ip", "address", "add", *stranger])
        run(lab["host"], ["ip", f"-{family:d}", "route", "add", f"{_STRANGER[family]}/{length}", "dev", "eth0"])
    return lab


def _apply(installation: Installation, hostfwctl: Hostfwctl, settings: str) -> None:
    (installation.config / "hostfw.yaml").write_text(f"node: host\n{settings}")
    (installation.config / "policy.yaml").write_text(_POLICY)
    hostfwctl("apply", "--accept-loss")


@pytest.mark.parametrize("family", list(_SOCKETS))
def test_neighbours_answer_a_question_and_nobody_else_does(
    peers: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """To the port that asked, at the address that asked, once it has asked what policy lets out."""
    _apply(installation, hostfwctl, "multicastAnswers: [1900, 3702]\n")
    host, peer, group = peers["host"], peers["peer"], _GROUPS[family]
    with _bound(host, family, _HOST[family]) as asking, _bound(host, family, _HOST[family]) as silent:
        assert not _hears(asking, peer, family, _NEIGHBOUR[family]), "nothing was asked"
        asking.sendto(b"?", (group, 1901))
        assert not _hears(asking, peer, family, _NEIGHBOUR[family]), "another question"
        with pytest.raises(PermissionError):
            asking.sendto(b"?", (group, 3702))
        assert not _hears(asking, peer, family, _NEIGHBOUR[family]), "policy did not let it out"
        asking.sendto(b"?", (_NEIGHBOUR[family], 1900))
        assert not _hears(asking, peer, family, _STRANGER[family]), "asked of one alone"

        asking.sendto(b"?", (group, 1900))
        assert _hears(asking, peer, family, _NEIGHBOUR[family])
        assert not _hears(asking, peer, family, _STRANGER[family])
        assert not _hears(silent, peer, family, _NEIGHBOUR[family])

    with _bound(host, family, _HOST[family], 1900) as service:
        service.sendto(b"alive", (group, 1900))
        assert not _hears(service, peer, family, _NEIGHBOUR[family]), "a service that announces itself is not opened"


def test_a_question_by_broadcast_is_answered(peers: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """To everybody in the network, and to everybody on the link."""
    _apply(installation, hostfwctl, "multicastAnswers: [1900]\n")
    host, peer = peers["host"], peers["peer"]
    for everybody in ("192.0.2.255", "255.255.255.255"):
        with _bound(host, Family.V4, _HOST[Family.V4]) as asking:
            if everybody == "255.255.255.255":
                run(host, ["ip", "route", "replace", "default", "dev", "eth0"])
            asking.sendto(b"?", (everybody, 1900))
            assert _hears(asking, peer, Family.V4, _NEIGHBOUR[Family.V4]), everybody


def test_without_the_setting_no_answer_comes_in(peers: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Nothing is noted either."""
    _apply(installation, hostfwctl, "")
    with _bound(peers["host"], Family.V4, _HOST[Family.V4]) as asking:
        asking.sendto(b"?", (_GROUPS[Family.V4], 1900))
        assert not _hears(asking, peers["peer"], Family.V4, _NEIGHBOUR[Family.V4])
    assert "asked" not in run(peers["host"], ["nft", "list", "ruleset"]).stdout


@pytest.mark.usefixtures("peers")
def test_what_answers_a_question_is_explained(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """By a word of its own; `--answer` of a stranger, or without the setting, is not one."""
    _apply(installation, hostfwctl, "multicastAnswers: [1900]\n")
    packet = ("explain", "192.0.2.2", "host:40000/udp", "--in", "eth0")
    assert "multicast-answer" in hostfwctl(*packet, "--answer").stdout
    assert hostfwctl(*packet, check=False).returncode == 10
    assert hostfwctl("explain", "203.0.113.9", *packet[2:], "--answer", check=False).returncode == 10
    assert hostfwctl("status").stdout.startswith("State:         in force")
    _apply(installation, hostfwctl, "")
    assert hostfwctl(*packet, "--answer", check=False).returncode == 10
