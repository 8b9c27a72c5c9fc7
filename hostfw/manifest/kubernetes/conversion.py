"""Policies of Kubernetes in Calico's form, as Calico converts them.

Each peer of a rule becomes a rule for each of its protocols, which stands where the peer does. Pods are workloads,
whoever runs them; network sets and HostEndpoints are none.
"""

from collections.abc import Iterator, Sequence

from hostfw.manifest.kinds.rule import of_namespace
from hostfw.manifest.kubernetes.labels import terms
from hostfw.model.kinds.kubernetes import LabelSelector, PeerRule, PodPolicy, PolicyPeer, PolicyPort
from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.positions import Position
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, KubernetesNetworkPolicy, Rule
from hostfw.model.values import Action, Direction, PortRange, Protocol
from hostfw.selector.namespaces import NAMESPACE_PREFIX, ORCHESTRATOR_LABEL

PREFIX = "knp.default."
"""Stands before the name of a NetworkPolicy of Kubernetes among those of Calico."""

ORDER = 1000.0
"""The order of all of them in tier default."""

_IS_A_POD = f"has({ORCHESTRATOR_LABEL})"


def kubernetes_policy(metadata: Metadata, spec: PodPolicy) -> KubernetesNetworkPolicy:
    """A NetworkPolicy of Kubernetes together with what it is converted to."""
    named = Metadata(
        f"{PREFIX}{metadata.name}", metadata.labels, metadata.annotations, metadata.position, metadata.namespace
    )
    policy = GlobalNetworkPolicy(
        named,
        order=ORDER,
        selector=of_namespace(pod_selector(spec.pod_selector), metadata.namespace),
        types=spec.types,
        ingress=tuple(_rules(spec.ingress, Direction.INGRESS, metadata.namespace)),
        egress=tuple(_rules(spec.egress, Direction.EGRESS, metadata.namespace)),
    )
    return KubernetesNetworkPolicy(metadata, spec, policy)


def _rules(rules: tuple[PeerRule, ...], direction: Direction, namespace: str) -> Iterator[Rule]:
    for rule in rules:
        for peer in rule.peers or (None,):
            side = EntityRule() if peer is None else _side(peer, namespace)
            position = rule.position if peer is None else peer.position
            for protocol, ports in by_protocol(rule.ports):
                yield _rule(direction, side, protocol, ports, position)


def _rule(
    direction: Direction,
    side: EntityRule,
    protocol: Protocol | None,
    ports: tuple[PortRange | str, ...],
    position: Position,
) -> Rule:
    if direction is Direction.INGRESS:
        to = EntityRule(ports=ports)
        return Rule(Action.ALLOW, protocol=protocol, source=side, destination=to, position=position)
    to = EntityRule(nets=side.nets, not_nets=side.not_nets, selector=side.selector, ports=ports)
    return Rule(Action.ALLOW, protocol=protocol, destination=to, position=position)


def by_protocol(ports: Sequence[PolicyPort]) -> Iterator[tuple[Protocol | None, tuple[PortRange | str, ...]]]:
    """The ports of each protocol, none where every one is meant; no protocol without ports."""
    if not ports:
        yield None, ()
    for protocol in dict.fromkeys(port.protocol for port in ports):
        of_protocol = [port.port for port in ports if port.protocol == protocol]
        named = tuple(port for port in of_protocol if port is not None)
        yield protocol, named if len(named) == len(of_protocol) else ()


def _side(peer: PolicyPeer, namespace: str) -> EntityRule:
    if peer.ip_block is not None:
        return EntityRule(nets=(peer.ip_block.cidr,), not_nets=peer.ip_block.except_)
    if peer.namespace_selector is None:
        return EntityRule(selector=of_namespace(pod_selector(peer.pod_selector or LabelSelector()), namespace))
    pods = peer.pod_selector or LabelSelector(position=peer.namespace_selector.position)
    return EntityRule(selector=pod_selector(pods, tuple(terms(peer.namespace_selector, NAMESPACE_PREFIX))))


def pod_selector(selector: LabelSelector, more: tuple[str, ...] = ()) -> SelectorText:
    """The selector of pods by their labels, with more that must hold."""
    return SelectorText(" && ".join((_IS_A_POD, *terms(selector), *more)), selector.position)
