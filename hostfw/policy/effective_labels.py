"""Labels: what a HostEndpoint's are in effect, and an index that evaluates a selector over many label sets at once."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from operator import and_, or_

from hostfw.model.kinds.metadata import Labels
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import HostEndpoint, Profile, Resources
from hostfw.selector.evaluate import Selector
from hostfw.selector.namespaces import NAMESPACE_LABEL, ORCHESTRATOR_LABEL, labels_by_namespace
from hostfw.selector.nodes import All, And, Comparison, Global, Has, In, Not, NotIn, Operator, Or
from hostfw.selector.required_labels import RequiredLabels

LabelMap = Mapping[str, str]


def effective_labels(endpoint: HostEndpoint | WorkloadEndpoint, profiles: Mapping[str, Profile]) -> dict[str, str]:
    """The labels that selectors see: its own, then those that its profiles apply, the first listed winning."""
    labels: dict[str, str] = {}
    for name in reversed(endpoint.profiles):
        labels.update(profiles[name].labels_to_apply)
    labels.update(endpoint.metadata.labels)
    return labels


class NamespaceLabels:
    """The labels that what belongs to a namespace has by it, for the namespaces of a configuration."""

    def __init__(self, resources: Resources) -> None:
        """The labels by the Namespaces among the resources; others have those with their name alone."""
        self._own = {one.metadata.name: one.metadata.labels for one in resources.namespaces}
        self._known: dict[str, dict[str, str]] = {}

    def of_endpoint(self, endpoint: HostEndpoint | WorkloadEndpoint, profiles: Mapping[str, Profile]) -> dict[str, str]:
        """The labels that selectors see of an endpoint: its own, then its profiles', then those of its namespace.

        A workload has its orchestrator for a label as well, which it may not claim otherwise.
        """
        labels = effective_labels(endpoint, profiles)
        if isinstance(endpoint, HostEndpoint):
            return labels
        own = {ORCHESTRATOR_LABEL: endpoint.orchestrator}
        return {**self._by_namespace(endpoint.metadata.namespace, labels), **own}

    def of_set(self, one: GlobalNetworkSet | NetworkSet | Feed) -> dict[str, str]:
        """The labels that rule selectors see of a set or Feed: its own, and those that it has by its namespace.

        Its own win, but for the namespace itself, which none may claim.
        """
        namespace = one.metadata.namespace
        labels = dict(one.metadata.labels)
        return self._by_namespace(namespace, labels) if namespace else labels

    def _by_namespace(self, namespace: str, labels: LabelMap) -> dict[str, str]:
        if namespace not in self._known:
            self._known[namespace] = labels_by_namespace(namespace, self._own.get(namespace, ()))
        return {**self._known[namespace], **labels, NAMESPACE_LABEL: namespace}


@dataclass(slots=True, eq=False, repr=False)
class LabelIndex:
    """Label sets by label and value. A set of label sets is an integer: bit n stands for the n-th of them.

    A selector costs a handful of integer operations instead of one evaluation for every label set.
    """

    everything: int
    having: Mapping[str, int]
    with_value: Mapping[str, Mapping[str, int]]
    texts: "dict[str, _ValueText]" = field(default_factory=dict)
    _there: RequiredLabels | None = None

    @property
    def there(self) -> RequiredLabels:
        """The labels that any of the label sets has, with each value and with None."""
        if self._there is None:
            with_value = ((label, value) for label, values in self.with_value.items() for value in values)
            self._there = frozenset((*with_value, *((label, None) for label in self.having)))
        return self._there


_END = "\0"
"""Stands between values; no value of a label has it."""


class _ValueText:
    """The values of a label in one text, so that a part of them is found without looking at each."""

    def __init__(self, with_value: Mapping[str, int]) -> None:
        self._text = "".join((_END, *(f"{value}{_END}" for value in with_value)))
        self._bits = tuple(with_value.values())
        lengths = (len(value) + 1 for value in with_value)
        self._ends = tuple(accumulate(lengths))
        """The place of the `_END` behind each value, which is before the next one."""

    def having(self, operator: Operator, part: str) -> int:
        """The label sets of the values that begin with a part of some length, end with it, or contain it."""
        if _END in part:
            return 0
        before = _END if operator is Operator.STARTS_WITH else ""
        wanted = f"{before}{part}{_END if operator is Operator.ENDS_WITH else ''}"
        bits, place = 0, self._text.find(wanted)
        while place >= 0:
            # What is found begins with the end of the value before, if it is for the begin of one.
            value = bisect_right(self._ends, place)
            bits |= self._bits[value]
            place = self._text.find(wanted, self._ends[value] + len(_END) - len(before))
        return bits


def index_labels(label_sets: Iterable[LabelMap]) -> LabelIndex:
    """The index of some label sets; their place in the sequence is their bit."""
    having: defaultdict[str, int] = defaultdict(int)
    with_value: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    bit = 1
    for labels in label_sets:
        for label, value in labels.items():
            having[label] |= bit
            with_value[label][value] |= bit
        bit <<= 1
    return LabelIndex(bit - 1, having, with_value)


def selected(selector: Selector, index: LabelIndex) -> int:
    """The label sets that a selector selects, as bits; the same that `selector.matches` says of each."""
    match selector:
        case All() | Global():
            return index.everything
        case Has(label):
            return index.having.get(label, 0)
        case Comparison(label, Operator.DIFFERS, value):
            return index.everything ^ _with_any(index, label, (value,))
        case Comparison(label, Operator.EQUALS, value):
            return _with_any(index, label, (value,))
        case Comparison(label, value=""):
            return index.having.get(label, 0)
        case Comparison(label, operator, part):
            if label not in index.texts:
                index.texts[label] = _ValueText(index.with_value.get(label, {}))
            return index.texts[label].having(operator, part)
        case In(label, values):
            return _with_any(index, label, values)
        case NotIn(label, values):
            return index.everything ^ _with_any(index, label, values)
        case Not(operand):
            return index.everything ^ selected(operand, index)
        case And(operands):
            return reduce(and_, (selected(operand, index) for operand in operands))
        case Or(operands):
            return reduce(or_, (selected(operand, index) for operand in operands))


def members(bits: int) -> Iterator[int]:
    """The places of the bits that are set, ascending."""
    # Through text, since clearing the lowest bit of a long integer once for each member is quadratic.
    text = f"{bits:b}"[::-1]
    place = text.find("1")
    while place >= 0:
        yield place
        place = text.find("1", place + 1)


def _with_any(index: LabelIndex, label: str, values: Iterable[str]) -> int:
    by_value = index.with_value.get(label, {})
    return reduce(or_, (by_value.get(value, 0) for value in values), 0)


def labels_of_members(feed: Feed, resources: Resources) -> Labels:
    """The labels by which rules select the members of an external Feed: its own, or those of the set that it is of."""
    of = feed.external.of if feed.external is not None else ""
    return next(
        (one.metadata.labels for one in resources.every_set if of and one.metadata.name == of), feed.metadata.labels
    )
