"""One rule of nftables as foreign rules: a condition for each alternative, and what becomes of a packet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import cast

from hostfw.importer.conditions import EVERY_PORT, Condition
from hostfw.importer.nft.keys import Key, Reader, UnsaidError
from hostfw.importer.nft.text import Json, rule_text, value_text
from hostfw.importer.nft.values import (
    MOST_ALTERNATIVES,
    Sets,
    alternative,
    condition_for,
    elements_of,
    keys_of,
    matched,
)
from hostfw.importer.reading import PROGRAMS
from hostfw.importer.rule_set import Bound, Continue, ForeignRule, Jump, Return, Target, Verdict
from hostfw.model.kinds.source_limit import MOST_CONNECTIONS, Rate, SourceLimit, Unit
from hostfw.model.positions import Position
from hostfw.model.ranges import intersection
from hostfw.model.values import PORT_PROTOCOLS

_VERDICTS: Mapping[str, Target] = {
    "accept": Verdict.ALLOW,
    "drop": Verdict.DENY,
    "reject": Verdict.DENY,
    "return": Return(),
    "continue": Continue(),
}
_WITHOUT_CONSEQUENCE = frozenset({
    "counter", "log", "mangle", "ct helper", "ct timeout", "ct expectation", "secmark", "last", "dup", "flow",
})  # fmt: skip
"""Statements that decide about no packet of the hooks that hostfw filters at."""
_LIMITS = {"limit": "a limit of a rate (limit)", "quota": "a quota", "ct count": "a number of connections (ct count)"}
_HARMLESS_EXTENSIONS = frozenset({"comment", "LOG", "NFLOG", "counter"})
_SYN = frozenset({"syn"})
"""The TCP flags of a packet that begins a connection."""
_RULE_KEYS = frozenset({"family", "table", "chain", "handle", "index", "position", "comment", "expr"})
_MATCH_KEYS = frozenset({"op", "left", "right"})


@dataclass(slots=True)
class _Rule:
    """A rule while its statements are read from the left."""

    reader: Reader
    sets: Sets
    prefix: str
    alternatives: list[list[Condition]] = field(default_factory=list)
    branches: list[tuple[Condition, Target]] = field(default_factory=list)
    target: Target = field(default_factory=Continue)
    bound: Bound | None = None
    why: str = ""


def rules_of(
    rule: Mapping[str, Json], position: Position, reader: Reader, sets: Sets, text: str = ""
) -> Iterator[ForeignRule]:
    """The foreign rules that a rule stands for, in order. None if it is about another family.

    Their text is how nft writes it, unless another is given.
    """
    statements = rule.get("expr")
    listed: list[Json] = statements if isinstance(statements, list) else [statements]
    comment = rule.get("comment")
    text = text or rule_text(listed) + (f' comment "{comment}"' if comment else "")
    found = _Rule(reader, sets, f"{rule.get('family')} {rule.get('table')} ")
    unknown = sorted(set(rule) - _RULE_KEYS)
    if unknown:
        found.why = f"the key {unknown[0]} of a rule"
    reader.by_kind = False
    for statement in listed:
        try:
            _take(found, statement)
        except UnsaidError as error:
            found.why = found.why or str(error)
    conditions = list(_combined(found))
    by_kind = reader.by_kind
    decides = found.branches or not isinstance(found.target, Continue)
    if not decides:
        # What decides nothing does no harm if it cannot be said.
        found.why, found.bound = "", None
    for condition, target in _targets(found, conditions):
        if not condition.is_void:
            yield ForeignRule(position, text, condition, target, found.why, by_kind, found.bound)


def _combined(found: _Rule) -> Iterator[Condition]:
    """Every combination of the alternatives of the matches, or what is certain if they are too many."""
    everything = found.reader.everything
    count = 1
    for listed in found.alternatives:
        count *= len(listed)
    if count > MOST_ALTERNATIVES:
        found.why = found.why or f"more than {MOST_ALTERNATIVES} combinations"
        found.alternatives = [listed for listed in found.alternatives if len(listed) == 1]
    for chosen in product(*found.alternatives):
        condition = everything
        for one in chosen:
            condition = condition.also(one)
        ported = condition.source_ports != EVERY_PORT or condition.destination_ports != EVERY_PORT
        if ported and not condition.is_void and not _has_only_ports(condition):
            found.why = found.why or "ports of whichever protocol (th)"
        yield condition


def _has_only_ports(condition: Condition) -> bool:
    ports = tuple(edge for number in sorted(PORT_PROTOCOLS) for edge in (number, number + 1))
    return intersection(condition.protocols, ports) == condition.protocols


def _targets(found: _Rule, conditions: Sequence[Condition]) -> Iterator[tuple[Condition, Target]]:
    for condition in conditions:
        for branch, target in found.branches:
            yield condition.also(branch), target
        if not found.branches:
            yield condition, found.target


def _take(found: _Rule, statement: Json) -> None:
    """Read one statement. Raises UnsaidError for what policy cannot say."""
    if not isinstance(statement, dict) or len(statement) != 1:
        # libnftables prints as a string what it has no form for. What such a statement decides is not known.
        found.target = Jump("") if isinstance(found.target, Continue) else found.target
        raise UnsaidError(f"the statement {rule_text([statement])}")
    ((kind, content),) = statement.items()
    match kind, content:
        case "match", dict():
            _match(found, content)
        case "vmap", dict():
            _verdict_map(found, content)
        case (("jump" | "goto" | "accept" | "drop" | "return" | "continue" | "reject"), _):
            found.target = _target(kind, content, found.prefix)
        case "set", {"elem": key, "stmt": [dict() as limit]} if _is_limit(limit):
            _bound(found, key, limit)
        case "meter", {"key": key, "stmt": dict() as metered} if _is_limit(metered):
            _bound(found, key, metered)
        case "set", {"stmt": [*limits]}:
            for one in limits:
                _take(found, one)
        case "set", _:
            pass
        case "xt", {"name": str(name)}:
            if name not in _HARMLESS_EXTENSIONS:
                found.target = Jump("") if isinstance(found.target, Continue) else found.target
                raise UnsaidError(f"the extension {name} of iptables (`import iptables-save` reads its rules)")
        case _ if kind in _LIMITS:
            raise UnsaidError(_LIMITS[kind])
        case _ if kind not in _WITHOUT_CONSEQUENCE:
            found.target = Jump("") if isinstance(found.target, Continue) else found.target
            raise UnsaidError(f"the statement {kind}")


def _is_limit(statement: Json) -> bool:
    return isinstance(statement, dict) and len(statement) == 1 and not {"limit", "ct count"}.isdisjoint(statement)


def _bound(found: _Rule, key: Json, limit: Mapping[str, Json]) -> None:
    """Read a limit that each element of a set has. Raises UnsaidError where an element is no source (nft(8), SETS)."""
    if isinstance(key, dict) and isinstance(key.get("elem"), dict):
        key = cast("Mapping[str, Json]", key["elem"]).get("val")
    ((kind, content),) = limit.items()
    limited, was = SourceLimit(), ""
    match content:
        case {"rate": int(count), "per": str(per), **more} if per in tuple(Unit) and not set(more) - {"burst", "inv"}:
            limited = SourceLimit(Rate(count, Unit(per)))
            was = f"{count}/{per} packets after a burst of {more.get('burst', _DEFAULT_BURST)}"
        case {"val": int(count), **more} if not set(more) - {"inv"}:
            limited, was = SourceLimit(max_connections=count), f"{count} connections at a time"
        case _:
            raise UnsaidError(_LIMITS[kind])
    by_source = key in [{"payload": {"protocol": name, "field": "saddr"}} for name in ("ip", "ip6")]
    if not by_source or found.bound is not None or not 1 <= count <= MOST_CONNECTIONS:
        raise UnsaidError(_LIMITS[kind])
    found.alternatives.append([found.reader.key(key).needs])
    found.bound = Bound(limited, bool(more.get("inv")), was)


_DEFAULT_BURST = 5


def _target(kind: str, content: Json, prefix: str) -> Target:
    if kind not in ("jump", "goto"):
        return _VERDICTS[kind]
    name = content.get("target") if isinstance(content, dict) else None
    if not isinstance(name, str):
        raise UnsaidError(f"{kind} without a chain")
    if name.startswith(PROGRAMS):
        # What these chains hold their programs set up by themselves, and go on doing so.
        return Continue()
    return Jump(prefix + name, kind == "goto")


def _match(found: _Rule, content: Mapping[str, Json]) -> None:
    reader, left, right = found.reader, content.get("left"), content.get("right")
    operator = content.get("op", "==")
    if set(content) - _MATCH_KEYS:
        raise UnsaidError(f"the key {min(set(content) - _MATCH_KEYS)} of a match")
    flags = _flags_of(left)
    if flags is not None:
        found.alternatives.append([reader.key(_TCP).needs])
        if not _holds_for_first(flags, str(operator), right, found.sets):
            raise UnsaidError("TCP flags of packets that begin no connection")
        return
    keys = keys_of(left, reader)
    elements = elements_of(right, found.sets)
    if elements is None:
        elements = (right,)
    everything = reader.everything
    if operator in ("<", ">", "<=", ">="):
        found.alternatives.append([_compared(found, left, str(operator), right)])
    elif operator in ("==", "in", "!=", "!"):
        negated = operator in ("!=", "!")
        if len(keys) == 1:
            values = matched(keys[0], elements)
            found.alternatives.append([condition_for(keys[0], values, negated=negated, everything=everything)])
        elif negated:
            raise UnsaidError("what is not in a set of several values at once (!= of a concatenation)")
        elif len(elements) > MOST_ALTERNATIVES:
            raise UnsaidError(f"a set of more than {MOST_ALTERNATIVES} concatenations")
        else:
            found.alternatives.append([alternative(keys, element, everything) for element in elements])
    else:
        raise UnsaidError(f"the operator {operator}")


_TCP: Json = {"payload": {"protocol": "tcp", "field": "dport"}}


def _compared(found: _Rule, left: Json, operator: str, right: Json) -> Condition:
    """A comparison of a number, as a range."""
    (key,) = keys_of(left, found.reader)
    value = matched(key, (right,))
    if isinstance(key.whole, frozenset) or isinstance(value, frozenset) or len(value) != 2:
        raise UnsaidError(f"{value_text(left)} {operator}")
    low, high = value[0], value[1]
    end = key.whole[-1]
    chosen = {"<": (0, low), "<=": (0, high), ">": (high, end), ">=": (low, end)}[operator]
    values = tuple(int(edge) for edge in chosen) if chosen[0] < chosen[1] else ()
    return condition_for(key, values, negated=False, everything=found.reader.everything)


def _verdict_map(found: _Rule, content: Mapping[str, Json]) -> None:
    """A branch for each element; what matches none goes on to the next rule."""
    # If it cannot be read, it is something that decides.
    found.target = Jump("")
    keys = keys_of(content.get("key"), found.reader)
    elements = elements_of(content.get("data"), found.sets)
    if elements is None or len(elements) > MOST_ALTERNATIVES:
        raise UnsaidError(f"the map {value_text(content.get('data'))}")
    branches: list[tuple[Condition, Target]] = []
    for element in sorted(elements, key=_is_catch_all):
        match element:
            case [value, dict() as verdict] if len(verdict) == 1:
                ((kind, of),) = verdict.items()
                if kind not in (*_VERDICTS, "jump", "goto"):
                    raise UnsaidError(f"the verdict {kind}")
                comes_back = any(isinstance(target, Jump | Continue) for _, target in branches)
                if value == "*" and comes_back:
                    # Who comes back from a chain goes on behind the map, and is not among the others.
                    condition = _of_the_others(found, keys, elements)
                else:
                    condition = alternative(keys, value, found.reader.everything)
                branches.append((condition, _target(kind, of, found.prefix)))
            case _:
                raise UnsaidError(f"the element {value_text(element)} of a map")
    found.branches = branches
    found.target = Continue()


def _of_the_others(found: _Rule, keys: Sequence[Key], elements: Sequence[Json]) -> Condition:
    """The condition of what is not a key of a map. Raises UnsaidError."""
    if len(keys) > 1:
        raise UnsaidError("what is none of several values at once (* of a concatenation)")
    named = [element[0] for element in elements if isinstance(element, list) and not _is_catch_all(element)]
    return condition_for(keys[0], matched(keys[0], named), negated=True, everything=found.reader.everything)


def _is_catch_all(element: Json) -> bool:
    return isinstance(element, list) and element[0] == "*"


def _flags_of(left: Json) -> frozenset[str] | None:
    """The TCP flags that a left side looks at; none is all of them. None if it looks at something else."""
    match left:
        case {"payload": {"protocol": "tcp", "field": "flags"}}:
            return frozenset()
        case {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, mask]}:
            return _named(mask) or frozenset({""})
        case _:
            return None


def _named(flags: Json) -> frozenset[str]:
    match flags:
        case str():
            return frozenset({flags})
        case [*listed]:
            return frozenset(str(one) for one in listed)
        case {"|": [*listed]}:
            return frozenset(name for one in listed for name in _named(one))
        case _:
            return frozenset()


def _holds_for_first(looked_at: frozenset[str], operator: str, right: Json, sets: Sets) -> bool:
    """True if the first packet of a connection matches, which has the flag SYN alone (and ECN's, which nobody asks)."""
    first = _SYN & looked_at if looked_at else _SYN
    if operator in ("in", "!"):
        # Any of the flags; and none of them, as nft writes a mask that comes to zero.
        return bool(first & _named(right)) is (operator == "in")
    wanted = [_named(one) for one in (elements_of(right, sets) or ())] if _is_set(right) else [_named(right)]
    return (first in wanted) is (operator == "==")


def _is_set(right: Json) -> bool:
    return isinstance(right, dict) and "set" in right
