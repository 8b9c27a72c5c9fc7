"""Warnings about a Deny that something before any policy lets packets get past."""

from dataclasses import replace

import pytest

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.sets import Feed
from hostfw.model.prefixes import CidrSet, Part, cidr_set, includes, overlaps
from hostfw.model.values import Family
from hostfw.policy.check.references import CheckCache, check
from tests.unit.builders.policy_builders import net
from tests.unit.builders.policy_texts import decoded, manifest, policy
from tests.unit.timing import processor_s

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
        f"packets from the source ports {ports} get past the doNotTrack Deny rules of policy case: before connection "
        f"tracking they pass as replies to {key} failsafes, and the sender chooses the port"
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
    ("protocol: 2", "IGMP to multicast with a TTL of 1"),
    ("protocol: 2, ipVersion: 6", ""),
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
        [f"neighbour discovery is accepted before any policy, so the Deny rules of policy case do not meet {what}"]
        * bool(what)
    )
    for settings in ("neighbourDiscovery: policed", "compatibility: calico"):
        assert [one for one in warned(text, settings) if "neighbour discovery" in one] == []


def test_compatibility_with_calico_warns_of_its_own_failsafes() -> None:
    """Its ports are others."""
    text = policy(UNTRACKED.format("Ingress", "ingress", "{action: Deny, protocol: UDP}"))

    (told,) = warned(text, "compatibility: calico")

    assert told.startswith("packets from the source ports udp 53, udp 67 get past the doNotTrack Deny rules")


def test_with_compatibility_a_plain_deny_is_held_against_its_failsafes_as_well() -> None:
    """Etcd and the API server stay open to whom a Deny names, until the settings say otherwise."""
    text = policy("{ingress: [{action: Deny, source: {nets: [203.0.113.0/24]}}]}")

    (told,) = warned(text, "compatibility: calico")

    assert told == (
        "tcp 22, tcp 179, tcp 2379, 5 more (inbound) stay open as failsafe ports: "
        "the rules of policy case do not close them"
    )
    assert warned(text, "compatibility: calico\nfailsafe: none") == []


KNOWN: list[tuple[str, str, str]] = [
    ("ingress", "protocol: ICMP, icmp: {type: 3}", "no ICMP type 3"),
    ("ingress", "protocol: ICMP, icmp: {type: 0}", "no ICMP type 0"),
    ("ingress", "protocol: 58, icmp: {type: 2}", "no 58 type 2"),
    (
        "egress",
        "protocol: TCP, source: {ports: [443, '8000:8002']}",
        "no TCP from port 443, no TCP from port 8000:8002",
    ),
    ("egress", "protocol: TCP, source: {ports: [443]}, destination: {ports: [80]}", ""),
    ("ingress", "protocol: UDP, source: {ports: [11211]}", ""),
    ("ingress", "protocol: ICMP, icmp: {type: 8}", ""),
    ("ingress", "protocol: ICMP, icmp: {type: 5}", ""),
    ("ingress", "protocol: ICMP", ""),
]


@pytest.mark.parametrize(("direction", "fields", "what"), KNOWN)
def test_a_deny_of_what_a_known_connection_brings_is_told(direction: str, fields: str, what: str) -> None:
    """Answers and errors; not before connection tracking, where nothing is known.

    What comes in from a source port may be new, as in a reflected flood, and then the Deny does meet it.
    """
    rule = f"{{action: Deny, {fields}}}"
    told = [one for one in warned(policy(f"{{{direction}: [{rule}]}}")) if "known connection" in one]

    assert [one.partition(" meet ")[2] for one in told] == ([f"{what} that does"] if what else [])
    assert not [one for one in warned(policy(UNTRACKED.format(direction.title(), direction, rule))) if "known" in one]


ANY = manifest("HostEndpoint", "{node: a, interfaceName: '*'}", "any", "labels: {role: any}")
LO = manifest("HostEndpoint", "{node: a, interfaceName: lo}", "lo", "labels: {role: lo}")
LO_GROUP = manifest("InterfaceGroup", "{match: [{kind: loopback}]}", "loopbacks", version="hostfw.io/v1")
IN_LO_GROUP = manifest("HostEndpoint", "{node: a, interfaceGroup: loopbacks}", "lo", "labels: {role: lo}")
OWN = manifest("GlobalNetworkSet", "{nets: ['127.0.0.53/32', '::1/128']}", "own", "labels: {kind: own}")
LOOPBACKS: list[tuple[str, str, str]] = [
    ("ingress", "destination: {nets: [127.0.0.1/32]}", "to 127.0.0.1/32"),
    ("egress", "destination: {nets: [127.0.0.0/8, 127.9.0.0/16]}, protocol: TCP", "to 127.0.0.0/8, to 127.9.0.0/16"),
    ("egress", "destination: {selector: kind == 'own'}", "to 127.0.0.53/32, to ::1/128"),
    ("egress", "source: {nets: [127.0.0.2/32]}", "from 127.0.0.2/32"),
    ("ingress", "source: {nets: [127.0.0.0/8, 10.0.0.0/8]}", ""),
    ("ingress", "destination: {nets: [0.0.0.0/0]}", ""),
    ("ingress", "destination: {ports: [5432]}, protocol: TCP", ""),
]


@pytest.mark.parametrize("untracked", [False, True])
@pytest.mark.parametrize(("direction", "fields", "what"), LOOPBACKS)
def test_loopback_that_a_deny_does_not_meet_is_named(
    direction: str, fields: str, what: str, *, untracked: bool
) -> None:
    """While nobody governs lo; a policy of a HostEndpoint that does meets it."""
    rule = f"{{action: Deny, {fields}}}"
    form = UNTRACKED if untracked else "{{types: [{}], {}: [{}]}}"
    text = policy(form.format(direction.title(), direction, rule))

    assert _over_lo(text, WEB, OWN) == ([what] if what else [])
    assert _over_lo(text, WEB, LO, OWN) == []
    assert _over_lo(text, WEB, LO_GROUP, IN_LO_GROUP, OWN) == []
    assert _over_lo(text, ANY, OWN, settings="loopback: policed") == []
    assert _over_lo(text, ANY, OWN, settings="compatibility: calico") == []


def test_a_forged_source_is_met_where_the_policy_is_not_for_every_interface() -> None:
    """There a Deny of loopback sources is one of what comes in from outside."""
    text = policy("{ingress: [{action: Deny, source: {nets: [127.0.0.0/8]}}]}")

    assert _over_lo(text, WEB) == []
    assert _over_lo(text, ANY) == ["from 127.0.0.0/8"]


def _over_lo(*texts: str, settings: str = "") -> list[str]:
    result = decoded(*texts, settings=settings)
    assert result.problems == ()
    told = [problem.message for problem in check(result.resources, result.settings)]
    return [one.partition("says to itself ")[2] for one in told if one.startswith("lo is exempt")]


def test_each_exemption_is_told_once_for_the_whole_configuration() -> None:
    """At the first rule, with the policies and the parts of all of them; ssh apart from the other failsafes."""
    rules = "{{ingress: [{{action: Deny, source: {{nets: [203.0.113.{}/32]}}}}, {{action: Deny, protocol: ICMPv6}}]}}"
    texts = [policy(rules.format(number), f"p{number:02}") for number in range(12)]
    profile = manifest("Profile", "{ingress: [{action: Deny, protocol: ICMPv6, icmp: {type: 134}}]}", "no-ra")
    endpoint = manifest(
        "HostEndpoint", "{node: a, interfaceName: eth0, profiles: [no-ra]}", "web", "labels: {role: web}"
    )
    out = policy("{types: [Egress], egress: [{action: Deny, destination: {nets: [203.0.113.0/24]}}]}", "q")
    result = decoded(*texts, out, profile, endpoint, settings="failsafe: {outbound: ['udp:53']}")
    assert result.problems == ()

    problems = check(result.resources, result.settings)

    names = "p00, p01, p02, p03, p04, p05, p06, p07 and"
    expected = [
        f"""tcp 22 (inbound) and udp 53 (outbound) stay open as failsafe ports: the rules of policies
        {names} 5 more do not close them""",
        f"""neighbour discovery is accepted before any policy, so the Deny rules of policies {names} 4 more and of
        profile no-ra do not meet ICMPv6 types 133 to 136 with a hop limit of 255, nor 130 to 132 and 143 from the
        link, nor ICMPv6 type 134 with a hop limit of 255""",
    ]
    assert [problem.message for problem in problems] == [" ".join(message.split()) for message in expected]
    assert {problem.position.file_line for problem in problems} == {"1.yaml:4"}


def test_a_profile_that_nobody_lists_denies_nothing() -> None:
    """So nothing gets past it."""
    profile = manifest("Profile", "{ingress: [{action: Deny, protocol: ICMPv6}]}", "unused")

    assert warned(profile) == []


def test_what_was_found_of_policies_is_found_again_when_the_settings_or_lo_change() -> None:
    """For a service that remembers what it found the last time."""
    deny = policy("{egress: [{action: Deny, destination: {nets: [127.0.0.1/32]}}]}")
    cache = CheckCache()

    def number(*texts: str, settings: str = "failsafe: none") -> int:
        result = decoded(*texts, settings=settings)
        return len(check(result.resources, result.settings, cache))

    assert [number(deny, ANY), number(deny, ANY, LO), number(deny, ANY)] == [1, 0, 1]
    assert [number(deny, ANY, settings="failsafe: none\nloopback: policed"), number(deny, ANY)] == [0, 1]
    assert [number(deny, LO_GROUP, IN_LO_GROUP), number(deny, IN_LO_GROUP, LO_GROUP.replace("loopback}", "veth}"))] == [
        0,
        1,
    ]


def warned(text: str, settings: str = "") -> list[str]:
    """The messages of all warnings."""
    result = decoded(text, WEB, SETS, settings=settings)
    assert result.problems == ()
    return [problem.message for problem in check(result.resources, result.settings)]


@pytest.mark.parametrize("protocol", ["[TCP, UDP]", "[UDP, TCP]"])
def test_the_order_in_a_list_of_protocols_tells_nothing(protocol: str) -> None:
    """A rule of TCP and UDP is met by TCP, wherever that stands in it."""
    ports = "destination: {ports: [22]}"
    narrow = f"{{action: Allow, protocol: TCP, source: {{nets: [10.0.0.0/8]}}, {ports}}}"
    deny = f"{{action: Deny, protocol: %s, source: {{nets: [10.1.0.0/16]}}, {ports}}}"
    wide = f"{{action: Allow, protocol: %s, {ports}}}"

    def told(*rules: str) -> bool:
        text = policy(f"{{ingress: [{', '.join(rules)}]}}")
        return any("tcp 22 (inbound) stays open as a failsafe port" in one for one in warned(text, ""))

    assert not told(narrow, wide % protocol), "everybody is let in by the second rule"
    assert told(deny % protocol, wide % "TCP"), "the failsafe comes before the Deny"


def test_many_rules_over_a_big_feed_take_no_time_for_each_address() -> None:
    """Eight rules over 500,000 addresses."""
    hosts = cidr_set({(Family.V4, 32): range(0x0A000000, 0x0A000000 + 1_000_000, 2)})
    feed = Feed(Metadata("big", (("kind", "big"),)), "big.txt", cidrs=hosts)
    rules = ", ".join(
        f"{{action: Deny, protocol: TCP, source: {{selector: kind == 'big' || has(x{n})}}}}" for n in range(8)
    )
    result = decoded(policy(f"{{ingress: [{rules}]}}"), WEB, settings="failsafe: {inbound: ['tcp:10.0.0.0/8:22']}")
    resources = replace(result.resources, feeds=(feed,))

    problems = check(resources, result.settings)

    assert processor_s(lambda: check(resources, result.settings)) < 0.5
    assert sum("failsafe" in problem.message for problem in problems) == 1


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


def test_a_warning_names_no_more_than_eight_of_what_passes() -> None:
    """The others it counts, and -v lists them: a rule may name thousands of ports."""
    rule = "{{action: Deny, protocol: UDP, source: {{ports: [{}]}}, destination: {{nets: [127.0.0.{}/32]}}}}"
    rules = ", ".join(rule.format(port, port - 1000) for port in range(1000, 1040))
    result = decoded(policy(f"{{egress: [{rules}]}}"), WEB)
    told = {problem.message.split(",")[0]: problem for problem in check(result.resources, result.settings)}

    established = told["what belongs to a known connection is accepted before any policy"]
    loopback = told["lo is exempt from policy unless a HostEndpoint governs it"]
    assert established.message.endswith("no UDP from port 1007, nor any of 32 others that does")
    assert loopback.message.endswith("to 127.0.0.7/32, 32 more")
    assert (len(established.more), established.more[0]) == (32, "UDP from port 1008")
    assert len(loopback.more) == 32
