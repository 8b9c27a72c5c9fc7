"""Random hosts with services, published ports and policies, and neighbours that knock from any address of theirs."""

import errno
import json
import select
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from random import Random
from time import monotonic

import yaml

from lab.hostfwctl import Installation, hostfwctl
from lab.laboratory import Lab
from lab.namespace import open_socket, run
from lab.topology import Link, Node, Route, Topology, assigned

Net = IPv4Network | IPv6Network

SIDES = {"eth0": "outer", "lan0": "inner"}
"""The interfaces of the host that neighbours are at, and their names."""
ANYONE = {
    "eth0": (ip_network("198.18.0.0/16"), ip_network("2001:db8:18::/48")),
    "lan0": (ip_network("198.19.0.0/16"), ip_network("2001:db8:19::/48")),
}
"""The addresses that each neighbour may send from: all of them are its own."""
ADDRESSES = {"eth0": ("192.0.2.1", "2001:db8::1"), "lan0": ("10.0.0.1", "fd00::1")}
CONTAINER = "172.17.0.2"
PORTS = (22, 80, 443, 5432, 8080)
NETS_V4 = (
    "198.18.0.0/16",
    "198.18.0.0/17",
    "198.18.4.0/22",
    "198.18.5.9/32",
    "198.19.0.0/16",
    "198.19.128.0/17",
    "198.0.0.0/8",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "198.19.7.0/24",
)
NETS_V6 = (
    "2001:db8:18::/48",
    "2001:db8:18::/49",
    "2001:db8:18:5::/64",
    "2001:db8::/32",
    "2001:db8:19:8000::/49",
    "::/0",
)
_FREEBIND = ((socket.IPPROTO_IP, 15), (socket.IPPROTO_IPV6, 78))
"""IP_FREEBIND and IPV6_FREEBIND: an address of a local route is not an address of an interface."""
DENIED_S, ALLOWED_S = 0.35, 3.0


def topology() -> Topology:
    """A host with two networks, whose neighbours have a network each behind them, and a container."""
    links = (
        Link("eth0", "outside", addresses=assigned("192.0.2.1/24", "2001:db8::1/64")),
        Link("lan0", "inside", addresses=assigned("10.0.0.1/24", "fd00::1/64")),
        Link("docker0", "containers", addresses=assigned("172.17.0.1/16")),
    )
    routes = (
        Route("198.18.0.0/16", "192.0.2.2"),
        Route("2001:db8:18::/48", "2001:db8::2"),
        Route("198.19.0.0/16", "10.0.0.2"),
        Route("2001:db8:19::/48", "fd00::2"),
    )
    outer = Link("eth0", "outside", addresses=assigned("192.0.2.2/24", "2001:db8::2/64"))
    inner = Link("eth0", "inside", addresses=assigned("10.0.0.2/24", "fd00::2/64"))
    container = Link("eth0", "containers", addresses=assigned("172.17.0.2/16"))
    return Topology(
        (
            Node("host", links, routes, forwards=True),
            Node("outer", (outer,), (Route("default", "192.0.2.1"), Route("default", "2001:db8::1"))),
            Node("inner", (inner,), (Route("default", "10.0.0.1"), Route("default", "fd00::1"))),
            Node("container", (container,), (Route("default", "172.17.0.1"),)),
        )
    )


def own_all_addresses(lab: Lab) -> None:
    """Let the neighbours send from, and answer at, every address of theirs."""
    for interface, node in SIDES.items():
        for net in ANYONE[interface]:
            run(lab[node], ["ip", f"-{net.version}", "route", "add", "local", str(net), "dev", "lo"])


# -------------------------------------------------------------------------------------------------- random hosts


@dataclass(frozen=True, slots=True)
class RandomHost:
    """A random host: manifests and settings, the ports that are listened on, and those that are published."""

    manifests: str
    settings: str
    listeners: tuple[tuple[str, int], ...]
    published: str


def random_host(seed: int) -> RandomHost:
    """The host of a seed."""
    chance = Random(seed)
    names = [f"p{number}" for number in range(chance.randint(1, 6))]
    documents = [*_endpoints(chance), *_sets(chance), *(_policy(chance, name) for name in names)]
    documents.append(_resource("Tier", "early", {"order": 10, "defaultAction": chance.choice(["Pass", "Deny"])}))
    listeners = [
        (chance.choice(["0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "fd00::1"]), port)
        for port in chance.sample(PORTS, chance.randint(1, 4))
    ]
    published = [
        f"{chance.choice(['', 'iifname eth0 ', 'iifname != lan0 '])}"
        f"{chance.choice(['fib daddr type local ', 'ip daddr 192.0.2.1 '])}tcp dport {port} "
        f"{chance.choice([f'dnat to {CONTAINER}:80', f'dnat to {CONTAINER}:{port}', 'redirect to :80'])}"
        for port in chance.sample((8000, 8080, 9000), chance.randint(0, 2))
    ]
    rules = "\n".join(published)
    chain = "type nat hook prerouting priority dstnat; policy accept;"
    narrow = {"protocol": "tcp", "port": 22, "net": "198.18.0.0/17"}
    settings = {
        "lockoutCheck": "ignore",
        "publishedPorts": chance.choice(["policy", "policy", "theirs"]),
        "failsafe": {"inbound": chance.choice([[], ["tcp:22"], [narrow]])},
        "unmanagedInterfaces": {"ingress": chance.choice(["allow", "deny"]), "egress": "allow"},
    }
    return RandomHost(
        "---\n".join(yaml.safe_dump(document) for document in documents),
        yaml.safe_dump(settings),
        tuple(listeners),
        f"table ip engine {{\nchain publish {{ {chain}\n{rules}\n}}\n}}\n",
    )


def _resource(kind: str, name: str, spec: object, labels: object = None) -> dict[str, object]:
    metadata = {"name": name} if labels is None else {"name": name, "labels": labels}
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def _endpoints(chance: Random) -> Iterator[dict[str, object]]:
    for interface, (v4, v6) in ADDRESSES.items():
        if chance.random() < 0.85:
            ports = [{"name": "web", "protocol": "TCP", "port": 80}]
            spec = {"interfaceName": interface, "expectedIPs": [v4, v6], "ports": ports}
            yield _resource("HostEndpoint", f"host-{interface}", spec, {"side": interface})


def _sets(chance: Random) -> Iterator[dict[str, object]]:
    for name in ("office", "bad"):
        nets = [*chance.sample(NETS_V4[:6], 2), chance.choice(NETS_V6[:5])]
        yield _resource("GlobalNetworkSet", name, {"nets": nets}, {"set": name})


def _policy(chance: Random, name: str) -> dict[str, object]:
    spec: dict[str, object] = {
        "tier": chance.choice(["default", "default", "early"]),
        "order": chance.randint(1, 50),
        "selector": chance.choice(["all()", "side == 'eth0'", "side == 'lan0'"]),
        "types": ["Ingress"],
        "applyOnForward": chance.random() < 0.3,
        "ingress": [_rule(chance) for _ in range(chance.randint(1, 4))],
    }
    return _resource("GlobalNetworkPolicy", name, spec)


def _rule(chance: Random) -> dict[str, object]:
    rule: dict[str, object] = {"action": chance.choice(["Allow", "Allow", "Allow", "Deny", "Pass", "Log"])}
    destination: dict[str, object] = {}
    source: dict[str, object] = {}
    if chance.random() < 0.8:
        rule["protocol"] = "TCP"
        low, high = sorted(chance.sample(PORTS, 2))
        drawn = chance.choice([[chance.choice(PORTS)], [f"{low}:{high}"], ["web"], [chance.choice(PORTS), 8000]])
        destination["ports"] = drawn
    nets = chance.choice([NETS_V4, NETS_V4, NETS_V6])
    match chance.randint(0, 4):
        case 0:
            source["nets"] = chance.sample(nets, 2)
        case 1:
            source["nets"], source["notNets"] = [nets[-2]], [nets[3]]
        case 2:
            source["selector"] = f"set == '{chance.choice(['office', 'bad'])}'"
        case 3:
            source["notSelector"] = "set == 'bad'"
        case _:
            pass
    if chance.random() < 0.2 and "nets" not in source:
        destination["nets"] = ["192.0.2.1/32"]
    return rule | {"source": source, "destination": destination}


# ------------------------------------------------------------------------------------------------------- knocking


@dataclass(frozen=True, slots=True)
class Knock:
    """A connection to try, and whether the exposure says that it gets through."""

    interface: str
    source: str
    destination: str
    port: int
    expected: bool

    def __str__(self) -> str:
        return f"{self.source} -> [{self.destination}]:{self.port} on {self.interface}"


@contextmanager
def listening(lab: Lab, node: str, listeners: Iterable[tuple[str, int]]) -> Iterator[None]:
    """Sockets that listen on a node for the length of the block."""
    with ExitStack() as stack:
        for address, port in listeners:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = stack.enter_context(open_socket(lab[node], family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(512)
        yield


def knocks(installation: Installation, chance: Random) -> Iterator[Knock]:
    """For every service, interface and address: sources in and out of each set, at their edges and anywhere."""
    document = json.loads(hostfwctl(installation, "exposure", "-o", "json").stdout)
    for item in document["items"]:
        for place in item["reached"]:
            if place["interface"] in SIDES:
                yield from _of_place(item["port"], place, chance)


def _of_place(port: int, place: dict[str, object], chance: Random) -> Iterator[Knock]:
    interface, address = str(place["interface"]), str(place["address"])
    if ip_address(address).is_link_local:
        return
    decisions = place["decisions"]
    assert isinstance(decisions, list)
    verdicts = [(ip_network(net), bool(d["allowed"])) for d in decisions for net in d["sources"]]
    mine = next(net for net in ANYONE[interface] if net.version == place["ipVersion"])
    for source in sorted(_sources(mine, [net for net, _ in verdicts], chance)):
        (verdict,) = {allowed for net, allowed in verdicts if ip_address(source) in net}
        yield Knock(interface, str(ip_address(source)), address, port, verdict)


def _sources(mine: Net, nets: Sequence[Net], chance: Random) -> set[int]:
    """Addresses of a neighbour: the edges of the sets that lie within, and some between."""
    first, last = int(mine[0]), int(mine[-1])
    edges = [edge for net in nets for edge in (int(net[0]) - 1, int(net[0]), int(net[-1]), int(net[-1]) + 1)]
    within = [edge for edge in edges if first < edge < last]
    chosen = {*chance.sample(within, min(len(within), 5)), *(chance.randint(first + 1, last - 1) for _ in range(2))}
    # The edges of the neighbour's own network are a network and a broadcast address.
    return {first + 1 + number if number < 0 else number for number in chosen}


def open_for(lab: Lab, tried: Sequence[Knock], patience_s: float) -> list[bool]:
    """The connections that get an answer within so many seconds; all are tried at the same time."""
    with ExitStack() as stack:
        poll = select.poll()
        waiting: dict[int, tuple[int, socket.socket]] = {}
        result = [False] * len(tried)
        for number, knock in enumerate(tried):
            family = socket.AF_INET6 if ":" in knock.destination else socket.AF_INET
            sock = stack.enter_context(open_socket(lab[SIDES[knock.interface]], family, socket.SOCK_STREAM))
            sock.setblocking(False)
            level, option = _FREEBIND[family == socket.AF_INET6]
            sock.setsockopt(level, option, 1)
            sock.bind((knock.source, 0))
            if sock.connect_ex((knock.destination, knock.port)) == errno.EINPROGRESS:
                waiting[sock.fileno()] = number, sock
                poll.register(sock, select.POLLOUT)
        deadline = monotonic() + patience_s
        while waiting and (left := deadline - monotonic()) > 0:
            for descriptor, _ in poll.poll(1000 * left):
                number, sock = waiting.pop(descriptor)
                poll.unregister(descriptor)
                # A refusal comes from the target's own stack, where nobody listens behind a redirect.
                result[number] = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED)
        return result


def disagreements(lab: Lab, tried: Iterable[Knock]) -> list[str]:
    """The connections that went otherwise than they should; what should pass has a second try with more patience."""
    known = list(tried)
    found = [k for k, is_open in zip(known, open_for(lab, known, DENIED_S), strict=True) if is_open is not k.expected]
    late = [knock for knock in found if knock.expected]
    again = dict(zip(late, open_for(lab, late, ALLOWED_S), strict=True)) if late else {}
    return [f"{knock}, expected {knock.expected}" for knock in found if again.get(knock) is not True]
