"""The tables of the fake kernel: chains, sets, maps and counters as lines of nft, and how the kernel shows them."""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Self

from hostfw.host.nftables.nf_tables import BaseHook, KernelChain, KernelRule, KernelSet
from hostfw.model.values import Family
from hostfw.nft.declarations import declaration
from hostfw.nft.object_text import type_text
from hostfw.nft.objects import Dynamic, ElementType, Set, VerdictMap

_TARGET = re.compile(r"\b(?:jump|goto) ([^\s,}]+)")
_LOOKUP = re.compile(r"@([^\s,}]+)")
_COUNTER = re.compile(r'\bcounter name "?([^\s"]+)"?')
_COMMENT = re.compile(r'comment "([^"]*)"$')
_BASE = re.compile(r"type (?P<type>\S+) hook (?P<hook>\S+) priority (?P<priority>\S+); policy (?P<policy>\S+);")
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0}
_TYPE = re.compile(r"^type(?:of)? (?P<type>.*?)(?P<map> : verdict)?$", re.MULTILINE)
_SIZE = re.compile(r"^size (\d+)$", re.MULTILINE)
_TIMEOUT = re.compile(r"^timeout (\d+)s$", re.MULTILINE)
_FINAL = re.compile(r'(?:accept|drop|return|goto \S+)(?: comment "[^"]*")?')
_HANDLES = count(1)


class Line(str):
    """A line of an object; as a rule it has a handle that no other ever has."""

    __slots__ = ("handle",)

    handle: int

    def __new__(cls, text: str) -> Self:
        """Make the line, with the next handle."""
        line = super().__new__(cls, text)
        line.handle = next(_HANDLES)
        return line

    def __deepcopy__(self, _: object) -> Self:
        """Return the line itself: a copy of a table keeps the handles of its rules."""
        return self


@dataclass(slots=True)
class Object:
    """A chain with its rules, a set or map with the lines that declare it, or a counter."""

    lines: list[Line] = field(default_factory=list)
    base: str = ""
    packets: int = 0


TableObjects = dict[str, dict[str, Object]]
"""Objects by kind (chain, set, map, counter) and name, and the flags of the table."""


class Refused(Exception):
    """nft would refuse the script here."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def references(table: TableObjects) -> set[tuple[str, str]]:
    """The references of rules and map elements; a lookup refers to a set or a map of the name, whichever exists."""
    lines = [line for kind in ("chain", "map") for item in table[kind].values() for line in item.lines]
    found = {("chain", name) for line in lines for name in _TARGET.findall(line)}
    found |= {("counter", name) for line in lines for name in _COUNTER.findall(line)}
    lookups = {name for line in lines for name in _LOOKUP.findall(line)}
    return found | {("map" if name in table["map"] else "set", name) for name in lookups}


def check_references(table: TableObjects) -> None:
    """Raise `Refused` if a rule or an element refers to what the table does not have."""
    for kind, name in sorted(references(table)):
        if name not in table[kind]:
            raise Refused(f"No such file or directory: {kind} {name}")


def empty_table() -> TableObjects:
    """Return a table without objects and flags."""
    return {"chain": {}, "set": {}, "map": {}, "counter": {}, "flag": {}}


def kernel_chain(name: str, chain: Object, *, regular: bool) -> KernelChain:
    """Return a chain as the kernel shows it; of a regular one only its name, unless `regular`."""
    base = _BASE.search(chain.base)
    if not (base or regular):
        return KernelChain(name, 0, 0)
    rules = tuple(map(_kernel_rule, chain.lines)) if base else ()
    met = next((number for number, rule in enumerate(rules, 1) if rule.final), len(chain.lines))
    return KernelChain(
        name,
        0,
        0,
        BaseHook(base["type"], base["hook"], _priority(base["priority"]), base["policy"]) if base else None,
        met,
        sha256("\n".join(chain.lines[:met]).encode()).hexdigest()[:16],
        rules,
    )


def place(base: str) -> tuple[str, ...]:
    """The attachment of a base chain, from the line that declares it."""
    found = _BASE.search(base)
    return () if found is None else found.group("type", "hook", "priority")


def _priority(text: str) -> int:
    return _PRIORITIES[text] if text in _PRIORITIES else int(text)


def kernel_set(name: str, contents: Object, family: Family) -> KernelSet:
    """A set or map as its lines declare it; one without any is a mark."""
    text = "\n".join(contents.lines)
    what = _TYPE.search(text)
    kind, is_map = (what["type"], bool(what["map"])) if what else ("inet_service", False)
    element_type = next((t for t in ElementType if type_text(t, family) == kind), ElementType.PORT)
    size, timeout = _SIZE.search(text), _TIMEOUT.search(text)
    interval, dynamic = "flags interval" in text, "flags dynamic" in text
    declared: Set | VerdictMap
    if is_map:
        declared = VerdictMap(name, element_type, (), interval)
    else:
        room = Dynamic(0, int(timeout[1]) if timeout else None) if dynamic else None
        declared = Set(name, element_type, (), interval, dynamic=room)
    found = declaration(declared, family)
    return KernelSet(
        name,
        0,
        found.flags,
        found.key_type,
        found.key_bytes,
        int(size[1]) if size else None,
        found.data_type,
        found.timeout_ms,
    )


def _kernel_rule(line: Line) -> KernelRule:
    comment = _COMMENT.search(line)
    return KernelRule(
        line.handle,
        tuple(_TARGET.findall(line)),
        tuple(_LOOKUP.findall(line)),
        comment[1] if comment else "",
        _FINAL.fullmatch(line) is not None,
    )
