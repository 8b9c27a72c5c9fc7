"""Every feature of the policies of Kubernetes has packets: the scenarios of tests/kernel that use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hostfw.manifest.kubernetes import cluster_policy, network_policy
from hostfw.manifest.kubernetes.labels import LABEL_SELECTOR_SHAPE, REQUIREMENT_SHAPE
from hostfw.model.kinds.kubernetes import LabelOperator

SCENARIOS = Path(__file__).parents[2] / "kernel/policy/scenarios"
LABELS = {*LABEL_SELECTOR_SHAPE.known, *REQUIREMENT_SHAPE.known}
WORDS = {
    "KubernetesNetworkPolicy": {
        *network_policy.POD_POLICY_SHAPE.known,
        *network_policy.INGRESS_RULE_SHAPE.known,
        *network_policy.EGRESS_RULE_SHAPE.known,
        *network_policy.PEER_SHAPE.known,
        *network_policy.IP_BLOCK_SHAPE.known,
        *network_policy.POLICY_PORT_SHAPE.known,
        *LABELS,
        *(f"operator: {operator.value}" for operator in LabelOperator),
        *("protocol: UDP", "protocol: SCTP", "policyTypes: Ingress", "policyTypes: Egress"),
        # What is selected or allowed where nothing is asked for, and the ports that a name stands for.
        *("podSelector: {}", "ingress: {}", "port: name", "port: number"),
        *("from ipBlock", "from podSelector", "from namespaceSelector", "from namespaceSelector podSelector"),
        *("to ipBlock", "to namespaceSelector podSelector"),
    },
    "ClusterNetworkPolicy": {
        *cluster_policy.CLUSTER_POLICY_SHAPE.known,
        *cluster_policy.CLUSTER_INGRESS_SHAPE.known,
        *cluster_policy.CLUSTER_EGRESS_SHAPE.known,
        *cluster_policy.SUBJECT_SHAPE.known,
        *cluster_policy.EGRESS_PEER_SHAPE.known,
        *cluster_policy.NAMESPACED_PODS_SHAPE.known,
        *cluster_policy.PROTOCOL_SHAPE.known,
        *cluster_policy.DESTINATION_PORT_SHAPE.known,
        *cluster_policy.PORT_RANGE_SHAPE.known,
        *LABELS,
        *(f"tier: {tier}" for tier in cluster_policy.TIERS),
        *(f"ingress action: {action}" for action in cluster_policy.ACTIONS),
        *(f"egress action: {action}" for action in cluster_policy.ACTIONS),
        *("from namespaces", "from pods", "to namespaces", "to pods", "to networks"),
    },
}
"""By kind of policy: its fields, and what is told apart by their values."""


@pytest.mark.parametrize("kind", WORDS)
def test_every_feature_of_a_policy_of_kubernetes_has_a_scenario(kind: str) -> None:
    """Fields of every shape, each choice of their values, and the peers of either direction."""
    used: set[str] = set()
    for path in sorted(SCENARIOS.glob("*.yaml")):
        for scenario in yaml.safe_load(path.read_text()):
            for spec in scenario.get(kind, {}).values():
                used |= set(_features(spec))

    assert WORDS[kind] - used == set()


def _features(value: object, inside: str = "") -> Iterator[str]:
    """The words of a part of a spec, and those that its field makes of it."""
    if isinstance(value, list):
        for one in value:
            if inside in ("from", "to"):
                yield f"{inside} {' '.join(sorted(one))}"
            if one == {}:
                yield f"{inside}: {{}}"
            yield from _features(one, inside)
    elif isinstance(value, dict):
        if inside in ("ingress", "egress") and "action" in value:
            yield f"{inside} action: {value['action']}"
        for name, of_name in value.items():
            yield name
            if of_name == {}:
                yield f"{name}: {{}}"
            if name == "port":
                yield f"port: {'number' if isinstance(of_name, int) else 'name'}"
            yield from _features(of_name, name)
    elif isinstance(value, str):
        yield f"{inside}: {value}"
