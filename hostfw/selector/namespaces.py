"""Namespaces: the labels that what belongs to one has by it, named as in Calico."""

from collections.abc import Iterable
from dataclasses import replace

from hostfw.selector.nodes import All, And, Comparison, Global, Has, In, Not, NotIn, Or, Selector

NAMESPACE_LABEL = "projectcalico.org/namespace"
"""The label with the namespace of a resource; what belongs to none does not have it."""

NAMESPACE_PREFIX = "pcns."
"""Stands before the labels of the namespace among those of a resource, where `namespaceSelector` looks for them."""

DEFAULT_NAMESPACE = "default"
"""The namespace of a resource that names none."""

ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator"
"""The label of every workload, and of nothing else: the program that runs it; empty where none is said."""

NAME_LABELS = ("kubernetes.io/metadata.name", "projectcalico.org/name")
"""The labels with its name that every namespace has in Kubernetes and in Calico."""


def labels_by_namespace(namespace: str, labels: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """The labels that what belongs to a namespace has by it, `labels` being the namespace's own."""
    of_namespace = {**dict(labels), **dict.fromkeys(NAME_LABELS, namespace)}
    prefixed = {f"{NAMESPACE_PREFIX}{label}": value for label, value in of_namespace.items()}
    return {**prefixed, NAMESPACE_LABEL: namespace}


def of_namespaces(selector: Selector) -> Selector:
    """A selector over the labels of namespaces as one over those of what belongs to them, as Calico makes it.

    `all()` is whatever is in a namespace and `global()` what is in none. A negation holds outside namespaces too.
    """
    match selector:
        case All():
            return Has(NAMESPACE_LABEL)
        case Global():
            return Not(Has(NAMESPACE_LABEL))
        case Not(operand):
            return Not(of_namespaces(operand))
        case And(operands) | Or(operands):
            return replace(selector, operands=tuple(map(of_namespaces, operands)))
        case Has(label) | Comparison(label) | In(label) | NotIn(label):
            return replace(selector, label=f"{NAMESPACE_PREFIX}{label}")
