"""The endpoints of this host that govern, and the selectors that select them."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from hostfw.model.kinds.metadata import SelectorText
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import HostEndpoint
from hostfw.policy.effective_labels import LabelIndex, LabelMap, index_labels, members
from hostfw.policy.order import EvaluatedPolicy
from hostfw.policy.resolve.address_book import AddressBook


class Governing(NamedTuple):
    """A HostEndpoint or a workload that governs interfaces of this host.

    `is_wildcard` is of the one that governs every interface without its own. `shares_pre_dnat` is of those to which
    the wildcard's preDNAT policies apply as well while they have none themselves, as in Calico.
    """

    endpoint: HostEndpoint | WorkloadEndpoint
    is_wildcard: bool = False
    shares_pre_dnat: bool = True

    @property
    def of_workload(self) -> bool:
        """True if only normal policies apply, on whatever way packets go, as in Calico."""
        return isinstance(self.endpoint, WorkloadEndpoint)


class Selecting:
    """The policies that select endpoints, by selectors that are evaluated once for both directions."""

    def __init__(self, governing: Sequence[Governing], labels: Sequence[LabelMap], book: AddressBook) -> None:
        """Of these endpoints, each with its labels, and with the parsed selectors of a book."""
        self.governing = governing
        self.labels = labels
        self._book = book
        self._known: dict[tuple[int, ...], tuple[LabelIndex, dict[str, int]]] = {}

    def places(self, policies: Sequence[EvaluatedPolicy], numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """For each endpoint of some numbers the places of the policies that select it, ascending.

        Policies that select the same endpoints, and endpoints that are selected alike, are handled as one, so the work
        grows with the result rather than with policies times endpoints.
        """
        if not numbers:
            return []
        if numbers not in self._known:
            self._known[numbers] = index_labels([self.labels[number] for number in numbers]), {}
        index, known = self._known[numbers]
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for place, policy in enumerate(policies):
            alike[self._bits(policy.spec.selector, index, known)].append(place)
        groups = tuple(alike.values())
        selecting: list[list[int]] = [[] for _ in numbers]
        for number, bits in enumerate(alike):
            for endpoint in members(bits):
                selecting[endpoint].append(number)

        @cache
        def places_of(groups_of_it: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sorted(place for number in groups_of_it for place in groups[number]))

        return [places_of(tuple(groups_of_it)) for groups_of_it in selecting]

    def _bits(self, selector: SelectorText, index: LabelIndex, known: dict[str, int]) -> int:
        bits = known.get(selector.text)
        if bits is None:
            bits = known[selector.text] = self._book.selected(selector, index)
        return bits
