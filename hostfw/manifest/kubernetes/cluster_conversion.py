"""ClusterNetworkPolicies of Kubernetes in Calico's form, in its tiers `kube-admin` and `kube-baseline`.

They are about workloads alone, whoever runs them; network sets and HostEndpoints are none. Both tiers pass on what no
rule decides.
"""

from collections.abc import Iterator

from hostfw.manifest.kubernetes.conversion import by_protocol, pod_selector
from hostfw.manifest.kubernetes.labels import terms
from hostfw.model.kinds.kubernetes import (
    ClusterPeer,
    ClusterPolicy,
    ClusterPort,
    ClusterRule,
    NamespacedPods,
    PolicyPort,
)
from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.resources import ClusterNetworkPolicy, EntityRule, GlobalNetworkPolicy, Rule
from hostfw.model.values import SCTP, TCP, UDP, Direction, PortRange
from hostfw.selector.namespaces import NAMESPACE_PREFIX

RULE_NAME = "policy.networking.k8s.io/rule-name"
"""The annotation of a rule that holds the name which a ClusterNetworkPolicy gave it."""


def cluster_policy(metadata: Metadata, spec: ClusterPolicy) -> ClusterNetworkPolicy:
    """A ClusterNetworkPolicy together with what it is converted to: it exists in the directions of its rules."""
    tier = spec.tier.in_calico
    named = Metadata(f"kcnp.{tier}.{metadata.name}", metadata.labels, metadata.annotations, metadata.position)
    rules = {Direction.INGRESS: spec.ingress, Direction.EGRESS: spec.egress}
    policy = GlobalNetworkPolicy(
        named,
        tier,
        float(spec.priority),
        _pods(spec.subject),
        tuple(direction for direction, given in rules.items() if given),
        ingress=tuple(_rules(spec.ingress, Direction.INGRESS)),
        egress=tuple(_rules(spec.egress, Direction.EGRESS)),
    )
    return ClusterNetworkPolicy(metadata, spec, policy)


def _rules(rules: tuple[ClusterRule, ...], direction: Direction) -> Iterator[Rule]:
    for rule in rules:
        ports = [port for one in rule.protocols for port in _ports(one)]
        for peer in rule.peers:
            for protocol, of_protocol in by_protocol(ports):
                to = EntityRule(ports=of_protocol)
                yield Rule(
                    rule.action,
                    protocol=protocol,
                    source=_side(peer) if direction is Direction.INGRESS else EntityRule(),
                    destination=to if direction is Direction.INGRESS else _side(peer, of_protocol),
                    annotations=((RULE_NAME, rule.name),) if rule.name else (),
                    position=peer.position,
                )


def _ports(one: ClusterPort) -> Iterator[PolicyPort]:
    for protocol in (TCP, UDP, SCTP) if one.protocol is None else (one.protocol,):
        yield PolicyPort(protocol, one.port)


def _side(peer: ClusterPeer, ports: tuple[PortRange | str, ...] = ()) -> EntityRule:
    if peer.pods is None:
        return EntityRule(nets=peer.networks, ports=ports)
    return EntityRule(selector=_pods(peer.pods), ports=ports)


def _pods(pods: NamespacedPods) -> SelectorText:
    return pod_selector(pods.pod_selector, tuple(terms(pods.namespace_selector, NAMESPACE_PREFIX)))
