"""Namespace: `v1`, of Kubernetes, as `kubectl get namespaces -o yaml` writes it."""

from hostfw.manifest.fields import Reader, Shape, fields
from hostfw.manifest.yaml.nodes import Node
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.namespaces import Namespace

NAMESPACE_SHAPE = Shape("the spec of a Namespace", frozenset(), ignored=frozenset(("finalizers",)))


def decode_namespace(reader: Reader, metadata: Metadata, spec: Node) -> Namespace:
    """A Namespace; its labels are all that it says."""
    fields(reader, spec, NAMESPACE_SHAPE)
    return Namespace(metadata)
