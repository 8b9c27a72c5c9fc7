"""The tables of the fake kernel: chains, sets, maps and counters as lines of nft, and how the kernel shows them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import count
from typing import NamedTuple, Self

from hostfw.host.nftables.nf_tables import BaseHook, KernelChain, KernelRule, KernelSet
from hostfw.model.values import TableFamily
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
_SET_COMMENT = re.compile(r'^comment "(.*)"$', re.MULTILINE)
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


class References(NamedTuple):
    """The names that a line refers to."""

    chains: tuple[str, ...]
    lookups: tuple[str, ...]
    counters: tuple[str, ...]


@lru_cache(maxsize=100_000)
def _references(line: str) -> References:
    return References(tuple(_TARGET.findall(line)), tuple(_LOOKUP.findall(line)), tuple(_COUNTER.findall(line)))


def is_referred_to(table: TableObjects, kind: str, name: str) -> bool:
    """True if a rule or an element refers to an object; a lookup refers to a map of the name, or else to a set."""
    part = {"chain": 0, "set": 1, "map": 1, "counter": 2}[kind]
    if kind == "set" and name in table["map"]:
        return False
    return any(
        name in _references(line)[part]
        for holder in ("chain", "map")
        for item in table[holder].values()
        for line in item.lines
    )


def check_references(table: TableObjects, lines: Iterable[str]) -> None:
    """Raise `Refused` if one of these lines refers to what the table does not have."""
    for found in map(_references, lines):
        there = (
            *((name, "chain", name in table["chain"]) for name in found.chains),
            *((name, "set", name in table["map"] or name in table["set"]) for name in found.lookups),
            *((name, "counter", name in table["counter"]) for name in found.counters),
        )
        for name, kind, is_there in there:
            if not is_there:
                raise Refused(f"No such file or directory: {kind} {name}")


def copied(tables: Mapping[TableFamily, TableObjects]) -> dict[TableFamily, TableObjects]:
    """Return tables that can be changed without these; the rules keep their handles."""
    return {
        family: {
            kind: {name: Object(list(one.lines), one.base, one.packets) for name, one in objects.items()}
            for kind, objects in table.items()
        }
        for family, table in tables.items()
    }


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


def kernel_set(name: str, contents: Object, family: TableFamily) -> KernelSet:
    """A set or map as its lines declare it; one without any is a mark."""
    text = "\n".join(contents.lines)
    what = _TYPE.search(text)
    kind, is_map = (what["type"], bool(what["map"])) if what else ("inet_service", False)
    element_type = next((t for t in ElementType if type_text(t, family) == kind), ElementType.PORT)
    size, timeout, comment = _SIZE.search(text), _TIMEOUT.search(text), _SET_COMMENT.search(text)
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
        comment[1] if comment else "",
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
