"""The laboratory: machines with links between them, made of network namespaces, for real packets.

    with laboratory(pair()) as lab:
        run(lab["host"], ["nft", "-f", "-"], text=ruleset)
        verdicts = probe(lab, flows)          # lab_probe

A whole topology stands in some tens of milliseconds. Each network is a bridge in a namespace of its own, so that the
nodes hold nothing but their links. Duplicate address detection is off and the hardware addresses are fixed: an
address works at once and is the same in every run.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lab.namespace import Namespace, namespace, run, set_sysctl
from lab.topology import Link, Node, Topology, TopologyError

_WIRES = "wires"
_NO_DAD = ("net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad")
_FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
_OPTIONS = {"bridge": "mcast_snooping 0", "macvlan": "mode bridge", "vxlan": "id 1 dstport 4789"}


@dataclass(frozen=True, slots=True)
class Lab:
    """A laboratory that stands: its plan, and a namespace for each node."""

    topology: Topology
    namespaces: tuple[Namespace, ...]

    def __getitem__(self, node: str) -> Namespace:
        index = self.topology.nodes.index(self.topology.node(node))
        return self.namespaces[index]


@contextmanager
def laboratory(topology: Topology) -> Iterator[Lab]:
    """Build the topology for the length of the block. Nothing of it outlives the block, or this process."""
    with ExitStack() as stack:
        wires = stack.enter_context(namespace(_WIRES))
        lab = Lab(topology, tuple(stack.enter_context(namespace(node.name)) for node in topology.nodes))
        for key in _NO_DAD:
            for place in lab.namespaces:
                set_sysctl(place, key, "0")
        _batch(wires, _wiring(lab))
        for node in topology.nodes:
            _batch(lab[node.name], _furnishing(topology, node))
            for key in _FORWARDING if node.forwards else ():
                set_sysctl(lab[node.name], key, "1")
        yield lab


def _batch(namespace: Namespace, commands: Iterable[str]) -> None:
    """Run `ip` commands in one process."""
    run(namespace, ["ip", "-batch", "-"], text="".join(f"{command}\n" for command in commands))


def _wiring(lab: Lab) -> Iterator[str]:
    """A bridge for each network, and a veth from it to each link. What is made first gets the lower index."""
    networks = lab.topology.networks()
    for number, _ in enumerate(networks):
        yield f"link add n{number} type bridge mcast_snooping 0"
        yield f"link set n{number} up"
    for index, node in enumerate(lab.topology.nodes):
        for number, link in enumerate(node.links):
            if link.kind != "veth":
                continue
            if link.network is None:
                raise TopologyError(f"{node.name}: {link.name} is in no network")
            ours = f"w{index}.{number}"
            theirs = f"name {link.name} address {_hardware_address(index, number)} netns {lab[node.name].path}"
            yield f"link add {ours} type veth peer {theirs}"
            yield f"link set {ours} master n{networks.index(link.network)} up"


def _furnishing(topology: Topology, node: Node) -> Iterator[str]:
    """Everything inside a node: bridges before their ports, links up before addresses, addresses before routes."""
    yield "link set lo up"
    for number, link in enumerate(node.links):
        if link.kind != "veth":
            yield _creation(link, _hardware_address(topology.nodes.index(node), number))
    for link in node.links:
        if link.master is not None:
            yield f"link set {link.name} master {link.master}"
        for altname in link.altnames:
            yield f"link property add dev {link.name} altname {altname}"
        yield f"link set {link.name} group {link.link_group}"
        yield f"link set {link.name} up"
    for link in node.links:
        for address in link.addresses:
            yield f"address add {address} dev {link.name}{' nodad' if address.version == 6 else ''}"
    for route in node.routes:
        yield f"route add {route.to} via {route.via}"


def _creation(link: Link, hardware_address: str) -> str:
    if link.kind == "tun":
        return f"tuntap add dev {link.name} mode tun"
    parent = f"link {link.parent} " if link.parent is not None and link.kind == "macvlan" else ""
    options = " ".join(filter(None, (_OPTIONS.get(link.kind), f"dev {link.parent}" if link.kind == "vxlan" else None)))
    return f"link add {parent}{link.name} address {hardware_address} type {link.kind} {options}"


def _hardware_address(node: int, link: int) -> str:
    """A locally administered address that is the same in every run."""
    return f"02:00:00:00:{node:02x}:{link:02x}"
