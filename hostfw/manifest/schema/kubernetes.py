"""The fields of policies of Kubernetes as JSON Schema."""

from hostfw.manifest.kinds.policy import TYPES
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.kubernetes.cluster_policy import (
    ACTIONS,
    CLUSTER_EGRESS_SHAPE,
    CLUSTER_INGRESS_SHAPE,
    CLUSTER_POLICY_SHAPE,
    DESTINATION_PORT_SHAPE,
    EGRESS_PEER_SHAPE,
    INGRESS_PEER_SHAPE,
    LAST_PRIORITY,
    MOST_ITEMS,
    NAME_CHARACTERS,
    NAMESPACED_PODS_SHAPE,
    PORT_RANGE_SHAPE,
    PROTOCOL_PORT_SHAPE,
    PROTOCOL_SHAPE,
    SUBJECT_SHAPE,
    TIERS,
)
from hostfw.manifest.kubernetes.labels import LABEL_SELECTOR_SHAPE, OPERATORS, REQUIREMENT_SHAPE
from hostfw.manifest.kubernetes.network_policy import (
    EGRESS_RULE_SHAPE,
    INGRESS_RULE_SHAPE,
    IP_BLOCK_SHAPE,
    PEER_SHAPE,
    POD_POLICY_SHAPE,
    POLICY_PORT_SHAPE,
    PROTOCOLS,
)
from hostfw.manifest.schema.values import (
    NET,
    PORT_NAME,
    STRING,
    Fields,
    Json,
    any_of,
    listed,
    ref,
    schema_of,
    whole,
    words,
)


def kubernetes_definitions() -> dict[str, Json]:
    """Every mapping below a policy of Kubernetes, by the name that references give it."""
    return {
        "podPolicySpec": schema_of(POD_POLICY_SHAPE, _POD_POLICY),
        "ingressPeerRule": schema_of(INGRESS_RULE_SHAPE, {"from": _PEERS, "ports": _PORTS}),
        "egressPeerRule": schema_of(EGRESS_RULE_SHAPE, {"to": _PEERS, "ports": _PORTS}),
        "policyPeer": schema_of(PEER_SHAPE, _PEER, minProperties=1),
        "ipBlock": schema_of(IP_BLOCK_SHAPE, _IP_BLOCK, ["cidr"]),
        "policyPort": schema_of(POLICY_PORT_SHAPE, _PORT),
        "clusterPolicySpec": schema_of(CLUSTER_POLICY_SHAPE, _CLUSTER_POLICY, ["tier", "priority", "subject"]),
        "clusterIngressRule": schema_of(CLUSTER_INGRESS_SHAPE, _cluster_rule("from", "Ingress"), ["action", "from"]),
        "clusterEgressRule": schema_of(CLUSTER_EGRESS_SHAPE, _cluster_rule("to", "Egress"), ["action", "to"]),
        "clusterSubject": schema_of(SUBJECT_SHAPE, _PODS, minProperties=1, maxProperties=1),
        "clusterIngressPeer": schema_of(INGRESS_PEER_SHAPE, _PODS, minProperties=1, maxProperties=1),
        "clusterEgressPeer": schema_of(EGRESS_PEER_SHAPE, _EGRESS_PEER, minProperties=1, maxProperties=1),
        "namespacedPods": schema_of(NAMESPACED_PODS_SHAPE, _NAMESPACED_PODS, ["podSelector"]),
        "clusterProtocol": schema_of(PROTOCOL_SHAPE, _PROTOCOL, minProperties=1, maxProperties=1),
        "protocolPort": schema_of(PROTOCOL_PORT_SHAPE, _PROTOCOL_PORT, ["destinationPort"]),
        "destinationPort": schema_of(DESTINATION_PORT_SHAPE, _DESTINATION_PORT, minProperties=1, maxProperties=1),
        "portRange": schema_of(PORT_RANGE_SHAPE, _PORT_RANGE, ["start", "end"]),
        "labelSelector": schema_of(LABEL_SELECTOR_SHAPE, _LABEL_SELECTOR),
        "labelRequirement": schema_of(REQUIREMENT_SHAPE, _REQUIREMENT, ["key", "operator"]),
    }


_POD_POLICY: Fields = {
    "podSelector": (ref("labelSelector"), "The workloads of its namespace that it applies to (default: all)."),
    "policyTypes": (
        listed(words(TYPES), len(TYPES)),
        "The directions that it restricts (default: Ingress, and Egress if it has rules for it).",
    ),
    "ingress": (listed(ref("ingressPeerRule")), "What may come in; nothing else may."),
    "egress": (listed(ref("egressPeerRule")), "What may go out; nothing else may."),
}
_PEERS = (listed(ref("policyPeer")), "Any of these peers (default: everybody).")
_PORTS = (listed(ref("policyPort")), "Any of these ports (default: every port and protocol).")
_PEER: Fields = {
    "podSelector": (ref("labelSelector"), "Workloads with these labels, of the policy's own namespace by default."),
    "namespaceSelector": (ref("labelSelector"), "Those in namespaces with these labels."),
    "ipBlock": (ref("ipBlock"), "Or addresses, and then no selector."),
}
_IP_BLOCK: Fields = {
    "cidr": (NET, "A prefix ..."),
    "except": (listed(NET), "... without these parts of it."),
}
_PORT: Fields = {
    "protocol": (words(PROTOCOLS), "The protocol (default: TCP)."),
    "port": (any_of(whole(1, LAST_PORT), PORT_NAME), "The number, or the name of a port (default: every port)."),
    "endPort": (whole(1, LAST_PORT), "The last port of a range that begins at port."),
}
_LABEL_SELECTOR: Fields = {
    "matchLabels": (ref("labels"), "Labels with these values."),
    "matchExpressions": (listed(ref("labelRequirement")), "All of these conditions."),
}
_REQUIREMENT: Fields = {
    "key": (STRING, "The label."),
    "operator": (words(OPERATORS), "NotIn and DoesNotExist hold where the label is absent."),
    "values": (listed(STRING), "The values of In and NotIn."),
}

_CLUSTER_POLICY: Fields = {
    "tier": (words(TIERS), "Admin comes before all other tiers of Kubernetes, Baseline after them."),
    "priority": (whole(0, LAST_PRIORITY), "Within its tier the lowest comes first."),
    "subject": (ref("clusterSubject"), "The workloads that it applies to."),
    "ingress": (listed(ref("clusterIngressRule"), MOST_ITEMS), "Rules for what comes in."),
    "egress": (listed(ref("clusterEgressRule"), MOST_ITEMS), "Rules for what goes out."),
}
_PODS: Fields = {
    "namespaces": (ref("labelSelector"), "All workloads of namespaces with these labels."),
    "pods": (ref("namespacedPods"), "Workloads with these labels in namespaces with those."),
}
_EGRESS_PEER: Fields = {**_PODS, "networks": (listed(NET, MOST_ITEMS), "Any of these prefixes.")}
_NAMESPACED_PODS: Fields = {
    "namespaceSelector": (ref("labelSelector"), "The namespaces (default: all)."),
    "podSelector": (ref("labelSelector"), "The workloads in them; {} is all."),
}
_PROTOCOL: Fields = {
    **{name: (ref("protocolPort"), f"Ports of {name.upper()}.") for name in ("tcp", "udp", "sctp")},
    "destinationNamedPort": (PORT_NAME, "The name of a port of the workload."),
}
_PROTOCOL_PORT: Fields = {"destinationPort": (ref("destinationPort"), "A port or a range of ports.")}
_DESTINATION_PORT: Fields = {
    "number": (whole(1, LAST_PORT), "A port."),
    "range": (ref("portRange"), "Ports from one to another."),
}
_PORT_RANGE: Fields = {
    "start": (whole(1, LAST_PORT), "The first port."),
    "end": (whole(1, LAST_PORT), "The last port, higher than the first."),
}


def _cluster_rule(peers: str, way: str) -> Fields:
    return {
        "name": ({**STRING, "maxLength": NAME_CHARACTERS}, "Its name, for people."),
        "action": (words(ACTIONS), "What becomes of it; Pass leaves it to the next tier."),
        peers: (listed(ref(f"cluster{way}Peer"), MOST_ITEMS), "Any of these peers."),
        "protocols": (listed(ref("clusterProtocol"), MOST_ITEMS), "Any of these (default: every packet)."),
    }
