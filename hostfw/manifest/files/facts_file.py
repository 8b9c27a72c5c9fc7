"""The facts file: one observation of a host as YAML or JSON, so that its ruleset can be compiled anywhere.

apiVersion: hostfw.io/v1
kind: HostFacts
node: web1
kernel: 6.1.0-18-amd64
nft: 1.0.6
linkGroups: {dmz: 7}
interfaces:
- {name: eth0, index: 2, altnames: [enp3s0], addresses: [192.0.2.10, "2001:db8::10"], defaultRoute: true, up: true}
- name: eth1
  index: 4
  addresses: [10.1.2.3]
  learned: {dhcp: [10.1.2.3]}
  defaultRoute: true
  defaultRouteLearned: [dhcp]
  networks: [10.1.2.0/24]
  networksLearned: {dhcp: [10.1.2.0/24]}
- {name: vlan9, index: 3, kind: vlan, linkGroup: 7, master: br0, up: false}
"""

from collections.abc import Callable, Iterable

from hostfw.manifest.decode import decode_item
from hostfw.manifest.encode import manifest
from hostfw.manifest.fields import Reader, Shape, boolean, choice, entries, fields, integer, items, text
from hostfw.manifest.kinds.endpoint import LEARNED, learned
from hostfw.manifest.scalars.nets import any_address, strict_net
from hostfw.manifest.scalars.scalars import each
from hostfw.manifest.yaml.nodes import Mapping, Node, documents
from hostfw.model.api_versions import HOSTFW_V1
from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, in_order
from hostfw.model.sources import Source
from hostfw.model.values import Cidr, Learned, address_text
from hostfw.model.wording import quoted

_KIND = "HostFacts"
_FACTS = Shape(
    "the facts file",
    frozenset(
        ("apiVersion", "kind", "node", "kernel", "nft", "linkGroups", "interfaces", "workloads", "bridgeNetfilter")
    ),
)
_INTERFACE = Shape(
    "an interface",
    frozenset(
        (
            "name",
            "index",
            "altnames",
            "kind",
            "linkGroup",
            "master",
            "addresses",
            "learned",
            "defaultRoute",
            "defaultRouteLearned",
            "up",
            "mac",
            "permanentMAC",
            "networks",
            "networksLearned",
            "bridge",
        )
    ),
)
_BRIDGE = Shape("bridge", frozenset(("callsIPv4", "callsIPv6", "vlanFiltering")))

_LAST_INDEX = 2**31 - 1
_LAST_LINK_GROUP = 2**32 - 1


def decode_facts(source: Source) -> tuple[HostFacts | None, tuple[Problem, ...]]:
    """The facts that a file holds, None where there are problems, and every problem with its position."""
    reader = Reader(source.path, source.text.removeprefix("\ufeff"))
    roots = list(documents(source, reader.problems))
    for another in roots[1:]:
        reader.report(another, "a second document", "the facts of one host")
    facts = _facts(reader, roots[0] if roots else None)
    return None if reader.problems else facts, in_order(reader.problems)


def facts_document(facts: HostFacts) -> dict[str, object]:
    """The document that decodes to the same facts, fit for JSON and YAML."""
    return {
        "apiVersion": HOSTFW_V1,
        "kind": _KIND,
        "node": facts.node,
        "kernel": facts.kernel,
        "nft": facts.nft,
        "linkGroups": dict(facts.link_groups),
        "interfaces": [_interface_document(interface) for interface in facts.interfaces],
        **({"workloads": [manifest(workload) for workload in facts.workloads]} if facts.workloads else {}),
        **({} if facts.bridge_netfilter else {"bridgeNetfilter": False}),
    }


def _bridge_document(bridge: BridgeFacts) -> dict[str, object]:
    return {"callsIPv4": bridge.calls_ipv4, "callsIPv6": bridge.calls_ipv6, "vlanFiltering": bridge.vlan_filtering}


def _interface_document(interface: Interface) -> dict[str, object]:
    hardware = {"mac": interface.mac, "permanentMAC": interface.permanent_mac}
    return {
        "name": interface.name,
        "index": interface.index,
        "altnames": list(interface.altnames),
        "kind": interface.kind,
        "linkGroup": interface.link_group,
        "master": interface.master,
        "addresses": [address_text(cidr.family, cidr.address) for cidr in interface.addresses],
        "learned": {
            how.value: [address_text(c.family, c.address) for c, by in interface.learned if by is how]
            for how in Learned
            if any(by is how for _, by in interface.learned)
        },
        "defaultRoute": interface.default_route,
        "defaultRouteLearned": [how.value for how in interface.default_route_learned],
        "up": interface.up,
        **{name: address for name, address in hardware.items() if address},
        "networks": list(map(str, interface.networks)),
        "networksLearned": {
            how.value: [str(c) for c, by in interface.networks_learned if by is how]
            for how in Learned
            if any(by is how for _, by in interface.networks_learned)
        },
        **({} if interface.bridge is None else {"bridge": _bridge_document(interface.bridge)}),
    }


def _facts(reader: Reader, root: Node | None) -> HostFacts | None:
    if root is None:
        if not reader.problems:
            reader.problems.append(_empty(reader.path))
        return None
    found = fields(reader, root, _FACTS)
    if not isinstance(root, Mapping):
        return None
    for name, value in (("apiVersion", HOSTFW_V1), ("kind", _KIND), ("node", None), ("interfaces", None)):
        if name not in found:
            reader.report(root, f"{name} is missing", value or "")
        elif value is not None:
            choice(reader, found[name], name, {value: value})
    return HostFacts(
        node=_word(reader, found, "node") or "",
        interfaces=_interfaces(reader, found.get("interfaces")),
        link_groups=_link_groups(reader, found.get("linkGroups")),
        kernel=_text(reader, found, "kernel"),
        nft=_text(reader, found, "nft"),
        workloads=_workloads(reader, found.get("workloads")),
        bridge_netfilter=boolean(reader, found.get("bridgeNetfilter"), "bridgeNetfilter") is not False,
    )


def _workloads(reader: Reader, node: Node | None) -> tuple[WorkloadEndpoint, ...]:
    """The workloads that ran on the host, as manifests."""
    every = (one for item in items(reader, node, "workloads") for one in decode_item(reader, item, "WorkloadEndpoint"))
    found = (one for one in every if isinstance(one, WorkloadEndpoint))
    return tuple(sorted(found, key=lambda one: (one.metadata.full_name, one.metadata.position)))


def _empty(path: str) -> Problem:
    return Problem(
        Position(path, 1, 1), "the file is empty", "the facts of a host", "hostfwctl interfaces -o json prints it"
    )


def _link_groups(reader: Reader, node: Node | None) -> tuple[tuple[str, int], ...]:
    numbers = [
        (name, integer(reader, value, f"the link group {name}", 0, _LAST_LINK_GROUP))
        for name, _, value in entries(reader, node, "linkGroups")
    ]
    return tuple([(name, number) for name, number in numbers if number is not None])


def _interfaces(reader: Reader, node: Node | None) -> tuple[Interface, ...]:
    interfaces: dict[str, Interface] = {}
    for item in items(reader, node, "interfaces"):
        interface = _interface(reader, item)
        if interface.name and interface.name in interfaces:
            reader.report(item, f"the interface {quoted(interface.name)} is given twice", "each interface once")
        interfaces[interface.name] = interface
    return tuple(interfaces.values())


def _interface(reader: Reader, node: Node) -> Interface:
    found = fields(reader, node, _INTERFACE)
    if isinstance(node, Mapping):
        for name in ("name", "index"):
            if name not in found:
                reader.report(node, f"{name} is missing", "the name and index of the interface")
    addresses = each(reader, items(reader, found.get("addresses"), "addresses"), "addresses", any_address)
    networks = each(reader, items(reader, found.get("networks"), "networks"), "networks", strict_net)
    default_route = boolean(reader, found.get("defaultRoute"), "defaultRoute") or False
    return Interface(
        name=_word(reader, found, "name") or "",
        index=integer(reader, found.get("index"), "index", 1, _LAST_INDEX) or 0,
        altnames=each(reader, items(reader, found.get("altnames"), "altnames"), "altnames", text),
        kind=_text(reader, found, "kind"),
        link_group=integer(reader, found.get("linkGroup"), "linkGroup", 0, _LAST_LINK_GROUP) or 0,
        master=_word(reader, found, "master"),
        addresses=addresses,
        default_route=default_route,
        up=boolean(reader, found.get("up"), "up") is not False,
        learned=_given_by_neighbours(reader, found, ("learned", "addresses"), addresses, any_address),
        default_route_learned=_learned_route(reader, found.get("defaultRouteLearned"), default_route=default_route),
        mac=_text(reader, found, "mac"),
        permanent_mac=_text(reader, found, "permanentMAC"),
        networks=networks,
        networks_learned=_given_by_neighbours(reader, found, ("networksLearned", "networks"), networks, strict_net),
        bridge=_bridge(reader, found["bridge"]) if "bridge" in found else None,
    )


def _bridge(reader: Reader, node: Node) -> BridgeFacts:
    found = fields(reader, node, _BRIDGE)
    flags = (boolean(reader, found.get(name), name) or False for name in ("callsIPv4", "callsIPv6", "vlanFiltering"))
    return BridgeFacts(*flags)


def _given_by_neighbours(
    reader: Reader,
    found: dict[str, Node],
    names: tuple[str, str],
    given: Iterable[Cidr],
    decode: Callable[[Reader, Node, str], Cidr | None],
) -> tuple[tuple[Cidr, Learned], ...]:
    """The addresses or networks that a neighbour gave, with how; `names` are this list's, and that of all of them."""
    name, of_all = names
    every, ways = frozenset(given), dict[Cidr, Learned]()
    for word, listed in fields(reader, found.get(name), Shape(name, frozenset(LEARNED))).items():
        for item in items(reader, listed, f"{name}.{word}"):
            cidr = decode(reader, item, f"{name}.{word}")
            if cidr is None:
                continue
            text_of = address_text(cidr.family, cidr.address) if of_all == "addresses" else str(cidr)
            if cidr not in every:
                reader.report(item, f"{name}.{word} has {text_of}", f"one of {of_all}")
            elif cidr in ways:
                reader.report(item, f"{name} has {text_of} twice", "each once")
            else:
                ways[cidr] = LEARNED[word]
    return tuple(sorted(ways.items()))


def _learned_route(reader: Reader, node: Node | None, *, default_route: bool) -> tuple[Learned, ...]:
    ways = learned(reader, node, "defaultRouteLearned")
    if node is not None and ways and not default_route:
        reader.report(node, "defaultRouteLearned is given without a default route", "defaultRoute: true")
    return ways


def _text(reader: Reader, found: dict[str, Node], name: str) -> str:
    return text(reader, found.get(name), name) or ""


def _word(reader: Reader, found: dict[str, Node], name: str) -> str | None:
    """A text that may not be empty."""
    node = found.get(name)
    value = text(reader, node, name)
    if node is not None and value == "":
        reader.report(node, f"{name} is empty", "a name")
    return value
