"""NetworkSets in quick rules: which one a name means, and the selector of that one alone."""

from hostfw.model.kinds.sets import NetworkSet
from hostfw.model.resources import Resources
from hostfw.policy.effective_labels import NamespaceLabels
from hostfw.quick.requests import RequestError
from hostfw.selector.evaluate import matches
from hostfw.selector.namespaces import NAMESPACE_LABEL
from hostfw.selector.parser import parse


def network_set(name: str, resources: Resources) -> NetworkSet | None:
    """The NetworkSet of a name: `shop/office`, or `office` alone where only one namespace has it; None without one."""
    exact = next((one for one in resources.namespaced_sets if one.metadata.full_name == name), None)
    alike = [one for one in resources.namespaced_sets if one.metadata.name == name]
    return exact or (alike[0] if len(alike) == 1 else None)


def selector_of_network_set(one: NetworkSet, resources: Resources) -> str:
    """A selector of one NetworkSet and nothing else. Raises RequestError where its labels do not tell it."""
    name = one.metadata.full_name
    hint = f"give it a label of its own, such as set: {one.metadata.name}"
    if not one.metadata.labels:
        raise RequestError(f'"{name}" has no labels, by which policy selects', hint)
    labels = {**dict(one.metadata.labels), NAMESPACE_LABEL: one.metadata.namespace}
    text = " && ".join(f"{key} == '{value}'" for key, value in sorted(labels.items()))
    selected, of_set = parse(text), NamespaceLabels(resources).of_set
    others = [
        other.metadata.full_name
        for other in (*resources.every_set, *resources.namespaced_sets)
        if other is not one and matches(selected, of_set(other))
    ]
    if others:
        raise RequestError(f'"{name}" has the labels of "{others[0]}"', hint)
    if any(matches(selected, dict(endpoint.metadata.labels)) for endpoint in resources.endpoints):
        raise RequestError(f'the labels of "{name}" are those of a HostEndpoint too', hint)
    return text
