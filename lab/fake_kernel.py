"""An nftables in memory that behaves as the kernel and nft do, for the scripts that hostfw writes."""

import errno
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from typing import Self

from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.elements import Edit, Keys
from hostfw.host.nftables.nf_tables import DORMANT, BaseHook, KernelChain, KernelCounter, KernelRule, KernelSet
from hostfw.host.nftables.script_runner import NftFailure, NftResult
from hostfw.host.nftables.set_reloading import Contents
from hostfw.host.nftables.tables import KernelTable, KernelTables, Names
from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.amendment import Amendment
from hostfw.nft.declarations import SetName, declaration
from hostfw.nft.deletion import Deletion
from hostfw.nft.object_text import DIGEST_CHARACTERS, additions, type_text
from hostfw.nft.objects import TABLE, Dynamic, ElementType, Set, Table, VerdictMap

_BLOCK = re.compile(r"(?P<kind>chain|set|map|counter) (?P<name>\S+) \{(?P<rest> ?\})?")
_COMMAND = re.compile(
    r"(?P<verb>add|delete|flush|rename) (?P<kind>table|chain|rule|set|map|counter|element) (?P<rest>.*)"
)
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
_HANDLE = re.compile(r"handle (\d+)")
_HANDLES = count(1)
_FLAGS = re.compile(r"\bflags (\w+)")


class _Line(str):
    """A line of an object; as a rule it has a handle that no other ever has."""

    __slots__ = ("handle",)

    handle: int

    def __new__(cls, text: str) -> Self:
        line = super().__new__(cls, text)
        line.handle = next(_HANDLES)
        return line

    def __deepcopy__(self, _: object) -> Self:
        return self


@dataclass(slots=True)
class _Object:
    """A chain with its rules, a set or map with the lines that declare it, or a counter."""

    lines: list[_Line] = field(default_factory=list)
    base: str = ""
    packets: int = 0


_Table = dict[str, dict[str, _Object]]
"""Objects by kind (chain, set, map, counter) and name, and the flags of the table."""


class _Refused(Exception):
    """nft would refuse the script here."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class FakeKernel:
    """Our two tables in memory: an `Nftables` and a `Tables` that agree with each other.

    It takes the scripts that `nft.object_text` and `nft.change` write, each as one transaction, and refuses references
    to what is not there and deletions of what is in use. `failures` are given out, one a request, before anything is
    done; `committed` has the scripts that took effect.
    """

    def __init__(self) -> None:
        self.generation = 1
        self.committed: list[str] = []
        self.checked: list[str] = []
        self.failures: deque[NftResult | NftFailure] = deque()
        self.closed = False
        self.elements: dict[tuple[Family, str], Keys] = {}
        self.edits: list[Edit] = []
        self._tables: dict[Family, _Table] = {}

    def check(self, script: str) -> NftResult:
        """Check that the script would take effect now."""
        self.checked.append(script)
        return self._failure() or self._run(script)[0]

    def commit(self, script: str) -> NftResult:
        """Let the script take effect, or none of it."""
        if failure := self._failure():
            return failure
        result = self.meddle(script)
        if result.ok:
            self.committed.append(script)
        return result

    def meddle(self, script: str) -> NftResult:
        """Let a script take effect as by another program: it counts as a change and not among `committed`."""
        result, tables = self._run(script)
        if result.ok:
            self._tables = tables
            self.generation += 1
        return result

    def add_elements(self, family: Family, set_name: str, keys: Keys) -> None:
        """Keep the elements of a set that there is; `elements` has them."""
        if set_name not in self._tables.get(family, _empty())["set"]:
            raise NetlinkError(errno.ENOENT, f"adding {len(keys)} elements to the set {set_name}")
        self.elements[family, set_name] = keys

    def is_loaded(self, family: Family, set_name: str, keys: Keys) -> bool:
        """True if the set was given these elements since it was declared."""
        there = set_name in self._tables.get(family, _empty())["set"]
        return there and self.elements.get((family, set_name)) == keys

    def replace_elements(self, family: Family, set_name: str, edit: Edit) -> None:
        """Edit the elements of a set that there is, and its marks."""
        table = self._tables.get(family, _empty())
        if not {set_name, *edit.unmark} <= table["set"].keys():
            raise NetlinkError(errno.ENOENT, f"editing the set {set_name}")
        width = edit.added.width
        data = b"" if edit.deleted is None else self.elements[family, set_name].data
        held = {data[start : start + width] for start in range(0, len(data), width)}
        for part, change in ((edit.deleted, held.discard), (edit.added, held.add)):
            for place in range(len(part or ())):
                change((part or edit.added).part(place, place + 1).data)
        self.elements[family, set_name] = Keys(b"".join(sorted(held)), width)
        self.edits.append(edit)
        for mark in edit.unmark:
            del table["set"][mark]
        table["set"][edit.mark] = _Object()
        self.generation += 1

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Give sets and maps that are there the lines that declare this content, all or none."""
        kinds = ["set" if isinstance(one, Set) else "map" for _, one in contents]
        for kind, (family, one) in zip(kinds, contents, strict=True):
            if one.name not in self._tables.get(family, _empty())[kind]:
                raise NetlinkError(errno.ENOENT, f"filling {one.name} again")
        for kind, (family, one) in zip(kinds, contents, strict=True):
            if isinstance(one.elements, PackedAddresses):
                self.elements[family, one.name] = Keys(one.elements.data, one.elements.width)
            self._tables[family][kind][one.name].lines.clear()
        tables = [
            Table(family, sets=(one,)) if isinstance(one, Set) else Table(family, maps=(one,))
            for family, one in contents
        ]
        if tables:
            self.meddle("".join(additions(table, Table(table.family)) for table in tables))

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Rename chains and wake tables, which is kept among `committed` in nft's words."""
        script = "".join(f"{amendment}\n" for amendment in amendments)
        result = self.commit(script) if script else NftResult(ok=True)
        if not result.ok:
            raise NetlinkError(errno.EINVAL, script.splitlines()[(result.line or 1) - 1])

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Delete rules in one transaction, which is kept among `committed` in nft's words."""
        if generation != self.generation:
            raise NetlinkError(errno.ERESTART, "switching")
        self.delete(deletions)

    def delete(self, deletions: Iterable[Deletion]) -> None:
        """Delete in one transaction, which is kept among `committed` in nft's words."""
        script = "".join(f"{deletion}\n" for deletion in deletions)
        try:
            result = self.commit(script)
        except NftFailure as failure:
            raise NetlinkError(errno.EBUSY if failure.unchanged else errno.ETIMEDOUT, "deleting") from failure
        if not result.ok:
            raise NetlinkError(errno.EBUSY, script.splitlines()[(result.line or 1) - 1])

    def close(self) -> None:
        """Note that the worker was given back."""
        self.closed = True

    def read_tables(self) -> KernelTables:
        """Everything but elements."""
        return KernelTables(self.generation, *(self._kernel_table(family, regular=True) for family in FAMILIES))

    def read_names(self) -> KernelTables:
        """The same, but of regular chains only their names."""
        return KernelTables(self.generation, *(self._kernel_table(family, regular=False) for family in FAMILIES))

    def read_some(self, names: Mapping[Family, Names]) -> KernelTables:
        """Only these, as far as they are there."""
        return KernelTables(self.generation, *(self._some(family, names.get(family, Names())) for family in FAMILIES))

    def read_digests(self, sets: Iterable[tuple[Family, KernelSet]]) -> Mapping[SetName, str]:
        """The digest that a name carries of what a set or map holds: of its lines, and of elements that came apart."""
        return {(family, one.name): self._digest(family, one) for family, one in sets}

    def _digest(self, family: Family, one: KernelSet) -> str:
        lines = [str(line) for line in self._tables[family]["map" if one.is_map else "set"][one.name].lines]
        keys = self.elements.get((family, one.name))
        if keys is not None:
            lines = [f"size {len(keys)}" if line.startswith("size ") else line for line in lines]
            lines.append(sha256(keys.data).hexdigest())
        return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:DIGEST_CHARACTERS]

    def read_generation(self) -> int:
        """Moves with every script that takes effect."""
        return self.generation

    def lines(self, family: Family, kind: str, name: str) -> tuple[str, ...]:
        """The rules of a chain, or the lines that declare a set or map, as they were written."""
        return tuple(self._tables[family][kind][name].lines)

    def count(self, family: Family, counter: str, packets: int) -> None:
        """Let traffic pass a counter."""
        self._tables[family]["counter"][counter].packets += packets

    def _failure(self) -> NftResult | None:
        if not self.failures:
            return None
        failure = self.failures.popleft()
        if isinstance(failure, NftFailure):
            raise failure
        return failure

    def _run(self, script: str) -> tuple[NftResult, dict[Family, _Table]]:
        tables = deepcopy(self._tables)
        try:
            _apply(script, tables)
        except _Refused as refused:
            return NftResult(
                ok=False, error=f"{refused.line}:1-1: Error: {refused.reason}\n", line=refused.line, column=1
            ), {}
        return NftResult(ok=True), tables

    def _some(self, family: Family, names: Names) -> KernelTable:
        whole = self._kernel_table(family, regular=True)
        return replace(
            whole,
            chains=tuple(chain for chain in whole.chains if chain.name in names.chains),
            sets=tuple(one for one in whole.sets if one.name in names.sets),
            counters=tuple(counter for counter in whole.counters if counter.name in names.counters),
        )

    def _kernel_table(self, family: Family, *, regular: bool) -> KernelTable:
        table = self._tables.get(family)
        if table is None:
            return KernelTable(family)
        return KernelTable(
            family,
            exists=True,
            chains=tuple(_kernel_chain(name, chain, regular=regular) for name, chain in table["chain"].items()),
            sets=tuple(_kernel_set(name, one, family) for kind in ("set", "map") for name, one in table[kind].items()),
            counters=tuple(KernelCounter(name, counter.packets, 0) for name, counter in table["counter"].items()),
            flags=DORMANT if "dormant" in table["flag"] else 0,
        )


def _apply(script: str, tables: dict[Family, _Table]) -> None:
    lines = enumerate((line.strip() for line in script.splitlines()), 1)
    for number, line in lines:
        try:
            _line(tables, line, lines)
        except _Refused as refused:
            refused.line = refused.line or number
            raise


def _line(tables: dict[Family, _Table], line: str, following: Iterator[tuple[int, str]]) -> None:
    if line.startswith("table "):
        table = tables.setdefault(_family(line.removeprefix("table ")), _empty())
        if line.endswith("{"):
            _block(table, following)
    elif command := _COMMAND.fullmatch(line):
        rest = command["rest"]
        body = [text for _, text in _until_end(following)] if rest.endswith("{") else []
        _command(tables, command["verb"], command["kind"], rest.removesuffix("{") if body else rest, body)
    elif line and not line.startswith("#"):
        raise _Refused(f"syntax error: {line}")


def _block(table: _Table, lines: Iterator[tuple[int, str]]) -> None:
    """The objects of a `table ... {` block, up to its end."""
    for number, line in _until_end(lines):
        head = _BLOCK.fullmatch(line)
        if head is None:
            raise _Refused(f"syntax error: {line}", number)
        _declare(table, head["kind"], head["name"], [] if head["rest"] else [text for _, text in _until_end(lines)])
    _check_references(table)


def _until_end(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line == "}":
            return
        if line:
            yield number, line


def _declare(table: _Table, kind: str, name: str, body: Iterable[str]) -> None:
    item = table[kind].setdefault(name, _Object())
    for line in body:
        if kind == "chain" and line.startswith("type "):
            # The kernel keeps where a chain is attached, and a chain that is attached nowhere.
            if _place(item.base or line) != _place(line) or (item.lines and not item.base):
                raise _Refused("File exists")
            item.base = line
        elif kind == "chain" or line not in item.lines:
            item.lines.append(_Line(line))


def _command(tables: dict[Family, _Table], verb: str, kind: str, rest: str, body: Sequence[str] = ()) -> None:
    family_text, _, rest = rest.partition(f" {TABLE}")
    family = _family(f"{family_text} {TABLE}")
    name, _, rest = rest.strip().partition(" ")
    if (verb, kind) == ("add", "table"):
        flags = tables.setdefault(family, _empty())["flag"]
        flags.clear()
        flags.update({flag: _Object() for flag in _FLAGS.findall(f"{name} {rest}")})
        return
    if family not in tables:
        raise _Refused("No such file or directory")
    table = tables[family]
    match verb, kind:
        case "delete", "table":
            del tables[family]
        case "flush", "table":
            for chain in table["chain"].values():
                chain.lines.clear()
        case "flush", "set" | "map":
            contents = _object(table, kind, name)
            contents.lines[:] = [line for line in contents.lines if not line.startswith("elements")]
        case "flush", "chain":
            _object(table, "chain", name).lines.clear()
        case "add", "rule":
            _object(table, "chain", name).lines.append(_Line(rest))
            _check_references(table)
        case "add", _ if kind in table:
            text = rest.strip().removeprefix("{").removesuffix("}").strip()
            _declare(table, kind, name, [*([text] if text else []), *body])
            if body:
                _check_references(table)
        case "rename", "chain":
            table["chain"][rest] = _object(table, "chain", name)
            del table["chain"][name]
        case "delete", "rule":
            chain, handle = _object(table, "chain", name), _HANDLE.fullmatch(rest)
            left = [line for line in chain.lines if handle is None or line.handle != int(handle[1])]
            if len(left) == len(chain.lines):
                raise _Refused("No such file or directory")
            chain.lines[:] = left
        case "delete", _ if kind in table:
            _object(table, kind, name)
            if kind == "chain":
                table[kind][name].lines.clear()
            if (kind, name) in _references(table):
                raise _Refused("Device or resource busy")
            del table[kind][name]
        case _:
            raise _Refused(f"the fake has no {verb} {kind}")


def _object(table: _Table, kind: str, name: str) -> _Object:
    if name not in table[kind]:
        raise _Refused("No such file or directory")
    return table[kind][name]


def _references(table: _Table) -> set[tuple[str, str]]:
    """The references of rules and map elements; a lookup refers to a set or a map of the name, whichever exists."""
    lines = [line for kind in ("chain", "map") for item in table[kind].values() for line in item.lines]
    found = {("chain", name) for line in lines for name in _TARGET.findall(line)}
    found |= {("counter", name) for line in lines for name in _COUNTER.findall(line)}
    lookups = {name for line in lines for name in _LOOKUP.findall(line)}
    return found | {("map" if name in table["map"] else "set", name) for name in lookups}


def _check_references(table: _Table) -> None:
    for kind, name in sorted(_references(table)):
        if name not in table[kind]:
            raise _Refused(f"No such file or directory: {kind} {name}")


def _empty() -> _Table:
    return {"chain": {}, "set": {}, "map": {}, "counter": {}, "flag": {}}


def _family(table: str) -> Family:
    name = table.removesuffix("{").strip()
    family = next((family for family in FAMILIES if name == f"{family.nft} {TABLE}"), None)
    if family is None:
        raise _Refused(f"the fake has no table {name}")
    return family


def _kernel_chain(name: str, chain: _Object, *, regular: bool) -> KernelChain:
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


def _place(base: str) -> tuple[str, ...]:
    """The attachment of a base chain, from the line that declares it."""
    found = _BASE.search(base)
    return () if found is None else found.group("type", "hook", "priority")


def _priority(text: str) -> int:
    return _PRIORITIES[text] if text in _PRIORITIES else int(text)


def _kernel_set(name: str, contents: _Object, family: Family) -> KernelSet:
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


def _kernel_rule(line: _Line) -> KernelRule:
    comment = _COMMENT.search(line)
    return KernelRule(
        line.handle,
        tuple(_TARGET.findall(line)),
        tuple(_LOOKUP.findall(line)),
        comment[1] if comment else "",
        _FINAL.fullmatch(line) is not None,
    )
