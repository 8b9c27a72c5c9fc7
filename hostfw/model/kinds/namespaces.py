"""Namespaces, as Kubernetes writes them."""

from dataclasses import dataclass

from hostfw.model.kinds.metadata import Metadata


@dataclass(frozen=True, slots=True)
class Namespace:
    """Labels of a namespace, which `namespaceSelector` finds what belongs to it by; it is one without this as well."""

    metadata: Metadata
