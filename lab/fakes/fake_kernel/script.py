"""Scripts of nft, carried out on the tables of the fake kernel or refused as nft would."""

import re
from collections.abc import Iterable, Iterator, Sequence

from hostfw.model.values import TABLE_FAMILIES, TableFamily
from hostfw.nft.objects import TABLE
from lab.fakes.fake_kernel.tables import (
    Line,
    Object,
    Refused,
    TableObjects,
    check_references,
    empty_table,
    is_referred_to,
    place,
)

_BLOCK = re.compile(r"(?P<kind>chain|set|map|counter) (?P<name>\S+) \{(?P<rest> ?\})?")
_COMMAND = re.compile(
    r"(?P<verb>add|delete|flush|rename) (?P<kind>table|chain|rule|set|map|counter|element) (?P<rest>.*)"
)
_HANDLE = re.compile(r"handle (\d+)")
_FLAGS = re.compile(r"\bflags (\w+)")


def run_script(script: str, tables: dict[TableFamily, TableObjects]) -> None:
    """Change the tables as a script says; raises `Refused`, with the line, where nft or the kernel would refuse it."""
    lines = enumerate((line.strip() for line in script.splitlines()), 1)
    for number, line in lines:
        try:
            _line(tables, line, lines)
        except Refused as refused:
            refused.line = refused.line or number
            raise


def _line(tables: dict[TableFamily, TableObjects], line: str, following: Iterator[tuple[int, str]]) -> None:
    if line.startswith("table "):
        table = tables.setdefault(_family(line.removeprefix("table ")), empty_table())
        if line.endswith("{"):
            _block(table, following)
    elif command := _COMMAND.fullmatch(line):
        rest = command["rest"]
        body = [text for _, text in _until_end(following)] if rest.endswith("{") else []
        _command(tables, command["verb"], command["kind"], rest.removesuffix("{") if body else rest, body)
    elif line and not line.startswith("#"):
        raise Refused(f"syntax error: {line}")


def _block(table: TableObjects, lines: Iterator[tuple[int, str]]) -> None:
    """The objects of a `table ... {` block, up to its end. They may refer to each other in any order."""
    added: list[str] = []
    for number, line in _until_end(lines):
        head = _BLOCK.fullmatch(line)
        if head is None:
            raise Refused(f"syntax error: {line}", number)
        body = [] if head["rest"] else [text for _, text in _until_end(lines)]
        _declare(table, head["kind"], head["name"], body)
        if head["kind"] in ("chain", "map"):
            added += body
    check_references(table, added)


def _until_end(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line == "}":
            return
        if line:
            yield number, line


def _declare(table: TableObjects, kind: str, name: str, body: Iterable[str]) -> None:
    item = table[kind].setdefault(name, Object())
    for line in body:
        if kind == "chain" and line.startswith("type "):
            # The kernel keeps where a chain is attached, and a chain that is attached nowhere.
            if place(item.base or line) != place(line) or (item.lines and not item.base):
                raise Refused("File exists")
            item.base = line
        elif kind == "chain" or line not in item.lines:
            item.lines.append(Line(line))


def _command(
    tables: dict[TableFamily, TableObjects], verb: str, kind: str, rest: str, body: Sequence[str] = ()
) -> None:
    family_text, _, rest = rest.partition(f" {TABLE}")
    family = _family(f"{family_text} {TABLE}")
    name, _, rest = rest.strip().partition(" ")
    if (verb, kind) == ("add", "table"):
        flags = tables.setdefault(family, empty_table())["flag"]
        flags.clear()
        flags.update({flag: Object() for flag in _FLAGS.findall(f"{name} {rest}")})
        return
    if family not in tables:
        raise Refused("No such file or directory")
    table = tables[family]
    match verb, kind:
        case "delete", "table":
            del tables[family]
        case "flush", "table":
            for chain in table["chain"].values():
                chain.lines.clear()
        case "flush", "set" | "map":
            # A map by either word.
            contents = _object(table, "map" if name in table["map"] else kind, name)
            contents.lines[:] = [line for line in contents.lines if not line.startswith("elements")]
        case "flush", "chain":
            _object(table, "chain", name).lines.clear()
        case "add", "rule":
            _object(table, "chain", name).lines.append(Line(rest))
            check_references(table, [rest])
        case "add", _ if kind in table:
            text = rest.strip().removeprefix("{").removesuffix("}").strip()
            _declare(table, kind, name, [*([text] if text else []), *body])
            if kind in ("chain", "map"):
                check_references(table, body)
        case "rename", "chain":
            table["chain"][rest] = _object(table, "chain", name)
            del table["chain"][name]
        case "delete", "rule":
            chain, handle = _object(table, "chain", name), _HANDLE.fullmatch(rest)
            left = [line for line in chain.lines if handle is None or line.handle != int(handle[1])]
            if len(left) == len(chain.lines):
                raise Refused("No such file or directory")
            chain.lines[:] = left
        case "delete", _ if kind in table:
            _object(table, kind, name)
            if kind == "chain":
                table[kind][name].lines.clear()
            if is_referred_to(table, kind, name):
                raise Refused("Device or resource busy")
            del table[kind][name]
        case _:
            raise Refused(f"the fake has no {verb} {kind}")


def _object(table: TableObjects, kind: str, name: str) -> Object:
    if name not in table[kind]:
        raise Refused("No such file or directory")
    return table[kind][name]


def _family(table: str) -> TableFamily:
    name = table.removesuffix("{").strip()
    family = next((family for family in TABLE_FAMILIES if name == f"{family.nft} {TABLE}"), None)
    if family is None:
        raise Refused(f"the fake has no table {name}")
    return family
