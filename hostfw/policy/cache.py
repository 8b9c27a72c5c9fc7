"""Findings about resources, valid while the resources and everything that they rest on stay the same."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar, cast

_R = TypeVar("_R")
_T = TypeVar("_T")
_RESULT = itemgetter(1)


@dataclass(slots=True, eq=False, repr=False)
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
        # Nothing here is done for each resource in Python but for those that are new: there are tens of thousands.
        keys = list(map(id, resources))
        found = list(map(self._before.get(aspect, {}).get, keys))
        if None in found:
            found = [known or (resource, make(resource)) for known, resource in zip(found, resources, strict=True)]
        known = [entry for entry in found if entry is not None]
        self._now[aspect] = dict(zip(keys, known, strict=True))
        return list(map(_RESULT, known))


@dataclass(slots=True, eq=False, repr=False)
class SameParts:
    """Values that are made of others: made of the very same, they are the very same as in the round before."""

    _now: dict[Hashable, tuple[tuple[object, ...], object]] = field(default_factory=dict)
    _before: dict[Hashable, tuple[tuple[object, ...], object]] = field(default_factory=dict)

    def next_round(self) -> None:
        """Another round begins; what the last one did not need is forgotten."""
        self._before, self._now = self._now, {}

    def entries(self, of: Iterable[tuple[Hashable, tuple[object, ...]]]) -> dict[Hashable, object]:
        """The values of some parts that this round has, for `keep` in a later one."""
        keys = ((what, *map(id, parts)) for what, parts in of)
        return {key: self._now[key] for key in keys}

    def keep(self, entries: Mapping[Hashable, object]) -> None:
        """Have values in this round as well that need not be asked for again."""
        self._now.update(cast("Mapping[Hashable, tuple[tuple[object, ...], object]]", entries))

    def of(self, what: Hashable, parts: tuple[object, ...], make: Callable[[], _T]) -> _T:
        """The value of some parts, which are kept beside it so that their identity stays their own."""
        key = what, *map(id, parts)
        found = self._now.get(key) or self._before.get(key) or (parts, make())
        self._now[key] = found
        return cast("_T", found[1])
