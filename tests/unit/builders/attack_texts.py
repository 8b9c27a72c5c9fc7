"""Texts that are hard for an expression, made of the expression itself.

A backtracking engine, as those of Python and of ECMAScript are, takes long to say no where a text can be divided among
repetitions in many ways. So each repetition gets what it repeats, alone and beside what others repeat, again and again,
behind the shortest text that leads to it, and at the end something that nothing matches.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from re import _constants as names  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Items = Sequence[tuple[Any, Any]]

_REPEATS = (names.MAX_REPEAT, names.MIN_REPEAT)
_ANY = "a"
_CANDIDATES = [*map(chr, range(32, 127)), "\n", "\t", "\x00", "é"]
_MOST_PIECES = 8
ENDS = ("\x00", "!\x00", "\n\x00", "é")
"""Ends that hardly any expression of ours takes."""


def attacks(pattern: re.Pattern[str], count: int) -> Iterator[str]:
    """Texts with `count` of each piece that the repetitions of an expression take, and of each two of them."""
    for before, pieces in _repetitions(parser.parse(pattern.pattern, pattern.flags), ""):
        for one, other in product(pieces, repeat=2):
            piece = one if one == other else one + other
            for end in ENDS:
                yield f"{before}{piece * count}{end}"


def _repetitions(items: Items, before: str) -> Iterator[tuple[str, list[str]]]:
    """Each repetition: the shortest text before it, and texts that one round of it takes."""
    for kind, value in items:
        if kind in _REPEATS:
            _, most, body = value
            if most > 1:
                yield before, _samples(body)
            yield from _repetitions(body, before)
        else:
            for inner in _inner(kind, value):
                yield from _repetitions(inner, before)
        before += _shortest([(kind, value)])


def _inner(kind: object, value: Any) -> list[Items]:  # noqa: ANN401 - as the parser has it
    """The sequences within an item."""
    match kind, value:
        case names.SUBPATTERN, (*_, body):
            return [body]
        case names.BRANCH, (_, branches):
            return list(branches)
        case (names.ATOMIC_GROUP, body):
            return [body]
        case ((names.ASSERT | names.ASSERT_NOT), (_, body)):
            return [body]
        case names.POSSESSIVE_REPEAT, (_, _, body):
            return [body]
        case _:
            return []


def _samples(items: Items) -> list[str]:
    """A few texts that a sequence takes: the shortest, and of its sets members of each kind."""
    found = dict.fromkeys((_shortest(items), *_longer(items)))
    for kind, value in items:
        for inner in _inner(kind, value):
            found |= dict.fromkeys(_samples(inner))
        if kind in _REPEATS:
            found |= dict.fromkeys(_samples(value[2]))
        if kind is names.IN:
            found |= dict.fromkeys(_members(value))
    return [one for one in found if one][:_MOST_PIECES]


def _longer(items: Items) -> Iterator[str]:
    """The text that a sequence takes when each of its repetitions goes round once."""
    yield "".join(_shortest(value[2]) if kind in _REPEATS else _shortest([(kind, value)]) for kind, value in items)


def _members(choices: Items) -> list[str]:
    """A letter, a digit and each of some other characters that a set has."""
    taken = [one for one in _CANDIDATES if _has(choices, one)]
    letters, digits = [one for one in taken if one.isalpha()], [one for one in taken if one.isdigit()]
    return [*letters[:1], *digits[:1], *(one for one in taken if not one.isalnum())]


def _has(choices: Items, character: str) -> bool:
    return re.fullmatch(_set_text(choices), character) is not None


def _set_text(choices: Items) -> str:
    """The set as an expression once more."""
    words = {names.CATEGORY_DIGIT: r"\d", names.CATEGORY_SPACE: r"\s", names.CATEGORY_WORD: r"\w"}
    opposites = {names.CATEGORY_NOT_DIGIT: r"\D", names.CATEGORY_NOT_SPACE: r"\S", names.CATEGORY_NOT_WORD: r"\W"}
    parts: list[str] = []
    for kind, value in choices:
        match kind, value:
            case names.NEGATE, _:
                parts.append("^")
            case names.LITERAL, int(code):
                parts.append(re.escape(chr(code)))
            case names.RANGE, (first, last):
                parts.append(f"{re.escape(chr(first))}-{re.escape(chr(last))}")
            case names.CATEGORY, category:
                parts.append((words | opposites)[category])
            case _:
                raise AssertionError((kind, value))
    return f"[{''.join(parts)}]"


def _shortest(items: Items) -> str:
    """A text that a sequence takes, of the fewest rounds; what looks around is passed over."""
    made = ""
    for kind, value in items:
        match kind, value:
            case names.LITERAL, int(code):
                made += chr(code)
            case names.NOT_LITERAL, int(code):
                made += _ANY if chr(code) != _ANY else "b"
            case names.IN, choices:
                made += next(iter(_members(choices)), _ANY)
            case names.ANY, _:
                made += _ANY
            case names.BRANCH, (_, branches):
                made += _shortest(branches[0])
            case names.SUBPATTERN, (*_, body):
                made += _shortest(body)
            case names.ATOMIC_GROUP, body:
                made += _shortest(body)
            case ((names.MAX_REPEAT | names.MIN_REPEAT | names.POSSESSIVE_REPEAT), (least, _, body)):
                made += _shortest(body) * min(least, 20)
            case _:
                pass
    return made
