"""Resources to manifests: the document that decodes to the same resource, its positions apart.

What is a default is left out, except `types`, which a reader should not have to work out.
"""

from collections.abc import Iterable, Mapping

from hostfw.model.api_versions import CALICO_V3, CLUSTER_POLICY_V1, HOSTFW_V1, KUBERNETES_V1, NETWORKING_V1
from hostfw.model.kinds.feed_sources import DOWNLOAD_BYTES, EXTERNAL_SIZE, Download, External
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.metadata import Labels, Metadata, SelectorText
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import EndpointPort, WorkloadEndpoint
from hostfw.model.resources import (
    ANY_NODE,
    LOCAL,
    ClusterNetworkPolicy,
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    KubernetesNetworkPolicy,
    NetworkPolicy,
    Profile,
    Resource,
    Rule,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.model.values import Action, Cidr, Icmp, PortRange, Protocol, StagedAction, address_text

Document = dict[str, object]


def manifest(resource: Resource) -> Document:
    """The manifest of a resource: strings, numbers, booleans, lists and dictionaries, fit for JSON and YAML."""
    return {
        "apiVersion": _version(resource),
        "kind": kind_of(resource),
        "metadata": _metadata(resource.metadata),
        "spec": _given_spec(resource),
    }


def _kubernetes_policy(resource: KubernetesNetworkPolicy | ClusterNetworkPolicy) -> Mapping[str, object]:
    # With YAML, 20 ms: few hosts have one, and every plan is made with this module.
    from hostfw.manifest.kubernetes.encode import cluster_policy_manifest, pod_policy_manifest

    match resource:
        case KubernetesNetworkPolicy(spec=spec):
            return pod_policy_manifest(spec)
        case ClusterNetworkPolicy(spec=spec):
            return cluster_policy_manifest(spec)


def _given_spec(resource: Resource) -> Document:
    """The spec without what is absent; an empty selector stays where Kubernetes asks for one."""
    spec = _spec(resource)
    if isinstance(resource, ClusterNetworkPolicy):
        return dict(spec)
    if isinstance(resource, KubernetesNetworkPolicy):
        # Before release 1.33.
        return {"podSelector": {}, **_given(spec)}
    return _given(spec)


def kind_of(resource: Resource) -> str:
    """The kind as its manifest says it."""
    return NetworkPolicy.__name__ if isinstance(resource, KubernetesNetworkPolicy) else type(resource).__name__


def _version(resource: Resource) -> str:
    if isinstance(resource, KubernetesNetworkPolicy):
        return NETWORKING_V1
    if isinstance(resource, ClusterNetworkPolicy):
        return CLUSTER_POLICY_V1
    if isinstance(resource, Namespace):
        return KUBERNETES_V1
    return HOSTFW_V1 if isinstance(resource, InterfaceGroup | Feed | NftRules) else CALICO_V3


def _spec(resource: Resource) -> Mapping[str, object]:
    match resource:
        case GlobalNetworkPolicy():
            return _policy(resource)
        case KubernetesNetworkPolicy() | ClusterNetworkPolicy():
            return _kubernetes_policy(resource)
        case NetworkPolicy(policy=policy):
            return _policy(policy)
        case StagedGlobalNetworkPolicy() | StagedNetworkPolicy():
            policy, staged = resource.policy, resource.staged_action
            return {"stagedAction": None if staged is StagedAction.SET else staged.value, **_policy(policy)}
        case HostEndpoint():
            return _endpoint(resource)
        case WorkloadEndpoint():
            return _workload(resource)
        case GlobalNetworkSet(nets=nets) | NetworkSet(nets=nets):
            return {"nets": _texts(nets)}
        case Namespace():
            return {}
        case Feed(external=External(size=size, timeout_s=timeout_s, of=of)):
            return {
                "external": True,
                "of": of or None,
                "size": None if size == EXTERNAL_SIZE else size,
                "timeout": None if timeout_s is None else f"{timeout_s}s",
            }
        case Feed(download=Download(hostnames=hostnames)) if hostnames:
            return {"hostnames": list(hostnames)}
        case Feed(download=Download() as download, max_shrink=max_shrink):
            kibibytes = download.most_bytes // 1024
            return {
                "url": download.url,
                "sha256": download.sha256 or None,
                "maxSize": None if download.most_bytes == DOWNLOAD_BYTES else f"{kibibytes}Ki",
                "maxShrink": None if max_shrink == 50 else f"{max_shrink}%",
            }
        case Feed(path=path, max_shrink=max_shrink):
            return {"path": path, "maxShrink": None if max_shrink == 50 else f"{max_shrink}%"}
        case Tier(order=order, default_action=action):
            return {"order": _number(order), "defaultAction": None if action is Action.DENY else action.value}
        case Profile(labels_to_apply=labels, ingress=ingress, egress=egress):
            return {"labelsToApply": dict(labels), "ingress": _rules(ingress), "egress": _rules(egress)}
        case NftRules(hook=hook, order=order, families=families, rules=rules):
            version = families[0].value if len(families) == 1 else None
            texts = [rule.text for rule in rules]
            return {"hook": hook.value, "order": _number(order), "ipVersion": version, "rules": texts}
        case InterfaceGroup(match=match, except_=except_):
            return {"match": [_interfaces(m) for m in match], "except": [_interfaces(m) for m in except_]}


def _policy(policy: GlobalNetworkPolicy) -> Mapping[str, object]:
    return {
        "tier": None if policy.tier == "default" else policy.tier,
        "order": _number(policy.order),
        **_selectors(policy.selector),
        "types": [direction.value.title() for direction in policy.types],
        "ingress": _rules(policy.ingress),
        "egress": _rules(policy.egress),
        "applyOnForward": policy.apply_on_forward or None,
        "doNotTrack": policy.do_not_track or None,
        "preDNAT": policy.pre_dnat or None,
    }


def _endpoint(endpoint: HostEndpoint) -> Mapping[str, object]:
    return {
        "node": None if endpoint.node == ANY_NODE else endpoint.node,
        "interfaceName": endpoint.interface_name,
        "interfaceGroup": endpoint.interface_group,
        "expectedIPs": [address_text(cidr.family, cidr.address) for cidr in endpoint.expected_ips],
        "profiles": list(endpoint.profiles),
        "ports": [_named_port(port) for port in endpoint.ports],
        "learned": [how.value for how in endpoint.learned],
    }


def _workload(endpoint: WorkloadEndpoint) -> Mapping[str, object]:
    return {
        "node": None if endpoint.node == ANY_NODE else endpoint.node,
        "orchestrator": endpoint.orchestrator,
        "interfaceName": endpoint.interface_name,
        "mac": None if endpoint.mac is None else str(endpoint.mac),
        "ipNetworks": _texts(endpoint.networks),
        "profiles": list(endpoint.profiles),
        "ports": [_named_port(port) for port in endpoint.ports],
    }


def _named_port(port: EndpointPort) -> Document:
    return {"name": port.name, "protocol": _protocol(port.protocol), "port": port.port}


def _interfaces(entry: InterfaceMatch) -> Document:
    return _given(
        {
            "name": entry.name,
            "kind": entry.kind,
            "linkGroup": entry.link_group,
            "master": entry.master,
            "addressIn": _texts(entry.address_in),
            "defaultRoute": entry.default_route,
            "learned": [how.value for how in entry.learned],
        }
    )


def _rules(rules: Iterable[Rule]) -> list[Document]:
    return [rule_manifest(rule) for rule in rules]


def rule_manifest(rule: Rule) -> Document:
    """One rule as a policy has it."""
    return _given(
        {
            "action": rule.action.value,
            "ipVersion": None if rule.ip_version is None else rule.ip_version.value,
            "protocol": [_protocol(one) for one in rule.protocols]
            if rule.other_protocols
            else _protocol(rule.protocol),
            "notProtocol": _protocol(rule.not_protocol),
            "icmp": _icmp(rule.icmp),
            "notICMP": _icmp(rule.not_icmp),
            "ipsec": rule.ipsec,
            "limitPerSource": None if rule.limit is None else rule.limit.by_field,
            "source": _entity(rule.source),
            "destination": _entity(rule.destination),
            "metadata": _given({"annotations": dict(rule.annotations)}),
        }
    )


def _entity(entity: EntityRule) -> Document:
    return _given(
        {
            "nets": [*([LOCAL] if entity.local else []), *_texts(entity.nets)],
            "notNets": [*([LOCAL] if entity.not_local else []), *_texts(entity.not_nets)],
            **_selectors(entity.selector),
            "notSelector": None if entity.not_selector is None else entity.not_selector.text,
            "ports": [_port(port) for port in entity.ports],
            "notPorts": [_port(port) for port in entity.not_ports],
            "macs": list(map(str, entity.macs)),
        }
    )


def _metadata(metadata: Metadata) -> Document:
    return _given(
        {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": _map(metadata.labels),
            "annotations": _map(metadata.annotations),
        }
    )


def _given(content: Mapping[str, object]) -> Document:
    """A mapping without what is absent or empty."""
    return {key: value for key, value in content.items() if value is not None and value not in ("", [], {})}


def _map(labels: Labels) -> dict[str, str]:
    return dict(labels)


def _texts(cidrs: Iterable[Cidr]) -> list[str]:
    return [str(cidr) for cidr in cidrs]


def _selectors(selector: SelectorText | None) -> Document:
    """The selector and namespaceSelector of a policy or of a side, as they were written."""
    if selector is None:
        return {}
    own, namespaces = selector.written or (selector.text, "")
    return {"selector": own, "namespaceSelector": namespaces}


def _port(port: PortRange | str) -> int | str:
    return port.first if isinstance(port, PortRange) and port.first == port.last else str(port)


def _protocol(protocol: Protocol | None) -> int | str | None:
    return None if protocol is None else protocol.name or protocol.number


def _icmp(icmp: Icmp | None) -> Document | None:
    return None if icmp is None else _given({"type": icmp.type, "code": icmp.code})


def _number(value: float | None) -> int | float | None:
    """A number as people write it: whole where it is."""
    return int(value) if value is not None and value.is_integer() else value
