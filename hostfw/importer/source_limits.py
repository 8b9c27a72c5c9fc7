"""Rules of other firewalls that count by source, as limits of the rules that allow (`limitPerSource`).

There a rule matches what is within a limit, or what is beyond it, and other rules decide about the rest; a rule of ours
allows what is within its limit, and denies the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hostfw.importer.conditions import STATES, Condition, anything
from hostfw.importer.rule_set import Continue, ForeignRule, ForeignRules, Hook, Jump, Verdict
from hostfw.model.kinds.source_limit import Rate, SourceLimit
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.values import Family


def with_limits(rules: ForeignRules) -> ForeignRules:
    """The same rules, where those that count by source are limits of what is allowed, or cannot be said.

    What goes out has one source, and no limit.
    """
    outgoing = {id(rule) for rule in rules.reached(Hook.OUTPUT)}
    chains = {
        name: listed if all(rule.bound is None for rule in listed) else _limited(rules, listed, outgoing)
        for name, listed in rules.chains.items()
    }
    return replace(rules, chains=chains)


@dataclass(slots=True)
class _Beyond:
    """A rule that denies what is beyond a limit: its place, and the rules behind it that allow the rest."""

    place: int
    rule: ForeignRule
    limit: SourceLimit
    within: list[ForeignRule]
    without: list[ForeignRule]


def _limited(rules: ForeignRules, listed: Sequence[ForeignRule], outgoing: set[int]) -> tuple[ForeignRule, ...]:
    found: list[ForeignRule] = []
    waiting: list[_Beyond] = []
    for rule in listed:
        bound = None if rule.unsaid else rule.bound
        end = _end(rules, rule)
        if bound is None:
            found.append(rule if rule.unsaid else _behind(rule, end, waiting))
        elif id(rule) not in outgoing and bound.beyond and end is Verdict.DENY:
            waiting.append(_Beyond(len(found), rule, bound.limit, [], []))
            found.append(rule)
        elif id(rule) not in outgoing and not bound.beyond and end is Verdict.ALLOW:
            note = f"{_in_place_of(rule, bound.limit, rules.family)}; what is beyond it is denied, whatever follows"
            found.append(replace(rule, target=Verdict.ALLOW, limit=bound.limit, note=f"{note} ({rule.text})"))
        else:
            found.append(replace(rule, unsaid=_UNSAID))
    for one in waiting:
        found[one.place] = _said_behind(one, rules.family)
    return tuple(found)


_UNSAID = "a limit of each source in such a rule"


def _behind(rule: ForeignRule, end: Verdict | None, waiting: Iterable[_Beyond]) -> ForeignRule:
    """A rule with the limits that it stands behind."""
    if isinstance(rule.target, Continue) or end is Verdict.DENY:
        return rule
    limit = rule.limit
    for one in waiting:
        both = _first(rule.condition).also(_first(one.rule.condition))
        if both.is_void:
            continue
        if end is Verdict.ALLOW and both == _first(rule.condition):
            one.within.append(rule)
            limit = _both(limit, one.limit)
        else:
            one.without.append(rule)
    return rule if limit is None else replace(rule, target=Verdict.ALLOW, limit=limit)


def _said_behind(one: _Beyond, family: Family) -> ForeignRule:
    """The rule that denied what is beyond a limit, which the rules behind it say now, if there are any."""
    if not one.within:
        return replace(one.rule, unsaid=_UNSAID)
    note = f"{_in_place_of(one.rule, one.limit, family)}, in the rules behind it that allow"
    if one.without:
        note += f", but not in {one.without[0].position.file_line}, which is wider or leads to other rules"
    return replace(one.rule, target=Continue(), note=f"{note} ({one.rule.text})")


def _in_place_of(rule: ForeignRule, limit: SourceLimit, family: Family) -> str:
    ours = ", ".join(f"{field}: {value}" for field, value in limit.by_field.items())
    was = rule.bound.was if rule.bound is not None else ""
    of = "a /64" if family is Family.V6 else "a source"
    return f"in place of {was} of a source: limitPerSource {{{ours}}} of {of}"


def _first(condition: Condition) -> Condition:
    """The condition as packets see it that begin a connection; void where none of them matches."""
    is_new = ConntrackState.NEW in condition.states
    return replace(condition, states=STATES if is_new else frozenset())


def _both(one: SourceLimit | None, other: SourceLimit) -> SourceLimit:
    """The stricter of each part of two limits."""
    rates = [one.new_connections for one in (one, other) if one is not None and one.new_connections is not None]
    most = [one.max_connections for one in (one, other) if one is not None and one.max_connections is not None]
    return SourceLimit(min(rates, key=_a_second, default=None), min(most, default=None))


def _a_second(rate: Rate) -> float:
    return rate.count / rate.per.seconds


def _end(rules: ForeignRules, rule: ForeignRule) -> Verdict | None:
    """The verdict on all that a rule matches; None where that depends on more, or nothing is decided."""
    seen: set[str] = set()
    target = rule.target
    while isinstance(target, Jump) and target.chain not in seen:
        seen.add(target.chain)
        deciding = (
            one for one in rules.chains.get(target.chain, ()) if one.unsaid or not isinstance(one.target, Continue)
        )
        first = next(deciding, None)
        if first is None or first.unsaid or first.bound is not None or first.condition != anything(rules.family):
            return None
        target = first.target
    return target if isinstance(target, Verdict) else None
