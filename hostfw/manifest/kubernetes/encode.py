"""Policies of Kubernetes as manifests."""

from collections.abc import Iterable

from hostfw.manifest.kubernetes.network_policy import PEERS
from hostfw.model.kinds.kubernetes import (
    ClusterPeer,
    ClusterPolicy,
    ClusterPort,
    ClusterRule,
    LabelSelector,
    NamespacedPods,
    PeerRule,
    PodPolicy,
    PolicyPeer,
    PolicyPort,
)
from hostfw.model.values import Action, Direction, PortRange

Document = dict[str, object]


def pod_policy_manifest(spec: PodPolicy) -> Document:
    """The spec of a NetworkPolicy."""
    return {
        "podSelector": label_selector_manifest(spec.pod_selector),
        "policyTypes": [direction.value.title() for direction in spec.types],
        "ingress": _rules(spec.ingress, PEERS[Direction.INGRESS]),
        "egress": _rules(spec.egress, PEERS[Direction.EGRESS]),
    }


def _rules(rules: Iterable[PeerRule], peers: str) -> list[Document]:
    return [
        _without_empty({peers: [_peer(peer) for peer in rule.peers], "ports": [_port(port) for port in rule.ports]})
        for rule in rules
    ]


def _peer(peer: PolicyPeer) -> Document:
    block = peer.ip_block
    selectors = {"podSelector": peer.pod_selector, "namespaceSelector": peer.namespace_selector}
    of_block: Document = (
        {} if block is None else {"cidr": str(block.cidr), "except": [str(part) for part in block.except_]}
    )
    return {
        **{name: label_selector_manifest(selector) for name, selector in selectors.items() if selector is not None},
        **({"ipBlock": _without_empty(of_block)} if of_block else {}),
    }


def _port(port: PolicyPort) -> Document:
    protocol = {"protocol": port.protocol.name}
    match port.port:
        case None:
            return {**protocol}
        case PortRange(first, last):
            return {**protocol, "port": first, **({"endPort": last} if last != first else {})}
        case name:
            return {**protocol, "port": name}


def cluster_policy_manifest(spec: ClusterPolicy) -> Document:
    """The spec of a ClusterNetworkPolicy."""
    rules: Document = {
        direction.value: [_cluster_rule(rule, PEERS[direction]) for rule in given]
        for direction, given in ((Direction.INGRESS, spec.ingress), (Direction.EGRESS, spec.egress))
    }
    head = {"tier": spec.tier.value, "priority": spec.priority, "subject": _pods(spec.subject)}
    return {**head, **_without_empty(rules)}


def _cluster_rule(rule: ClusterRule, peers: str) -> Document:
    return {
        **({"name": rule.name} if rule.name else {}),
        "action": "Accept" if rule.action is Action.ALLOW else rule.action.value,
        peers: [_cluster_peer(peer) for peer in rule.peers],
        **({"protocols": [_cluster_port(port) for port in rule.protocols]} if rule.protocols else {}),
    }


def _cluster_peer(peer: ClusterPeer) -> Document:
    return {"networks": list(map(str, peer.networks))} if peer.pods is None else _pods(peer.pods)


def _pods(pods: NamespacedPods) -> Document:
    namespaces: object = label_selector_manifest(pods.namespace_selector)
    if not pods.names_pods:
        return {"namespaces": namespaces}
    return {"pods": {"namespaceSelector": namespaces, "podSelector": label_selector_manifest(pods.pod_selector)}}


def _cluster_port(port: ClusterPort) -> Document:
    if isinstance(port.port, str) or port.protocol is None:
        return {"destinationNamedPort": str(port.port)}
    first, last = port.port.first, port.port.last
    ports: Document = {"number": first} if first == last else {"range": {"start": first, "end": last}}
    return {port.protocol.name.lower(): {"destinationPort": ports}}


def label_selector_manifest(selector: LabelSelector) -> Document:
    """A label selector, empty if it selects everything."""
    expressions = [
        _without_empty({"key": one.key, "operator": one.operator.value, "values": list(one.values)})
        for one in selector.match_expressions
    ]
    return _without_empty({"matchLabels": dict(selector.match_labels), "matchExpressions": expressions})


def _without_empty(content: Document) -> Document:
    return {key: value for key, value in content.items() if value not in ([], {})}
