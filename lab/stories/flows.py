"""The stories of `examples/`: a configuration, the laboratory that it is shown in, and flows with their verdicts.

A story is a directory with

    README.md    what it is about; its first line is the title
    etc/         what would lie in /etc/hostfw (absent or empty: nothing at all)
    facts.json   the host as `compile --facts` takes it: the laboratory's host, exactly
    flows.yaml   the laboratory and the flows, described in examples/README.md

`by` of a flow is what decides it, in the words of log records and counters: `default/web ingress[0]` for a policy
rule, `failsafe tcp 22 (ingress)`, `end-of-tier default (ingress)`, `unmanaged-interface (egress)` and so on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

import yaml

from hostfw.model.values import FAMILIES, ICMP, TCP, UDP, Family
from lab.packets.probe import Flow
from lab.topology import Link, Node, Route, Topology

T = TypeVar("T")

EXAMPLES = Path(__file__).parents[2] / "examples"
_PROTOCOLS = {protocol.name: protocol for protocol in (TCP, UDP, ICMP)}
_VERDICTS = {"allow": True, "deny": False}


class StoryError(ValueError):
    """A story that cannot be read: the file, the place in it and what was expected there."""


@dataclass(frozen=True, slots=True)
class ExpectedFlow:
    """A flow, whether it is to pass, and what is to decide so."""

    flow: Flow
    allowed: bool
    by: str


@dataclass(frozen=True, slots=True)
class Story:
    """An example, ready to be shown. `host` is the node that hostfw protects; the other nodes are its neighbours."""

    name: str
    title: str
    directory: Path
    host: str
    topology: Topology
    flows: tuple[ExpectedFlow, ...]

    @property
    def configuration(self) -> Path:
        """The configuration, as it would be in /etc/hostfw. It may be absent."""
        return self.directory / "etc"

    @property
    def facts(self) -> Path:
        """The host's facts, for use without the laboratory."""
        return self.directory / "facts.json"


def stories(root: Path = EXAMPLES) -> tuple[Story, ...]:
    """Every story below a directory, by name."""
    return tuple(read_story(path.parent) for path in sorted(root.glob("*/flows.yaml")))


def read_story(directory: Path) -> Story:
    """The story in a directory. Raises StoryError."""
    path = directory / "flows.yaml"
    try:
        document = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        top = _Fields(path.name, document, {"host", "nodes", "flows"})
        topology = Topology(tuple(_node(name, fields) for name, fields in top.children("nodes")))
        host = top.text("host")
        topology.node(host)
        flows = tuple(flow for fields in top.items("flows") for flow in _flows(fields, topology))
        title = (directory / "README.md").read_text().partition("\n")[0].lstrip("# ")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StoryError(f"{directory}: {error}") from error
    return Story(directory.name, title, directory, host, topology, flows)


def topology_of(document: object) -> Topology:
    """The machines of a document with `nodes`, as flows.yaml has them. Raises StoryError."""
    top = _Fields("nodes", document)
    return Topology(tuple(_node(name, fields) for name, fields in top.children("nodes")))


def _node(name: str, fields: "_Fields") -> Node:
    fields.allow({"links", "routes", "forwards"})
    links = tuple(_link(link) for link in fields.items("links"))
    routes = tuple(Route(route.text("to"), route.text("via")) for route in fields.items("routes"))
    return Node(name, links, routes, forwards=fields.flag("forwards"))


def _link(fields: "_Fields") -> Link:
    fields.allow({"name", "network", "kind", "parent", "master", "addresses", "altnames", "linkGroup"})
    return Link(
        name=fields.text("name"),
        network=fields.text_or_none("network"),
        kind=fields.text_or_none("kind") or "veth",
        parent=fields.text_or_none("parent"),
        master=fields.text_or_none("master"),
        addresses=tuple(ip_interface(text) for text in fields.texts("addresses")),
        altnames=fields.texts("altnames"),
        link_group=fields.number_or_none("linkGroup") or 0,
    )


def _flows(fields: "_Fields", topology: Topology) -> Iterator[ExpectedFlow]:
    """The flow in its family, or in both when it names none."""
    fields.allow({"from", "to", "protocol", "port", "family", "address", "expect", "by"})
    protocol = fields.one_of("protocol", _PROTOCOLS)
    port = fields.number_or_none("port")
    if (port is None) is not (protocol == ICMP):
        raise StoryError(f"{fields.place}: a port goes with TCP and UDP, and only with them")
    family = fields.number_or_none("family")
    for each in FAMILIES if family is None else (Family(family),):
        flow = Flow(fields.text("from"), fields.text("to"), protocol, port, each, fields.text_or_none("address"))
        topology.node(flow.source)
        topology.address(flow.source, flow.destination, each)
        yield ExpectedFlow(flow, fields.one_of("expect", _VERDICTS), fields.text("by"))


class _Fields:
    """A YAML mapping whose fields are asked for by type; what is wrong is a StoryError that names the place."""

    def __init__(self, place: str, value: object, allowed: set[str] | None = None) -> None:
        if not isinstance(value, Mapping):
            raise StoryError(f"{place}: expected a mapping")
        self.place = place
        self._fields: dict[str, object] = {str(key): child for key, child in value.items()}
        if allowed is not None:
            self.allow(allowed)

    def allow(self, names: set[str]) -> None:
        unknown = sorted(self._fields.keys() - names)
        if unknown:
            raise StoryError(f"{self.place}: unknown field {unknown[0]!r} (known: {', '.join(sorted(names))})")

    def text(self, name: str) -> str:
        found = self.text_or_none(name)
        if found is None:
            raise StoryError(f"{self.place}: {name} is missing")
        return found

    def text_or_none(self, name: str) -> str | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            raise StoryError(f"{self.place}.{name}: expected a text")
        return value

    def number_or_none(self, name: str) -> int | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, int):
            raise StoryError(f"{self.place}.{name}: expected a whole number")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise StoryError(f"{self.place}.{name}: expected true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(str(value) for value in self._list(name))

    def one_of(self, name: str, known: Mapping[str, T]) -> T:
        word = self.text(name)
        if word not in known:
            raise StoryError(f"{self.place}.{name}: {word!r} is none of {', '.join(known)}")
        return known[word]

    def items(self, name: str) -> Iterator["_Fields"]:
        for number, value in enumerate(self._list(name)):
            yield _Fields(f"{self.place}: {name}[{number}]", value)

    def children(self, name: str) -> Iterator[tuple[str, "_Fields"]]:
        value = self._fields.get(name)
        if not isinstance(value, Mapping):
            raise StoryError(f"{self.place}: {name} is missing or no mapping")
        for key, child in value.items():
            yield str(key), _Fields(f"{self.place}: {name}.{key}", child)

    def _list(self, name: str) -> Sequence[object]:
        value = self._fields.get(name, [])
        if not isinstance(value, list):
            raise StoryError(f"{self.place}.{name}: expected a list")
        return value
