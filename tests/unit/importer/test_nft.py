"""Rulesets that `nft -j list ruleset` prints, rule by rule, and what becomes of each."""

import json
from pathlib import Path
from typing import Any

import pytest

from hostfw.importer.nft.listing import OWN_TABLE
from hostfw.importer.nft.reader import read_nft
from hostfw.importer.policy import as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.rule_set import Hook, Verdict
from hostfw.importer.text import policy_text
from hostfw.model.packets.packet import Packet
from hostfw.model.sources import Source
from hostfw.model.values import Family, parse_address
from hostfw.nft.objects import TABLE
from tests.unit.cli_runs import hostfwctl

Json = Any  # what json.loads gives
Expr = list[Json]
ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}


def payload(protocol: str, field: str) -> Json:
    """A field of a header."""
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> Json:
    """A fact about a packet that is in no header."""
    return {"meta": {"key": key}}


def match(left: Json, right: Json, op: str = "==") -> Json:
    """A comparison."""
    return {"match": {"op": op, "left": left, "right": right}}


def listing(*rules: Expr, family: str = "inet", others: tuple[Any, ...] = (), policy: str = "drop") -> str:
    """A table whose chain `in` denies what comes in, with these rules."""
    of = {"family": family, "table": "f"}
    chain = {"chain": {**of, "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": policy}}
    listed = [{"rule": {**of, "chain": "in", "handle": place, "expr": expr}} for place, expr in enumerate(rules, 10)]
    return json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, chain, *others, *listed]})


def reading(text: str) -> tuple[Reading, ...]:
    """The readings of both families, without problems."""
    found = read_nft(Source("r.json", text))
    assert not [problem for one in found for problem in one.problems]
    return found


def messages(text: str) -> list[str]:
    """The notes on a listing, each with its place."""
    return [f"{note.position.file_line}: {note.message}" for one in reading(text) for note in one.notes]


def inbound(text: str) -> list[str]:
    """The rules of the policies for what comes in, each in a line, without the comments."""
    written = policy_text(as_policy([one.rules for one in reading(text)]), "test").partition("name: inbound")[2]
    written = written.partition("name: outbound")[0]
    return [line.strip().removeprefix("- ") for line in written.splitlines() if line.startswith("  - {")]


RULES: list[tuple[Expr, str]] = [
    ([match(payload("tcp", "dport"), 22)], "{action: Allow, protocol: TCP, destination: {ports: [22]}}"),
    (
        [match(payload("udp", "dport"), {"set": [53, {"range": [5000, 5010]}]})],
        "{action: Allow, protocol: UDP, destination: {ports: [53, '5000:5010']}}",
    ),
    (
        [match(payload("tcp", "dport"), 1024, ">=")],
        "{action: Allow, protocol: TCP, destination: {ports: ['1024:65535']}}",
    ),
    (
        [match(payload("tcp", "sport"), {"range": [1, 1023]}, "!=")],
        "{action: Allow, protocol: TCP, source: {notPorts: ['1:1023']}}",
    ),
    (
        [match(payload("ip", "saddr"), {"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "192.0.2.1"]})],
        "{action: Allow, source: {nets: [10.0.0.0/8, 192.0.2.1/32]}}",
    ),
    (
        [match(payload("ip6", "saddr"), {"prefix": {"addr": "fe80::", "len": 10}}, "!=")],
        "{action: Allow, ipVersion: 6, source: {notNets: ['fe80::/10']}}",
    ),
    ([match(payload("icmp", "type"), "echo-request")], "{action: Allow, protocol: ICMP, icmp: {type: 8}}"),
    (
        [match(payload("icmp", "type"), "destination-unreachable"), match(payload("icmp", "code"), "port-unreachable")],
        "{action: Allow, protocol: ICMP, icmp: {type: 3, code: 3}}",
    ),
    ([match(payload("icmpv6", "type"), "nd-router-advert")], "{action: Allow, protocol: ICMPv6, icmp: {type: 134}}"),
    ([match(meta("l4proto"), "esp")], "{action: Allow, protocol: "),
    ([match(meta("nfproto"), "ipv4")], "{action: Allow, ipVersion: 4}"),
    ([match(payload("ip", "protocol"), "igmp")], "{action: Allow, ipVersion: 4, protocol: "),
    ([match(payload("ether", "saddr"), "02:00:00:00:00:01")], "{action: Allow, source: {macs: ['02:00:00:00:00:01']}}"),
    ([match(meta("ipsec"), right=True)], "{action: Allow, ipsec: true}"),
    ([match(meta("secpath"), right=True, op="!=")], "{action: Allow, ipsec: false}"),
    (
        [match(payload("tcp", "flags"), "syn"), match({"ct": {"key": "state"}}, "new", "in")],
        "{action: Allow, protocol: TCP}",
    ),
    (
        [match({"&": [payload("tcp", "flags"), ["fin", "syn", "rst", "ack"]]}, "syn")],
        "{action: Allow, protocol: TCP}",
    ),
    (
        [match({"fib": {"result": "type", "flags": ["daddr"]}}, "multicast")],
        "{action: Allow, destination: {nets: [224.0.0.0/4]}}",
    ),
    (
        [{"counter": {"packets": 0, "bytes": 0}}, {"log": {"prefix": "x"}}, match(payload("tcp", "dport"), 80)],
        "{action: Allow, protocol: TCP, destination: {ports: [80]}}",
    ),
]


@pytest.mark.parametrize(("expr", "expected"), RULES, ids=[str(place) for place in range(len(RULES))])
def test_a_match_becomes_the_words_of_policy(expr: Expr, expected: str) -> None:
    """Each of those that policy has words for, without a note."""
    text = listing([*expr, ACCEPT])
    assert inbound(text)[0].startswith(expected)
    assert messages(text) == []


def test_a_concatenation_is_a_rule_for_each_element() -> None:
    """And only its pairs match."""
    left = {"concat": [payload("ip", "saddr"), payload("tcp", "dport")]}
    right = {"set": [{"concat": ["10.0.0.1", 22]}, {"concat": [{"prefix": {"addr": "10.1.0.0", "len": 16}}, 80]}]}

    assert inbound(listing([match(left, right), ACCEPT])) == [
        "{action: Allow, protocol: TCP, source: {nets: [10.0.0.1/32]}, destination: {ports: [22]}}",
        "{action: Allow, protocol: TCP, source: {nets: [10.1.0.0/16]}, destination: {ports: [80]}}",
    ]


def test_a_verdict_map_is_a_rule_for_each_element() -> None:
    """With chains that it leads to; who comes back from one is not among all others, which come last."""
    data = {"set": [["*", ACCEPT], [22, DROP], [80, {"jump": {"target": "web"}}]]}
    web = {"chain": {"family": "inet", "table": "f", "name": "web"}}
    denied = [match(payload("ip", "saddr"), "192.0.2.1"), DROP]
    inside = {"rule": {"family": "inet", "table": "f", "chain": "web", "handle": 5, "expr": denied}}
    text = listing([{"vmap": {"key": payload("tcp", "dport"), "data": data}}], others=(web, inside))

    assert inbound(text)[:3] == [
        "{action: Deny, protocol: TCP, destination: {ports: [22]}}",
        "{action: Deny, protocol: TCP, source: {nets: [192.0.2.1/32]}, destination: {ports: [80]}}",
        "{action: Allow, protocol: TCP, destination: {notPorts: [22, 80]}}",
    ]


def test_a_packet_passes_only_if_every_chain_at_the_hook_lets_it() -> None:
    """In the order of priorities; an accept in one does not end the others."""
    base = {
        "family": "ip",
        "table": "g",
        "name": "late",
        "type": "filter",
        "hook": "input",
        "prio": 10,
        "policy": "accept",
    }
    denies = [match(payload("ip", "saddr"), "192.0.2.1"), DROP]
    rule = {"rule": {"family": "ip", "table": "g", "chain": "late", "handle": 3, "expr": denies}}
    text = listing([match(payload("tcp", "dport"), 22), ACCEPT], others=({"chain": base}, rule))

    assert inbound(text)[:2] == [
        "{action: Deny, protocol: TCP, source: {nets: [192.0.2.1/32]}, destination: {ports: [22]}}",
        "{action: Allow, protocol: TCP, destination: {ports: [22]}}",
    ]
    v4, _ = reading(text)
    for source, verdict in (("192.0.2.1", Verdict.DENY), ("192.0.2.2", Verdict.ALLOW)):
        address = parse_address(source)
        assert address is not None
        packet = Packet(Family.V4, 6, address[1], 1, 1, 22, in_interface="eth0")
        assert v4.rules.verdict(Hook.INPUT, packet, "*", "") is verdict


UNSAID: list[tuple[Expr, str, str]] = [
    ([{"limit": {"rate": 3, "per": "minute"}}, ACCEPT], "a limit of a rate", "not allowed"),
    ([{"ct count": {"val": 20, "inv": True}}, DROP], "a number of connections", "not denied"),
    ([match(meta("skuid"), 1000), ACCEPT], "meta skuid", "not allowed"),
    ([match(meta("pkttype"), "broadcast"), DROP], "meta pkttype", "not denied"),
    ([match({"ct": {"key": "status"}}, "dnat", "in"), ACCEPT], "ct status", "not allowed"),
    ([match({"ct": {"key": "state", "dir": "original"}}, "new"), ACCEPT], "ct original state", "not allowed"),
    ([match(payload("ether", "saddr"), "02:00:00:00:00:01", "!="), ACCEPT], "ether saddr !=", "not allowed"),
    ([match(payload("tcp", "flags"), "syn", "!="), DROP], "TCP flags", "not denied"),
    ([match(payload("tcp", "flags"), ["fin", "syn", "rst"], "!"), DROP], "TCP flags", "not denied"),
    ([match(payload("th", "dport"), 53), ACCEPT], "whichever protocol", "not allowed"),
    ([match({"numgen": {"mode": "random", "mod": 2}}, 0), ACCEPT], "numgen", "not allowed"),
    ([{"xt": {"type": "match", "name": "recent"}}, DROP], "the extension recent of iptables", "not denied"),
    ([{"synproxy": {"mss": 1460}}], "the statement synproxy", "left out"),
    (["jump {\n\taccept\n}"], "the statement jump { accept }", "left out"),
    ([match(payload("ip", "saddr"), "@bans"), DROP], "the set @bans, whose elements expire", "not denied"),
    ([match(payload("ip", "saddr"), "@nowhere"), DROP], "which the listing does not have", "not denied"),
    (
        [{"match": {"op": "==", "left": meta("iif"), "right": "a", "new": 1}}, DROP],
        "the key new of a match",
        "not denied",
    ),
    ([match(payload("tcp", "dport"), 1, "~"), DROP], "the operator ~", "not denied"),
    (
        [match({"concat": [meta("iifname"), payload("tcp", "dport")]}, {"set": [{"concat": ["a", 1]}]}, "!="), DROP],
        "!= of a concatenation",
        "not denied",
    ),
]


@pytest.mark.parametrize(("expr", "what", "result"), UNSAID, ids=[what for _, what, _ in UNSAID])
def test_what_policy_cannot_say_is_named_with_its_place(expr: Expr, what: str, result: str) -> None:
    """Handle and chain, the text, and what comes of leaving it out; it opens nothing."""
    bans = {"set": {"family": "inet", "table": "f", "name": "bans", "type": "ipv4_addr", "timeout": 60, "elem": []}}
    text = listing(expr, others=(bans,))

    assert any(
        message.startswith("r.json inet f in handle 10: ") and what in message and result in message
        for message in messages(text)
    ), messages(text)
    assert inbound(text) == []


def test_an_address_of_this_host_is_known_of_what_comes_in_alone() -> None:
    """Of a long rule as well, and of a map with the kind: in a forward chain it would be every address."""
    kind = {"fib": {"result": "type", "flags": ["daddr"]}}
    chain = {
        "family": "inet",
        "table": "f",
        "name": "g",
        "type": "filter",
        "hook": "forward",
        "prio": 0,
        "policy": "drop",
    }
    many = [match(payload("ip", "saddr"), {"set": [f"192.0.2.{one}" for one in range(1, 60, 2)]}), match(kind, "local")]
    by_map = [{"vmap": {"key": kind, "data": {"set": [["local", {"accept": None}]]}}}]
    for handle, expr in ((20, [*many, ACCEPT]), (21, by_map)):
        rule = {"rule": {"family": "inet", "table": "f", "chain": "g", "handle": handle, "expr": expr}}
        text = listing([match(kind, "local"), ACCEPT], others=({"chain": chain}, rule))
        found = messages(text)
        written = policy_text(as_policy([one.rules for one in reading(text)]), "test")

        assert any(f"inet f g handle {handle}: " in one and "which addresses are of this host" in one for one in found)
        assert "Allow" not in written.partition("name: forwarded")[2]
        assert any("handle 10: the broadcast addresses of this host's networks" in one for one in found)
        assert (
            "{action: Allow, ipVersion: 4, destination: {notNets: [0.0.0.0/32, 224.0.0.0/4, 255.255.255.255/32]}}"
            in inbound(text)
        )


def test_what_elements_have_beside_their_value_is_no_part_of_policy() -> None:
    """A limit of an element lets through less than the element."""
    limit = {"limit": {"rate": 1, "per": "second"}}
    element = {"elem": {"val": "192.0.2.1", **limit}}
    of_set = {
        "set": {"family": "inet", "table": "f", "name": "s", "type": "ipv4_addr", "elem": [element], "stmt": [limit]}
    }
    for text in (
        listing([match(payload("ip", "saddr"), {"set": [element]}), ACCEPT]),
        listing([match(payload("ip", "saddr"), "@s"), ACCEPT], others=(of_set,)),
    ):
        assert inbound(text) == []
        assert any("with a limit" in one or "have a limit" in one for one in messages(text)), messages(text)


def test_a_denial_by_the_end_of_the_hook_is_named_where_policy_cannot_say_it() -> None:
    """Packets that go out by one interface return to a chain that denies them."""
    chain = {
        "family": "inet",
        "table": "f",
        "name": "g",
        "type": "filter",
        "hook": "forward",
        "prio": 0,
        "policy": "drop",
    }
    rules = ([match(meta("oifname"), "eth1"), {"return": None}], [ACCEPT])
    listed = (
        {"rule": {"family": "inet", "table": "f", "chain": "g", "handle": place, "expr": expr}}
        for place, expr in enumerate(rules, 20)
    )
    found = as_policy([one.rules for one in reading(listing([ACCEPT], others=({"chain": chain}, *listed)))])

    assert any("this denial is left out" in note.message for note in found.notes)


def test_what_is_no_filter_of_ip_packets_stays_and_is_named() -> None:
    """Other hooks, tables of frames and of other programs, kinds and keys that are not known; hostfw's own are not."""
    nat = {"family": "ip", "table": "n", "name": "post", "type": "nat", "hook": "postrouting", "prio": 100}
    masquerade = {"rule": {"family": "ip", "table": "n", "chain": "post", "handle": 2, "expr": [{"masquerade": None}]}}
    others = (
        {"chain": nat},
        masquerade,
        {"table": {"family": "bridge", "name": "b", "handle": 1}},
        {"table": {"family": "inet", "name": "f2b-table", "handle": 1}},
        {"table": {"family": "ip", "name": TABLE, "handle": 1}},
        {"novelty": {"family": "inet", "table": "f", "name": "n"}},
        {"chain": {"family": "inet", "table": "f", "name": "lonely", "key": 1}},
        {"rule": {"family": "inet", "table": "f", "chain": "lonely", "handle": 9, "expr": [DROP]}},
        {"set": {"family": "inet", "table": "f", "name": "none", "type": "ipv4_addr"}},
    )
    found = "\n".join(messages(listing([ACCEPT], others=others)))

    assert "chain post (nat, postrouting) stays as it is" in found
    assert "table bridge b stays as it is" in found
    assert "table inet f2b-table belongs to another program" in found
    assert OWN_TABLE == TABLE
    assert f"ip {TABLE}" not in found
    assert "novelty n is left out" in found
    assert "the key key of chain lonely" in found
    assert "nothing leads to chain lonely" in found
    assert "the set none is empty" in found


def test_a_family_that_nothing_filters_stays_open_and_that_is_told() -> None:
    """A table `ip` alone leaves IPv6 as it is."""
    text = listing([match(payload("tcp", "dport"), 22), ACCEPT], family="ip")

    assert inbound(text)[-1] == "{action: Allow, ipVersion: 6}"
    assert any(
        "nothing filters IPv6 that comes in: all of it is allowed, as it is now" in one for one in messages(text)
    )


WRONG = [
    ("", "this is no JSON"),
    ("[1, 2]", "this is no listing of nftables"),
    ('{"nftables": 1}', "this is no listing of nftables"),
    ('{"nftables": [1]}', "is not an object of nftables"),
    ("[" * 100_000, "this is no JSON"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[str(place) for place in range(len(WRONG))])
def test_what_is_no_listing_is_a_problem(text: str, message: str) -> None:
    """And nothing is imported."""
    (problem, *_) = read_nft(Source("r.json", text))[0].problems
    assert message in problem.message


def test_the_verb_reads_a_listing_and_says_what_to_do_next(tmp_path: Path) -> None:
    """And refuses a file that is none."""
    (tmp_path / "r.json").write_text(listing([match(payload("tcp", "dport"), 80), ACCEPT]))
    ran = hostfwctl("import", "nft", tmp_path / "r.json", "--config-dir", tmp_path / "none", "--packets", "500")
    (tmp_path / "imported.yaml").write_text(ran.out)

    assert ran.status == 0
    assert hostfwctl("validate", "-f", tmp_path / "imported.yaml").status == 0
    assert "next: read it, copy it to /etc/hostfw" in ran.err
    assert hostfwctl("import", "nft").status == 1
    (tmp_path / "odd").write_text("table inet f {}")
    assert hostfwctl("import", "nft", tmp_path / "odd").status == 3
