"""The objects of a listing of nftables: chains, sets and rules by table, and what of it is not read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from hostfw.importer.nft.text import Json, value_text
from hostfw.importer.nft.values import NamedSet
from hostfw.importer.notes import Note
from hostfw.importer.rule_set import Hook, Verdict
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source
from hostfw.model.values import Family

FAMILIES_OF = {"inet": tuple(Family), "ip": (Family.V4,), "ip6": (Family.V6,)}
"""The families of tables that filter IP packets, with the versions of IP that they see."""
OWN_TABLE = "hostfw"
"""The name of hostfw's own tables, which are no part of what is imported."""
_HOOKS = {"input": Hook.INPUT, "output": Hook.OUTPUT, "forward": Hook.FORWARD}
_PROGRAMS = ("f2b-", "crowdsec", "libvirt_", "docker-bridges", "kube-", "cali", "cni_", "netavark", "podman")
"""Beginnings of the tables of programs that set up their rules by themselves, and go on doing so."""
_WITHOUT_CONSEQUENCE = frozenset(
    {"metainfo", "table", "counter", "ct helper", "ct timeout", "ct expectation", "secmark"}
)
_CHAIN_KEYS = frozenset(
    {"family", "table", "name", "handle", "type", "hook", "prio", "policy", "dev", "comment", "flags"}
)
_SET_KEYS = frozenset({
    "family", "table", "name", "handle", "type", "map", "elem", "flags", "size", "timeout", "gc-interval", "policy",
    "auto-merge", "comment", "stmt",
})  # fmt: skip
_NO_LISTING = "the output of `nft -j list ruleset`"


class BaseChain(NamedTuple):
    """A chain at a hook, in the order of priorities."""

    priority: int
    chain: str
    hook: Hook
    end: Verdict
    families: tuple[Family, ...]


class ListedRule(NamedTuple):
    """A rule with its chain and place."""

    chain: str
    position: Position
    content: Mapping[str, Json]
    text: str = ""


@dataclass(slots=True)
class Listing:
    """The part of a listing that filters IP packets for and from the host, and through it."""

    chains: dict[str, tuple[Family, ...]] = field(default_factory=dict)
    bases: list[BaseChain] = field(default_factory=list)
    rules: list[ListedRule] = field(default_factory=list)
    sets: dict[str, dict[str, NamedSet]] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def listing_of(source: Source) -> Listing:
    """The objects of a listing, or the problem that it is none."""
    found = Listing()
    try:
        document = json.loads(source.text)
    except (ValueError, RecursionError) as error:
        line, column = (error.lineno, error.colno) if isinstance(error, json.JSONDecodeError) else (1, 1)
        found.problems.append(Problem(Position(source.path, line, column), f"this is no JSON: {error}", _NO_LISTING))
        return found
    objects = document.get("nftables") if isinstance(document, dict) else None
    if not isinstance(objects, list):
        found.problems.append(Problem(Position(source.path, 1, 1), "this is no listing of nftables", _NO_LISTING))
        return found
    left: dict[str, Position] = {}
    skipped: set[str] = set()
    for one in cast("list[Json]", objects):
        if not isinstance(one, dict) or len(one) != 1 or not isinstance(next(iter(one.values())), dict):
            position = Position(source.path, 1, 1)
            found.problems.append(Problem(position, f"{value_text(one)} is not an object of nftables", _NO_LISTING))
            continue
        ((kind, content),) = one.items()
        _take(found, source.path, kind, cast("Mapping[str, Json]", content), left, skipped)
    found.notes += (Note(position, message) for message, position in left.items())
    left_out = set(skipped)
    while skipped:
        chain = skipped.pop()
        leading = {target for rule in found.rules if rule.chain == chain for target in _targets(rule)}
        skipped |= leading - left_out
        left_out |= leading
    found.left_out = left_out
    return found


def table_of(content: Mapping[str, Json]) -> str:
    """The family and name of the table of an object."""
    return f"{content.get('family')} {content.get('table', content.get('name'))}"


def _targets(rule: ListedRule) -> Iterator[str]:
    """The chains that a rule may lead to, by their full names."""
    waiting: list[Json] = [rule.content.get("expr")]
    while waiting:
        match waiting.pop():
            case {"target": str(name)}:
                yield f"{table_of(rule.content)} {name}"
            case dict() as inner:
                waiting += inner.values()
            case [*inner]:
                waiting += inner
            case _:
                pass


def _take(
    found: Listing,
    path: str,
    kind: str,
    content: Mapping[str, Json],
    left: dict[str, Position],
    skipped: set[str],
) -> None:
    if kind == "metainfo":
        return
    family, table = str(content.get("family")), table_of(content)
    name = table.partition(" ")[2]
    at = Position(f"{path} {table}", 0, 0)
    if name == OWN_TABLE and family in ("ip", "ip6"):
        return
    if family not in FAMILIES_OF:
        left.setdefault(f"table {table} stays as it is: hostfw filters IP packets to, from and through the host", at)
        return
    if name.startswith(_PROGRAMS):
        left.setdefault(f"table {table} belongs to another program, which goes on filling it", at)
        return
    match kind:
        case "chain":
            _take_chain(found, at, content, FAMILIES_OF[family], skipped)
        case "rule":
            chain = f"{table} {content.get('chain')}"
            handle = content.get("handle")
            place = f"{path} {chain}" + (f" handle {handle}" if handle is not None else "")
            found.rules.append(ListedRule(chain, Position(place, 0, 0), content))
        case "set" | "map":
            found.sets.setdefault(table, {})[str(content.get("name"))] = _named_set(found, at, content)
        case "limit" | "quota" | "flowtable":
            # The rules that use it are named.
            pass
        case _ if kind not in _WITHOUT_CONSEQUENCE:
            found.notes.append(Note(at, f"{kind} {content.get('name', '')} is left out: it is not known here"))


def _take_chain(
    found: Listing, at: Position, content: Mapping[str, Json], families: tuple[Family, ...], skipped: set[str]
) -> None:
    name = str(content.get("name"))
    chain = f"{table_of(content)} {name}"
    at = Position(f"{at.path} {name}", 0, 0)
    unknown = sorted(set(content) - _CHAIN_KEYS)
    if unknown:
        found.notes.append(Note(at, f"the key {unknown[0]} of chain {name} is not known here, and left out"))
    hook, kind = content.get("hook"), content.get("type")
    if hook is None:
        found.chains[chain] = families
        return
    if kind not in ("filter", "route") or hook not in _HOOKS:
        skipped.add(chain)
        message = f"chain {name} ({kind}, {hook}) stays as it is: hostfw filters at input, output and forward"
        found.notes.append(Note(at, message))
        return
    priority = content.get("prio", 0)
    end = Verdict.DENY if content.get("policy") == "drop" else Verdict.ALLOW
    found.chains[chain] = families
    number = priority if isinstance(priority, int) else 0
    found.bases.append(BaseChain(number, chain, _HOOKS[str(hook)], end, families))


def _named_set(found: Listing, at: Position, content: Mapping[str, Json]) -> NamedSet:
    name = content.get("name")
    elements = content.get("elem", [])
    flags = content.get("flags", [])
    listed = flags if isinstance(flags, list) else [flags]
    unknown = sorted(set(content) - _SET_KEYS)
    each = content.get("stmt", [])
    statements = sorted(
        {str(name) for one in (each if isinstance(each, list) else [each]) if isinstance(one, dict) for name in one}
        - {"counter"}
    )
    why = ""
    if unknown:
        why = f"which has the key {unknown[0]}"
    elif "dynamic" in listed:
        why = "which rules fill"
    elif statements:
        why = f"whose elements have a {statements[0]}"
    elif "timeout" in listed or "timeout" in content:
        why = "whose elements expire"
    elif not elements:
        found.notes.append(Note(at, f"the set {name} is empty: rules that ask for it match nothing, and are left out"))
    return NamedSet(tuple(elements if isinstance(elements, list) else [elements]), why)


def unreached(found: Listing, reached: set[str]) -> Iterator[Note]:
    """Tell of chains with rules that no hook leads to."""
    first: dict[str, Position] = {}
    for rule in found.rules:
        if rule.chain not in reached | found.left_out:
            first.setdefault(rule.chain, rule.position)
    for chain, position in first.items():
        yield Note(position, f"nothing leads to chain {chain.split()[-1]}: its rules are left out")
