"""Right sides of matches of nftables: values, ranges, sets and concatenations, as conditions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, cast

from hostfw.importer.conditions import Condition, all_but
from hostfw.importer.nft.keys import Key, Reader, UnsaidError, Values
from hostfw.importer.nft.text import Json, value_text
from hostfw.model.ranges import Ranges, ranges_of
from hostfw.model.values import parse_cidr

MOST_ALTERNATIVES = 4096
"""Most elements of a concatenated set or a verdict map that are read one by one."""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set or a map with its elements; `why` says why its content is no part of policy, if it is not."""

    elements: tuple[Json, ...]
    why: str = ""


Sets = Mapping[str, NamedSet]


def elements_of(right: Json, sets: Sets) -> tuple[Json, ...] | None:
    """The elements of a set, anonymous or named; None for what is a single value. Raises UnsaidError."""
    match right:
        case str() if right.startswith("@"):
            named = sets.get(right[1:])
            if named is None:
                raise UnsaidError(f"the set {right}, which the listing does not have")
            if named.why:
                raise UnsaidError(f"the set {right}, {named.why}")
            return named.elements
        case {"set": content, **others} if not others:
            return tuple(content) if isinstance(content, list) else (content,)
        case list():
            return tuple(right)
        case _:
            return None


def matched(key: Key, elements: Iterable[Json]) -> Values:
    """The values of a criterion that some elements are. Raises UnsaidError."""
    if isinstance(key.whole, frozenset):
        found: frozenset[str] = frozenset()
        for element in elements:
            read = key.whole if element == "*" else key.read(_bare(element))
            found |= cast("frozenset[str]", read)
        return found
    return _joined(span for element in elements for span in _spans(key, _bare(element)))


def _bare(element: Json) -> Json:
    """An element without its comment and counter. Raises UnsaidError for one with anything else, such as a limit."""
    match element:
        case {"elem": {"val": value, **others}}:
            if "timeout" in others or "expires" in others:
                raise UnsaidError(f"the element {value_text(value)}, which expires")
            unknown = sorted(set(map(str, others)) - {"comment", "counter"})
            if unknown:
                raise UnsaidError(f"the element {value_text(value)} with a {unknown[0]}")
            return _bare(value)
        case _:
            return element


def _spans(key: Key, element: Json) -> Iterator[tuple[int, int]]:
    match element:
        case "*":
            ranges = cast("Ranges", key.whole)
        case {"range": [first, last]}:
            low, high = (cast("Ranges", key.read(end)) for end in (first, last))
            if len(low) != 2 or len(high) != 2:
                raise UnsaidError(value_text(element))
            ranges = (low[0], high[1]) if low[0] < high[1] else ()
        case {"prefix": {"addr": str(address), "len": int(length)}}:
            cidr = parse_cidr(f"{address}/{length}")
            if cidr is None or key.criterion not in ("source", "destination"):
                raise UnsaidError(value_text(element))
            ranges = ranges_of((cidr,), cidr.family)
        case _:
            ranges = cast("Ranges", key.read(element))
    edges = iter(ranges)
    yield from zip(edges, edges, strict=True)


def _joined(spans: Iterable[tuple[int, int]]) -> Ranges:
    """Spans in any order as ranges."""
    edges: list[int] = []
    for first, end in sorted(spans):
        if not edges or first > edges[-1]:
            edges += (first, end)
        elif end > edges[-1]:
            edges[-1] = end
    return tuple(edges)


def condition_for(key: Key, values: Values, *, negated: bool, everything: Condition) -> Condition:
    """The condition that a packet has the key, with one of the values, or with none of them."""
    if key.criterion == "macs" and negated:
        raise UnsaidError("every Ethernet address but some (ether saddr !=)")
    if isinstance(values, frozenset):
        chosen: Values = cast("frozenset[str]", key.whole) - values if negated else values
    else:
        chosen = all_but(values, cast("Ranges", key.whole)) if negated else values
    narrowed: dict[str, Any] = {key.criterion: chosen}
    return key.needs.also(replace(everything, **narrowed))


def keys_of(left: Json, reader: Reader) -> tuple[Key, ...]:
    """The keys of a left side, several of a concatenation. Raises UnsaidError."""
    match left:
        case {"concat": [*parts]}:
            return tuple(reader.key(part) for part in parts)
        case _:
            return (reader.key(left),)


def alternative(keys: Sequence[Key], element: Json, everything: Condition) -> Condition:
    """The condition that one element of a set or map stands for. Raises UnsaidError."""
    bare = _bare(element)
    if bare == "*":
        return reduce(Condition.also, (key.needs for key in keys))
    parts = [bare]
    if len(keys) > 1:
        match bare:
            case {"concat": [*listed]} if len(listed) == len(keys):
                parts = listed
            case _:
                raise UnsaidError(value_text(element))
    each = (
        condition_for(key, matched(key, (part,)), negated=False, everything=everything)
        for key, part in zip(keys, parts, strict=True)
    )
    return reduce(Condition.also, each)
