"""The ruleset of a node's kernel, as text that can be compared: in full, or only the parts that packets can meet."""

import re
from collections.abc import Mapping

from hostfw.model.values import FAMILIES
from lab.namespace import Namespace, run

_BLOCK = re.compile(r"^\t(?P<kind>chain|set|map|counter) (?P<name>\S+) \{.*?^\t\}$", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"elements = \{(?P<elements>[^}]*)\}", re.DOTALL)
_LINKS_SET = re.compile(r"(\tset links/[^}]*?)\t\telements = \{[^}]*\}\n")
_REFERENCE = re.compile(r'(?:(?:jump|goto) |@|counter name "?)(?P<name>[^\s",}]+)')
_BASE_CHAIN = re.compile(r"^\t\ttype \S+ hook ", re.MULTILINE)

_FINAL = re.compile(r'^\t\t(?:accept|drop|return|goto \S+)(?: comment "[^"]*")?\n', re.MULTILINE)

Blocks = Mapping[tuple[str, str], str]
"""The text of each chain, set, map and counter of our tables, by family and name."""


def listed(node: Namespace) -> Blocks:
    """Our tables as nft lists them, without the values of counters, the elements of each set in order.

    Sets of interface indices are shown without any: no script has them, since they are of one boot.
    """
    blocks: dict[tuple[str, str], str] = {}
    for family in FAMILIES:
        answer = run(node, ("nft", "--stateless", "list", "table", family.nft, "hostfw"), check=False)
        for found in _BLOCK.finditer(answer.stdout):
            blocks[family.nft, f"{found['kind']} {found['name']}"] = _ELEMENTS.sub(_in_order, without_links(found[0]))
    return blocks


def without_links(ruleset: str) -> str:
    """A ruleset as nft lists it, with nothing in the sets of interface indices, which no script has."""
    return _LINKS_SET.sub(r"\1", ruleset)


def in_force(blocks: Blocks) -> Blocks:
    """The base chains that hold rules or drop, and everything that they lead to; litter is left out.

    So is what stands in a base chain behind a rule that no packet gets past.
    """
    met = {key: _as_met(text) if _BASE_CHAIN.search(text) else text for key, text in blocks.items()}
    pending = [
        key for key, text in met.items() if _BASE_CHAIN.search(text) and (text.count("\n") > 2 or "policy drop" in text)
    ]
    found: dict[tuple[str, str], str] = {}
    while pending:
        key = pending.pop()
        if key in found:
            continue
        found[key] = met[key]
        names = {match["name"] for match in _REFERENCE.finditer(met[key])}
        pending.extend(
            (key[0], f"{kind} {each}")
            for each in names
            for kind in ("chain", "set", "map", "counter")
            if (key[0], f"{kind} {each}") in blocks
        )
    return found


def _as_met(base_chain: str) -> str:
    """A base chain up to its first final rule."""
    final = _FINAL.search(base_chain)
    return f"{base_chain[: final.end()]}\t}}" if final else base_chain


def _in_order(elements: "re.Match[str]") -> str:
    return f"elements = {{ {', '.join(sorted(each.strip() for each in elements['elements'].split(',')))} }}"
