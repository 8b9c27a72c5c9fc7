"""Values that several kinds share: selectors and protocols."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from collections.abc import Sequence as Sequence_
from typing import TypeVar

from hostfw.manifest.fields import Reader, described, items, one_of, text
from hostfw.manifest.yaml.nodes import Node, Scalar, ScalarKind, Sequence, plain_kind
from hostfw.model.kinds.metadata import SelectorText
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.values import NAMED_PROTOCOLS, Family, Protocol
from hostfw.model.wording import quoted
from hostfw.selector import evaluate as selector

T = TypeVar("T")

VERSIONS = {"4": Family.V4, "6": Family.V6}

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


def ip_version(reader: Reader, node: Node | None) -> Family | None:
    """A version of IP, 4 or 6 without quotes."""
    if node is None:
        return None
    if isinstance(node, Scalar) and node.text in VERSIONS:
        if node.plain:
            return VERSIONS[node.text]
        reader.report(node, f"ipVersion is {described(node)}", "4 or 6", "write it without quotes")
    else:
        reader.report(node, f"ipVersion is {described(node)}", "4 or 6")
    return None


def each(
    reader: Reader, nodes: Iterable[Node], what: str, decode: Callable[[Reader, Node, str], T | None]
) -> tuple[T, ...]:
    """The items of a list that decode."""
    return tuple([value for node in nodes if (value := decode(reader, node, what)) is not None])


def each_once(
    reader: Reader, nodes: Sequence_[Node], what: str, decode: Callable[[Reader, Node, str], T | None]
) -> tuple[T, ...]:
    """The items of a list that decode, with a warning at each that is there already: another one was meant."""
    found = each(reader, nodes, what, decode)
    warn_of_repeats(reader, nodes, found, what)
    return found


def warn_of_repeats(reader: Reader, nodes: Sequence_[Node], values: Sequence_[Hashable], what: str) -> None:
    """Warn at each item of a list that is there already; nothing of a list that does not decode as a whole."""
    if len(set(values)) < len(values) == len(nodes):
        seen: set[Hashable] = set()
        for node, value in zip(nodes, values, strict=True):
            if value in seen:
                reader.warn(node, f"this item of {what} is in the list already", "leave it out, or write what is meant")
            seen.add(value)


def protocol(
    reader: Reader, node: Node | None, what: str, known: Mapping[str, Protocol] = NAMED_PROTOCOLS
) -> Protocol | None:
    """A protocol by one of the known names, or by number with or without quotes."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        if node.text in known:
            return known[node.text]
        if _PROTOCOL_NUMBER.match(node.text) and int(node.text) <= LAST_PROTOCOL:
            return Protocol(int(node.text))
    expected = f"{one_of(known)}, or a number from 1 to {LAST_PROTOCOL}"
    reader.report(
        node, f"{what} is {described(node)}", expected, _hint(node.text, known) if isinstance(node, Scalar) else ""
    )
    return None


PROTOCOLS_LIMIT = 16


def protocols(reader: Reader, node: Node | None, what: str) -> tuple[Protocol, ...]:
    """One protocol, or those of a list, each once; an empty list, which would match nothing, is a problem."""
    if not isinstance(node, Sequence):
        found = protocol(reader, node, what)
        return () if found is None else (found,)
    if not node.items:
        reader.report(node, f"{what} is an empty list", "a protocol, or several")
    seen: dict[int, Protocol] = {}
    for item in items(reader, node, what, PROTOCOLS_LIMIT):
        one = protocol(reader, item, f"an item of {what}")
        if one is not None and one.number in seen:
            reader.report(item, f"{what} has protocol {one} twice", "each protocol once")
        elif one is not None:
            seen[one.number] = one
    return tuple(seen.values())


def _hint(name: str, known: Mapping[str, Protocol]) -> str:
    """A name that means the very same protocol: one that is merely near would be of another."""
    given = name.upper().replace("-", "").replace("_", "")
    if given in _NUMBERS:
        return f"write its number, {_NUMBERS[given]}"
    meant = _OTHER_NAMES.get(given) or next((one for one in known if one.upper() == given), None)
    return f"did you mean {quoted(meant)}?" if meant else _OTHER_WORDS.get(given, "")


_NUMBERS = {"IPV6": 41, "RSVP": 46, "CARP": 112, "DCCP": 33, "ETHERIP": 97, "ISIS": 124, "MANET": 138}
"""Protocols that have no name here, by the IANA registry of protocol numbers, and CARP, which shares one with VRRP."""

_OTHER_NAMES = {
    "ICMP4": "ICMP",
    "ICMPV4": "ICMP",
    "ICMP6": "ICMPv6",
    "IPV6ICMP": "ICMPv6",
    "IGMPV2": "IGMP",
    "IGMPV3": "IGMP",
    "IPENCAP": "IPIP",
    "IPSECESP": "ESP",
    "IPSECAH": "AH",
    "OSPFIGP": "OSPF",
}
"""Names that other programs and /etc/protocols have for the same."""

_ANY = "leave protocol out for all of them"
_OTHER_WORDS = {
    "ANY": _ANY,
    "ALL": _ANY,
    "IPSEC": "write [ESP, AH], and a rule for UDP 500 and 4500",
    "MLD": "it is of ICMPv6, types 130 to 132 and 143",
}

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
