"""The recipes of docs/recipes: their files, the host that they are for, and the packets that their tables promise.

A recipe is a page. What it shows as YAML begins with the name that the file has (`# /etc/hostfw/web.yaml`); what it
shows as nft is another program's table. Files elsewhere and commands are for whole hosts (tests/system).
`tests/data/recipes` has the machines of its table, as `nodes` and `host` of a story (examples/README.md), and as
`workloads` what a reader writes there. A row of the table is a packet: where it comes from and goes to, each an
address in backticks or `this host`; the packet (`TCP 443`, `ping`, `protocol 112`); whether it passes; what decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import yaml

from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from hostfw.model.packets.packet import Packet
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import ICMP, ICMPV6, TCP, UDP, Cidr, Family, parse_address
from lab.stories.flows import Story, read_story, topology_of
from lab.topology import Link, Topology
from tests.unit.project.documentation import ROOT

PAGES = ROOT / "docs/recipes"
DATA = ROOT / "tests/data/recipes"
_BLOCK = re.compile(r"^```(?P<language>yaml|nft)\n(?:# (?P<path>/\S+)\n)?(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_OURS = "/etc/hostfw/"
_HEAD = "| from | to | packet | | decided by |"
_VERDICTS = {"passes": True, "denied": False}
_PORTS = {"TCP": TCP, "UDP": UDP}
_Address = IPv4Address | IPv6Address
_BROADCAST = ip_address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Row:
    """A packet that a table promises something of; `source` and `destination` are None for the host itself.

    `port` is None for a protocol without ports; `protocol` is that of the packet as it is sent.
    """

    source: _Address | None
    destination: _Address | None
    protocol: int
    port: int | None
    family: Family
    allowed: bool
    by: str

    def __str__(self) -> str:
        ends = " to ".join(str(end or "this host") for end in (self.source, self.destination))
        return f"{ends} {self.protocol}/{self.port or '-'}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A page: its files by path below /etc/hostfw, tables of other programs, its machines and its promises."""

    name: str
    files: Mapping[str, str]
    foreign: str
    host: str
    topology: Topology
    rows: tuple[Row, ...]

    @property
    def configuration(self) -> Configuration:
        """Its files as they are read from the configuration directory."""
        sources = {path: Source(path, text) for path, text in self.files.items()}
        settings = sources.pop("hostfw.yaml", None)
        return Configuration(settings, tuple(sources.values()))

    @property
    def sent_on(self) -> tuple[int, ...]:
        """Ports of the host that its own table sends on to another machine."""
        found = re.search(r"dport \{ ([\d, ]+) \} dnat", self.foreign)
        return tuple(int(port) for port in found[1].split(",")) if found else ()

    @property
    def facts(self) -> HostFacts:
        """The host of its machines, as hostfw would see it."""
        node = self.topology.node(self.host)
        ways = [ip_address(route.via) for route in node.routes if route.to == "default"]
        return HostFacts(node.name, (_LOOPBACK, *(_interface(n, link, ways) for n, link in enumerate(node.links, 2))))

    def packet(self, row: Row) -> Packet:
        """The packet of a row, as the host meets it."""
        peer = row.source or row.destination
        assert peer is not None
        own = _number(self._own(row.family, peer))
        has_ports = row.port is not None
        return Packet(
            row.family,
            row.protocol,
            own if row.source is None else _number(row.source),
            own if row.destination is None else _number(row.destination),
            source_port=49152 if has_ports else None,
            destination_port=row.port,
            icmp_type={ICMP.number: 8, ICMPV6.number: 128}.get(row.protocol),
            icmp_code=0 if row.protocol in (ICMP.number, ICMPV6.number) else None,
            in_interface=None if row.source is None else self.link_towards(row.source).name,
            out_interface=None if self.is_for_host(row) else self.link_towards(row.destination).name,
        )

    def is_for_host(self, row: Row) -> bool:
        """True for what the host itself receives: sent to it, or to a group or broadcast address."""
        end = row.destination
        is_group = end is not None and (end.is_multicast or end == _BROADCAST)
        return self.node_of(end) == self.host or (row.source is not None and is_group)

    def _own(self, family: Family, peer: _Address) -> str:
        link = self.link_towards(peer)
        addresses = [address.ip for address in link.addresses if address.version == family]
        return str((addresses or [a.ip for a in self.topology.node(self.host).addresses(family)])[0])

    def link_towards(self, address: _Address | None) -> Link:
        """The link of the host that its routes have for an address."""
        node = self.topology.node(self.host)
        routes = [
            (ip_network({"default": "::/0" if ":" in r.via else "0.0.0.0/0"}.get(r.to, r.to)), ip_address(r.via))
            for r in node.routes
        ]
        assert address is not None
        ways = [via for net, via in sorted(routes, key=lambda way: -way[0].prefixlen) if address in net]
        for target in (address, *ways):
            for link in node.links:
                if any(target in assigned.network for assigned in link.addresses):
                    return link
        raise AssertionError(f"{self.name}: {self.host} has no way to {address}")

    def node_of(self, address: _Address | None) -> str:
        """The machine that has an address; the host for None, and empty for an address that nobody has."""
        if address is None:
            return self.host
        held = {
            assigned.ip: node.name for node in self.topology.nodes for link in node.links for assigned in link.addresses
        }
        return held.get(address, "")

    def write(self, directory: Path) -> None:
        """Write its files below a directory that stands for /etc/hostfw."""
        for path, text in self.files.items():
            place = directory / path
            place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(0o644)

    def story(self, directory: Path) -> Story:
        """The rows between machines as a story, which real packets tell; laid out in a new directory."""
        directory.mkdir()
        document = yaml.safe_load((DATA / f"{self.name}.yaml").read_text())
        (directory / "README.md").write_text(f"# {self.name}\n")
        document.pop("workloads", None)
        (directory / "flows.yaml").write_text(yaml.safe_dump(document | {"flows": [*self._flows()]}, sort_keys=False))
        self.write(directory / "etc")
        return read_story(directory)

    def _flows(self) -> Iterator[dict[str, object]]:
        names = {TCP.number: "TCP", UDP.number: "UDP", ICMP.number: "ICMP", ICMPV6.number: "ICMP"}
        for row in self.rows:
            is_sent_on = row.port in self.sent_on and self.is_for_host(row)
            if row.protocol in names and self.node_of(row.destination) and not is_sent_on:
                yield {
                    "from": self.node_of(row.source),
                    "to": self.node_of(row.destination),
                    "protocol": names[row.protocol],
                    "family": int(row.family),
                    "expect": "allow" if row.allowed else "deny",
                    "by": row.by,
                    **({} if row.port is None else {"port": row.port}),
                    **({} if row.destination is None else {"address": str(row.destination)}),
                }


def recipes() -> tuple[Recipe, ...]:
    """Every recipe, by name."""
    return tuple(_read(path) for path in sorted(PAGES.glob("*.md")) if path.stem != "index")


def _read(path: Path) -> Recipe:
    text = path.read_text()
    blocks = list(_BLOCK.finditer(text))
    named = {b["path"]: b["text"] for b in blocks if b["language"] == "yaml" and b["path"]}
    files = {path.removeprefix(_OURS): text for path, text in named.items() if path.startswith(_OURS)}
    foreign = "".join(block["text"] for block in blocks if block["language"] == "nft")
    document = yaml.safe_load((DATA / f"{path.stem}.yaml").read_text())
    if "workloads" in document:
        files["workloads.yaml"] = document["workloads"]
    return Recipe(path.stem, files, foreign, document["host"], topology_of(document), tuple(_rows(text)))


def _rows(text: str) -> Iterator[Row]:
    _, _, table = text.partition(f"{_HEAD}\n")
    for line in table.partition("\n\n")[0].splitlines()[1:]:
        source, destination, packet, verdict, by = (cell.strip() for cell in line.strip("|").split("|"))
        ends = _end(source), _end(destination)
        family = Family(next(end.version for end in ends if end is not None))
        protocol, port = _packet(packet, family)
        yield Row(*ends, protocol, port, family, _VERDICTS[verdict], ", ".join(re.findall(r"`([^`]+)`", by)))


def _end(cell: str) -> _Address | None:
    address = re.search(r"`([0-9a-f.:]+)`", cell)
    assert address or "this host" in cell, cell
    return ip_address(address[1]) if address else None


def _packet(cell: str, family: Family) -> tuple[int, int | None]:
    word, _, number = cell.partition(" ")
    if word in _PORTS:
        return _PORTS[word].number, int(number)
    if word == "protocol":
        return int(number), None
    assert word == "ping", cell
    return (ICMP if family is Family.V4 else ICMPV6).number, None


_LOOPBACK = Interface("lo", 1, kind="loopback", addresses=(Cidr(Family.V4, 0x7F000001, 32), Cidr(Family.V6, 1, 128)))


def _interface(index: int, link: Link, ways: list[_Address]) -> Interface:
    addresses = tuple(sorted(Cidr(Family(a.version), int(a.ip), Family(a.version).bits) for a in link.addresses))
    networks = {Cidr(Family(a.version), int(a.network.network_address), a.network.prefixlen) for a in link.addresses}
    has_default = any(way in address.network for way in ways for address in link.addresses)
    return Interface(
        link.name,
        index,
        altnames=link.altnames,
        kind=link.kind,
        link_group=link.link_group,
        master=link.master,
        bridge=BridgeFacts() if link.kind == "bridge" else None,
        addresses=addresses,
        default_route=has_default,
        networks=tuple(sorted(networks)),
    )


def _number(address: _Address | str) -> int:
    parsed = parse_address(str(address))
    assert parsed is not None
    return parsed[1]
