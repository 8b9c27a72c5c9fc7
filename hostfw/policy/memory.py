"""What was found out about resources, for as long as they are the very ones and what it rests on is the same."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class ByResource(Generic[_T]):
    """What was found out about each resource; what is not asked for between two turns is forgotten.

    Resources are told by their identity, which is why they are kept beside what was found.
    """

    rests_on: object = None
    _now: dict[tuple[int, Hashable], tuple[object, _T]] = field(default_factory=dict)
    _before: dict[tuple[int, Hashable], tuple[object, _T]] = field(default_factory=dict)

    def turn(self, rests_on: object = None, keep: Callable[[object], bool] | None = None) -> None:
        """Another round begins. If the findings rest on something else now, only those of `keep` hold."""
        self._before, self._now = self._now, {}
        if self.rests_on != rests_on:
            if keep is None:
                self._before = {}
            else:
                self._before = {key: known for key, known in self._before.items() if keep(known[0])}
            self.rests_on = rests_on

    def of(self, resource: object, make: Callable[[], _T], aspect: Hashable = None) -> _T:
        """What was found out about an aspect of a resource, found out now if it is the first time."""
        key = (id(resource), aspect)
        known = self._now.get(key)
        if known is None:
            known = self._before.get(key)
            if known is None:
                known = resource, make()
            self._now[key] = known
        return known[1]
