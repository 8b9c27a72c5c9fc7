"""Agreement of the kernel over a rule set of another firewall and over its import."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.compile.ruleset import compile_plan
from hostfw.importer.comparison import PACKETS, BoundaryPacket, boundary_packets
from hostfw.importer.policy import as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.rule_set import Hook, Verdict
from hostfw.importer.text import policy_text
from hostfw.manifest.decode import decode
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.object_text import render
from hostfw.policy.resolve.plan import resolve
from lab.namespace import Namespace, run
from tests.import_sets import may_decide, met
from tests.kernel.packets.judge import Judged, judge
from tests.property.test_import import BARE


def agree(read: Sequence[Reading], name: str, load: Callable[[Namespace], None]) -> None:
    """Check that the kernel treats packets by a set as it was read, and by its import; all but what the import names.

    `load` puts the set into force on a host.
    """
    assert not [problem for one in read for problem in one.problems]
    drawn = boundary_packets([one.rules for one in read], BARE.failsafe, PACKETS)
    # All packets here come from one Ethernet address, and none through IPsec.
    packets = tuple(one._replace(packet=replace(one.packet, mac=None, ipsec=False)) for one in drawn)
    names = {name for one in packets for name in (one.packet.in_interface, one.packet.out_interface)}
    interfaces = sorted(filter(None, names))
    with judge(interfaces) as kernel:
        host = kernel.wire.namespace
        load(host)
        _keep_what_filters(host)
        before = list(kernel.judge([one.packet for one in packets]))
        _clear(host)
        run(host, ["nft", "-f", "-"], text=_ours(read, name, interfaces))
        after = list(kernel.judge([one.packet for one in packets]))

    judged = [(one, first, then) for one, first, then in zip(packets, before, after, strict=True) if first and then]
    assert len(judged) > PACKETS / 4
    wrong = "\n".join((*_misread(judged), *_changed(read, judged)))
    assert not wrong, wrong


def load_set(host: Namespace, path: Path) -> None:
    """Load a set of iptables or nftables as people do."""
    if path.suffix == ".json":
        load_listed(host, path.with_suffix(".nft").read_text())
    else:
        load_saved(host, path.read_text(), path.with_suffix(".v6").read_text())


def load_listed(host: Namespace, text: str) -> None:
    """Load what nft reads, beside the tables that watch."""
    run(host, ["nft", "-f", "-"], text=text.replace("flush ruleset", ""))


def load_saved(host: Namespace, *saved: str) -> None:
    """Load what iptables-save printed, and ip6tables-save; sets of addresses that it only names are empty."""
    for program in (*_IPTABLES.values(), "ipset"):
        if shutil.which(program, path=_PATH) is None:
            pytest.skip(f"{program} is not installed")
    for family, text in zip(FAMILIES, saved, strict=True):
        for name in sorted(set(_SETS_OF_ADDRESSES.findall(text))):
            run(host, ["ipset", "create", name, "hash:net", "family", "inet6" if family is Family.V6 else "inet"])
        run(host, [f"{_IPTABLES[family]}-restore", "--noflush"], text=text)


_SETS_OF_ADDRESSES = re.compile(r"--match-set (?P<name>\S+)")
_PATH = "/usr/sbin:/sbin:/usr/bin"
_IPTABLES = {Family.V4: "iptables", Family.V6: "ip6tables"}


Triple = tuple[BoundaryPacket, Judged, Judged]
"""A packet, and what the kernel made of it before the import and after."""


def _misread(judged: Iterable[Triple]) -> Iterator[str]:
    """Packets that the kernel treats otherwise than the rules as they were read, but for what is named."""
    for one, before, _ in judged:
        way = (one.hook, before.packet, one.into, one.out)
        if before.allowed is not (one.rules.verdict(*way) is Verdict.ALLOW) and not _is_named(one, before):
            last = list(met(one.rules, *way))[-1:]
            yield f"{one.hook} {'allowed' if before.allowed else 'denied'}: {before.packet} by {last}"


def _changed(read: Sequence[Reading], judged: Iterable[Triple]) -> Iterator[str]:
    """Packets that begin a connection and are treated otherwise by the import, but for what is named."""
    imported = as_policy([one.rules for one in read])
    out = any("where it goes out: the rule is left out" in note.message for note in imported.notes)
    out = out or any("where forwarded traffic goes out" in note.message for note in imported.notes)
    for one, before, after in judged:
        if before.packet.state is not ConntrackState.NEW or (out and one.hook is Hook.FORWARD):
            continue
        if before.allowed is not after.allowed and not _is_named(one, before):
            yield f"{one.hook} {'allowed' if before.allowed else 'denied'} before: {before.packet}"


def _is_named(one: BoundaryPacket, judged: Judged) -> bool:
    return any(may_decide(rule) for rule in met(one.rules, one.hook, judged.packet, one.into, one.out))


def _keep_what_filters(host: Namespace) -> None:
    """Empty what stays as it is after an import: chains at other hooks, those of nat and what changes routes."""
    listed = json.loads(run(host, ["nft", "-j", "list", "chains"]).stdout)["nftables"]
    for chain in (item["chain"] for item in listed if "chain" in item):
        own = chain["table"] in _OWN
        if not own and (chain.get("hook", "input") not in _FILTERED or chain.get("type", "filter") != "filter"):
            run(host, ["nft", "flush", "chain", chain["family"], chain["table"], chain["name"]])


_OWN = ("observer", "judge")
_FILTERED = tuple(hook.lower() for hook in Hook)


def _clear(host: Namespace) -> None:
    """Take away every table but those that watch."""
    for item in json.loads(run(host, ["nft", "-j", "list", "tables"]).stdout)["nftables"]:
        if "table" in item and item["table"]["name"] not in _OWN:
            run(host, ["nft", "delete", "table", item["table"]["family"], item["table"]["name"]])


def _ours(read: Sequence[Reading], name: str, interfaces: Sequence[str]) -> str:
    """The ruleset of the policy that a set becomes, with nothing that hostfw lets through by itself."""
    text = policy_text(as_policy([one.rules for one in read]), name)
    decoded = decode(Configuration(resources=(Source("imported.yaml", text),)))
    facts = HostFacts("import", tuple(Interface(name, place) for place, name in enumerate(interfaces, 1)))
    plan, _ = resolve(decoded.resources, BARE, facts)
    return render(compile_plan(plan))
