"""Building blocks of decoders: a node becomes a value, or a problem with its position and the expected form.

Each function takes the node, None for an absent field, and `what`, the name of the field in messages. It gives None
(or an empty collection) where the field is absent, and where it has reported a problem.
"""

import math
import re
from collections.abc import Iterable
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeVar

from hostfw.manifest.yaml.nodes import (
    BOOLEANS,
    Mapping,
    Node,
    Scalar,
    ScalarKind,
    Sequence,
    is_null,
    plain_kind,
    position,
    scalar_kind,
)
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.wording import SHOWN_CHARACTERS, quoted, shortened

T = TypeVar("T")


@dataclass(slots=True, eq=False, repr=False)
class Reader:
    """The file being decoded and the problems found so far. `selectors` are texts known to parse."""

    path: str
    text: str = ""
    problems: list[Problem] = field(default_factory=list)
    selectors: set[str] = field(default_factory=set)

    def at(self, node: Node) -> Position:
        """The position of a node's begin."""
        return position(self.path, node)

    def report(self, node: Node, message: str, expected: str = "", hint: str = "") -> None:
        """Note what is wrong with a node."""
        self.problems.append(Problem(position(self.path, node), message, expected, hint))

    def warn(self, node: Node, message: str, hint: str = "") -> None:
        """Note what is valid at a node, and probably not what was meant."""
        self.problems.append(Problem(position(self.path, node), message, hint=hint, severity=Severity.WARNING))


class Blank(Enum):
    """The values of a refused field that mean nothing, by the type that Calico gives it."""

    NOTHING = frozenset[object]()
    """Calico itself has no such field, so it refuses even null."""
    NULL = frozenset[object]((None,))
    TEXT = frozenset[object]((None, ""))
    FLAG = frozenset[object]((None, False))
    LIST = frozenset[object]((None, ()))


class Refusal(NamedTuple):
    """The reason why hostfw refuses a field or kind, what to write instead, and the values that a field may have."""

    reason: str
    instead: str = ""
    blank: Blank = Blank.NULL


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields that a mapping may have.

    A `refused` field may stand with a value of its Refusal's `blank`. An `ignored` one may have any value.
    `elsewhere` says of fields that are easily put into the wrong mapping where they belong.
    """

    noun: str
    known: frozenset[str]
    refused: Dictionary[str, Refusal] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    elsewhere: Dictionary[str, str] = field(default_factory=dict)


def fields(reader: Reader, node: Node | None, shape: Shape) -> dict[str, Node]:
    """The fields of a mapping by name, those that are null left out."""
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        reader.report(node, f"{shape.noun} is {described(node)}", "a mapping", _mapping_hint(node))
        return {}
    known = shape.known
    found: dict[str, Node] = {}
    seen: dict[str, Node] = {}
    for key, value in node.pairs():
        name = key.text if isinstance(key, Scalar) else None
        if name is None or name not in known:
            _unknown_field(reader, key, value, shape)
        elif name in seen:
            _repeated_key(reader, key, seen[name])
        else:
            seen[name] = key
            if not (isinstance(value, Scalar) and value.plain and is_null(value)):
                found[name] = value
    return found


def given(found: Dictionary[str, Node], name: str) -> Node | None:
    """A field whose empty string means the same as its absence."""
    node = found.get(name)
    return None if isinstance(node, Scalar) and not node.text else node


def entries(reader: Reader, node: Node | None, what: str) -> list[tuple[str, Node, Node]]:
    """The key text, key and value of a mapping whose keys are free, such as labels."""
    if node is None:
        return []
    if not isinstance(node, Mapping):
        reader.report(node, f"{what} is {described(node)}", "a mapping")
        return []
    found: dict[str, tuple[str, Node, Node]] = {}
    for key, value in node.pairs():
        name = text(reader, key, f"a key of {what}")
        if name is None:
            continue
        if name in found:
            _repeated_key(reader, key, found[name][1])
        else:
            found[name] = (name, key, value)
    return list(found.values())


def items(reader: Reader, node: Node | None, what: str, limit: int | None = None) -> list[Node]:
    """The items of a list."""
    if node is None:
        return []
    if not isinstance(node, Sequence):
        reader.report(node, f"{what} is {described(node)}", "a list", _list_hint(node))
        return []
    if limit is not None and len(node.items) > limit:
        reader.report(node.items[limit], f"{what} has {len(node.items)} items", f"at most {limit}")
    return node.items


def text(reader: Reader, node: Node | None, what: str) -> str | None:
    """A string. What YAML reads as a number, a boolean or null without quotes is none."""
    if isinstance(node, Scalar):
        if not node.plain or plain_kind(node.text) is ScalarKind.STRING:
            return node.text
        hint = 'write "" for an empty one' if is_null(node) else f'write it in quotes: "{node.text}"'
        reader.report(node, f"{what} is {described(node)}", "a string", hint)
        return None
    if node is not None:
        reader.report(node, f"{what} is {described(node)}", "a string")
    return None


def choice(reader: Reader, node: Node | None, what: str, table: Dictionary[str, T]) -> T | None:
    """One of a few words, in their exact case."""
    if node is None:
        return None
    if not isinstance(node, Scalar) or scalar_kind(node) is not ScalarKind.STRING:
        reader.report(node, f"{what} is {described(node)}", one_of(table))
        return None
    chosen = table.get(node.text)
    if chosen is None:
        reader.report(node, f"{what} is {quoted(node.text)}", one_of(table), did_you_mean(node.text, table))
    return chosen


def boolean(reader: Reader, node: Node | None, what: str) -> bool | None:
    """A boolean, without quotes."""
    if node is None:
        return None
    if isinstance(node, Scalar) and node.plain and node.text in BOOLEANS:
        return BOOLEANS[node.text]
    hint = "write it without quotes" if isinstance(node, Scalar) and node.text in BOOLEANS else ""
    reader.report(node, f"{what} is {described(node)}", "true or false", hint)
    return None


_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_LONGEST_INTEGER = 20


def integer(reader: Reader, node: Node | None, what: str, first: int, last: int) -> int | None:
    """A whole number within bounds, in decimal and without quotes."""
    if node is None:
        return None
    expected = f"a whole number from {first} to {last}"
    if not isinstance(node, Scalar) or scalar_kind(node) is not ScalarKind.INTEGER:
        hint = "write it without quotes" if isinstance(node, Scalar) and _DECIMAL.match(node.text) else ""
        reader.report(node, f"{what} is {described(node)}", expected, hint)
        return None
    if not _DECIMAL.match(node.text):
        reader.report(node, f"{what} is {node.text}, in a base that YAML guesses", expected, "write it in decimal")
        return None
    if len(node.text) > _LONGEST_INTEGER or not first <= int(node.text) <= last:
        reader.report(node, f"{what} is {shortened(node.text)}", expected)
        return None
    return int(node.text)


def number(reader: Reader, node: Node | None, what: str) -> float | None:
    """A finite number without quotes, whole or not."""
    if node is None:
        return None
    hint = ""
    if isinstance(node, Scalar) and _NUMERIC.match(node.text):
        if node.plain and math.isfinite(float(node.text)):
            return float(node.text)
        hint = "" if node.plain else "write it without quotes"
    reader.report(node, f"{what} is {described(node)}", "a finite number", hint)
    return None


_NUMERIC = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


def is_blank(node: Node) -> bool:
    """True if a value is what leaving the field out would mean: null, false, or an empty string or list.

    An empty mapping is none: in Calico it is a field that is there, and some of them mean something by that alone.
    """
    if isinstance(node, Mapping):
        return False
    if isinstance(node, Scalar):
        return not node.text or is_null(node) or (node.plain and BOOLEANS.get(node.text) is False)
    return not node.items


def _is_one_of(node: Node, blank: Blank) -> bool:
    if not isinstance(node, Scalar):
        return isinstance(node, Sequence) and not node.items and () in blank.value
    if is_null(node):
        return None in blank.value
    return (BOOLEANS.get(node.text, node.text) if node.plain else node.text) in blank.value


def described(node: Node) -> str:
    """A node's type and value, for messages."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar():
            kind = scalar_kind(node)
            match kind:
                case ScalarKind.NULL:
                    return "empty"
                case ScalarKind.STRING:
                    return f"the string {quoted(node.text)}"
                case _:
                    return f"the {kind} {shortened(node.text)}"


def one_of(words: Iterable[str]) -> str:
    """The words that may stand somewhere."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"one of {', '.join(listed)}"


_LEAST_START = 3


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The hint that names the nearest of the words, or nothing if none is near."""
    import difflib  # many configurations have nothing misspelt

    by_lower_case = {candidate.lower(): candidate for candidate in words}
    start = word.lower()[:SHOWN_CHARACTERS]
    near = [candidate for candidate in by_lower_case if len(start) >= _LEAST_START and candidate.startswith(start)]
    near = near or difflib.get_close_matches(start, by_lower_case, n=1)
    return f"did you mean {quoted(by_lower_case[near[0]])}?" if near else ""


def _unknown_field(reader: Reader, key: Node, value: Node, shape: Shape) -> None:
    if not isinstance(key, Scalar):
        reader.report(key, f"a key of {shape.noun} is {described(key)}", "a field name")
        return
    name = key.text
    if name in shape.ignored:
        return
    if name == "<<" and key.plain:
        reader.report(key, "merge keys (<<) are not supported", "", "write the fields out")
        return
    refusal = shape.refused.get(name)
    if refusal is None:
        hint = shape.elsewhere.get(name) or did_you_mean(name, shape.known)
        reader.report(
            key,
            f"unknown field {quoted(name)} in {shape.noun}",
            one_of(sorted(shape.known)) if shape.known else "no field",
            hint,
        )
    elif not _is_one_of(value, refusal.blank):
        reader.report(key, f"{name} is refused: {refusal.reason}", "", refusal.instead)


def _repeated_key(reader: Reader, key: Node, first: Node) -> None:
    name = key.text if isinstance(key, Scalar) else ""
    reader.report(key, f"{quoted(name)} is given twice, first on line {first.mark.line + 1}", "each key once")


def _mapping_hint(node: Node) -> str:
    is_one_mapping = isinstance(node, Sequence) and len(node.items) == 1 and isinstance(node.items[0], Mapping)
    return "leave out the dash" if is_one_mapping else ""


def _list_hint(node: Node) -> str:
    if isinstance(node, Scalar):
        return f"write [{shortened(node.text)}]"
    return "begin each item with a dash"
