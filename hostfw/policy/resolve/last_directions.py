"""The directions of endpoints in the last plan: a workload is not looked at again that meets what it met then.

There may be a thousand workloads, of which one comes, goes or gets another label. Of the others nothing is worked out
anew as long as they are the very same, with the same labels, under the same policies.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hostfw.model.plan import PlannedDirection, PlannedPolicy
from hostfw.model.resources import Tier
from hostfw.policy.cache import SameParts
from hostfw.policy.effective_labels import LabelMap
from hostfw.policy.order import EvaluatedPolicy
from hostfw.policy.resolve.selecting import Governing, Selecting

_Places = tuple[int, ...]
_Parts = Mapping[Hashable, object]


class Basis(NamedTuple):
    """All that the directions of workloads rest on, but for the places of the policies that select them.

    `policies` are those of the direction, `planned` those that select anybody, by their places.
    """

    policies: tuple[EvaluatedPolicy, ...] = ()
    tiers: Mapping[str, Tier] = {}
    planned: Mapping[int, PlannedPolicy] = {}
    profiles: Mapping[str, PlannedPolicy] = {}


class _Selected(NamedTuple):
    """An endpoint, which is kept so that its identity stays its own, and the places of what selects it."""

    endpoint: object
    labels: LabelMap
    places: _Places


class _Directed(NamedTuple):
    """The direction of a workload, and the parts that it is made of."""

    places: _Places
    direction: PlannedDirection
    parts: _Parts


class Unchanged(NamedTuple):
    """The directions that are those of the last plan, None for others, the parts of these, and what they rest on."""

    directions: list[PlannedDirection | None]
    parts: list[_Parts]
    basis: Basis


@dataclass(frozen=True, slots=True, eq=False)
class LastDirections:
    """The endpoints of the last plan with the policies that select them, and the directions of workloads."""

    basis: Basis = field(default_factory=Basis)
    _selected: Mapping[int, _Selected] = field(default_factory=dict)
    _directed: Mapping[int, _Directed] = field(default_factory=dict)

    def selecting(self, policies: Sequence[EvaluatedPolicy], of: Selecting) -> list[_Places]:
        """For each endpoint the places of the policies that select it, ascending: of the very same, as before."""
        if self.basis.policies != policies:
            return of.places(policies, tuple(range(len(of.governing))))
        before = self._selected
        found = [before.get(id(one.endpoint)) for one in of.governing]
        alike = [
            None if known is None or known.labels != labels else known.places
            for known, labels in zip(found, of.labels, strict=True)
        ]
        fresh = iter(of.places(policies, tuple([place for place, known in enumerate(alike) if known is None])))
        return [next(fresh) if known is None else known for known in alike]

    def unchanged(self, governing: Sequence[Governing], selecting: Sequence[_Places], now: Basis) -> Unchanged:
        """The directions of workloads that rest on the very same as before."""
        before, known = self.basis, self._directed
        if now.policies != before.policies or now.tiers != before.tiers:
            return Unchanged([None] * len(governing), [], now)
        moved = {place for place, policy in now.planned.items() if before.planned.get(place) is not policy}
        other = {name for name, profile in now.profiles.items() if before.profiles.get(name) is not profile}
        directions: list[PlannedDirection | None] = []
        parts: list[_Parts] = []
        for one, places in zip(governing, selecting, strict=True):
            found = known.get(id(one.endpoint))
            if (
                found is None
                or found.places is not places
                or not moved.isdisjoint(places)
                or not other.isdisjoint(one.endpoint.profiles)
            ):
                directions.append(None)
            else:
                directions.append(found.direction)
                parts.append(found.parts)
        return Unchanged(directions, parts, now)

    def after(
        self,
        of: Selecting,
        selecting: Sequence[_Places],
        directions: Sequence[PlannedDirection],
        unchanged: Unchanged,
        parts: SameParts,
    ) -> "LastDirections":
        """Those of the plan that was made, with the `parts` that its directions are made of."""
        chosen: dict[int, _Selected] = {}
        directed: dict[int, _Directed] = {}
        for one, labels, places, direction, known in zip(
            of.governing, of.labels, selecting, directions, unchanged.directions, strict=True
        ):
            key = id(one.endpoint)
            before = self._selected.get(key)
            is_known = before is not None and before.labels is labels and before.places is places
            chosen[key] = before if before is not None and is_known else _Selected(one.endpoint, labels, places)
            if known is not None:
                directed[key] = self._directed[key]
            elif one.of_workload:
                directed[key] = _Directed(places, direction, parts.entries(_parts_of(direction)))
        return LastDirections(unchanged.basis, chosen, directed)


def _parts_of(one: PlannedDirection) -> Iterator[tuple[Hashable, tuple[object, ...]]]:
    """The parts of the direction of a workload, under which they are found again."""
    for tier in one.tiers:
        yield (tier.name, tier.default_action), tier.policies
    yield "tiers", one.tiers
    yield "tiers", ()
    yield "profiles", one.profiles
    yield "direction", (one.tiers, one.profiles, one.forward_tiers, one.untracked_tiers, one.pre_dnat_tiers)
