"""Parts of a dispatch to many: those whose names, or addresses, begin alike.

One that comes or goes changes what is made of its part, and of no other. What tells the parts apart seldom changes: a
name is told by its next characters, an address by so many of its first bits that no part is too big.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hostfw.model.values import Family, mask_of
from hostfw.nft.rules import Beginning, Goto, Key, Match, Rule

Place = tuple[str, int]
"""A bridge, and an address behind it."""

_FEW_PARTS = 16
_LEAST_OF_A_PART = 4
"""Places of a part on average where there are many parts: each is a chain, and an element of a map."""


class Part(NamedTuple):
    """Names with a beginning that no name of another part has; `is_one` is of a name that others begin with."""

    beginning: str
    names: tuple[str, ...]
    is_one: bool = False


def by_beginning(names: Sequence[str], most: int) -> tuple[Part, ...]:
    """Names, which are different and in order, in parts of at most so many, and as few of them as that takes."""
    return tuple(_split(Part("", tuple(names)), most))


def _split(part: Part, most: int) -> Iterable[Part]:
    if len(part.names) <= most:
        # A name is told without more; its beginning might be too long to be one.
        return (Part(part.names[0], part.names, is_one=True) if len(part.names) == 1 else part,)
    length = _common(part.names[0], part.names[-1]) + 1
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in part.names:
        found[name[:length]].append(name)
    parts = (Part(start, tuple(names), len(start) < length) for start, names in found.items())
    return [smaller for one in parts for smaller in _split(one, most)]


def _common(one: str, other: str) -> int:
    """The length of the beginning that two names share, and with them all that are between them in order."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def in_parts(
    key: Key,
    names: Sequence[str],
    most: int,
    rules_of: Callable[[tuple[str, ...]], Iterable[Rule]],
    rest: Sequence[Rule],
    chain: Callable[[str, Iterable[Rule]], str],
) -> list[Rule]:
    """Rules of some interfaces and the rest, which is for what they do not decide; in chains if there are many.

    `chain` makes a chain of rules for a purpose: one for each part, which goes on with the rest.
    """
    if len(names) <= most:
        return [*rules_of(tuple(names)), *rest]
    onward = Rule((), (Goto(chain("rest", rest)),)) if rest else None
    end = () if onward is None else (onward,)
    parts = [(part, chain("part", (*rules_of(part.names), *end))) for part in by_beginning(names, most)]
    return [
        *(Rule((Match(key, p.beginning if p.is_one else Beginning(p.beginning)),), (Goto(to),)) for p, to in parts),
        *end,
    ]


def by_prefix(places: Sequence[Place], family: Family, most: int) -> tuple[int, dict[int, list[Place]]] | None:
    """Places by the first bits of their addresses, and how many bits: the fewest that leave no part too big.

    None where none do, or where most parts would be of few places.
    """
    addresses = sorted(address for _, address in places)
    pairs = zip(addresses, addresses[most:], strict=False)
    # Of so many in a row the first and the last must be in two parts.
    bits = family.bits
    length = max((bits - (one ^ other).bit_length() + 1 for one, other in pairs), default=0)
    if not 0 < length <= bits:
        return None
    mask = mask_of(family, length)
    parts: defaultdict[int, list[Place]] = defaultdict(list)
    for place in places:
        parts[place[1] & mask].append(place)
    are_few = len(parts) <= max(_FEW_PARTS, len(places) // _LEAST_OF_A_PART)
    return (length, dict(sorted(parts.items()))) if are_few else None
