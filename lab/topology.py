"""The topology of a laboratory: nodes, the links of each, and the networks that join them. Plain data."""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from hostfw.model.values import Family

Assigned = IPv4Interface | IPv6Interface
"""An address with the length of its network, as `ip address` writes it."""


class TopologyError(ValueError):
    """A topology that cannot be built, or a node or address that it does not have."""


@dataclass(frozen=True, slots=True)
class Link:
    """An interface of a node.

    A `veth` plugs into the `network` of that name. A `bridge` has the links that name it as `master` for ports; a
    `macvlan` or `vxlan` rides on its `parent`; a `tun` leads nowhere.
    """

    name: str
    network: str | None = None
    kind: str = "veth"
    parent: str | None = None
    master: str | None = None
    addresses: tuple[Assigned, ...] = ()
    altnames: tuple[str, ...] = ()
    link_group: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a node: a prefix (or `default`) through the address of a neighbour."""

    to: str
    via: str


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the laboratory. `forwards` makes it a router of both families."""

    name: str
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    forwards: bool = False

    def addresses(self, family: Family) -> tuple[Assigned, ...]:
        """Every address of one family, in the order of the links."""
        return tuple(a for link in self.links for a in link.addresses if a.version == family)


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes; the links that name the same network share a wire."""

    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """The node of that name."""
        found = next((n for n in self.nodes if n.name == name), None)
        if found is None:
            raise TopologyError(f"no node {name!r}: there are {', '.join(n.name for n in self.nodes)}")
        return found

    def networks(self) -> tuple[str, ...]:
        """The names of the networks, in the order in which they are first named."""
        return tuple(dict.fromkeys(k.network for n in self.nodes for k in n.links if k.network is not None))

    def address(self, source: str, destination: str, family: Family) -> str:
        """The address at which one node reaches another: one of a network that both are in, or else the first.

        A node reaches itself at its first address.
        """
        theirs = self.node(destination).addresses(family)
        if not theirs:
            raise TopologyError(f"{destination} has no address of IPv{family:d}")
        own = {address.network for address in self.node(source).addresses(family)}
        return str(next((a for a in theirs if a.network in own), theirs[0]).ip)


def assigned(*texts: str) -> tuple[Assigned, ...]:
    """Addresses from their text, such as `192.0.2.1/24`."""
    return tuple(ip_interface(text) for text in texts)


def pair() -> Topology:
    """Two nodes on one wire: `host` at eth0 (192.0.2.1, 2001:db8::1) and `peer` (192.0.2.2, 2001:db8::2)."""
    host = Node("host", (Link("eth0", "wire", addresses=assigned("192.0.2.1/24", "2001:db8::1/64")),))
    peer = Node("peer", (Link("eth0", "wire", addresses=assigned("192.0.2.2/24", "2001:db8::2/64")),))
    return Topology((host, peer))


def line() -> Topology:
    """Three nodes in a row: `host` forwards between `inner` (10.0.0.2, fd00::2) and `outer` (192.0.2.2, 2001:db8::2).

    The host is .1 on both sides, at `lan0` and at `wan0`, with its default route through `outer`; `inner` has its
    own through the host, and `outer` knows the way back.
    """
    lan = Link("lan0", "inside", addresses=assigned("10.0.0.1/24", "fd00::1/64"))
    wan = Link("wan0", "outside", addresses=assigned("192.0.2.1/24", "2001:db8::1/64"))
    return Topology(
        (
            Node("host", (lan, wan), (Route("default", "192.0.2.2"), Route("default", "2001:db8::2")), forwards=True),
            Node(
                "inner",
                (Link("eth0", "inside", addresses=assigned("10.0.0.2/24", "fd00::2/64")),),
                (Route("default", "10.0.0.1"), Route("default", "fd00::1")),
            ),
            Node(
                "outer",
                (Link("eth0", "outside", addresses=assigned("192.0.2.2/24", "2001:db8::2/64")),),
                (Route("10.0.0.0/24", "192.0.2.1"), Route("fd00::/64", "2001:db8::1")),
            ),
        )
    )
