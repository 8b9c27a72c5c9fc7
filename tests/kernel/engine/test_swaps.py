"""Generations that follow one another under traffic: no packet is lost, let through, or left uncounted."""

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

import hostfw.engine.engine as engine_module
from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation, build
from hostfw.build.refused import Refused
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.host.nftables.tables import read_names
from hostfw.model.host.facts import HostFacts
from hostfw.model.values import FAMILIES
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run, set_sysctl
from lab.packets.traffic import conversation, counted, counted_conversation, flood, gates
from tests.kernel.changing_policies import (
    ALLOWED,
    COUNTERS,
    DENIED,
    EITHER,
    STREAMS,
    TCP_PORT,
    UDP_PORT,
    configuration,
)

SETTLE_S = 0.3
"""Time that packets may be on their way once nobody sends any more."""

SOAK_PACKETS = 1_000_000

FOREIGN = """\
table inet bans {
	set seen {
		type ipv4_addr; flags dynamic,timeout; timeout 1h
	}
	set banned {
		type ipv4_addr; flags dynamic,timeout
		elements = { %s }
	}
	chain prerouting {
		type filter hook prerouting priority -340;
		ip saddr @banned drop
		update @seen { ip saddr }
	}
}
"""
BANNED = tuple(f"203.0.113.{host}" for host in range(1, 101))
"""Elements with an hour to live, as a program that bans for an hour leaves them; hostfw has no such sets of its own."""


@pytest.fixture
def host(routed_lab: Lab) -> Namespace:
    """The node that forwards and has the policies, with its gates and somebody's dynamic sets."""
    node = routed_lab["host"]
    run(node, ("nft", "-f", "-"), text=gates(STREAMS, (TCP_PORT, UDP_PORT)))
    run(node, ("nft", "-f", "-"), text=FOREIGN % ", ".join(f"{each} timeout 1h" for each in BANNED))
    set_sysctl(node, "net.netfilter.nf_conntrack_udp_timeout", "1")
    return node


@pytest.fixture(autouse=True)
def _builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile each configuration once, so that there is time for more swaps; all the rest is the engine as it is."""
    known: dict[tuple[int, HostFacts], tuple[Candidate, Generation | Refused]] = {}

    def remembered(candidate: Candidate, facts: HostFacts, _: object) -> Generation | Refused:
        key = (id(candidate), facts)
        if key not in known:
            known[key] = candidate, build(candidate, facts)
        return known[key][1]

    monkeypatch.setattr(engine_module, "build", remembered)


def test_a_swap_loses_lets_through_and_forgets_nothing(
    routed_lab: Lab,
    host: Namespace,
    tmp_path: Path,
    soak: bool,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Packets that both generations allow pass, those that both deny do not, and counters count every packet.

    At every hook, over both families, for new flows and for conversations by TCP and UDP.
    """
    swaps, blocked, variants = (1000, 100_000, 16) if soak else (30, 2_000, 12)
    candidate = [check_candidate(configuration(number, blocked)) for number in range(variants)]
    engine = Engine(Directories(tmp_path / "etc", tmp_path / "state", tmp_path / "run"))

    with ExitStack() as stack:
        stack.enter_context(inside(host))
        _apply(engine, candidate[0])
        talk = [
            stack.enter_context(conversation(routed_lab, "inner", "host", "10.0.0.1", port, kind))
            for port, kind in ((TCP_PORT, socket.SOCK_STREAM), (UDP_PORT, socket.SOCK_DGRAM))
        ]
        started = monotonic()
        with flood(routed_lab, STREAMS) as sent:
            changes = 0
            number = 0
            while changes < swaps or (soak and sum(count.value for count in sent.values()) < SOAK_PACKETS):
                number = (number + 1 + changes % (variants - 1)) % variants
                changes += bool(_apply(engine, candidate[number]).change.switch)
        took_s = monotonic() - started
        _settle(host)
        packets = {name: count.value for name, count in sent.items()}
        seen = counted(host, STREAMS)
        named = _named_counters(host)

    record_testsuite_property("figures", f"{changes} swaps and {sum(packets.values())} packets in {took_s:.0f} s")

    assert {name: account.came for name, account in seen.items()} == packets
    assert {s.name: seen[s.name].passed for s in ALLOWED} == {s.name: packets[s.name] for s in ALLOWED}, "lost"
    assert {s.name: seen[s.name].passed for s in DENIED} == {s.name: 0 for s in DENIED}, "let through"
    assert 0 < seen[EITHER.name].passed < packets[EITHER.name], "the generations do differ"
    assert _sums(named) == {key: sum(packets[name] for name in names) for key, names in COUNTERS.items()}
    assert all(exchanged.value > swaps for exchanged in talk)
    for port in (TCP_PORT, UDP_PORT):
        assert [each.came - each.passed for each in counted_conversation(host, port)] == [0, 0], port
    assert _banned(host, 3600 - took_s - 60) == set(BANNED)


def _apply(engine: Engine, candidate: Candidate) -> Applied:
    applied = engine.apply(candidate, accept_loss=True)
    assert isinstance(applied, Applied), applied
    assert not applied.warnings
    return applied


def _settle(host: Namespace) -> None:
    """Wait until the gates count no more, without the conversations."""
    before = counted(host, STREAMS)
    for _ in range(20):
        sleep(SETTLE_S)
        now = counted(host, STREAMS)
        if now == before:
            return
        before = now


def _named_counters(host: Namespace) -> dict[tuple[str, str], int]:
    with inside(host):
        tables = read_names()
    return {(family.nft, c.name): c.packets for family in FAMILIES for c in tables.of(family).counters}


def _sums(named: dict[tuple[str, str], int]) -> dict[tuple[str, ...], int]:
    """The packets of each group of `COUNTERS`."""
    return {
        key: sum(packets for (family, name), packets in named.items() if family == key[0] and name.startswith(key[1:]))
        for key in COUNTERS
    }


def _banned(host: Namespace, left_s: float) -> set[str]:
    """The elements of the foreign set that have at least this long to live."""
    listed = json.loads(run(host, ("nft", "-j", "list", "set", "inet", "bans", "banned")).stdout)["nftables"]
    elements = next(item["set"]["elem"] for item in listed if "set" in item)
    return {each["elem"]["val"] for each in elements if each["elem"]["expires"] >= left_s}
