"""ClusterNetworkPolicy of `policy.networking.k8s.io/v1alpha2`, decoded: the forms and limits are those of its CRD.

Source: the API types of network-policy-api 0.2. A peer that hostfw cannot know is refused, and never left out.
"""

from collections.abc import Callable
from functools import partial

from hostfw.manifest.fields import Reader, Refusal, Shape, choice, fields, integer, items, one_of, text
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.kubernetes.cluster_conversion import cluster_policy
from hostfw.manifest.kubernetes.labels import label_selector
from hostfw.manifest.kubernetes.network_policy import PEERS, PROTOCOLS
from hostfw.manifest.scalars.name_forms import ENDPOINT_PORT_NAME
from hostfw.manifest.scalars.nets import masked_net
from hostfw.manifest.scalars.scalars import each, each_once
from hostfw.manifest.yaml.nodes import Node
from hostfw.model.kinds.kubernetes import (
    ClusterPeer,
    ClusterPolicy,
    ClusterPort,
    ClusterRule,
    ClusterTier,
    LabelSelector,
    NamespacedPods,
)
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.resources import ClusterNetworkPolicy
from hostfw.model.values import Action, Direction, PortRange, Protocol
from hostfw.model.wording import quoted

CLUSTER_POLICY_SHAPE = Shape(
    "the spec of a ClusterNetworkPolicy", frozenset(("tier", "priority", "subject", "ingress", "egress"))
)
_OLDER = {"ports": "in v1alpha2 it is called protocols"}
CLUSTER_INGRESS_SHAPE = Shape(
    "an ingress rule of a ClusterNetworkPolicy",
    frozenset(("name", "action", "from", "protocols")),
    elsewhere={**_OLDER, "to": "in ingress it is called from"},
)
CLUSTER_EGRESS_SHAPE = Shape(
    "an egress rule of a ClusterNetworkPolicy",
    frozenset(("name", "action", "to", "protocols")),
    elsewhere={**_OLDER, "from": "in egress it is called to"},
)
_RULE_SHAPES = {Direction.INGRESS: CLUSTER_INGRESS_SHAPE, Direction.EGRESS: CLUSTER_EGRESS_SHAPE}
SUBJECT_SHAPE = Shape("the subject", frozenset(("namespaces", "pods")))
INGRESS_PEER_SHAPE = Shape(
    "a peer of ingress",
    frozenset(("namespaces", "pods")),
    elsewhere={"networks": "only egress rules have it; a GlobalNetworkPolicy has source.nets"},
)
EGRESS_PEER_SHAPE = Shape(
    "a peer of egress",
    frozenset(("namespaces", "pods", "networks")),
    {
        "nodes": Refusal("a host knows no labels of nodes", "list their addresses in networks"),
        "domainNames": Refusal(
            "a policy of Kubernetes cannot name a Feed, which keeps the addresses of names",
            "write a Feed with hostnames, and a GlobalNetworkPolicy that selects it",
        ),
    },
)
_PEER_SHAPES = {Direction.INGRESS: INGRESS_PEER_SHAPE, Direction.EGRESS: EGRESS_PEER_SHAPE}
NAMESPACED_PODS_SHAPE = Shape("pods", frozenset(("namespaceSelector", "podSelector")))
PROTOCOL_SHAPE = Shape("an item of protocols", frozenset(("tcp", "udp", "sctp", "destinationNamedPort")))
PROTOCOL_PORT_SHAPE = Shape("the protocol of a rule", frozenset(("destinationPort",)))
DESTINATION_PORT_SHAPE = Shape("destinationPort", frozenset(("number", "range")))
PORT_RANGE_SHAPE = Shape("range", frozenset(("start", "end")))

TIERS = {tier.value: tier for tier in ClusterTier}
ACTIONS = {"Accept": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
LAST_PRIORITY = 1000
MOST_ITEMS = 25
"""The items that any list of a ClusterNetworkPolicy may have."""
NAME_CHARACTERS = 100


def decode_cluster_policy(reader: Reader, metadata: Metadata, spec: Node) -> ClusterNetworkPolicy:
    """A ClusterNetworkPolicy."""
    found = fields(reader, spec, CLUSTER_POLICY_SHAPE)
    for name, expected in (
        ("tier", one_of(TIERS)),
        ("priority", f"a number from 0 to {LAST_PRIORITY}; the lowest comes first"),
        ("subject", "namespaces or pods"),
    ):
        if name not in found:
            reader.report(spec, f"{name} is missing", expected)
    given = {direction: items(reader, found.get(direction), direction, MOST_ITEMS) for direction in Direction}
    ingress, egress = (each(reader, given[d], d, partial(_rule, direction=d)) for d in Direction)
    if not any(given.values()) and "subject" in found:
        reader.warn(spec, "the policy has no rules and does nothing", "give it ingress or egress rules")
    return cluster_policy(
        metadata,
        ClusterPolicy(
            choice(reader, found.get("tier"), "tier", TIERS) or ClusterTier.ADMIN,
            integer(reader, found.get("priority"), "priority", 0, LAST_PRIORITY) or 0,
            _subject(reader, found["subject"]) if "subject" in found else NamespacedPods(),
            ingress,
            egress,
        ),
    )


def _subject(reader: Reader, node: Node) -> NamespacedPods:
    chosen = _selected(reader, node, "the subject", SUBJECT_SHAPE)
    return NamespacedPods() if chosen is None or chosen.pods is None else chosen.pods


def _rule(reader: Reader, node: Node, what: str, direction: Direction) -> ClusterRule | None:
    told = len(reader.problems)
    found = fields(reader, node, _RULE_SHAPES[direction])
    is_told = len(reader.problems) > told
    name = text(reader, found.get("name"), "name") or ""
    if len(name) > NAME_CHARACTERS:
        reader.report(found["name"], f"name has {len(name)} characters", f"at most {NAME_CHARACTERS}")
    action = choice(reader, found.get("action"), "action", ACTIONS)
    if "action" not in found:
        reader.report(node, "action is missing", one_of(ACTIONS))
    side = PEERS[direction]
    given = items(reader, found.get(side), side, MOST_ITEMS)
    if not given and (side in found or not is_told):
        reader.report(found.get(side, node), f"a rule of {what} has no {side}", "at least one peer")
    peers = each(reader, given, side, partial(_peer, shape=_PEER_SHAPES[direction]))
    protocols = _at_least_one(reader, found, "protocols", _protocol)
    named = [port for port in protocols if isinstance(port.port, str)]
    if named and any(peer.networks for peer in peers):
        reader.report(found["protocols"], "destinationNamedPort with networks, which name no ports", "a number")
    return None if action is None else ClusterRule(action, peers, protocols, name, reader.at(node))


def _at_least_one(
    reader: Reader,
    found: dict[str, Node],
    name: str,
    decode: Callable[[Reader, Node, str], ClusterPort | None],
) -> tuple[ClusterPort, ...]:
    """A list that, where it is given, is not empty: what an empty one means is open to doubt."""
    nodes = items(reader, found.get(name), name, MOST_ITEMS)
    if name in found and not nodes:
        reader.report(found[name], f"{name} is empty", "at least one item", "leave it out where every one is meant")
    return each_once(reader, nodes, name, decode)


def _peer(reader: Reader, node: Node, what: str, shape: Shape) -> ClusterPeer | None:
    return _selected(reader, node, f"an item of {what}", shape)


def _only(reader: Reader, node: Node, what: str, shape: Shape) -> tuple[str, Node] | None:
    """The one field of a mapping that has exactly one."""
    told = len(reader.problems)
    found = fields(reader, node, shape)
    if len(found) == 1:
        return next(iter(found.items()))
    if found or len(reader.problems) == told:
        said = " and ".join(sorted(found)) or "nothing"
        reader.report(node, f"{what} has {said}", f"exactly one of {', '.join(sorted(shape.known))}")
    return None


def _selected(reader: Reader, node: Node, what: str, shape: Shape) -> ClusterPeer | None:
    """The peers that a rule or policy is about."""
    only = _only(reader, node, what, shape)
    if only is None:
        return None
    way, value = only
    if way == "networks":
        nodes = items(reader, value, "networks", MOST_ITEMS)
        if not nodes:
            reader.report(value, "networks is empty", "at least one prefix such as 10.0.0.0/8")
        networks = each_once(reader, nodes, "networks", masked_net)
        return ClusterPeer(networks=networks, position=reader.at(node)) if networks else None
    if way == "namespaces":
        of_namespaces = label_selector(reader, value) or LabelSelector()
        pods = NamespacedPods(of_namespaces, LabelSelector(position=of_namespaces.position))
        return ClusterPeer(pods, position=reader.at(node))
    inner = fields(reader, value, NAMESPACED_PODS_SHAPE)
    if "podSelector" not in inner:
        reader.report(value, "podSelector is missing", "a label selector; {} selects every pod")
    namespaces = label_selector(reader, inner.get("namespaceSelector"))
    labelled = label_selector(reader, inner.get("podSelector"))
    chosen = NamespacedPods(namespaces or LabelSelector(), labelled or LabelSelector(), names_pods=True)
    return ClusterPeer(chosen, position=reader.at(node))


def _protocol(reader: Reader, node: Node, what: str) -> ClusterPort | None:
    only = _only(reader, node, f"an item of {what}", PROTOCOL_SHAPE)
    if only is None:
        return None
    name, value = only
    if name == "destinationNamedPort":
        port = text(reader, value, name)
        if port is not None and not ENDPOINT_PORT_NAME.fits(port):
            reader.report(value, f"{name} is {quoted(port)}", ENDPOINT_PORT_NAME.expected)
            return None
        return None if port is None else ClusterPort(None, port)
    return _of_protocol(reader, value, name, PROTOCOLS[name.upper()])


def _of_protocol(reader: Reader, node: Node, name: str, protocol: Protocol) -> ClusterPort | None:
    found = fields(reader, node, PROTOCOL_PORT_SHAPE)
    if "destinationPort" not in found:
        hint = f"{{destinationPort: {{range: {{start: 1, end: {LAST_PORT}}}}}}} is every port"
        reader.report(node, f"{name} has no destinationPort", "destinationPort", hint)
        return None
    only = _only(reader, found["destinationPort"], "destinationPort", DESTINATION_PORT_SHAPE)
    if only is None:
        return None
    way, ports = only
    if way == "number":
        number = integer(reader, ports, way, 1, LAST_PORT)
        return None if number is None else ClusterPort(protocol, PortRange(number, number))
    ends = fields(reader, ports, PORT_RANGE_SHAPE)
    for end in ("start", "end"):
        if end not in ends:
            reader.report(ports, f"{end} is missing", f"a port from 1 to {LAST_PORT}")
    first, last = (integer(reader, ends.get(end), end, 1, LAST_PORT) for end in ("start", "end"))
    if first is None or last is None:
        return None
    if last <= first:
        reader.report(ends["end"], f"end is {last}, and start {first}", f"a port from {first + 1} on")
        return None
    return ClusterPort(protocol, PortRange(first, last))
