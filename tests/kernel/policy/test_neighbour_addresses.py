"""Rules that ask for the Ethernet address of a neighbour, with connections of two of them."""

import socket
from pathlib import Path

import pytest

from lab.hostfwctl import hostfwctl, install
from lab.namespace import Namespace, namespace, open_socket, run

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: lan}
spec: {interfaceName: br0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: search}
spec:
  types: [Ingress, Egress]
  ingress:
    - action: Allow
      protocol: TCP
      source: {macs: ["02:AA:00:00:00:09", "02:aa:00:00:00:01"]}
      destination: {ports: [9200]}
    - {action: Allow, protocol: TCP, ipsec: false, destination: {ports: [9300]}}
    - {action: Allow, protocol: TCP, ipsec: true}
    - {action: Allow, protocol: ICMPv6}
  egress: [{action: Allow}]
"""
NEIGHBOURS = {"known": ("02:aa:00:00:00:01", 11), "unknown": ("02:aa:00:00:00:02", 12)}


@pytest.mark.parametrize("prefix", ["192.0.2.", "2001:db8::"])
def test_only_the_neighbours_that_are_named_get_in(tmp_path: Path, prefix: str) -> None:
    """Whatever address of IP they have, and for the port alone that they are named for."""
    with namespace("macs-host") as host, namespace("macs-known") as known, namespace("macs-unknown") as unknown:
        _connect(host, {"known": known, "unknown": unknown})
        installation = install(host, tmp_path)
        (installation.config / "policy.yaml").write_text(POLICY)
        hostfwctl(installation, "apply", "--accept-loss")

        family = socket.AF_INET6 if ":" in prefix else socket.AF_INET
        found = {
            (who, port): _answers(host, peer, family, f"{prefix}1", port)
            for who, peer in (("known", known), ("unknown", unknown))
            for port in (9200, 9300, 9400)
        }
        explained = [
            hostfwctl(
                installation, "explain", f"{prefix}12", _socket(prefix), "--in", "br0", *more, check=False
            ).returncode
            for more in ((), ("--mac", "02:aa:00:00:00:01"), ("--mac", "02:aa:00:00:00:02"), ("--ipsec",))
        ]

    assert found == {
        ("known", 9200): True,
        ("known", 9300): True,
        ("known", 9400): False,
        ("unknown", 9200): False,
        ("unknown", 9300): True,
        ("unknown", 9400): False,
    }
    assert explained == [10, 0, 10, 0]


def _socket(prefix: str) -> str:
    return f"[{prefix}1]:9200" if ":" in prefix else f"{prefix}1:9200"


def _connect(host: Namespace, peers: dict[str, Namespace]) -> None:
    """A bridge of the host with a neighbour at each port."""
    lines = ["link add br0 address 02:aa:00:00:00:ff type bridge", "link set br0 up", "addr add 192.0.2.1/24 dev br0"]
    lines.append("addr add 2001:db8::1/64 dev br0 nodad")
    run(host, ("ip", "-batch", "-"), text="\n".join(lines))
    for name, peer in peers.items():
        mac, number = NEIGHBOURS[name]
        run(host, ("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", peer.path))
        run(host, ("ip", "link", "set", name, "master", "br0", "up"))
        own = [f"link set eth0 address {mac} up", f"addr add 192.0.2.{number}/24 dev eth0"]
        own.append(f"addr add 2001:db8::{number}/64 dev eth0 nodad")
        run(peer, ("ip", "-batch", "-"), text="\n".join(own))


def _answers(host: Namespace, peer: Namespace, family: socket.AddressFamily, address: str, port: int) -> bool:
    """True if a new connection of the neighbour comes about."""
    with (
        open_socket(host, family, socket.SOCK_STREAM) as server,
        open_socket(peer, family, socket.SOCK_STREAM) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen()
        client.settimeout(1.5)
        try:
            client.connect((address, port))
        except OSError:
            return False
        return True
