"""Ssh behind a redirect of another program: the lock-out check names the port that people use, and packets agree."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from subprocess import CompletedProcess

import pytest

from hostfw.host.network.baseline import collect
from lab.hostfwctl import Installation
from lab.namespace import Namespace, inside, open_socket, run
from tests.kernel.engine.test_lockout import session as ssh_session
from tests.kernel.engine.test_lockout import ssh_server, value
from tests.kernel.engine.test_trial import SLACK_S, WITHIN_S, comes_back, ours, stop_watchdog

Hostfwctl = Callable[..., CompletedProcess[str]]

SETTINGS = "node: host\nfailsafe: none\n"
POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: host, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: ssh}
spec:
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [PORTS]}}]
  egress: [{action: Allow}]
"""
UNTRACKED = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: raw}
spec:
  doNotTrack: true
  applyOnForward: true
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [2222]}}]
  egress: [{action: Allow, protocol: TCP, source: {ports: [2222]}}]
"""
HERE, HERE6, PEER = "192.0.2.1", "2001:db8::1", "192.0.2.2"

REDIRECT = "tcp dport 2222 redirect to :22"
TO_AN_ADDRESS = (
    f"ip daddr {HERE} tcp dport 2222 dnat ip to {HERE}:22; ip6 daddr {HERE6} tcp dport 2222 dnat ip6 to [{HERE6}]:22"
)
BY_MAP = "meta l4proto tcp redirect to :tcp dport map { 2222 : 22, 2223 : 80 }"
SOMETIMES = "ip saddr 192.0.2.0/25 tcp dport 2222 redirect to :22; meta nfproto ipv6 tcp dport 2222 redirect to :22"
SHAPES = {"redirect": REDIRECT, "address": TO_AN_ADDRESS, "map": BY_MAP, "some sources": SOMETIMES}


def translate(host: Namespace, rules: str) -> None:
    """Have somebody translate ports."""
    base = "type nat hook prerouting priority dstnat; policy accept;"
    run(host, ["nft", "-f", "-"], text=f"table inet theirs {{\nchain pre {{ {base}\n{rules}\n}}\n}}\n")


def write(installation: Installation, ports: str, settings: str = SETTINGS) -> None:
    """Write a configuration that lets in some TCP ports."""
    (installation.config / "hostfw.yaml").write_text(settings)
    (installation.config / "policy.yaml").write_text(POLICY.replace("PORTS", ports))


def connects(installation: Installation, peer: Namespace, port: int, address: str = HERE) -> bool:
    """True if a new connection comes to the ssh server."""
    assert installation.node is not peer
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with open_socket(peer, family, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect((address, port))
            return connection.recv(1) == b"+"
        except OSError:
            return False


@pytest.fixture(name="street", params=tuple(SHAPES.values()), ids=tuple(SHAPES))
def _street(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Installation]:
    """A host with an ssh server at port 22, which port 2222 leads to as well."""
    translate(installation.node, request.param)
    with ssh_server(installation.node, "sshd", "::", 22):
        yield installation


@pytest.mark.parametrize("address", [HERE, HERE6])
def test_a_policy_for_the_wrong_port_is_refused(
    street: Installation, peer: Namespace, hostfwctl: Hostfwctl, address: str
) -> None:
    """Port 22 is open, and the session came through 2222: another one like it would be lost, and is if accepted."""
    write(street, "22")
    with ssh_session(peer, address, 2222):
        refused = hostfwctl("apply", check=False)
        untouched = run(street.node, ["nft", "list", "tables"]).stdout
        accepted = hostfwctl("apply", "--accept-lockout")

    assert refused.returncode == 1
    said = " ".join(refused.stderr.split())
    assert "another ssh connection like that from" in said
    assert "to port 2222 on eth0 would be lost" in said
    assert "allow tcp port 2222 in an ingress rule" in said
    assert "hostfw" not in untouched
    assert "to port 2222 on eth0 would be lost" in " ".join(accepted.stderr.split())
    assert [connects(street, peer, port, address) for port in (22, 2222)] == [True, False]


@pytest.mark.parametrize("address", [HERE, HERE6])
def test_a_policy_for_the_port_that_is_used_is_not_refused(
    street: Installation, peer: Namespace, hostfwctl: Hostfwctl, address: str
) -> None:
    """Port 22 stays closed: nobody uses it."""
    write(street, "2222")
    with ssh_session(peer, address, 2222):
        done = hostfwctl("apply")

    assert "lost" not in done.stderr
    assert [connects(street, peer, port, address) for port in (22, 2222)] == [False, True]


@pytest.mark.parametrize(("ports", "refused"), [("2222", False), ("22", False), ("443", True)])
def test_a_server_that_nobody_is_connected_to_has_every_way(
    street: Installation, hostfwctl: Hostfwctl, ports: str, refused: bool
) -> None:
    """One of the two ports is enough; with neither it is closed, and the message names both."""
    write(street, ports)

    done = hostfwctl("apply", check=False)

    said = " ".join(done.stderr.split())
    assert ("every ssh connection to sshd on port 22 or through port 2222 would be lost" in said) is refused
    assert done.returncode == int(refused)


def test_a_port_that_leads_elsewhere_is_no_way_in(
    installation: Installation, peer: Namespace, hostfwctl: Hostfwctl
) -> None:
    """Port 22 is that of a container or another server: to allow it lets nobody in to the one at 2200."""
    translate(installation.node, "tcp dport 2200 redirect to :80; tcp dport 2222 redirect to :2200")
    with ssh_server(installation.node, "sshd", "::", 2200):
        write(installation, "2200")
        refused = hostfwctl("apply", check=False)
        write(installation, "2222")
        hostfwctl("apply")
        reached = [connects(installation, peer, port) for port in (2200, 2222)]

    assert "every ssh connection to sshd on port 2200 or through port 2222" in " ".join(refused.stderr.split())
    assert (refused.returncode, reached) == (1, [False, True])


def test_what_is_not_tracked_is_not_translated(
    installation: Installation, peer: Namespace, hostfwctl: Hostfwctl
) -> None:
    """A doNotTrack policy that allows 2222 ends the way to port 22."""
    translate(installation.node, REDIRECT)
    write(installation, "22, 2222")
    (installation.config / "raw.yaml").write_text(UNTRACKED)
    with ssh_server(installation.node, "sshd", "::", 22), ssh_session(peer, HERE, 2222):
        refused = hostfwctl("apply", check=False)
        hostfwctl("apply", "--accept-lockout")
        reached = connects(installation, peer, 2222)

    said = " ".join(refused.stderr.split())
    assert "your established" not in said
    assert "keeps it from being tracked, and so from being translated" in said
    assert (refused.returncode, reached) == (1, False)


def test_back_to_what_closes_the_port_is_refused_by_hand_alone(
    installation: Installation, peer: Namespace, hostfwctl: Hostfwctl
) -> None:
    """`rollback`, `rollback --to` and the end of a trial that nobody confirms: the last goes through, with its loss."""
    translate(installation.node, REDIRECT)
    with ExitStack() as stack:
        stack.enter_context(ssh_server(installation.node, "sshd", "::", 22))
        write(installation, "22")
        hostfwctl("apply")
        accepted = ours(installation.node)
        stack.callback(stop_watchdog, installation)
        write(installation, "22, 2222")
        hostfwctl("apply", "--confirm-within", f"{WITHIN_S}s")
        stack.enter_context(ssh_session(peer, HERE, 2222))
        by_hand = hostfwctl("rollback", check=False)
        comes_back(installation.node, accepted, WITHIN_S + SLACK_S)
        at_the_end = connects(installation, peer, 2222)
        hostfwctl("apply")
        back_to_1 = hostfwctl("rollback", "--to", "1", check=False)
        still = connects(installation, peer, 2222)

    for refused in (by_hand, back_to_1):
        assert refused.returncode == 1
        assert "to port 2222 on eth0 would be lost" in " ".join(refused.stderr.split())
    assert (at_the_end, still) == (False, True)


def test_a_translated_address_is_that_of_the_session(
    installation: Installation, peer: Namespace, hostfwctl: Hostfwctl
) -> None:
    """A second address whose port 22 leads to the first one's: policy by address sees the one that people use."""
    host = installation.node
    run(host, ["ip", "address", "add", "192.0.2.5/24", "dev", "eth0"])
    translate(host, f"ip daddr 192.0.2.5 dnat ip to {HERE}")
    narrow = POLICY.replace("ports: [PORTS]", "ports: [22], nets: [192.0.2.1/32]")
    with ssh_server(host, "sshd", "0.0.0.0", 22), ssh_session(peer, "192.0.2.5", 22):
        with inside(host):
            seen = collect().sessions
        (installation.config / "hostfw.yaml").write_text(SETTINGS)
        (installation.config / "policy.yaml").write_text(narrow)
        refused = hostfwctl("apply", check=False)
        hostfwctl("apply", "--accept-lockout")
        reached = [connects(installation, peer, 22, address) for address in (HERE, "192.0.2.5")]

    assert [(each.local, each.original) for each in seen] == [(value(HERE), (value("192.0.2.5"), 22))]
    assert refused.returncode == 1
    assert reached == [True, False]


def test_a_first_configuration_lets_in_what_came_in(
    street: Installation, peer: Namespace, hostfwctl: Hostfwctl
) -> None:
    """`init` writes down the ports that lead to a server on the host as well, and nothing is lost by it."""
    hostfwctl("init", "--write")
    (street.config / "hostfw.yaml").write_text("failsafe: none\n")
    with ssh_session(peer, HERE, 2222):
        done = hostfwctl("apply")

    assert "lost" not in done.stderr
    assert [connects(street, peer, port, at) for port in (22, 2222) for at in (HERE, HERE6)] == [True] * 4
