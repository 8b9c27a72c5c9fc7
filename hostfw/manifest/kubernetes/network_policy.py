"""NetworkPolicy of `networking.k8s.io/v1`, decoded: the forms and limits are those of Kubernetes' own validation."""

from functools import partial

from hostfw.manifest.fields import (
    Reader,
    Shape,
    choice,
    described,
    fields,
    integer,
    items,
)
from hostfw.manifest.kinds.policy import TYPES
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.kubernetes.conversion import kubernetes_policy
from hostfw.manifest.kubernetes.labels import label_selector
from hostfw.manifest.scalars.name_forms import ENDPOINT_PORT_NAME
from hostfw.manifest.scalars.nets import masked_net
from hostfw.manifest.scalars.scalars import each, each_once, warn_of_repeats
from hostfw.manifest.yaml.nodes import Node, Scalar, ScalarKind, scalar_kind
from hostfw.model.kinds.kubernetes import IPBlock, LabelSelector, PeerRule, PodPolicy, PolicyPeer, PolicyPort
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.resources import KubernetesNetworkPolicy
from hostfw.model.values import SCTP, TCP, UDP, Direction, PortRange

POD_POLICY_SHAPE = Shape(
    "the spec of a NetworkPolicy of Kubernetes", frozenset(("podSelector", "policyTypes", "ingress", "egress"))
)
PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
INGRESS_RULE_SHAPE = Shape(
    "an ingress rule", frozenset(("from", "ports")), elsewhere={"to": "in ingress it is called from"}
)
EGRESS_RULE_SHAPE = Shape("an egress rule", frozenset(("to", "ports")), elsewhere={"from": "in egress it is called to"})
_RULE_SHAPES = {Direction.INGRESS: INGRESS_RULE_SHAPE, Direction.EGRESS: EGRESS_RULE_SHAPE}
PEER_SHAPE = Shape("a peer", frozenset(("podSelector", "namespaceSelector", "ipBlock")))
IP_BLOCK_SHAPE = Shape("an ipBlock", frozenset(("cidr", "except")))
POLICY_PORT_SHAPE = Shape("an item of ports", frozenset(("protocol", "port", "endPort")))
PROTOCOLS = {protocol.name: protocol for protocol in (TCP, UDP, SCTP)}
_PORT_EXPECTED = f"a port from 1 to {LAST_PORT}, or the name of one: {ENDPOINT_PORT_NAME.expected}"


def decode_kubernetes_policy(reader: Reader, metadata: Metadata, spec: Node) -> KubernetesNetworkPolicy:
    """A NetworkPolicy of Kubernetes, its policyTypes filled in where they are not given."""
    found = fields(reader, spec, POD_POLICY_SHAPE)
    rules = {
        direction: each(
            reader, items(reader, found.get(direction), direction), direction, partial(_rule, direction=direction)
        )
        for direction in Direction
    }
    ingress, egress = rules[Direction.INGRESS], rules[Direction.EGRESS]
    type_nodes = items(reader, found.get("policyTypes"), "policyTypes", len(TYPES))
    types = [choice(reader, item, "an item of policyTypes", TYPES) for item in type_nodes]
    if len(type_nodes) <= len(TYPES):
        warn_of_repeats(reader, type_nodes, types, "policyTypes")
    given = tuple(dict.fromkeys(direction for direction in types if direction is not None))
    default = (Direction.INGRESS, Direction.EGRESS) if egress else (Direction.INGRESS,)
    selected = label_selector(reader, found.get("podSelector")) or LabelSelector(position=reader.at(spec))
    return kubernetes_policy(metadata, PodPolicy(selected, given or default, ingress, egress))


def _rule(reader: Reader, node: Node, _what: str, direction: Direction) -> PeerRule:
    found = fields(reader, node, _RULE_SHAPES[direction])
    name = PEERS[direction]
    return PeerRule(
        each(reader, items(reader, found.get(name), name), name, _peer),
        each_once(reader, items(reader, found.get("ports"), "ports"), "ports", _port),
        reader.at(node),
    )


def _peer(reader: Reader, node: Node, what: str) -> PolicyPeer | None:
    found = fields(reader, node, PEER_SHAPE)
    pods = label_selector(reader, found.get("podSelector"))
    namespaces = label_selector(reader, found.get("namespaceSelector"))
    block = _ip_block(reader, found["ipBlock"]) if "ipBlock" in found else None
    if not found:
        reader.report(node, f"an item of {what} is empty", "podSelector, namespaceSelector or ipBlock")
        return None
    if "ipBlock" in found and len(found) > 1:
        hint = "write an item for each: what either of them names is allowed then"
        reader.report(node, "ipBlock is given together with a selector", "one of the two", hint)
        return None
    return PolicyPeer(pods, namespaces, block, reader.at(node))


def _ip_block(reader: Reader, node: Node) -> IPBlock | None:
    found = fields(reader, node, IP_BLOCK_SHAPE)
    cidr = masked_net(reader, found["cidr"], "cidr") if "cidr" in found else None
    if "cidr" not in found:
        reader.report(node, "cidr is missing", "a prefix such as 10.0.0.0/8 or fd00::/8")
    parts = []
    nodes = items(reader, found.get("except"), "except")
    for item in nodes:
        part = masked_net(reader, item, "except")
        if part is None or cidr is None:
            continue
        if part.family is not cidr.family or part.length <= cidr.length or not cidr.contains(part.address):
            reader.report(item, f"except has {part}, which is no smaller part of {cidr}", f"a prefix within {cidr}")
        else:
            parts.append(part)
    warn_of_repeats(reader, nodes, parts, "except")
    return None if cidr is None else IPBlock(cidr, tuple(parts))


def _port(reader: Reader, node: Node, _what: str) -> PolicyPort | None:
    found = fields(reader, node, POLICY_PORT_SHAPE)
    protocol = choice(reader, found.get("protocol"), "protocol", PROTOCOLS) or TCP
    port = _number_or_name(reader, found["port"]) if "port" in found else None
    last = integer(reader, found.get("endPort"), "endPort", 1, LAST_PORT)
    if last is not None and "port" not in found:
        reader.report(found["endPort"], "endPort without port", "the first port of the range as well")
    elif last is not None and isinstance(port, str):
        reader.report(found["endPort"], "endPort with the name of a port", "a number in port")
    elif last is not None and isinstance(port, int) and last < port:
        reader.report(found["endPort"], f"endPort is {last}, less than port {port}", f"a port from {port} on")
        last = None
    if isinstance(port, int):
        return PolicyPort(protocol, PortRange(port, port if last is None else last))
    return PolicyPort(protocol, port)


def _number_or_name(reader: Reader, node: Node) -> int | str | None:
    if isinstance(node, Scalar) and scalar_kind(node) is ScalarKind.STRING:
        if ENDPOINT_PORT_NAME.fits(node.text):
            return node.text
        hint = "write it without quotes" if node.text.isdigit() else ""
        reader.report(node, f"port is {described(node)}", _PORT_EXPECTED, hint)
        return None
    return integer(reader, node, "port", 1, LAST_PORT)
