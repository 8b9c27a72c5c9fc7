"""Findings about resources, valid while the resources and everything that they rest on stay the same."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

_R = TypeVar("_R")
_T = TypeVar("_T")


@dataclass(slots=True)
class ByResource(Generic[_T]):
    """Findings about each resource; those that are not used between two rounds are forgotten.

    Resources are told by their identity, which is why they are kept beside what was found.
    """

    rests_on: object = None
    _now: dict[Hashable, dict[int, tuple[object, _T]]] = field(default_factory=dict)
    _before: dict[Hashable, dict[int, tuple[object, _T]]] = field(default_factory=dict)

    def next_round(self, rests_on: object = None, keep: Callable[[object], bool] | None = None) -> None:
        """Another round begins. If the findings rest on something else now, only those of `keep` hold."""
        self._before, self._now = self._now, {}
        if self.rests_on != rests_on:
            self._before = {
                aspect: {key: known for key, known in of_aspect.items() if keep is not None and keep(known[0])}
                for aspect, of_aspect in self._before.items()
            }
            self.rests_on = rests_on

    def of_each(self, resources: Sequence[_R], make: Callable[[_R], _T], aspect: Hashable = None) -> list[_T]:
        """The findings about an aspect of resources; made now for those that have none yet.

        An aspect is asked for once in a round.
        """
        before = self._before.get(aspect, {})
        known = {id(resource): before.get(id(resource)) or (resource, make(resource)) for resource in resources}
        self._now[aspect] = known
        return [known[id(resource)][1] for resource in resources]


@dataclass(slots=True)
class SameParts:
    """Values that are made of others: made of the very same, they are the very same as in the round before."""

    _now: dict[Hashable, tuple[tuple[object, ...], object]] = field(default_factory=dict)
    _before: dict[Hashable, tuple[tuple[object, ...], object]] = field(default_factory=dict)

    def next_round(self) -> None:
        """Another round begins; what the last one did not need is forgotten."""
        self._before, self._now = self._now, {}

    def of(self, what: Hashable, parts: tuple[object, ...], make: Callable[[], _T]) -> _T:
        """The value of some parts, which are kept beside it so that their identity stays their own."""
        key = what, *map(id, parts)
        found = self._now.get(key) or self._before.get(key) or (parts, make())
        self._now[key] = found
        return cast("_T", found[1])
