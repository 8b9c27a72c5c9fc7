"""YAML text to trees of nodes that know where they stand.

Built from libyaml's events rather than PyYAML's composer: twice as fast, no recursion, and depth, aliases and tags are
refused where they stand. What a plain scalar means is decided when it is read (`plain_kind`), by the rules of
YAML 1.1 as calicoctl's parser applies them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

import yaml

from hostfw.manifest.yaml.places import Places
from hostfw.model.positions import LINE_BREAK, Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

TEXT_LIMIT = 128 * 1024 * 1024
"""The characters that one file may have; a network set of a million prefixes takes 20 million."""

DEPTH_LIMIT = 64
"""Deepest nesting of collections; no resource needs more than twelve. libyaml takes quadratic time on deep ones."""

ALIAS_LIMIT = 100_000
"""The nodes that the aliases of one file may repeat, so that a few lines cannot stand for billions."""


@dataclass(slots=True, eq=False, repr=False)
class Scalar:
    """A single value. `plain` says it was written without quotes, so that it may be other than a string."""

    text: str
    plain: bool
    mark: yaml.Mark


@dataclass(slots=True, eq=False, repr=False)
class Sequence:
    """A list of nodes."""

    mark: yaml.Mark
    items: "list[Node]" = field(default_factory=list)


@dataclass(slots=True, eq=False, repr=False)
class Mapping:
    """Keys and values in the order of the file, with repeats: key, value, key, value."""

    mark: yaml.Mark
    items: "list[Node]" = field(default_factory=list)

    def pairs(self) -> "Iterable[tuple[Node, Node]]":
        """Each key with its value."""
        one_by_one = iter(self.items)
        return zip(one_by_one, one_by_one, strict=True)


Node = Scalar | Sequence | Mapping


class ScalarKind(StrEnum):
    """Kinds of scalars, in the words of messages."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NULL = "null"


def documents(source: Source, problems: list[Problem]) -> Iterator[Node]:
    """The root node of every document that is not empty, one at a time.

    What is no YAML goes to `problems`; the documents before it still come, the rest of the file is not read.
    """
    text = source.text.removeprefix("\ufeff")
    if len(text) > TEXT_LIMIT:
        message = f"the file has {len(text)} characters"
        problems.append(Problem(Position(source.path, 1, 1), message, f"at most {TEXT_LIMIT}"))
        return
    if "\n\ufeff" in text:
        problems.append(_byte_order_mark_problem(source.path, text))
        return
    places = Places(text)
    try:
        for root in _Composer(source.path, places, problems).roots():
            if not is_null(root):
                yield root
    except _RefusedError as error:
        problems.append(error.problem)
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(source.path, places, error))
    except (yaml.reader.ReaderError, UnicodeEncodeError):
        problems.append(_character_problem(source.path, text))


def position(path: str, node: Node) -> Position:
    """The position of a node's begin."""
    return Position(path, node.mark.line + 1, node.mark.column + 1)


def is_null(node: Node) -> bool:
    """True if a value was left out or written as null, which is the same as not giving the field."""
    return isinstance(node, Scalar) and node.plain and node.text in _NULLS


def scalar_kind(node: Scalar) -> ScalarKind:
    """The kind of a scalar: anything in quotes is a string."""
    return plain_kind(node.text) if node.plain else ScalarKind.STRING


_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(spelling for word in ("true", "yes", "on") for spelling in (word, word.title(), word.upper()))
_FALSE = frozenset(spelling for word in ("false", "no", "off") for spelling in (word, word.title(), word.upper()))
BOOLEANS = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
"""The spellings of YAML 1.1 booleans that calicoctl and PyYAML agree on."""

_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")


@lru_cache(maxsize=2048)
def plain_kind(text: str) -> ScalarKind:
    """The kind of a scalar without quotes.

    As in calicoctl and unlike PyYAML's own resolver there are no base-60 numbers (`20:25` is a string, hence a port
    range) and no timestamps. What calicoctl reads as a number and PyYAML writes as a string, such as `1e3`, is a
    string here; where a number is wanted it is one all the same (`fields.number`).
    """
    if text in _NULLS:
        return ScalarKind.NULL
    if text in BOOLEANS:
        return ScalarKind.BOOLEAN
    if text[0] in "+-.0123456789":
        if _INTEGER.match(text):
            return ScalarKind.INTEGER
        if _NUMBER.match(text) or _NOT_FINITE.match(text):
            return ScalarKind.NUMBER
    return ScalarKind.STRING


class _RefusedError(Exception):
    """Ends the reading of a file with a problem of our own."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(slots=True, eq=False, repr=False)
class _Anchored:
    """A node that aliases may repeat; `size` is its number of nodes, None while it is not complete."""

    node: Node
    size: int | None


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")


class _Composer:
    """Turns the events of one file into trees."""

    __slots__ = ("anchors", "path", "places", "problems", "repeated")

    def __init__(self, path: str, places: Places, problems: list[Problem]) -> None:
        self.path = path
        self.places = places
        self.problems = problems
        self.anchors: dict[str, _Anchored] = {}
        self.repeated = 0

    def roots(self) -> Iterator[Node]:
        # The one loop that every node passes through: local names, no calls but what libyaml and a rare case need.
        next_event = _LOADER(self.places.text).get_event
        moved = self.places.are_elsewhere
        scalar, sequence, mapping = yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent
        ends = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        stack: list[tuple[list[Node], str | None, int]] = []
        root: list[Node] = []
        items = root
        count = 0
        while (event := next_event()) is not None:
            kind = event.__class__
            if moved and event.start_mark is not None:
                event.start_mark = self.places.mark(event.start_mark)
            if kind is scalar:
                count += 1
                node: Node = Scalar(event.value, not event.style, event.start_mark)
                if event.tag is not None:
                    self._tag(node, event.tag)
                if event.anchor is not None:
                    self.anchors[event.anchor] = _Anchored(node, 1)
                items.append(node)
            elif kind is mapping or kind is sequence:
                count += 1
                node = Mapping(event.start_mark) if kind is mapping else Sequence(event.start_mark)
                if event.tag is not None:
                    self._tag(node, event.tag)
                if event.anchor is not None:
                    self.anchors[event.anchor] = _Anchored(node, None)
                items.append(node)
                stack.append((items, event.anchor, count))
                items = node.items
                if len(stack) > DEPTH_LIMIT:
                    raise self._refused(node, f"collections nest deeper than {DEPTH_LIMIT}")
            elif kind in ends:
                items, anchor, before = stack.pop()
                if anchor is not None:
                    self.anchors[anchor].size = count - before + 1
            elif kind is yaml.AliasEvent:
                anchored = self._alias(event.anchor, event.start_mark)
                count += anchored.size or 0
                items.append(anchored.node)
            elif kind is yaml.DocumentEndEvent:
                yield root.pop()
                root.clear()
                self.anchors.clear()

    def _alias(self, name: str, mark: yaml.Mark) -> _Anchored:
        here = Scalar(name, plain=True, mark=mark)
        anchored = self.anchors.get(name)
        if anchored is None:
            raise self._refused(here, f"the alias *{name} has no anchor", f"&{name} earlier in the same document")
        if anchored.size is None:
            raise self._refused(here, f"the alias *{name} stands within its own anchor")
        self.repeated += anchored.size
        if self.repeated > ALIAS_LIMIT:
            raise self._refused(here, "the aliases of this file repeat too much", f"at most {ALIAS_LIMIT} nodes")
        return anchored

    def _tag(self, node: Node, tag: str) -> None:
        if isinstance(node, Scalar) and tag in _STRING_TAGS:
            node.plain = False
            return
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        problem = self._refused(node, f"the tag {shown} is not supported", "a value without a tag, or !!str").problem
        self.problems.append(problem)

    def _refused(self, node: Node, message: str, expected: str = "") -> _RefusedError:
        return _RefusedError(Problem(position(self.path, node), message, expected))


_UNPRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""An expression that takes 2 ms to compile, as the start of `hostfwctl` need not."""

_SYNTAX_HINTS = {
    "mapping values are not allowed": "quote a value that holds ': '",
    "did not find expected key": "check the indentation of this line and those above it",
    "did not find expected '-' indicator": "check the indentation of this line and those above it",
    "did not find expected ',' or": "a bracket that was opened above is not closed",
    "found unexpected end of stream": "a quote that was opened above is not closed",
    "found invalid Unicode character escape code": "write the character itself",
    "found unknown escape character": "use single quotes where backslashes stand for themselves",
}


def _syntax_problem(path: str, places: Places, error: yaml.MarkedYAMLError) -> Problem:
    marked = error.problem_mark or error.context_mark
    if marked is None:
        return Problem(Position(path, 1, 1), str(error))
    mark, text = places.mark(marked), places.original
    where = _at_most_the_end(Position(path, mark.line + 1, mark.column + 1), text)
    what = str(error.problem or error.context)
    stands = text[mark.index : mark.index + 1]
    if "cannot start any token" in what:
        if stands == "\t":
            return Problem(where, "a tab in the indentation", "spaces", "YAML is indented with spaces only")
        return Problem(where, f'no value can begin with "{stands}"', "", "quote the value")
    hint = next((hint for start, hint in _SYNTAX_HINTS.items() if what.startswith(start)), "")
    context = f" {error.context}" if error.context else ""
    if error.context_mark is not None and (began := places.mark(error.context_mark).line + 1) != where.line:
        context += f" that begins on line {began}"
    return Problem(where, f"not valid YAML: {what}{context}", "", hint)


def _at_most_the_end(where: Position, text: str) -> Position:
    """A place, or the end of the text: libyaml counts a line more where the last one has no line break."""
    lines = LINE_BREAK.split(text)
    return where if where.line <= len(lines) else Position(where.path, len(lines), len(lines[-1]) + 1)


def _byte_order_mark_problem(path: str, text: str) -> Problem:
    line = len(LINE_BREAK.split(text[: text.index("\n\ufeff") + 1]))
    message = "the line begins with a byte order mark, U+FEFF, which nobody sees"
    hint = f"remove it: sed -i 's/^\\xef\\xbb\\xbf//' {path}"
    return Problem(Position(path, line, 1), message, "one at the begin of the file, or none", hint)


def _character_problem(path: str, text: str) -> Problem:
    found = re.search(_UNPRINTABLE, text)
    offset = found.start() if found else 0
    before = LINE_BREAK.split(text[:offset])
    message = f"the character U+{ord(text[offset]):04X} may not stand in YAML" if found else "not valid YAML"
    return Problem(Position(path, len(before), len(before[-1]) + 1), message)
