"""A confirmation over a connection that no policy has judged is refused, whichever way that connection came."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lab.hostfwctl import Installation
from lab.namespace import Namespace, open_socket, run
from lab.service import service
from tests.kernel.engine.test_trial import SLACK_S, confirm, policy, sshd, stop_watchdog, write

Hostfwctl = Callable[..., CompletedProcess[str]]

VXLAN = """\
node: host
failsafe:
  inbound: [{protocol: TCP, port: 22}, {protocol: UDP, port: 4789}]
  outbound: [{protocol: UDP, port: 4789}]
"""


@pytest.fixture(autouse=True)
def _on_trial(installation: Installation) -> Iterator[None]:
    """Leave no watchdog behind."""
    yield
    stop_watchdog(installation)


@contextmanager
def connection(node: Namespace, address: str) -> Iterator[socket.socket]:
    """A connection from a node to the ssh server at an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with open_socket(node, family, socket.SOCK_STREAM) as made:
        made.settimeout(SLACK_S)
        made.connect((address, 22))
        yield made


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"])
def test_from_the_host_itself(
    installation: Installation, host: Namespace, peer: Namespace, hostfwctl: Hostfwctl, address: str
) -> None:
    """Over lo, whether to an address of lo or of another interface, as ssh forwards a port; one from outside counts."""
    write(installation, policy(80))
    with sshd(installation):
        hostfwctl("apply", "--confirm-within", "60s")
        with connection(host, address) as own:
            refused = confirm(own)
        with connection(peer, "2001:db8::1" if ":" in address else "192.0.2.1") as foreign:
            believed = confirm(foreign)

    assert refused[0] == 1
    assert f"this ssh connection comes from the host itself ({address})" in refused[1]
    assert "--console" in refused[1]
    assert believed[0] == 0, believed[1]


def test_over_an_interface_that_nobody_governs(
    installation: Installation, peer: Namespace, hostfwctl: Hostfwctl
) -> None:
    """The trial has no policy for it, so a connection over it proves nothing."""
    files = policy(80)
    files["policy.yaml"] = files["policy.yaml"].replace("interfaceName: eth0", "interfaceName: eth9")
    write(installation, files)
    with sshd(installation):
        hostfwctl("apply", "--confirm-within", "60s", "--accept-lockout")
        with connection(peer, "192.0.2.1") as foreign:
            refused = confirm(foreign)

    assert refused[0] == 1
    assert "this ssh connection comes over eth0, which no HostEndpoint governs" in refused[1]


def test_through_a_tunnel(installation: Installation, host: Namespace, peer: Namespace, hostfwctl: Hostfwctl) -> None:
    """A new connection within a tunnel that was there before is carried by packets that nobody judges any more."""
    for node, here, there in ((host, "192.0.2.1", "192.0.2.2"), (peer, "192.0.2.2", "192.0.2.1")):
        words = f"add vx0 type vxlan id 7 dstport 4789 remote {there} local {here} dev eth0"
        run(node, ["ip", "link", *words.split()])
        run(node, ["ip", "address", "add", f"10.7.0.{here[-1]}/24", "dev", "vx0"])
        run(node, ["ip", "link", "set", "vx0", "up"])
    write(installation, policy(80, VXLAN))
    with sshd(installation):
        hostfwctl("apply", "--confirm-within", "60s")
        with connection(peer, "10.7.0.1") as packed:
            refused = confirm(packed)

    assert refused[0] == 1
    assert "this ssh connection comes through vx0, a tunnel (vxlan)" in refused[1]


def test_the_service_asks_for_the_same_proof(
    installation: Installation, host: Namespace, peer: Namespace, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """It is the service then that judges, by the caller's connection."""
    write(installation, policy(80))
    with service(installation, tmp_path / "log"), sshd(installation):
        write(installation, policy(443))
        hostfwctl("apply", "--confirm-within", "60s")
        with connection(host, "127.0.0.1") as own:
            refused = confirm(own)
        with connection(peer, "192.0.2.1") as foreign:
            believed = confirm(foreign)

    assert refused[0] == 1
    assert "this ssh connection comes from the host itself (127.0.0.1)" in refused[1]
    assert believed[0] == 0, believed[1]
