"""nft text of our objects: what `nft -f` loads, and the very bytes that names are digests of."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate, pairwise, repeat
from operator import attrgetter
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple, TypeVar

from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import BRIDGE, Family, TableFamily
from hostfw.nft.objects import (
    PRIORITY_NUMBERS,
    TABLE,
    BaseChain,
    Chain,
    Dynamic,
    ElementType,
    KeyType,
    Ruleset,
    Set,
    Table,
    VerdictMap,
)
from hostfw.nft.rule_text import elements_text, keys_text, rule_text
from hostfw.nft.rules import Rule

DIGEST_CHARACTERS = 12
"""48 bits name a chain or set; two of the same prefix among 10,000 collide with a chance of 2e-7 (and are refused)."""

_Named = TypeVar("_Named", Chain, VerdictMap)
_NAME = attrgetter("name")
_OBJECTS_A_RUN = 32
_INDENT = "\t"
_FOLLOWS = "follow once hostfw.service runs"
"""The words that the boot script looks for."""
_FOLLOWING_LINE = re.compile(rf"^# [0-9]+ elements of \S+ {TABLE} \S+ {re.escape(_FOLLOWS)}: ", re.MULTILINE)
"""A line of its own: the comment of a set has the text of a selector, which may hold any words."""


class _Run(NamedTuple):
    """Objects whose commands follow each other, a line apart: where the first begins, and how far each ends from there.

    An object without a command has its place, and takes none.
    """

    objects: Sequence[Chain | VerdictMap]
    start: int
    ends: "array[int]"

    def span(self, name: str) -> tuple[int, int] | None:
        """The begin and the end of the command of an object, None if it is not there."""
        place = bisect_left(self.objects, name, key=_NAME)
        if place == len(self.objects) or self.objects[place].name != name:
            return None
        before, end = self.ends[place - 1] if place else 0, self.ends[place]
        return self.start + (before + 1 if before and end > before else before), self.start + end


@dataclass(slots=True)
class _Written:
    """The commands of a kind of objects in a script, in runs: where they begin, and how long they are."""

    runs: list[_Run] = field(default_factory=list)
    start: int = 0
    length: int = 0


@dataclass(slots=True)
class CommandCache:
    """The commands of chains and maps that were written before, by their names, which stand for their content.

    They are parts of the script that was written with them, which is kept anyway: so they are not kept beside it.
    """

    _script: str = ""
    _places: dict[tuple[TableFamily, str], _Written] = field(default_factory=dict)
    _written: dict[tuple[TableFamily, str], tuple[str, _Written]] = field(default_factory=dict)

    def end_round(self, script: str) -> None:
        """The script is written: where the commands are in it; what it did not need is forgotten."""
        place = 0
        for first, written in self._written.values():
            # They follow each other in this order, so each search ends where it begins.
            written.start = place = script.index(first, place)
            place += written.length
        self._script, self._places = script, {of: written for of, (_, written) in self._written.items()}
        self._written = {}

    def of(
        self, family: TableFamily, objects: Sequence[_Named], write: Callable[[_Named, TableFamily], str]
    ) -> list[str]:
        """The command of each object, as one writes it; written now if it is the first time."""
        known = self._places.get((family, write.__name__), _Written())
        firsts = [run.objects[0].name for run in known.runs]
        runs = (known.runs[max(bisect_right(firsts, one.name) - 1, 0)] if firsts else None for one in objects)
        return [
            write(one, family) if text is None else text
            for one, run in zip(objects, runs, strict=True)
            for text in (self._known(one.name, known, run),)
        ]

    def all_of(
        self, family: TableFamily, objects: Sequence[_Named], write: Callable[[_Named, TableFamily], str]
    ) -> list[str]:
        """The commands of all objects of a kind, those as one text that were written next to each other before.

        They are noted as being in the script that is being written.
        """
        known = self._places.get((family, write.__name__), _Written())
        now = _Written()
        parts: list[str] = []
        same: tuple[int, int] | None = None
        for run, those in _matched(known.runs, objects):
            if run is not None and those == run.objects:
                ends, start = run.ends, known.start + run.start
                if ends[-1] and same is not None and start == same[1] + 1:
                    parts.pop()
                    start = same[0]
                same = (start, known.start + run.start + ends[-1]) if ends[-1] else None
                parts.append(self._script[same[0] : same[1]] if same is not None else "")
            else:
                texts = ((one, self._known(one.name, known, run)) for one in those)
                commands = [write(one, family) if text is None else text for one, text in texts]
                ends, same = array("I", _ends(commands)), None
                parts.append("\n".join(filter(None, commands)))
            now.runs.append(_Run(those, now.length, ends))
            now.length += ends[-1] + bool(ends[-1])
        parts = list(filter(None, parts))
        self._written[family, write.__name__] = parts[0] if parts else "", now
        return parts

    def _known(self, name: str, known: _Written, run: _Run | None) -> str | None:
        span = run.span(name) if run is not None else None
        return None if span is None else self._script[known.start + span[0] : known.start + span[1]]


def _matched(runs: Sequence[_Run], objects: Sequence[_Named]) -> Iterator[tuple[_Run | None, Sequence[_Named]]]:
    """Objects, which are in order, in runs, each with that in whose place it is; None while there is none."""
    cuts: list[int] = [0]
    for behind in runs[1:]:
        cuts.append(bisect_left(objects, behind.objects[0].name, cuts[-1], key=_NAME))
    for run, (first, end) in zip(runs or (None,), pairwise((*cuts, len(objects))), strict=True):
        each = max(end - first, 1) if end - first <= 2 * _OBJECTS_A_RUN else _OBJECTS_A_RUN
        yield from ((run, objects[at : min(at + each, end)]) for at in range(first, end, each))


def _ends(commands: Iterable[str]) -> Iterator[int]:
    end = 0
    for command in commands:
        if command:
            end += len(command) + bool(end)
        yield end


def render(ruleset: Ruleset, texts: CommandCache | None = None, most_elements: int | None = None) -> str:
    """The whole ruleset as one script: complete, readable, and loadable over any earlier generation of ours.

    `flush table` empties the chains but keeps counters and the elements of sets, in the same transaction
    (nft 1.0.6 and later), so loading it twice changes nothing. What is in `texts` is not written again.

    With `most_elements` the smaller of the big sets are written out up to so many elements. The others are only
    declared, which leaves in them what is there, and named in a comment with the digest of what they are to hold.
    """
    later = _later(ruleset, most_elements)
    known = CommandCache() if texts is None else texts
    parts = ["#!/usr/sbin/nft -f\n"]
    for table in ruleset.tables:
        name = table_name(table.family)
        parts.append(f"\nadd table {name}\nflush table {name}\n")
    for table in ruleset.tables:
        # Sets apart keep their name whatever they hold, so what they hold must go first.
        in_place = tuple(s for s in table.sets if s.edited_in_place and (table.family, s.name) not in later)
        if in_place:
            parts.append(f"\n{declarations(Table(table.family, sets=in_place))}")
            parts.extend(f"flush set {table_name(table.family)} {s.name}\n" for s in in_place)
    for table in ruleset.tables:
        empty = frozenset(s.name for s in table.sets if (table.family, s.name) in later)
        blocks = _blocks(table, Table(table.family), known, empty, marked=True)
        # Each begins on a line of its own behind an empty one.
        parts.extend(part for block in filter(None, blocks) for part in ("\n", block))
    script = "".join(parts)
    if texts is not None:
        texts.end_round(script)
    return script


def table_name(family: TableFamily) -> str:
    """`ip hostfw`, `ip6 hostfw` or `bridge hostfw`."""
    return f"{family.nft} {TABLE}"


def additions(table: Table, existing: Table, texts: CommandCache | None = None) -> str:
    """The commands that add a table's objects to those that exist: sets that `host.elements` loads stay empty."""
    empty = frozenset(s.name for s in table.sets if s.is_big)
    blocks = _blocks(table, existing, CommandCache() if texts is None else texts, empty, marked=False)
    return f"add table {table_name(table.family)}\n{''.join(blocks)}"


def follows(script: str) -> int:
    """The number of sets that a script only declares, because they are big; their elements are loaded later."""
    return len(_FOLLOWING_LINE.findall(script))


def _later(ruleset: Ruleset, most_elements: int | None) -> frozenset[tuple[TableFamily, str]]:
    """The big sets that a script of so many elements leaves to others, the biggest first."""
    big = [(len(s.elements), table.family, s.name) for table in ruleset.tables for s in table.sets if s.is_big]
    if most_elements is None:
        return frozenset()
    total = accumulate(number for number, _, _ in sorted(big))
    return frozenset(
        (family, name) for (_, family, name), so_far in zip(sorted(big), total, strict=True) if so_far > most_elements
    )


def _blocks(
    table: Table, existing: Table, texts: CommandCache, empty: frozenset[str], *, marked: bool
) -> Iterator[str]:
    """A table as commands, in an order that declares everything before it is referred to; `empty` sets stay so.

    No `table` block and no `add rule`: before these libnftables (1.0.6) reads the sets of every table on the host, dies
    of what a newer nft noted there (a comment will do), and starts again whenever somebody commits. Instead it has to
    be reported `existing` sets and maps that new rules look up.
    """
    name, family = table_name(table.family), table.family
    yield "".join(f"add counter {name} {counter}\n" for counter in table.counters)
    for s in table.sets:
        if s.name in empty and marked:
            content = s.mark if s.edited_in_place else s.name
            yield f"# {len(s.elements)} elements of {name} {s.name} {_FOLLOWS}: {content}\n"
        yield _command(name, _set_text(s, family, empty=s.name in empty))
    if marked:
        full = (s for s in table.sets if s.edited_in_place and s.name not in empty)
        yield from (_command(name, _block(f"set {s.mark}", ("type inet_service",))) for s in full)
    yield declarations(existing)
    commands = texts.all_of if marked else texts.of
    yield "".join(f"{declared}\n" for declared in commands(family, table.chains, _chain_declaration))
    yield from commands(family, table.maps, _map_command)
    yield from commands(family, table.chains, _chain_command)
    for base in table.base_chains:
        yield f"{base_chain_declaration(base, family)}{rules_text(base.name, base.rules, family)}"


def declarations(table: Table) -> str:
    """The sets and maps without their elements, as commands that change nothing where they are there."""
    name, family = table_name(table.family), table.family
    sets = (_command(name, _set_text(s, family, empty=True)) for s in table.sets)
    maps = (_command(name, _map_text(m, family, empty=True)) for m in table.maps)
    return "".join((*sets, *maps))


def rules_text(chain: str, rules: Iterable[Rule], family: TableFamily) -> str:
    """The command that appends rules to a chain; `add rule` would read the sets of the host."""
    lines = "".join(f"{_INDENT}{rule_text(rule, family)}\n" for rule in rules)
    return f"add chain {table_name(family)} {chain} {{\n{lines}}}\n" if lines else ""


def _chain_declaration(chain: Chain, family: TableFamily) -> str:
    return f"add chain {table_name(family)} {chain.name}"


def _chain_command(chain: Chain, family: TableFamily) -> str:
    return rules_text(chain.name, chain.rules, family)


def _map_command(contents: VerdictMap, family: TableFamily) -> str:
    return _command(table_name(family), _map_text(contents, family))


def _command(table: str, block: str) -> str:
    """The block of an object, as it stands in its table, as a command."""
    kind, _, rest = block.partition(" ")
    return f"add {kind} {table} {rest}\n".replace(f"\n{_INDENT}", "\n")


def rules_digest(rules: Iterable[Rule], family: TableFamily) -> str:
    """The digest of a chain's content, which its name carries."""
    return _digest(rule_text(rule, family) for rule in rules)


def elements_digest(contents: Set | VerdictMap, family: TableFamily) -> str:
    """The digest of a set's or map's content, which its name carries; of a big set, of its elements as packed."""
    if isinstance(contents, VerdictMap):
        return _digest(_map_lines(contents, family))
    if isinstance(contents.elements, PackedAddresses):
        return _digest((*_set_lines(contents, family, empty=True), sha256(contents.elements.data).hexdigest()))
    return _digest(_set_lines(contents, family))


def purpose_digest(contents: Set, selector: str, family: TableFamily) -> str:
    """The digest of what a set apart is for, and of its size, which cannot change: its name carries it."""
    return _digest((selector, *_set_lines(contents, family, empty=True)))


def _digest(lines: Iterable[str]) -> str:
    digest = sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def base_chain_declaration(chain: BaseChain, family: TableFamily) -> str:
    """The command that makes a base chain, or sets the policy of one that is there."""
    policy = "drop" if chain.policy_drop else "accept"
    # The names of priorities stand for other numbers among bridges, or for none.
    priority = PRIORITY_NUMBERS[chain.priority] if family is BRIDGE else chain.priority
    spec = f"type filter hook {chain.hook} priority {priority}; policy {policy};"
    return f"add chain {table_name(family)} {chain.name} {{ {spec} }}\n"


def _set_text(contents: Set, family: TableFamily, *, empty: bool = False) -> str:
    return _block(f"set {contents.name}", _set_lines(contents, family, empty=empty))


def _map_text(contents: VerdictMap, family: TableFamily, *, empty: bool = False) -> str:
    return _block(f"map {contents.name}", _map_lines(contents, family, empty=empty))


def _block(title: str, lines: Iterable[str]) -> str:
    body = "".join(f"{_INDENT * 2}{line}\n" for line in lines)
    return f"{title} {{\n{body}{_INDENT}}}"


def _set_lines(contents: Set, family: TableFamily, *, empty: bool = False) -> Iterator[str]:
    # The id of a connection has no type of its own in nft.
    word = "typeof" if contents.type is ElementType.CT_ID else "type"
    yield f"{word} {type_text(contents.type, family)}"
    if contents.dynamic is not None:
        yield f"size {contents.size}"
        yield from _dynamic_lines(contents.dynamic, interval=contents.interval)
    else:
        yield from _storage_lines(contents.interval, contents.size)
    if contents.comment:
        yield f'comment "{contents.comment}"'
    if empty or contents.dynamic is not None:
        return
    if isinstance(contents.elements, PackedAddresses):
        yield f"elements = {{ {', '.join(_address_texts(contents.elements))} }}"
        return
    yield f"elements = {{ {', '.join(keys_text(contents.elements, contents.type, family))} }}"


def _address_texts(addresses: PackedAddresses) -> Iterator[str]:
    """The usual text of each address, a million in a quarter of a second."""
    data, width = addresses.data, addresses.width
    packed = (data[start : start + width] for start in range(0, len(data), width))
    return map(inet_ntop, repeat(AF_INET if addresses.family is Family.V4 else AF_INET6), packed)


def _map_lines(contents: VerdictMap, family: TableFamily, *, empty: bool = False) -> Iterator[str]:
    yield f"type {type_text(contents.type, family)} : verdict"
    yield from _storage_lines(contents.interval, len(contents.elements))
    if empty:
        return
    yield f"elements = {{ {contents.text or elements_text(contents, family)} }}"


def _storage_lines(interval: bool, count: int) -> Iterator[str]:  # noqa: FBT001 -- a field, passed on
    """A set with a size and without intervals becomes a fixed hash, the fastest lookup the kernel has."""
    yield "flags interval" if interval else f"size {count}"


def _dynamic_lines(dynamic: Dynamic, *, interval: bool) -> Iterator[str]:
    if dynamic.external:
        yield "flags interval,timeout" if interval else "flags timeout"
    else:
        yield "flags dynamic" if dynamic.timeout_s is None else "flags dynamic,timeout"
    if dynamic.timeout_s is not None:
        yield f"timeout {dynamic.timeout_s}s"


def type_text(element_type: KeyType, family: TableFamily) -> str:
    """The type of a key, by nft's name."""
    if isinstance(element_type, tuple):
        return " . ".join(type_text(one, family) for one in element_type)
    address = "ipv4_addr" if family is Family.V4 else "ipv6_addr"
    match element_type:
        case ElementType.ADDRESS:
            return address
        case ElementType.SOCKET:
            return f"{address} . inet_proto . inet_service"
        case ElementType.NETWORK:
            return f"ifname . {address}"
        case ElementType.QUESTION:
            return f"ifname . {address} . inet_service"
        case _:
            return element_type.value
