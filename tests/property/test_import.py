"""Imported rule sets mean the same: chains as the kernel walks them, as one list, and as policy."""

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hostfw.importer.comparison import compare
from hostfw.importer.iptables.save import read_iptables
from hostfw.importer.nft.reader import read_nft
from hostfw.importer.policy import as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.rule_set import Hook
from hostfw.importer.text import policy_text
from hostfw.manifest.decode import decode
from hostfw.model.settings import Failsafe, NeighbourDiscovery, Settings
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Family

BARE = Settings(failsafe=Failsafe((), ()), neighbour_discovery=NeighbourDiscovery.POLICED)
"""Without what hostfw lets through by itself, so that nothing may differ."""
_CHAINS = ("INPUT", "OUTPUT", "FORWARD", "one", "two", "three")
_TARGETS = ("ACCEPT", "DROP", "REJECT", "RETURN", "LOG")
_NETS = {
    Family.V4: ("10.0.0.0/8", "10.1.0.0/255.255.0.0", "192.0.2.7", "192.0.2.0/24,198.51.100.0/24", "0.0.0.0/0"),
    Family.V6: ("2001:db8::/32", "2001:db8::7", "fd00::/8,2001:db8:1::/48", "::/0"),
}
_MATCHES = (
    "-p tcp --dport 22",
    "-p tcp -m multiport --dports 80,443,8000:8010",
    "-p udp --sport 53",
    "-p tcp ! --dport 1:1023",
    "! -p udp",
    "-p esp",
    "-p 47",
    "-m conntrack --ctstate NEW",
    "-m state --state RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID",
    "-m addrtype --dst-type MULTICAST",
    "-m addrtype ! --dst-type LOCAL",
    "-m comment --comment 'a \"word\"'",
    "-p tcp --tcp-flags SYN,RST,ACK,FIN SYN",
    "-m limit --limit 3/min",
    "-m mac --mac-source 02:00:00:00:00:01",
    "-m policy --dir in --pol ipsec",
    "-m policy --dir in --pol none",
)


@st.composite
def rule_sets(draw: st.DrawFn, family: Family) -> str:
    """Draw what iptables-save could print; chains jump only to later ones, so that none is a loop."""
    lines = ["*filter", *(f":{hook} {draw(st.sampled_from(('ACCEPT', 'DROP')))} [0:0]" for hook in Hook)]
    lines += [f":{name} - [0:0]" for name in _CHAINS[3:]]
    for place, chain in enumerate(_CHAINS):
        later = _CHAINS[max(place + 1, 3) :]
        for _ in range(draw(st.integers(0, 5))):
            words: list[str] = [draw(st.sampled_from(("", *_MATCHES)))]
            sides: list[str] = draw(st.lists(st.sampled_from(("-s", "! -s", "-d", "! -d")), max_size=1))
            words += [f"{side} {draw(st.sampled_from(_NETS[family]))}" for side in sides]
            if draw(st.booleans()):
                side = "-o" if chain == "OUTPUT" else "-i"
                named = draw(st.sampled_from(("eth0", "eth1", "eth+", "tun+", "lo", "+")))
                words.append(f"{draw(st.sampled_from(('', '! ')))}{side} {named}")
            target = f"-j {draw(st.sampled_from(_TARGETS))}"
            jumps = draw(st.booleans())
            if later and jumps:
                target = f"{draw(st.sampled_from(('-j', '-g')))} {draw(st.sampled_from(later))}"
            lines.append(" ".join(("-A", chain, *words, target)))
    return "\n".join((*lines, "COMMIT", ""))


Json = Any  # what json.dumps takes
_KEYS: tuple[tuple[Json, tuple[Json, ...]], ...] = (
    ({"payload": {"protocol": "tcp", "field": "dport"}}, (22, 80, {"range": [8000, 8010]})),
    ({"payload": {"protocol": "udp", "field": "sport"}}, (53, {"range": [1, 1023]})),
    ({"payload": {"protocol": "ip", "field": "saddr"}}, ("192.0.2.7", {"prefix": {"addr": "10.0.0.0", "len": 8}})),
    ({"payload": {"protocol": "ip6", "field": "saddr"}}, ("2001:db8::7", {"prefix": {"addr": "fd00::", "len": 8}})),
    ({"payload": {"protocol": "ip", "field": "daddr"}}, ({"range": ["192.0.2.9", "192.0.2.77"]}, "198.51.100.1")),
    ({"payload": {"protocol": "icmp", "field": "type"}}, ("echo-request", {"range": ["echo-reply", "redirect"]})),
    ({"payload": {"protocol": "icmpv6", "field": "type"}}, ("packet-too-big", 200)),
    ({"meta": {"key": "iifname"}}, ("eth0", "eth*", "tun*", "lo")),
    ({"meta": {"key": "l4proto"}}, ("tcp", "udp", 47)),
    ({"meta": {"key": "nfproto"}}, ("ipv4", "ipv6")),
    ({"ct": {"key": "state"}}, ("new", "established", "invalid")),
    ({"fib": {"result": "type", "flags": ["daddr"]}}, ("local", "multicast")),
    ({"payload": {"protocol": "ether", "field": "saddr"}}, ("02:00:00:00:00:01", "02:00:00:00:00:09")),
    ({"meta": {"key": "secpath"}}, (True, False)),
)
_NFT_CHAINS = ("first", "second", "one", "two")
_STATEMENTS: tuple[Json, ...] = ({"counter": None}, {"log": None}, {"limit": {"rate": 1, "per": "second"}})


@st.composite
def _looks(draw: st.DrawFn) -> Json:
    """Draw a match of one key or two at once, with a value, a set or a set that has a name."""
    keys = draw(st.lists(st.sampled_from(_KEYS), min_size=1, max_size=2, unique_by=lambda key: json.dumps(key[0])))
    if len(keys) == 1:
        ((left, values),) = keys
        right: Json = draw(st.sampled_from(values))
        if draw(st.booleans()):
            right = {"set": draw(st.lists(st.sampled_from(values), min_size=1, unique_by=json.dumps))}
        return {"match": {"op": draw(st.sampled_from(("==", "!="))), "left": left, "right": right}}
    elements = draw(st.lists(st.tuples(*(st.sampled_from(values) for _, values in keys)), min_size=1, max_size=3))
    return {
        "match": {
            "op": "==",
            "left": {"concat": [left for left, _ in keys]},
            "right": {"set": [{"concat": list(element)} for element in elements]},
        }
    }


@st.composite
def rulesets(draw: st.DrawFn) -> str:
    """Draw what `nft -j list ruleset` could print: two chains at the hook, others that they lead to, and maps."""
    of = {"family": draw(st.sampled_from(("inet", "ip", "ip6"))), "table": "t"}
    objects: list[Json] = []
    for place, chain in enumerate(_NFT_CHAINS):
        base = {"type": "filter", "hook": "input", "prio": place, "policy": draw(st.sampled_from(("accept", "drop")))}
        objects.append({"chain": {**of, "name": chain, **(base if place < 2 else {})}})
        ends: list[Json] = [{"accept": None}, {"drop": None}, {"return": None}, {"continue": None}]
        later = _NFT_CHAINS[max(place + 1, 2) :]
        ends += [{kind: {"target": name}} for kind in ("jump", "goto") for name in later]
        for handle in range(draw(st.integers(0, 4))):
            expr = draw(st.lists(_looks(), max_size=2))
            expr += draw(st.lists(st.sampled_from(_STATEMENTS), max_size=1))
            if draw(st.integers(0, 3)):
                expr.append(draw(st.sampled_from(ends)))
            else:
                left, values = draw(st.sampled_from(_KEYS))
                # The elements of a map do not overlap.
                keys = [value for value in values if not isinstance(value, str) or not value.endswith("*")]
                chosen = draw(st.lists(st.sampled_from((*keys, "*")), min_size=1, unique_by=json.dumps))
                elements = [[key, draw(st.sampled_from(ends))] for key in chosen]
                expr.append({"vmap": {"key": left, "data": {"set": elements}}})
            objects.append({"rule": {**of, "chain": chain, "handle": handle, "expr": expr}})
    return json.dumps({"nftables": objects})


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(v4=rule_sets(Family.V4), v6=rule_sets(Family.V6), seed=st.integers(0, 2**32))
def test_an_import_denies_and_allows_what_the_rules_did(v4: str, v6: str, seed: int) -> None:
    """Every packet at the edges of the rules, and the text is the policy that was compared."""
    _mean_the_same(read_iptables([(Family.V4, [Source("v4", v4)]), (Family.V6, [Source("v6", v6)])]), seed)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(text=rulesets(), seed=st.integers(0, 2**32))
def test_an_import_denies_and_allows_what_the_ruleset_did(text: str, seed: int) -> None:
    """Every packet at the edges of the rules of nftables, of both families."""
    _mean_the_same(read_nft(Source("r.json", text)), seed)


def _mean_the_same(readings: tuple[Reading, ...], seed: int) -> None:
    assert not any(reading.problems for reading in readings)
    imported = as_policy([reading.rules for reading in readings])
    # A rule that takes more rules of policy than are written is left out and named, and packets may tell.
    assume(not any("left out" in note.message for note in imported.notes))
    decoded = decode(Configuration(resources=(Source("imported.yaml", policy_text(imported, "test")),)))

    assert not decoded.problems
    found = compare([reading.rules for reading in readings], decoded.resources, BARE, packets=400, seed=seed)
    assert found.alike == found.packets, policy_text(imported, "test")
