"""Each single change of our tables that another program can make, one after the other: seen, and put right.

Nobody listens meanwhile, so what was done is only seen by looking.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.reading.status import read_drift
from hostfw.host.store.configuration.files import read_configuration
from hostfw.nft.objects import is_external
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run
from tests.kernel.conftest import Hostfwctl
from tests.kernel.drift.test_drift import WITH_MAPS, nft

_OURS = ("ip", "ip6")


class Change(NamedTuple):
    """A change, as a script of nft, and what it is done to."""

    script: str
    to: str


def listed(node: Namespace, *options: str) -> list[dict[str, Any]]:
    """Our tables as nft has them in JSON."""
    found: list[dict[str, Any]] = []
    for family in _OURS:
        text = run(node, ["nft", "-j", *options, "list", "table", family, "hostfw"]).stdout
        found += json.loads(text)["nftables"]
    return found


def lasting(node: Namespace) -> list[str]:
    """Our tables without handles and counts, in an order of their own."""
    objects: list[str] = []
    for family in _OURS:
        text = run(node, ["nft", "-s", "list", "table", family, "hostfw"]).stdout
        # What begins a table and what ends it is no part of the object that happens to stand there.
        objects += (one.removeprefix(f"table {family} hostfw {{\n").strip("\n}") for one in text.split("\n\t}\n"))
        objects += re.findall(r"^\t(?:comment|flags) .*|^table .*", text, re.MULTILINE)
    return sorted(objects)


def changes(node: Namespace) -> Iterator[Change]:
    """Every rule in one of two ways, every chain in every way, and the first and the last element of every set."""
    objects = listed(node)
    seen: list[int] = []
    texts = _rule_texts(node)
    for one in objects:
        match one:
            case {"rule": {"family": family, "chain": chain, "handle": handle}}:
                where = f"ip{'6' * (family == 'ip6')} hostfw {chain}"
                text = texts[family, chain, handle]
                ways = (
                    f"delete rule {where} handle {handle}",
                    f"insert rule {where} handle {handle} meta mark 77 accept",
                )
                yield Change(ways[len(seen) % len(ways)], text)
                seen.append(handle)
            case {"chain": {"family": family, "name": chain, **rest}}:
                yield Change(f"flush chain {family} hostfw {chain}", chain)
                if "hook" not in rest:
                    yield Change(f"rename chain {family} hostfw {chain} renamed", chain)
            case {"set": {"family": family, "name": name, "elem": elements} as of} if not _is_theirs(of):
                for element in (elements[0], elements[-1]):
                    yield Change(f"delete element {family} hostfw {name} {{ {_key(element)} }}", name)
            case {"map": {"family": family, "name": name, "elem": elements}}:
                for key, verdict in (elements[0], elements[-1]):
                    other = "accept" if "drop" in verdict else "drop"
                    gone = f"delete element {family} hostfw {name} {{ {_key(key)} }}"
                    yield Change(gone, name)
                    yield Change(f"{gone}\nadd element {family} hostfw {name} {{ {_key(key)} : {other} }}", name)


def _is_theirs(of: dict[str, Any]) -> bool:
    """True of sets that the packets or other programs fill."""
    return "dynamic" in of.get("flags", ()) or "timeout" in of.get("flags", ()) or is_external(of["name"])


def _rule_texts(node: Namespace) -> dict[tuple[str, str, int], str]:
    texts: dict[tuple[str, str, int], str] = {}
    for family in _OURS:
        chain = ""
        for line in run(node, ["nft", "-a", "-s", "list", "table", family, "hostfw"]).stdout.splitlines():
            head = line.strip()
            if head.startswith("chain "):
                chain = head.split()[1]
            elif " # handle " in head and not head.endswith("{"):
                text, _, handle = head.rpartition(" # handle ")
                texts[family, chain, int(handle)] = text
    return texts


def _key(key: object) -> str:
    match key:
        case {"concat": list(parts)}:
            return " . ".join(map(_key, parts))
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"elem": {"val": value}}:
            return _key(value)
        case str(text) if not text[0].isdigit() and "::" not in text and ":" not in text:
            return json.dumps(text)
        case _:
            return str(key)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_every_single_change_is_seen_and_put_right(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, part: int, soak: bool
) -> None:
    """By status, and by the next apply although it changes nothing; without --soak a part of all."""
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    host = lab["host"]
    before = lasting(host)
    directories = Directories(installation.config, installation.state, installation.run)
    engine = Engine(directories)
    unseen, unrepaired = [], []
    every = list(changes(host))
    assert len(every) > 100
    chosen = [n for n, change in enumerate(every) if soak or n % 8 == 0 or "links" in change.to]
    for number in chosen[part::4]:
        # Handles are others after each repair.
        change = list(changes(host))[number]
        nft(host, change.script)
        with inside(host):
            if not read_drift(directories, engine.host):
                unseen.append(change)
            applied = engine.apply(check_candidate(*read_configuration(installation.config)))
        if not isinstance(applied, Applied) or lasting(host) != before:
            unrepaired.append((change, applied if not isinstance(applied, Applied) else "differs"))
    assert (unseen, unrepaired) == ([], [])
