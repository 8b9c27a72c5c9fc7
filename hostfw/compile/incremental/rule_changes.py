"""Differences between the rules of two plans: rules that are gone, and rules that are new."""

from hostfw.compile.layout.cuts.cells import needs_protocol, protocols_named
from hostfw.compile.program import ProgramRule, Segment, Staged, conditions_of, with_staged
from hostfw.model.alike import alike_ends
from hostfw.model.values import FAMILIES, Family

Changes = tuple[list[ProgramRule], list[ProgramRule]]
"""The rules that are gone, and those that have come."""

FEW = 64
"""Most changed rules for which earlier results are changed rather than computed again."""


def changes(before: tuple[Segment, ...], after: tuple[Segment, ...]) -> Changes | None:
    """The rules that are gone and those that have come, None where they are many or the others changed places."""
    if len(before) != len(after):
        return None
    gone: list[ProgramRule] = []
    come: list[ProgramRule] = []
    for old, new in zip(before, after, strict=True):
        first, last = alike_ends(old, new)
        old_part, new_part = old[first : len(old) - last], new[first : len(new) - last]
        old_ids, new_ids = set(map(id, old_part)), set(map(id, new_part))
        lost = [rule for rule in old_part if id(rule) not in new_ids]
        found = [rule for rule in new_part if id(rule) not in old_ids]
        gone += lost
        come += found
        if len(gone) + len(come) > FEW:
            return None
        if [rule for rule in old_part if id(rule) in new_ids] != [rule for rule in new_part if id(rule) in old_ids]:
            return None
        # A rule that stands in more than one place has not gone when it is gone from one.
        if any(rule in new for rule in lost) or any(rule in old for rule in found):
            return None
    return gone, come


def counters_of(
    segments: tuple[Segment, ...], changed: Changes | None = None, was: object = None
) -> dict[Family, frozenset[str]]:
    """The counters of a program in each family; `was` are those before the changes."""
    if changed is None or not isinstance(was, dict):
        rules = [rule for segment in segments for rule in with_staged(segment)]
        return {family: frozenset(_counters(rules, family)) for family in FAMILIES}
    gone, come = (list(with_staged(rules)) for rules in changed)
    found: dict[Family, frozenset[str]] = {}
    for family in FAMILIES:
        lost, new = frozenset(_counters(gone, family)), frozenset(_counters(come, family))
        if lost - new:
            # Equal rules of equal policies count on one counter, which may be another rule's still.
            lost -= frozenset(
                rule.effect.counter
                for segment in segments
                for rule in with_staged(segment)
                if not isinstance(rule.effect, Staged) and rule.effect.counter in lost
                if family in rule.condition.families
            )
        found[family] = (was[family] - lost) | new
    return found


def any_needs_protocol(segments: tuple[Segment, ...], changed: Changes | None = None, was: object = None) -> bool:
    """True if any rule looks at ports by name without saying of which protocol."""
    if changed is not None and was is False:
        return any(map(needs_protocol, conditions_of((tuple(changed[1]),))))
    return any(map(needs_protocol, conditions_of(segments)))


def protocols_of(segments: tuple[Segment, ...], changed: Changes | None = None, was: object = None) -> tuple[int, ...]:
    """The protocols that deserve a cell of their own."""
    if changed is not None and isinstance(was, tuple):
        gone, come = (frozenset(protocols_named(conditions_of((tuple(rules),)))) for rules in changed)
        if gone <= come and come.issubset(was):
            return was
    return protocols_named(conditions_of(segments))


def _counters(rules: list[ProgramRule], family: Family) -> list[str]:
    return [
        rule.effect.counter
        for rule in rules
        if not isinstance(rule.effect, Staged) and family in rule.condition.families
    ]
