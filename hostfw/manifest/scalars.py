"""Values that several kinds share: selectors and protocols."""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from hostfw.manifest.fields import Reader, described, did_you_mean, one_of, text
from hostfw.manifest.yaml.nodes import Node, Scalar, ScalarKind, plain_kind
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.resources import SelectorText
from hostfw.model.values import PROTOCOLS, Protocol
from hostfw.selector import evaluate as selector

T = TypeVar("T")

SELECTOR_LIMIT = 1024
"""The characters that a selector may have, as in Calico's schema."""


def selector_text(reader: Reader, node: Node | None, what: str, *, may_be_global: bool = False) -> SelectorText | None:
    """A selector that parses. Calico refuses the words `global(` in it, even within quotes."""
    value = text(reader, node, what)
    if node is None or value is None:
        return None
    where = reader.at(node)
    if value in reader.selectors:
        return SelectorText(value, where)
    if len(value) > SELECTOR_LIMIT:
        reader.report(node, f"{what} has {len(value)} characters", f"at most {SELECTOR_LIMIT}")
        return None
    if not may_be_global and "global(" in value:
        reader.report(node, f"{what} has global(), which means something in namespaceSelector only", "", "write all()")
        return None
    try:
        selector.parse(value)
    except selector.SelectorError as error:
        exact = _within(reader, node, error.offset)
        hint = "a block scalar (|) ends in a line break; write >- instead" if value.endswith("\n") else ""
        reader.problems.append(Problem(exact, f"{what} does not parse: {error.message}", error.expected, hint))
        return None
    if "global(" not in value:
        reader.selectors.add(value)
    return SelectorText(value, where)


def each(
    reader: Reader, nodes: Iterable[Node], what: str, decode: Callable[[Reader, Node, str], T | None]
) -> tuple[T, ...]:
    """The items of a list that decode."""
    return tuple([value for node in nodes if (value := decode(reader, node, what)) is not None])


def protocol(reader: Reader, node: Node | None, what: str) -> Protocol | None:
    """A protocol by name, or by number with or without quotes."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        if node.text in PROTOCOLS:
            return PROTOCOLS[node.text]
        if _PROTOCOL_NUMBER.match(node.text) and int(node.text) <= LAST_PROTOCOL:
            return Protocol(int(node.text))
    expected = f"{one_of(PROTOCOLS)}, or a number from 1 to {LAST_PROTOCOL}"
    reader.report(node, f"{what} is {described(node)}", expected, _hint(node.text) if isinstance(node, Scalar) else "")
    return None


def _hint(name: str) -> str:
    number = _NUMBERS.get(name.upper())
    return f"write its number, {number}" if number else did_you_mean(name, PROTOCOLS)


_NUMBERS = {
    "IGMP": 2,
    "IPIP": 4,
    "IPV6": 41,
    "GRE": 47,
    "ESP": 50,
    "AH": 51,
    "EIGRP": 88,
    "OSPF": 89,
    "PIM": 103,
    "VRRP": 112,
    "CARP": 112,
    "L2TP": 115,
}
"""Protocols that Calico has no name for, by the IANA registry of protocol numbers, and CARP, which shares one."""

_PROTOCOL_NUMBER = re.compile(r"[1-9][0-9]{0,2}\Z")
LAST_PROTOCOL = 255


def is_port_scalar(node: Scalar) -> bool:
    """True if a scalar is what a port may be: a string, or a whole number in decimal."""
    if not node.plain:
        return True
    kind = plain_kind(node.text)
    return kind is ScalarKind.STRING or (kind is ScalarKind.INTEGER and node.text.isdigit())


def _within(reader: Reader, node: Node, offset: int) -> Position:
    """The place of a character of a scalar's value, where the file shows the value as it is; else of the scalar."""
    start = reader.at(node)
    if not isinstance(node, Scalar):
        return start
    begin = node.mark.index + (0 if node.plain else 1)
    before = node.text[:offset]
    if "\n" in before or reader.text[begin : begin + len(before)] != before:
        return start
    return Position(start.path, start.line, start.column + begin - node.mark.index + offset)
