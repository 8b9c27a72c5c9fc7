"""Warnings about a Deny that something before any policy lets packets get past."""

from dataclasses import replace
from time import process_time

import pytest

from hostfw.model.prefixes import CidrSet, Part, cidr_set, includes, overlaps
from hostfw.model.resources import Feed, Metadata
from hostfw.model.values import Family
from hostfw.policy.check.references import check
from tests.unit.policy_builders import net
from tests.unit.policy_texts import decoded, manifest, policy

WEB = manifest("HostEndpoint", "{node: a, interfaceName: eth0}", "web", "labels: {role: web}")
SETS = manifest("GlobalNetworkSet", "{nets: ['fe80::/64']}", "near", "labels: {kind: near}")
UNTRACKED = "{{doNotTrack: true, applyOnForward: true, types: [{}], {}: [{}]}}"

UDP_PORTS = "udp 53, udp 67, udp 123, udp 547"
EVERY_PORT = "udp 53, tcp 53, udp 67, udp 123, udp 547"

REPLIES: list[tuple[str, str, str, str | None]] = [
    ("ingress", "", "{action: Deny, source: {nets: [10.9.0.1/32]}}", EVERY_PORT),
    ("ingress", "", "{action: Deny}", EVERY_PORT),
    ("ingress", "", "{action: Deny, protocol: UDP}", UDP_PORTS),
    ("ingress", "", "{action: Deny, protocol: UDP, source: {ports: ['100:200']}}", "udp 123"),
    ("ingress", "", "{action: Deny, protocol: UDP, source: {notPorts: ['53:200']}}", "udp 547"),
    ("ingress", "", "{action: Deny, protocol: TCP, destination: {ports: [80]}}", "tcp 53"),
    ("ingress", "", "{action: Deny, protocol: ICMP}", None),
    ("ingress", "", "{action: Allow, protocol: UDP}", None),
    ("ingress", "failsafe: none", "{action: Deny}", None),
    ("ingress", "failsafe: {outbound: ['udp:10.0.0.0/8:53']}", "{action: Deny, source: {nets: [192.0.2.0/24]}}", None),
    ("ingress", "failsafe: {outbound: ['udp:10.0.0.0/8:53']}", "{action: Deny}", "udp 10.0.0.0/8 53"),
    ("egress", "", "{action: Deny, destination: {nets: [10.9.0.1/32]}}", "tcp 22, udp 68, udp 546"),
]


@pytest.mark.parametrize(("direction", "settings", "rule", "ports"), REPLIES)
def test_source_ports_that_get_past_an_untracked_deny_are_named(
    direction: str, settings: str, rule: str, ports: str | None
) -> None:
    """Before connection tracking a reply is known by its source port alone, which the sender chooses."""
    text = policy(UNTRACKED.format(direction.title(), direction, rule))
    told = [one for one in warned(text, settings) if "source ports" in one]

    key = "outbound" if direction == "ingress" else "inbound"
    expected = (
        f"packets from the source ports {ports} get past this Deny: before connection tracking they pass as replies to "
        f"{key} failsafes, and the sender chooses the port"
    )
    assert told == ([] if ports is None else [expected])


NEIGHBOURS: list[tuple[str, str]] = [
    ("protocol: ICMPv6, icmp: {type: 134}", "ICMPv6 type 134 with a hop limit of 255"),
    ("protocol: 58, icmp: {type: 135, code: 0}", "ICMPv6 type 135 with a hop limit of 255"),
    ("protocol: ICMPv6, icmp: {type: 143}", "ICMPv6 type 143 from the link"),
    ("protocol: ICMPv6", "ICMPv6 types 133 to 136 with a hop limit of 255, nor 130 to 132 and 143 from the link"),
    ("source: {nets: ['fe80::bad/128']}", "that of peers on the link"),
    ("source: {selector: kind == 'near'}", "that of peers on the link"),
    ("protocol: ICMPv6, icmp: {type: 128}", ""),
    ("protocol: ICMPv6, icmp: {type: 137}", ""),
    ("protocol: ICMP", ""),
    ("source: {nets: ['2001:db8::/32']}", ""),
    ("protocol: TCP, source: {nets: ['fe80::/10']}", ""),
    ("notProtocol: ICMPv6, source: {nets: ['fe80::/10']}", ""),
]


@pytest.mark.parametrize(
    "form", ["{{ingress: [{}]}}", UNTRACKED.replace("[{}]", "[Ingress]", 1).replace("{}:", "ingress:")]
)
@pytest.mark.parametrize(("fields", "what"), NEIGHBOURS)
def test_neighbour_discovery_that_a_deny_does_not_meet_is_named(form: str, fields: str, what: str) -> None:
    """Wholly or in part, in every class of policy; not where the settings or Calico's ways have it policed."""
    text = policy(form.format(f"{{action: Deny, {fields}}}"))
    told = [one for one in warned(text) if "neighbour discovery" in one]

    assert told == (
        [f"neighbour discovery is accepted before any policy, so this Deny does not meet {what}"] * bool(what)
    )
    for settings in ("neighbourDiscovery: policed", "compatibility: calico"):
        assert [one for one in warned(text, settings) if "neighbour discovery" in one] == []


def test_compatibility_with_calico_warns_of_its_own_failsafes() -> None:
    """Its ports are others."""
    text = policy(UNTRACKED.format("Ingress", "ingress", "{action: Deny, protocol: UDP}"))

    (told,) = warned(text, "compatibility: calico")

    assert told.startswith("packets from the source ports udp 53, udp 67 get past this Deny")


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ("protocol: ICMP, icmp: {type: 3}", "ICMP type 3"),
        ("protocol: ICMP, icmp: {type: 0}", "ICMP type 0"),
        ("protocol: 58, icmp: {type: 2}", "58 type 2"),
        ("protocol: ICMP, icmp: {type: 8}", ""),
        ("protocol: ICMP, icmp: {type: 5}", ""),
        ("protocol: ICMP", ""),
    ],
)
def test_a_deny_of_what_a_known_connection_brings_is_told(fields: str, what: str) -> None:
    """Answers and errors; not before connection tracking, where nothing is known."""
    rule = f"{{action: Deny, {fields}}}"
    told = [one for one in warned(policy(f"{{ingress: [{rule}]}}")) if "known connection" in one]

    assert [one.partition(" that belongs")[0] for one in told] == ([what] if what else [])
    assert not [one for one in warned(policy(UNTRACKED.format("Ingress", "ingress", rule))) if "known" in one]


def warned(text: str, settings: str = "") -> list[str]:
    """The messages of all warnings."""
    result = decoded(text, WEB, SETS, settings=settings)
    assert result.problems == ()
    return [problem.message for problem in check(result.resources, result.settings)]


def test_many_rules_over_a_big_feed_take_no_time_for_each_address() -> None:
    """Eight rules over 500,000 addresses."""
    hosts = cidr_set({(Family.V4, 32): range(0x0A000000, 0x0A000000 + 1_000_000, 2)})
    feed = Feed(Metadata("big", (("kind", "big"),)), "big.txt", cidrs=hosts)
    rules = ", ".join(
        f"{{action: Deny, protocol: TCP, source: {{selector: kind == 'big' || has(x{n})}}}}" for n in range(8)
    )
    result = decoded(policy(f"{{ingress: [{rules}]}}"), WEB, settings="failsafe: {inbound: ['tcp:10.0.0.0/8:22']}")
    resources = replace(result.resources, feeds=(feed,))
    started = process_time()

    problems = check(resources, result.settings)

    assert process_time() - started < 0.5
    assert sum("failsafe" in problem.message for problem in problems) == 8


@pytest.mark.parametrize(
    ("text", "is_included", "overlapping"),
    [
        ("10.0.0.0/8", False, True),
        ("10.1.0.0/16", True, True),
        ("10.1.2.3/32", True, True),
        ("10.9.0.1/32", True, True),
        ("10.9.0.0/24", False, True),
        ("10.9.1.0/24", False, False),
        ("0.0.0.0/0", False, True),
        ("10.9.0.2/32", False, False),
        ("2001:db8::/64", True, True),
        ("::/0", False, True),
        ("2001:db9::/32", False, False),
    ],
)
def test_a_prefix_is_looked_for_in_packed_ones_as_in_few(text: str, is_included: bool, overlapping: bool) -> None:
    """Whichever form they have."""
    few = (net("10.1.0.0/16"), net("10.9.0.1"), net("2001:db8::/48"))
    packed = cidr_set({(cidr.family, cidr.length): (cidr.address,) for cidr in few})
    assert isinstance(packed, CidrSet)
    assert all(isinstance(part, Part) for part in packed.parts)

    for cidrs in (few, packed):
        assert (includes(cidrs, net(text)), overlaps(cidrs, net(text))) == (is_included, overlapping)
