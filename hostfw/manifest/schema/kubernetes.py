"""The fields of policies of Kubernetes as JSON Schema."""

from hostfw.manifest.kinds.policy import TYPES
from hostfw.manifest.kinds.rule import LAST_PORT
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
