"""Decoders of kinds that few configurations have: their modules are loaded with the first manifest of the kind."""

from hostfw.manifest.fields import Reader
from hostfw.manifest.yaml.nodes import Node
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.sets import Feed
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import ClusterNetworkPolicy, KubernetesNetworkPolicy


def decode_feed(reader: Reader, metadata: Metadata, spec: Node) -> Feed:
    """A Feed."""
    from hostfw.manifest.kinds import feed

    return feed.decode_feed(reader, metadata, spec)


def decode_namespace(reader: Reader, metadata: Metadata, spec: Node) -> Namespace:
    """A Namespace."""
    from hostfw.manifest.kinds import namespace

    return namespace.decode_namespace(reader, metadata, spec)


def decode_nft_rules(reader: Reader, metadata: Metadata, spec: Node) -> NftRules:
    """NftRules."""
    from hostfw.manifest.kinds import nft_rules

    return nft_rules.decode_nft_rules(reader, metadata, spec)


def decode_workload(reader: Reader, metadata: Metadata, spec: Node) -> WorkloadEndpoint:
    """A WorkloadEndpoint."""
    from hostfw.manifest.kinds import workload

    return workload.decode_workload(reader, metadata, spec)


def decode_kubernetes_policy(reader: Reader, metadata: Metadata, spec: Node) -> KubernetesNetworkPolicy:
    """A NetworkPolicy of Kubernetes."""
    from hostfw.manifest.kubernetes import network_policy

    return network_policy.decode_kubernetes_policy(reader, metadata, spec)


def decode_cluster_policy(reader: Reader, metadata: Metadata, spec: Node) -> ClusterNetworkPolicy:
    """A ClusterNetworkPolicy of Kubernetes."""
    from hostfw.manifest.kubernetes import cluster_policy

    return cluster_policy.decode_cluster_policy(reader, metadata, spec)
