"""The kinds of resources as `get` knows them: their names, and what a table shows of each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hostfw.model.api_versions import CALICO_V3, CLUSTER_POLICY_V1, HOSTFW_V1, KUBERNETES_V1, NETWORKING_V1
from hostfw.model.kinds.feed_sources import Download, External
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.kubernetes import LabelOperator, LabelSelector, NamespacedPods
from hostfw.model.kinds.metadata import Labels
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import (
    ClusterNetworkPolicy,
    GlobalNetworkPolicy,
    HostEndpoint,
    KubernetesNetworkPolicy,
    NetworkPolicy,
    Profile,
    Resource,
    Resources,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.model.values import Cidr, Direction, address_text

_NONE = "-"
_LIST_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `names` are what a person may type for it; the headings are those between NAME and FILE."""

    api_version: str
    name: str
    names: tuple[str, ...]
    headings: tuple[str, ...]
    wide_headings: tuple[str, ...]
    of: Callable[[Resources], tuple[Resource, ...]]


KINDS = (
    Kind(
        CALICO_V3,
        "GlobalNetworkPolicy",
        ("gnp", "gnps", "globalnetworkpolicy", "globalnetworkpolicies", "policy", "policies"),
        ("TIER", "ORDER", "SELECTOR"),
        ("TYPES",),
        lambda resources: resources.policies,
    ),
    Kind(
        CALICO_V3,
        "StagedGlobalNetworkPolicy",
        ("sgnp", "sgnps", "stagedglobalnetworkpolicy", "stagedglobalnetworkpolicies"),
        ("TIER", "ORDER", "SELECTOR", "ACTION"),
        ("TYPES",),
        lambda resources: resources.staged_policies,
    ),
    Kind(
        CALICO_V3,
        "NetworkPolicy",
        ("np", "nps", "networkpolicy", "networkpolicies"),
        ("TIER", "ORDER", "SELECTOR"),
        ("TYPES",),
        lambda resources: resources.network_policies,
    ),
    Kind(
        CALICO_V3,
        "StagedNetworkPolicy",
        ("snp", "snps", "stagednetworkpolicy", "stagednetworkpolicies"),
        ("TIER", "ORDER", "SELECTOR", "ACTION"),
        ("TYPES",),
        lambda resources: resources.staged_network_policies,
    ),
    Kind(
        NETWORKING_V1,
        "KubernetesNetworkPolicy",
        ("knp", "knps", "kubernetesnetworkpolicy", "kubernetesnetworkpolicies", "netpol", "netpols"),
        ("POD-SELECTOR",),
        ("TYPES",),
        lambda resources: resources.kubernetes_policies,
    ),
    Kind(
        CLUSTER_POLICY_V1,
        "ClusterNetworkPolicy",
        ("cnp", "cnps", "clusternetworkpolicy", "clusternetworkpolicies"),
        ("TIER", "PRIORITY", "SUBJECT"),
        ("TYPES",),
        lambda resources: resources.cluster_policies,
    ),
    Kind(
        CALICO_V3,
        "HostEndpoint",
        ("hep", "heps", "hostendpoint", "hostendpoints", "endpoint", "endpoints"),
        ("NODE", "INTERFACE"),
        ("IPS", "PROFILES", "LABELS"),
        lambda resources: resources.endpoints,
    ),
    Kind(
        CALICO_V3,
        "WorkloadEndpoint",
        ("wep", "weps", "workloadendpoint", "workloadendpoints", "workload", "workloads"),
        ("INTERFACE", "NETWORKS"),
        ("NODE", "PROFILES", "LABELS"),
        lambda resources: resources.workloads,
    ),
    Kind(
        CALICO_V3,
        "GlobalNetworkSet",
        ("gns", "globalnetworkset", "globalnetworksets", "set", "sets"),
        ("NETS",),
        ("LABELS",),
        lambda resources: resources.network_sets,
    ),
    Kind(
        CALICO_V3,
        "NetworkSet",
        ("netset", "netsets", "networkset", "networksets"),
        ("NETS",),
        ("LABELS",),
        lambda resources: resources.namespaced_sets,
    ),
    Kind(
        KUBERNETES_V1,
        "Namespace",
        ("ns", "namespace", "namespaces"),
        ("LABELS",),
        (),
        lambda resources: resources.namespaces,
    ),
    Kind(
        HOSTFW_V1,
        "Feed",
        ("feed", "feeds"),
        ("SOURCE", "ELEMENTS"),
        ("MAXSHRINK", "LABELS"),
        lambda resources: resources.feeds,
    ),
    Kind(CALICO_V3, "Tier", ("tier", "tiers"), ("ORDER", "DEFAULTACTION"), (), lambda resources: resources.tiers),
    Kind(CALICO_V3, "Profile", ("profile", "profiles"), ("LABELS",), (), lambda resources: resources.profiles),
    Kind(
        HOSTFW_V1,
        "InterfaceGroup",
        ("ig", "igs", "interfacegroup", "interfacegroups", "group", "groups"),
        ("MATCH",),
        ("EXCEPT",),
        lambda resources: resources.interface_groups,
    ),
    Kind(
        HOSTFW_V1,
        "NftRules",
        ("nft", "nftrules"),
        ("HOOK", "ORDER", "RULES"),
        ("IPVERSION",),
        lambda resources: resources.nft_rules,
    ),
)

KIND_NAMES = tuple(name for kind in KINDS for name in kind.names)


def find_kind(text: str) -> Kind | None:
    """The kind that a person means by a word, in any case."""
    return next((kind for kind in KINDS if text.lower() in kind.names), None)


def cells(resource: Resource, *, whole: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The cells of a resource under the headings of its kind, and under the wide ones; with `whole` no list is cut."""
    match resource:
        case GlobalNetworkPolicy():
            return _policy(resource)
        case KubernetesNetworkPolicy(spec=spec):
            return (label_selector_text(spec.pod_selector),), (_types(spec.types),)
        case ClusterNetworkPolicy(spec=spec, policy=policy):
            return (spec.tier.value, str(spec.priority), pods_text(spec.subject)), (_types(policy.types),)
        case NetworkPolicy():
            return _policy(resource.policy)
        case StagedGlobalNetworkPolicy() | StagedNetworkPolicy():
            cells_of_policy, wide = _policy(resource.policy)
            return (*cells_of_policy, resource.staged_action.value), wide
        case HostEndpoint():
            wide = _cidrs(resource.expected_ips, whole=whole), ", ".join(resource.profiles) or _NONE, _labels(resource)
            return (resource.node, _interface(resource)), wide
        case WorkloadEndpoint():
            wide = resource.node, ", ".join(resource.profiles) or _NONE, _labels(resource)
            return (resource.interface_name, _cidrs(resource.networks, whole=whole)), wide
        case GlobalNetworkSet() | NetworkSet():
            return (_cidrs(resource.nets, whole=whole),), (_labels(resource),)
        case Namespace():
            return (_labels(resource),), ()
        case Feed(external=External(size=size)):
            return ("(external)", f"at most {size}"), (_NONE, _labels(resource))
        case Feed(download=Download() as download):
            return (download.origin, str(len(resource.cidrs))), (f"{resource.max_shrink}%", _labels(resource))
        case Feed():
            return (resource.path, str(len(resource.cidrs))), (f"{resource.max_shrink}%", _labels(resource))
        case Tier():
            return (_order(resource.order), resource.default_action.value), ()
        case Profile():
            return (pairs(resource.labels_to_apply),), ()
        case NftRules(hook=hook, order=order, families=families, rules=rules):
            texts = shortened((rule.text for rule in rules), "; ", whole=whole)
            return (hook.value, _order(order), texts), (", ".join(str(family.value) for family in families),)
        case InterfaceGroup():
            return (_entries(resource.match, whole=whole),), (_entries(resource.except_, whole=whole),)


def _policy(policy: GlobalNetworkPolicy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (policy.tier, _order(policy.order), policy.selector.shown or "all()"), (_types(policy.types),)


def _types(types: tuple[Direction, ...]) -> str:
    return ", ".join(direction.value.capitalize() for direction in types) or _NONE


def label_selector_text(selector: LabelSelector) -> str:
    """A label selector on one line, as kubectl writes it."""
    expressions = (
        {
            LabelOperator.IN: f"{one.key} in ({','.join(one.values)})",
            LabelOperator.NOT_IN: f"{one.key} notin ({','.join(one.values)})",
            LabelOperator.EXISTS: one.key,
            LabelOperator.DOES_NOT_EXIST: f"!{one.key}",
        }[one.operator]
        for one in selector.match_expressions
    )
    return ",".join((*(f"{key}={value}" for key, value in selector.match_labels), *expressions)) or "<none>"


def pods_text(pods: NamespacedPods) -> str:
    """Pods of namespaces, each by their label selector."""
    namespaces = f"namespaces {label_selector_text(pods.namespace_selector)}"
    return f"pods {label_selector_text(pods.pod_selector)} in {namespaces}" if pods.names_pods else namespaces


def _order(order: float | None) -> str:
    """An order as it is written, or as calicoctl shows that it comes last."""
    return "<infinity>" if order is None else f"{order:.15g}"


def _interface(endpoint: HostEndpoint) -> str:
    return endpoint.interface_name or (f"group {endpoint.interface_group}" if endpoint.interface_group else _NONE)


def _labels(resource: Resource) -> str:
    return pairs(resource.metadata.labels)


def pairs(labels: Labels) -> str:
    """Labels on one line."""
    return ",".join(f"{key}={value}" for key, value in labels) or _NONE


def _cidrs(cidrs: tuple[Cidr, ...], *, whole: bool) -> str:
    return shortened((address_text(c.family, c.address) if c.is_host else str(c) for c in cidrs), whole=whole)


def _entries(entries: tuple[InterfaceMatch, ...], *, whole: bool) -> str:
    return shortened((_entry(entry) for entry in entries), "; ", whole=whole)


def _entry(entry: InterfaceMatch) -> str:
    fields = (
        ("name", entry.name),
        ("kind", entry.kind),
        ("linkGroup", entry.link_group),
        ("master", entry.master),
        ("addressIn", ",".join(map(str, entry.address_in)) or None),
        ("defaultRoute", None if entry.default_route is None else str(entry.default_route).lower()),
        ("learned", ",".join(entry.learned) or None),
    )
    return " ".join(f"{name}={value}" for name, value in fields if value is not None)


def shortened(texts: Iterable[str], separator: str = ", ", *, whole: bool = False) -> str:
    """A list that stays short: as many as fit, and how many more there are; with `whole` all of them."""
    every = tuple(texts)
    if whole:
        return separator.join(every) or _NONE
    shown = every[:1]
    for text in every[1:]:
        if len(separator.join((*shown, text))) > _LIST_CHARACTERS:
            break
        shown = (*shown, text)
    more = f"{separator}+{len(every) - len(shown)} more" if len(every) > len(shown) else ""
    return f"{separator.join(shown)}{more}" or _NONE
