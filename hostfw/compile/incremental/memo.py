"""Results of the last compilation, kept so that the next one costs only what changed.

A layout is a tree: a program's chain has the chains of its protocols, and these have leaves for ports and addresses.
Each node has a memo with its place in the parent, and a key: the very rules that it lays out. A memo with the same key
as the last time is reused with all its parts; one with another key is made again, reusing those of its parts that stay.
So the tree of memos is always that of the last plan, and nothing else is kept.

Rules are compared by identity, which is why `CompileCache.rules` gives the very rules of the last time wherever a
policy still says the same.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar, cast

from hostfw.compile.incremental.objects_in_use import ObjectsInUse
from hostfw.compile.layout.costs import CostModel
from hostfw.compile.program import Condition, Effect, Program, ProgramRule, Segment
from hostfw.model.plan import PlannedDirection, PlannedPolicy
from hostfw.model.settings import Settings
from hostfw.model.values import FAMILIES, Direction, Family
from hostfw.nft.rules import Rule, Verdict

_T = TypeVar("_T")
_P = TypeVar("_P", bound=Hashable)
_C = TypeVar("_C")
_LITTER = 2
"""Most objects for each one in use before everything is forgotten and compiled again."""
_LITTER_OF_FEW = 500
_POLICIES_OF_FEW = 20_000
"""The same for policies: an unchanged plan makes the program of none, and is to leave what each of them came to."""


@dataclass(slots=True, eq=False)
class Memo:
    """A remembered result: the key that it was made from, its value, and its parts by their places.

    While it is made, `previous_parts` are its parts of the last time, and `previous` is its value then.
    """

    key: object = None
    value: object = None
    parts: "dict[Hashable, Memo]" = field(default_factory=dict)
    previous_parts: "dict[Hashable, Memo]" = field(default_factory=dict)
    previous: object = None

    def get_or_make(self, place: Hashable, cause: object, make: "Callable[[Memo], _T]") -> _T:
        """The value of the part at a place; made only if its key is another than the last time."""
        part = self.parts.get(place) or self.previous_parts.get(place)
        if part is None or part.key != cause:
            part = Memo(cause) if part is None else Memo(cause, previous_parts=part.parts, previous=part.value)
            part.value = make(part)
            part.previous_parts, part.previous = _NOTHING, None
            # Most have no parts, and there are tens of thousands.
            part.parts = part.parts or _NOTHING
        self.parts[place] = part
        return cast("_T", part.value)

    def get_or_make_each(
        self, causes: Iterable[tuple[_P, _C]], make: "Callable[[_P, _C, Memo], _T]"
    ) -> "Iterator[tuple[_P, _T]]":
        """The same of many parts, each with its place."""
        before, parts = self.previous_parts, self.parts
        for place, cause in causes:
            part = before.get(place)
            if part is not None and (part.key is cause or part.key == cause):
                parts[place] = part
                yield place, cast("_T", part.value)
            else:
                yield place, self.get_or_make(place, cause, partial(make, place, cause))


_NOTHING: dict[Hashable, Memo] = {}
"""The parts of what has none, which nobody adds to."""

_Place = tuple[Direction, bool, bool]
"""A direction, whether denials tell the sender, and whether they are limited by source."""
_RuleKey = tuple[str, str, str, Direction, bool, bool]
"""Kind, tier and name of a policy, the direction, and of its denials the same."""


@dataclass(slots=True, eq=False)
class _Policy:
    """The rules that a policy came to; `planned` is kept so that its identity stays its own."""

    planned: PlannedPolicy
    rules: tuple[ProgramRule, ...]


class _Chain(NamedTuple):
    """A chain that was laid out: the memos for its table and for both, each with its place."""

    place: Hashable
    memo: Memo
    shared_place: Hashable
    shared: Memo


@dataclass(slots=True, eq=False)
class _LaidOut:
    """A verdict, and the chains and counters that came of it; `planned` is kept so that its identity stays its own."""

    planned: object
    verdict: Verdict
    chains: list[_Chain]
    counters: frozenset[str]


@dataclass(slots=True)
class CompileCache:
    """Results of the last compilation. `layout` is by table, `shared` is what both tables have in common."""

    layout: Memo = field(default_factory=Memo)
    shared: Memo = field(default_factory=Memo)
    objects: dict[Family, ObjectsInUse] = field(
        default_factory=lambda: {family: ObjectsInUse(family) for family in FAMILIES}
    )
    costs: CostModel | None = None
    _policies: dict[_Place, dict[int, _Policy]] = field(default_factory=dict)
    _policies_before: dict[_Place, dict[int, _Policy]] = field(default_factory=dict)
    _by_name: dict[_RuleKey, _Policy] = field(default_factory=dict)
    _replaced: list[tuple[_Place, int]] = field(default_factory=list)
    _others: dict[tuple[Condition, Effect], ProgramRule] = field(default_factory=dict)
    _lists: dict[tuple[Rule, ...], tuple[Rule, ...]] = field(default_factory=dict)
    _settings: Settings | None = None
    _programs: dict[Hashable, tuple[PlannedDirection, Program | None]] = field(default_factory=dict)
    _programs_before: dict[Hashable, tuple[PlannedDirection, Program | None]] = field(default_factory=dict)
    _laid_out: dict[Hashable, dict[str, _LaidOut]] = field(default_factory=dict)
    _laid_out_before: dict[Hashable, dict[str, _LaidOut]] = field(default_factory=dict)
    _in_the_making: list[tuple[list[_Chain], set[str]]] = field(default_factory=list)

    def begin(self, costs: CostModel, settings: Settings) -> None:
        """A plan with these settings is to be compiled."""
        made = sum(objects.made for objects in self.objects.values())
        used = sum(objects.used for objects in self.objects.values())
        if costs != self.costs or made > _LITTER * used + _LITTER_OF_FEW:
            self.forget()
        self.costs = costs
        self.layout = Memo(previous_parts=self.layout.parts)
        self.shared = Memo(previous_parts=self.shared.parts)
        self._policies_before, self._policies = self._policies, {}
        self._programs_before, self._programs = (self._programs if settings == self._settings else {}), {}
        self._laid_out_before, self._laid_out = (self._laid_out if settings == self._settings else {}), {}
        self._settings = settings

    def end(self) -> None:
        """The plan is compiled: what it did not need is forgotten."""
        self.layout.previous_parts = self.shared.previous_parts = _NOTHING
        for part in self.shared.parts.values():
            part.previous_parts, part.previous = _NOTHING, None
        self._keep_policies()
        self._policies_before, self._programs_before, self._laid_out_before = {}, {}, {}
        if len(self._by_name) > _LITTER * sum(map(len, self._policies.values())) + _POLICIES_OF_FEW:
            self._by_name.clear()
        if len(self._others) > _LITTER_OF_FEW:
            self._others.clear()

    def shared_part(self, place: Hashable, segments: tuple[Segment, ...]) -> Memo:
        """The part of a program's layout that both tables have in common."""
        shared = self.shared
        part = shared.parts.get(place) or shared.previous_parts.get(place)
        if part is None:
            part = Memo(segments)
        elif part.key != segments:
            part = Memo(segments, previous_parts=part.parts, previous=part.key)
        shared.parts[place] = part
        return part

    def forget(self) -> None:
        """Forget everything."""
        self.layout, self.shared = Memo(), Memo()
        self.objects = {family: ObjectsInUse(family) for family in FAMILIES}
        self._policies, self._policies_before, self._by_name, self._replaced = {}, {}, {}, []
        self._others, self._lists, self._programs, self._programs_before = {}, {}, {}, {}
        self._laid_out, self._laid_out_before, self._in_the_making = {}, {}, []

    def verdicts(
        self, place: Hashable, planned: Iterable[tuple[str, object]], declare: Callable[[Iterable[str]], None]
    ) -> dict[str, Verdict]:
        """The verdicts that `make_verdict` gave for what is planned for names, this time or the last.

        Names of which something else is planned have none. `declare` is given their counters.
        """
        # A thousand workloads come here for each hook: two look-ups for each of them, and no call.
        now, before = self._laid_out.setdefault(place, {}), self._laid_out_before.get(place, {})
        found = {
            name: known
            for name, of_name in planned
            if (known := now.get(name) or before.get(name)) is not None
            and (known.planned is of_name or known.planned == of_name)
        }
        now.update(found)
        declare(set().union(*{id(known.counters): known.counters for known in found.values()}.values()))
        if self._in_the_making:
            for known in found.values():
                self._note(known.chains, known.counters)
        return {name: known.verdict for name, known in found.items()}

    @property
    def is_making(self) -> bool:
        """True while a verdict is made, which notes all that it leads to."""
        return bool(self._in_the_making)

    def make_verdict(self, place: Hashable, name: str, planned: object, make: Callable[[], Verdict]) -> Verdict:
        """The verdict that leads to what is planned for a name, made now: all that it leads to belongs to it alone."""
        before = self._laid_out_before.get(place, {}).get(name)
        for chain in before.chains if before is not None else ():
            self.layout.previous_parts.setdefault(chain.place, chain.memo)
            self.shared.previous_parts.setdefault(chain.shared_place, chain.shared)
        chains: list[_Chain] = []
        counters: set[str] = set()
        self._in_the_making.append((chains, counters))
        verdict = make()
        self._in_the_making.pop()
        self._laid_out.setdefault(place, {})[name] = _LaidOut(planned, verdict, chains, frozenset(counters))
        self._note(chains, counters)
        return verdict

    def note_chain(self, place: Hashable, shared_place: Hashable, counters: frozenset[str]) -> None:
        """Take in that a chain was laid out: the verdict in the making leads to it."""
        if self._in_the_making:
            chain = _Chain(place, self.layout.parts[place], shared_place, self.shared.parts[shared_place])
            self._note([chain], counters)

    def _note(self, chains: list[_Chain], counters: Iterable[str]) -> None:
        if self._in_the_making:
            of_outer, its_counters = self._in_the_making[-1]
            of_outer += chains
            its_counters.update(counters)

    def rules(
        self,
        policies: tuple[PlannedPolicy, ...],
        direction: Direction,
        make: Callable[[PlannedPolicy], tuple[ProgramRule, ...]],
        *,
        reject: bool,
        by_source: bool = False,
    ) -> list[tuple[ProgramRule, ...]]:
        """The rules that policies come to, which are those of the last time as far as they say the same."""
        place = direction, reject, by_source
        before, now = self._policies_before.get(place, {}), self._policies.setdefault(place, {})
        known = [now.get(id(policy)) or before.get(id(policy)) for policy in policies]
        found = [
            self._new_rules(policy, place, make) if one is None else one
            for policy, one in zip(policies, known, strict=True)
        ]
        now.update(zip(map(id, policies), found, strict=True))
        return [one.rules for one in found]

    def _new_rules(
        self,
        policy: PlannedPolicy,
        place: _Place,
        make: Callable[[PlannedPolicy], tuple[ProgramRule, ...]],
    ) -> _Policy:
        name = (policy.kind, policy.tier, policy.name, *place)
        before = self._by_name.get(name)
        made = _Policy(policy, same_rules(before.rules if before is not None else (), make(policy)))
        self._by_name[name] = made
        if before is not None:
            self._replaced.append((place, id(before.planned)))
        return made

    def _keep_policies(self) -> None:
        """Keep what policies came to whose programs were not made again, as long as it is not too much.

        A policy that has taken the place of another of its name leaves nothing of that behind.
        """
        replaced, self._replaced = self._replaced, []
        for place, before in self._policies_before.items():
            now = self._policies.get(place, {})
            kept = before | now
            for of, identity in replaced:
                if of == place and identity not in now:
                    kept.pop(identity, None)
            if len(kept) <= _LITTER * len(now) + _POLICIES_OF_FEW:
                self._policies[place] = kept

    def program(self, key: Hashable, planned: PlannedDirection, make: Callable[[], Program | None]) -> Program | None:
        """The program of what is planned for a direction of an endpoint, made once for both tables of a plan.

        The key has the identity of what is planned, which is kept so that it stays its own.
        """
        known = self._programs.get(key)
        if known is None:
            known = self._programs[key] = self._programs_before.get(key) or (planned, make())
        return known[1]

    def rule(self, condition: Condition, effect: Effect) -> ProgramRule:
        """A rule of no policy, the same object for the same content."""
        known = self._others.get((condition, effect))
        if known is None:
            known = self._others[condition, effect] = ProgramRule(condition, effect)
        return known

    def one_list(self, rules: list[Rule]) -> tuple[Rule, ...]:
        """The rules as a tuple that is the same object for equal rules."""
        content = tuple(rules)
        return self._lists.setdefault(content, content)


def identity(planned: PlannedDirection) -> tuple[int, ...]:
    """The identity of what is planned: endpoints with the same policies share the very tuples."""
    return (
        id(planned.tiers),
        id(planned.profiles),
        id(planned.forward_tiers),
        id(planned.untracked_tiers),
        id(planned.pre_dnat_tiers),
    )


def same_rules(before: tuple[ProgramRule, ...], now: tuple[ProgramRule, ...]) -> tuple[ProgramRule, ...]:
    """Rules, with those of before in the place of those that say the same."""
    known = {_counter(rule.effect): rule for rule in before}
    rules = tuple(
        old if (old := known.get(_counter(rule.effect))) is not None and _alike(old, rule) else rule for rule in now
    )
    return before if rules == before else rules


def _counter(effect: Effect) -> str:
    """The name that tells a rule from the others of its policy; a staged policy is one rule."""
    return getattr(effect, "counter", "")


def _alike(one: ProgramRule, other: ProgramRule) -> bool:
    return one.condition == other.condition and one.effect == other.effect
