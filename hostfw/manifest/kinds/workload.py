"""WorkloadEndpoint, and the setting that says which interfaces are those of workloads."""

from hostfw.manifest.fields import Blank, Reader, Refusal, Shape, choice, fields, given, items, text
from hostfw.manifest.kinds.endpoint import ENDPOINT_PORT_SHAPE, endpoint_port, profile_names
from hostfw.manifest.kinds.failsafe import decode_ports
from hostfw.manifest.kinds.metadata import formed_name, required_name
from hostfw.manifest.scalars.name_forms import INTERFACE_PATTERN, LABEL_VALUE, NODE_NAME, ONE_INTERFACE_NAME
from hostfw.manifest.scalars.nets import own_network
from hostfw.manifest.scalars.scalars import each_once
from hostfw.manifest.yaml.nodes import Node
from hostfw.model.host.interface_names import fits
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.workloads import EndpointPort, WorkloadEndpoint
from hostfw.model.resources import ANY_NODE
from hostfw.model.settings import Unselected, Workloads
from hostfw.model.values import Mac, parse_mac
from hostfw.model.wording import quoted
from hostfw.selector.namespaces import NAMESPACE_LABEL

_NOT_BUILT = "this version of hostfw does not enforce it"
WORKLOAD_SHAPE = Shape(
    "the spec of a WorkloadEndpoint",
    frozenset(("node", "orchestrator", "interfaceName", "mac", "ipNetworks", "profiles", "ports")),
    {
        "ipNATs": Refusal("hostfw translates no addresses", "leave it out", Blank.LIST),
        "allowSpoofedSourcePrefixes": Refusal(
            "a workload sends from its own addresses alone", "list in ipNetworks what it may send from", Blank.LIST
        ),
        "qosControls": Refusal(_NOT_BUILT, "limit the interface with tc"),
        "serviceAccountName": Refusal("it names a Kubernetes ServiceAccount", "give the workload a label", Blank.TEXT),
    },
    ignored=frozenset(("workload", "endpoint", "containerID", "pod", "ipv4Gateway", "ipv6Gateway")),
)
WORKLOAD_PORT_SHAPE = Shape(
    "a named port",
    ENDPOINT_PORT_SHAPE.known,
    dict.fromkeys(
        ("hostPort", "hostIP"), Refusal("hostfw publishes no ports", "name the port of the workload itself", Blank.TEXT)
    ),
)
WORKLOADS_SHAPE = Shape(
    "workloads",
    frozenset(("bridges", "interfaces", "toHost", "unselected")),
)


def decode_workload(reader: Reader, metadata: Metadata, spec: Node) -> WorkloadEndpoint:
    """A WorkloadEndpoint; it must say which interface it is behind, and which addresses it has.

    One that is known by its Ethernet address may get others later.
    """
    found = fields(reader, spec, WORKLOAD_SHAPE)
    interface = required_name(reader, given(found, "interfaceName"), "interfaceName", ONE_INTERFACE_NAME, spec)
    if dict(metadata.labels).get(NAMESPACE_LABEL, metadata.namespace) != metadata.namespace:
        message = f"the label {NAMESPACE_LABEL} is not {quoted(metadata.namespace)}, the namespace that it belongs to"
        reader.report(spec, message, "", "leave the label out: it is there without being written")
    nodes = items(reader, found.get("ipNetworks"), "ipNetworks")
    networks = each_once(reader, nodes, "ipNetworks", own_network)
    mac = _mac(reader, given(found, "mac"))
    if not nodes and given(found, "mac") is None:
        message = "ipNetworks is missing or empty, so the workload could send nothing"
        reader.report(spec, message, "its addresses, or its mac where it has none yet")
    profiles, places = profile_names(reader, found.get("profiles"))
    ports = each_once(reader, items(reader, found.get("ports"), "ports"), "ports", _port)
    if ports and any(not network.is_host for network in networks):
        message = "ports are given together with a network of more than one address"
        reader.report(found["ports"], message, "single addresses in ipNetworks", "leave out the ports")
    node = formed_name(reader, given(found, "node"), "node", NODE_NAME)
    orchestrator = formed_name(reader, given(found, "orchestrator"), "orchestrator", LABEL_VALUE)
    return WorkloadEndpoint(
        metadata,
        interface or "",
        tuple(sorted(set(networks))),
        ANY_NODE if node is None else node,
        orchestrator or "",
        profiles,
        ports,
        places,
        mac,
    )


def decode_workloads(reader: Reader, node: Node | None, base: Workloads) -> Workloads:
    """The setting `workloads`."""
    if node is None:
        return base
    found = fields(reader, node, WORKLOADS_SHAPE)
    interfaces, bridges = (
        tuple(dict.fromkeys(each_once(reader, items(reader, found.get(name), name), name, _pattern)))
        for name in ("interfaces", "bridges")
    )
    return Workloads(
        interfaces,
        decode_ports(reader, found["toHost"], "toHost", base.to_host) if "toHost" in found else base.to_host,
        choice(reader, found.get("unselected"), "unselected", {word.value: word for word in Unselected})
        or base.unselected,
        bridges,
    )


def _pattern(reader: Reader, node: Node, what: str) -> str | None:
    value = text(reader, node, f"an item of {what}")
    if value is None:
        return None
    if not INTERFACE_PATTERN.fits(value):
        reader.report(node, f"{what} has {quoted(value)}", INTERFACE_PATTERN.expected)
        return None
    if fits(value, LOOPBACK):
        reader.report(node, f"{what} has {quoted(value)}, which lo is one of", "interfaces of workloads")
        return None
    return value


def _mac(reader: Reader, node: Node | None) -> Mac | None:
    value = None if node is None else text(reader, node, "mac")
    if node is None or value is None:
        return None
    mac = parse_mac(value)
    if mac is None:
        reader.report(node, f"mac is {quoted(value)}", "an Ethernet address such as 02:00:00:00:00:01")
    elif mac.is_group:
        reader.report(node, f"mac is {mac}, a group address, which no sender has", "that of a network card")
    return mac


def _port(reader: Reader, node: Node, _what: str) -> EndpointPort | None:
    return endpoint_port(reader, node, WORKLOAD_PORT_SHAPE)
