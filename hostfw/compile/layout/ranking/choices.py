"""The criteria that each rule of a list is looked up by, kept from list to list.

A rule is looked up by a criterion whose keys few others share. So the choice for a rule depends on the rules at its
keys and on no others: a rule that comes or goes changes it only where as many rules as that stand at one of its keys.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hostfw.compile.layout.ranking.ways import Aspect, Crowds, Placement, Variant, crowd_of

FEW_KEYS = 16
"""Keys of a criterion up to which it is asked first whether it is enough to find a rule."""
Variants = tuple[Variant, ...]
"""The variants of the condition of one rule."""
_Room = Callable[[Variant], int]


@dataclass(slots=True, eq=False)
class Choices:
    """The criteria of the variants of some rules, each of at most `room` keys, with the crowds that they rest on.

    `first` are the rules at each key of criteria of few keys, `crowds` those at each key of all that are asked. `ways`
    are those that were made of the choices for a rule, by its identity, until another one is made.
    """

    limit: int
    room: int
    rules: dict[int, Variants] = field(default_factory=dict)
    first: Crowds = field(default_factory=dict)
    crowds: Crowds = field(default_factory=dict)
    ways: dict[int, tuple[Placement, ...]] = field(default_factory=dict)
    _rooms: dict[int, int] = field(default_factory=dict)
    _by: dict[int, tuple[Aspect, ...]] = field(default_factory=dict)
    _crowded: dict[int, tuple[Variant, int]] = field(default_factory=dict)

    def of(self, rule: Variants) -> Iterator[tuple[Variant, tuple[Aspect, ...]]]:
        """Each variant of a rule with the criteria that it is looked up by; none where each has too many keys."""
        return ((variant, self._by[id(variant)]) for variant in rule)

    def change(self, gone: Iterable[Variants], come: Sequence[Variants]) -> bool:
        """Bring the choices up to date; False where those of other rules may be others now, and all have to be made."""
        gone = list(gone)
        touched: Crowds = {}
        if not self._count(self.first, gone, come, self._first_room, touched):
            return False
        for rule in come:
            self._make_room(rule)
        if self.crowds is not self.first:
            touched = {}
            changed = self._count(self.crowds, gone, come, self._room, touched)
        else:
            changed = all(self._asks_for_few(variant) for rule in come for variant in rule)
        if not changed:
            return False
        for rule in gone:
            del self.rules[id(rule)]
            self.ways.pop(id(rule), None)
            for variant in rule:
                for known in (self._rooms, self._by, self._crowded):
                    known.pop(id(variant), None)
        for rule in come:
            self.rules[id(rule)] = rule
            for variant in rule:
                self._choose(variant, id(rule))
        crowded, self._crowded = self._crowded, {}
        for which, (variant, of) in crowded.items():
            if any(_is_touched(aspect, touched) for aspect in variant.aspects):
                # Which of its criteria has fewest rules may be another one.
                self._choose(variant, of)
            else:
                self._crowded[which] = variant, of
        return True

    def fill(self, rules: Iterable[Variants]) -> None:
        """Make the choices of all rules, while there are none."""
        self.rules.update((id(rule), rule) for rule in rules)
        every = list(self.rules.values())
        for rule in every:
            _add(rule, self._first_room, self.first, 1)
        for rule in every:
            self._make_room(rule)
        self.crowds = self.first
        if not all(self._asks_for_few(variant) for rule in every for variant in rule):
            self.crowds = {}
            for rule in every:
                _add(rule, self._room, self.crowds, 1)
        for rule in every:
            for variant in rule:
                self._choose(variant, id(rule))

    def has_room(self, room: int) -> bool:
        """True if no criterion of the rules is within one number of keys and not within the other."""
        if room == self.room:
            return True
        low, high = sorted((room, self.room))
        every = (aspect.count for rule in self.rules.values() for variant in rule for aspect in variant.aspects)
        return low > FEW_KEYS and not any(low < count <= high for count in every)

    def _first_room(self, variant: Variant) -> int:
        few = min(self.room, FEW_KEYS)
        return few if variant.usable(few) else self.room

    def _room(self, variant: Variant) -> int:
        return self._rooms[id(variant)]

    def _make_room(self, rule: Variants) -> None:
        """The most keys of a criterion by which each variant is looked up: few, if it is found quickly by those."""
        few = min(self.room, FEW_KEYS)
        for variant in rule:
            room = self._first_room(variant)
            if room < self.room and not variant.is_quiet(self.first, self.limit, few):
                room = self.room
            self._rooms[id(variant)] = room

    def _asks_for_few(self, variant: Variant) -> bool:
        """True if a variant is asked by no more criteria than at first."""
        room, first = self._room(variant), self._first_room(variant)
        return room == first or len(variant.usable(room)) == len(variant.usable(first))

    def _choose(self, variant: Variant, of: int) -> None:
        """Choose for a variant of a rule, which is told by its identity."""
        by = variant.quiet(self.crowds, self.limit, self._room(variant))
        self._by[id(variant)] = by
        self.ways.pop(of, None)
        if len(by) != 1 or crowd_of(by[0], self.crowds) > self.limit:
            self._crowded[id(variant)] = variant, of

    def _count(
        self, crowds: Crowds, gone: Iterable[Variants], come: Iterable[Variants], room: _Room, changes: Crowds
    ) -> bool:
        """Count rules that have gone and come; False where a key has come to be crowded by that, or ceased to be.

        `changes` gets the keys at which they stand.
        """
        for rule in gone:
            _add(rule, room, changes, -1)
        for rule in come:
            _add(rule, room, changes, 1)
        for shape, of_shape in changes.items():
            there = crowds.setdefault(shape, Counter())
            for key, change in of_shape.items():
                before, now = there[key], there[key] + change
                if (before <= self.limit) is not (now <= self.limit):
                    return False
                if now:
                    there[key] = now
                else:
                    there.pop(key, None)
        return True


def chosen(rules: Sequence[Variants], limit: int, room: int, before: object) -> Choices:
    """The choices for a list of rules: those of before, as far as they hold."""
    if isinstance(before, Choices) and before.limit == limit and before.has_room(room):
        now = {id(rule): rule for rule in rules}
        gone = [rule for which, rule in before.rules.items() if which not in now]
        come = [rule for which, rule in now.items() if which not in before.rules]
        before.room = room
        if before.change(gone, come):
            return before
    choices = Choices(limit, room)
    choices.fill(rules)
    return choices


def _add(rule: Variants, room: _Room, crowds: Crowds, count: int) -> None:
    """Count a rule at its keys; a criterion that several variants of it have counts once."""
    usable = (aspect for variant in rule for aspect in variant.usable(room(variant)))
    for aspect in {(aspect.source, aspect.name): aspect for aspect in usable}.values():
        for shape, keys in aspect.keys.items():
            there = crowds.get(shape)
            if there is None:
                there = crowds[shape] = Counter()
            if count == 1:
                there.update(keys)
            else:
                there.subtract(keys)


def _is_touched(aspect: Aspect, changes: Crowds) -> bool:
    """True if one of an aspect's keys is among those of changes."""
    return any(shape in changes and not changes[shape].keys().isdisjoint(keys) for shape, keys in aspect.keys.items())
