"""Untracked, preDNAT and staged policies, and what destination NAT has to do with them."""

from dataclasses import replace

import pytest

from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.explanation import Explanation, StepVerdict
from hostfw.model.packets.packet import ConntrackState, Original, Packet
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Rule, StagedGlobalNetworkPolicy
from hostfw.model.settings import (
    Failsafe,
    FailsafePort,
    InvalidPackets,
    Loopback,
    NeighbourDiscovery,
    PublishedPorts,
    Settings,
    Unmanaged,
    UnmanagedInterfaces,
)
from hostfw.model.values import ICMPV6, TCP, UDP, Action, Direction
from tests.unit.builders.packet_builders import (
    HOST6,
    PEER,
    PEER6,
    arriving,
    explained,
    leaving,
    outcome_of,
    through,
)
from tests.unit.builders.policy_builders import (
    ALLOW,
    BOTH,
    DENY,
    EGRESS,
    INGRESS,
    LOG,
    PASS,
    gnp,
    hep,
    net,
    profile,
    rule,
    side,
    staged,
    tier,
)

ESTABLISHED, INVALID = ConntrackState.ESTABLISHED, ConntrackState.INVALID
SOFT = tier("soft", 1, Action.PASS)
HARD = tier("hard", 2)

A_AND_B = (hep("a", "eth0", labels={"on": "a"}), hep("b", "eth1", labels={"on": "b"}))
"""The interfaces at which `through()` comes in and goes out."""


def _to(port: int, action: Action = Action.ALLOW) -> Rule:
    return rule(action, TCP, destination=side(ports=(port,)))


def _from(port: int, action: Action = Action.ALLOW) -> Rule:
    return rule(action, TCP, source=side(ports=(port,)))


def _to_net(net_text: str, action: Action) -> Rule:
    return rule(action, destination=side(nets=(net_text,)))


def _raw(*rules: Rule, name: str = "raw", egress: tuple[Rule, ...] = (), **more: object) -> GlobalNetworkPolicy:
    """A doNotTrack policy, ingress unless only egress is given."""
    types = BOTH if rules and egress else EGRESS if egress else INGRESS
    return gnp(name, ingress=rules, egress=egress, types=types, untracked=True, **more)  # type: ignore[arg-type]


def _pre(*rules: Rule, name: str = "pre", **more: object) -> GlobalNetworkPolicy:
    """A preDNAT policy."""
    return gnp(name, ingress=rules, pre_dnat=True, **more)  # type: ignore[arg-type]


def _normal(*rules: Rule, name: str = "normal", **more: object) -> GlobalNetworkPolicy:
    """A policy of both directions with the same rules."""
    return gnp(name, ingress=rules, egress=rules, types=BOTH, **more)  # type: ignore[arg-type]


def _fate(explanation: Explanation) -> str:
    """The verdict, and the policy that decided or why else."""
    allowed, reason, where = outcome_of(explanation)
    why = where if reason is Reason.RULE else f"{reason} {where}".strip()
    return f"{'allow' if allowed else 'deny'}: {why}"


def _classes(explanation: Explanation) -> list[tuple[PolicyClass, str, StepVerdict]]:
    """The places of the packet, and the verdicts there."""
    return [(s.policy_class, s.policy or s.reason.value, s.verdict) for s in explanation.steps]


# ----------------------------------------------------------------------------------------------------------- packets


def test_a_packet_is_untranslated_before_destination_nat() -> None:
    """Address, port and, for what the host sends, the interface that the first route led to."""
    port_alone = arriving(8080, original=Original(net("10.0.0.1").address, 80))
    rerouted = leaving(80, original=Original(net("192.0.2.1").address, 443, "eth1"))

    assert port_alone.untranslated == arriving(80)
    assert rerouted.untranslated == leaving(443, destination="192.0.2.1", interface="eth1")
    assert leaving(80, original=Original(net(PEER).address, 81)).untranslated == leaving(81)
    assert arriving().untranslated == arriving()


@pytest.mark.parametrize("state", [ConntrackState.INVALID, ConntrackState.UNTRACKED])
def test_only_tracked_packets_are_translated(state: ConntrackState) -> None:
    """NAT works on connections."""
    with pytest.raises(ValueError, match="only what connection tracking follows has its destination translated"):
        arriving(original=Original(1), state=state)


@pytest.mark.parametrize("packet", [arriving(), through()])
def test_only_what_the_host_sends_is_routed_twice(packet: Packet) -> None:
    """Before routing there is no interface to go out on."""
    with pytest.raises(ValueError, match="only what the host sends has a route before"):
        replace(packet, original=Original(1, out_interface="eth1"))


# --------------------------------------------------------------------------------------------------------- untracked

REPLY = leaving(40000, sport=80)

UNTRACKED_CASES: list[tuple[str, Packet, tuple[GlobalNetworkPolicy, ...], str]] = [
    ("an Allow is final", arriving(), (_raw(_to(80)), _normal(DENY)), "allow: default/raw"),
    ("its replies need a rule of their own", REPLY, (_raw(_to(80)), _normal(DENY)), "deny: default/normal"),
    ("by source port", REPLY, (_raw(_to(80), egress=(_from(80),)), _normal(DENY)), "allow: default/raw"),
    ("or a normal Allow", REPLY, (_raw(_to(80)), _normal(_from(80))), "allow: default/normal"),
    ("no match falls to normal policy", arriving(81), (_raw(_to(80)), _normal(ALLOW)), "allow: default/normal"),
    ("and is no end of a tier", arriving(81), (_raw(_to(80)),), "deny: no-policy"),
    ("a Deny is final", arriving(), (_raw(DENY), _normal(ALLOW)), "deny: default/raw"),
    ("a Deny cuts what is established", arriving(state=ESTABLISHED), (_raw(DENY),), "deny: default/raw"),
    ("an Allow takes it from connection tracking", arriving(state=ESTABLISHED), (_raw(ALLOW),), "allow: default/raw"),
    (
        "without a match it goes on as established",
        arriving(81, state=ESTABLISHED),
        (_raw(_to(80)),),
        "allow: established",
    ),
    ("nothing is invalid before connection tracking", arriving(state=INVALID), (_raw(ALLOW),), "allow: default/raw"),
    ("without a match it is", arriving(81, state=INVALID), (_raw(_to(80)),), "deny: invalid"),
    (
        "Pass goes on with the next tier",
        arriving(),
        (_raw(PASS, DENY, tier="hard"), _raw(ALLOW, name="next")),
        "allow: default/next",
    ),
    ("Pass in the last tier falls through", arriving(), (_raw(PASS, DENY), _normal(ALLOW)), "allow: default/normal"),
    ("tiers go in order", arriving(), (_raw(ALLOW), _raw(DENY, name="first", tier="soft")), "deny: soft/first"),
    ("an Allow skips preDNAT policy", arriving(), (_raw(ALLOW), _pre(DENY)), "allow: default/raw"),
    ("one direction says nothing about the other", leaving(), (_raw(DENY), _normal(ALLOW)), "allow: default/normal"),
    ("what is sent meets the egress rules", leaving(), (_raw(egress=(DENY,)), _normal(ALLOW)), "deny: default/raw"),
]


@pytest.mark.parametrize(
    ("name", "packet", "policies", "expected"), UNTRACKED_CASES, ids=[c[0] for c in UNTRACKED_CASES]
)
def test_untracked_policy_comes_before_connection_tracking(
    name: str, packet: Packet, policies: tuple[GlobalNetworkPolicy, ...], expected: str
) -> None:
    """In both directions, packet by packet, whatever its state."""
    assert _fate(explained(packet, *policies, tiers=(SOFT, HARD))) == expected, name


NARROW = Settings(
    failsafe=Failsafe((FailsafePort(TCP, 22, net("10.9.0.0/16")),), (FailsafePort(UDP, 53, net("10.9.0.0/16")),))
)

EXEMPT_CASES: list[tuple[str, Packet, Settings, str | None]] = [
    ("to a port of this host", arriving(22), Settings(), "tcp 22"),
    ("its answers", leaving(40000, sport=22), Settings(), "tcp 22 reply"),
    ("to a port of a peer", leaving(53, UDP), Settings(), "udp 53"),
    ("the answers of that", arriving(40000, UDP, sport=53), Settings(), "udp 53 reply"),
    ("an inbound port is none outward", leaving(22), Settings(), None),
    ("nor its source port inward", arriving(40000, sport=22), Settings(), None),
    ("another protocol", arriving(22, UDP), Settings(), None),
    ("a peer in the net", arriving(22), NARROW, "tcp 10.9.0.0/16 22"),
    ("one that is not", arriving(22, source="10.8.0.1"), NARROW, None),
    ("answers to a peer in the net", leaving(40000, sport=22), NARROW, "tcp 10.9.0.0/16 22 reply"),
    ("answers to one that is not", leaving(40000, destination="10.8.0.1", sport=22), NARROW, None),
    ("answers of a peer in the net", arriving(40000, UDP, sport=53), NARROW, "udp 10.9.0.0/16 53 reply"),
    ("a net is of one family", arriving(22, TCP, PEER6, HOST6), NARROW, None),
]


@pytest.mark.parametrize(("name", "packet", "settings", "failsafe"), EXEMPT_CASES, ids=[c[0] for c in EXEMPT_CASES])
def test_failsafes_exempt_from_untracked_policy(
    name: str, packet: Packet, settings: Settings, failsafe: str | None
) -> None:
    """Both ways, since answers are not yet known to be such; what is exempt goes on and stays tracked."""
    explanation = explained(packet, _raw(DENY, egress=(DENY,)), _normal(ALLOW), settings=settings)

    first = explanation.steps[0]
    if failsafe is None:
        assert _fate(explanation) == "deny: default/raw", name
    else:
        assert (first.verdict, first.reason, first.policy_class) == (
            StepVerdict.NEXT,
            Reason.FAILSAFE,
            PolicyClass.UNTRACKED,
        ), name
        assert f"{first.failsafe}{' reply' if first.reply else ''}" == failsafe
        assert explanation.allowed
        assert explanation.decided_by.policy_class is PolicyClass.NORMAL


def test_an_exempt_answer_still_needs_connection_tracking_to_know_it() -> None:
    """The source port alone opens nothing."""
    answer = leaving(40000, sport=22)

    assert _fate(explained(answer, _raw(egress=(ALLOW,)), _normal(DENY))) == "deny: default/normal"
    known = replace(answer, state=ESTABLISHED)
    assert _fate(explained(known, _raw(egress=(DENY,)), _normal(DENY))) == "allow: established"


SOLICITATION = arriving(None, ICMPV6, PEER6, HOST6, icmp_type=135, icmp_code=0, hop_limit=255)


@pytest.mark.parametrize("policy", [_raw(DENY), _pre(DENY)])
def test_neighbour_discovery_bypasses_every_class(policy: GlobalNetworkPolicy) -> None:
    """Unless the settings have it policed; from beyond the link it is none."""
    policed = Settings(neighbour_discovery=NeighbourDiscovery.POLICED)

    assert _fate(explained(SOLICITATION, policy)) == "allow: neighbour-discovery"
    assert not explained(SOLICITATION, policy, settings=policed).allowed
    assert not explained(replace(SOLICITATION, hop_limit=254), policy).allowed


def test_the_wildcard_has_no_untracked_policy() -> None:
    """It is ignored there, as in Calico, and applies where an endpoint names the interface."""
    endpoints = (hep("all", "*"), hep("b", "eth1"))

    assert _fate(explained(arriving(), _raw(ALLOW), endpoints=endpoints)) == "deny: no-policy"
    assert explained(arriving(interface="eth1"), _raw(ALLOW), endpoints=endpoints).allowed


def test_untracked_traffic_of_others_meets_every_class() -> None:
    """A NOTRACK of somebody else's allows nothing."""
    packet = arriving(state=ConntrackState.UNTRACKED)

    assert _classes(explained(packet, _raw(_to(1)), _pre(_to(1)), _normal(ALLOW))) == [
        (PolicyClass.UNTRACKED, "raw", StepVerdict.NEXT),
        (PolicyClass.PRE_DNAT, "pre", StepVerdict.NEXT),
        (PolicyClass.NORMAL, "normal", StepVerdict.ALLOW),
    ]


# ----------------------------------------------------------------------------------------------------------- preDNAT

PUBLISHED = arriving(8080, original=Original(net("10.0.0.1").address, 80))
"""A packet to port 80 of the host that somebody's NAT sends to port 8080."""
PROXIED = arriving(8080, original=Original(net("203.0.113.1").address, 80, own=False))
"""A packet to port 80 of somebody else, which somebody's NAT sends to port 8080 of the host."""

SSH_MOVED = arriving(2222, original=Original(net("10.0.0.1").address, 22))
MOVED_TO_SSH = arriving(22, original=Original(net("10.0.0.1").address, 2222))

PRE_DNAT_CASES: list[tuple[str, Packet, tuple[GlobalNetworkPolicy, ...], str]] = [
    ("it sees the original port", PUBLISHED, (_pre(_to(80, Action.DENY)), _normal(ALLOW)), "deny: default/pre"),
    ("and not the translated one", PUBLISHED, (_pre(_to(8080, Action.DENY)), _normal(ALLOW)), "allow: default/normal"),
    ("as does normal policy, of the host's own", PUBLISHED, (_pre(), _normal(_to(80))), "allow: default/normal"),
    ("which does not see the translated one", PUBLISHED, (_pre(), _normal(_to(8080))), "deny: end-of-tier default"),
    ("but does of others", PROXIED, (_pre(), _normal(_to(8080))), "allow: default/normal"),
    ("and not the original then", PROXIED, (_pre(), _normal(_to(80))), "deny: end-of-tier default"),
    ("what is not translated is met as it is", arriving(), (_pre(_to(80, Action.DENY)),), "deny: default/pre"),
    ("an Allow skips normal policy", PUBLISHED, (_pre(_to(80)), _normal(DENY)), "allow: default/pre"),
    ("no match falls through", arriving(81), (_pre(_to(80)), _normal(ALLOW)), "allow: default/normal"),
    ("and is no end of a tier", arriving(81), (_pre(_to(80)),), "deny: no-policy"),
    ("Pass falls through", arriving(), (_pre(PASS, DENY), _normal(ALLOW)), "allow: default/normal"),
    ("Pass goes on with the next tier", arriving(), (_pre(PASS, tier="hard"), _pre(DENY, name="q")), "deny: default/q"),
    ("what is established skips it", arriving(state=ESTABLISHED), (_pre(DENY),), "allow: established"),
    ("so does what is related", arriving(state=ConntrackState.RELATED), (_pre(DENY),), "allow: established"),
    ("what is sent never meets it", leaving(), (_pre(DENY), _normal(ALLOW)), "allow: default/normal"),
    ("a failsafe exempts from it", arriving(22), (_pre(DENY), _normal(DENY)), "allow: failsafe"),
    ("by the original port", SSH_MOVED, (_pre(DENY), _normal(DENY)), "allow: failsafe"),
    ("nor exempts the translated one", MOVED_TO_SSH, (_pre(DENY), _normal(ALLOW)), "deny: default/pre"),
    ("answers of failsafes have no part in it", arriving(40000, UDP, sport=53), (_pre(DENY),), "deny: default/pre"),
    ("invalid packets are dropped before it", arriving(22, state=INVALID), (_pre(ALLOW),), "deny: invalid"),
]


@pytest.mark.parametrize(("name", "packet", "policies", "expected"), PRE_DNAT_CASES, ids=[c[0] for c in PRE_DNAT_CASES])
def test_pre_dnat_policy_sees_what_the_sender_meant(
    name: str, packet: Packet, policies: tuple[GlobalNetworkPolicy, ...], expected: str
) -> None:
    """New packets alone, on their way in, before destination NAT."""
    assert _fate(explained(packet, *policies, tiers=(SOFT, HARD))) == expected, name


def test_invalid_packets_meet_pre_dnat_policy_where_the_settings_say_so() -> None:
    """Connection tracking comes before this class, unlike untracked policy."""
    policed = Settings(invalid_packets=InvalidPackets.POLICED)

    explanation = explained(arriving(state=INVALID), _pre(ALLOW), settings=policed)

    assert _fate(explanation) == "allow: default/pre"


WILDCARD = hep("all", "*", labels={"wild": ""})


@pytest.mark.parametrize(
    ("name", "packet", "own", "settings", "expected"),
    [
        ("without an endpoint", arriving(interface="eth1"), (), Settings(), "deny: default/wild"),
        ("whose own endpoint has none", arriving(), (hep("e", "eth0"),), Settings(), "deny: default/wild"),
        (
            "whose own endpoint has some",
            arriving(),
            (hep("e", "eth0", labels={"own": ""}),),
            Settings(),
            "allow: default/own",
        ),
        ("but not an exempt lo", arriving(interface="lo"), (), Settings(), "allow: loopback"),
        (
            "and lo where it is policed",
            arriving(interface="lo"),
            (),
            Settings(loopback=Loopback.POLICED),
            "deny: default/wild",
        ),
    ],
)
def test_the_wildcards_pre_dnat_policy_applies_to_an_interface(
    name: str, packet: Packet, own: tuple[HostEndpoint, ...], settings: Settings, expected: str
) -> None:
    """The endpoint of the interface has no preDNAT policy itself."""
    policies = (_pre(DENY, name="wild", selector="has(wild)"), _pre(ALLOW, name="own", selector="has(own)"))

    assert _fate(explained(packet, *policies, endpoints=(*own, WILDCARD), settings=settings)) == expected, name


# --------------------------------------------------------------------------------------------------------- forwarded

FORWARDED = replace(through(8080), original=Original(net("10.0.0.1").address, 80))
"""To port 80 of this host, which somebody's NAT publishes from a machine behind it."""


MOVED_TO_80 = Original(net("10.0.0.1").address, 22)
THEIRS = Settings(published_ports=PublishedPorts.THEIRS)

PASSING = replace(through(8080), original=Original(net("203.0.113.1").address, 80, own=False))
"""To port 80 of somebody else, which somebody's NAT sends to a machine behind this host."""


def _on_a(*rules: Rule) -> GlobalNetworkPolicy:
    """A policy for what comes in to the host itself on `a`."""
    return gnp("on-a", selector="on == 'a'", ingress=rules)


def _forward(name: str, on: str, *rules: Rule) -> GlobalNetworkPolicy:
    """An applyOnForward policy: ingress on `a`, egress on `b`."""
    if on == "a":
        return gnp(name, selector="on == 'a'", ingress=rules, forward=True)
    return gnp(name, selector="on == 'b'", egress=rules, types=EGRESS, forward=True)


FORWARD_CASES: list[tuple[str, Packet, tuple[GlobalNetworkPolicy, ...], str]] = [
    ("untracked policy applies", through(), (_raw(DENY),), "deny: default/raw"),
    ("its Allow skips the way in", through(), (_raw(ALLOW), _forward("in", "a", DENY)), "allow: default/raw"),
    ("and not the way out", through(), (_raw(ALLOW), _forward("out", "b", DENY)), "deny: default/out"),
    ("where the last Allow decides", through(), (_raw(ALLOW), _forward("out", "b", ALLOW)), "allow: default/out"),
    (
        "a connection that it takes from tracking is not established on the way out",
        through(state=ESTABLISHED),
        (_raw(ALLOW), _forward("out", "b", DENY)),
        "deny: default/out",
    ),
    (
        "nor invalid",
        through(state=INVALID),
        (_raw(ALLOW), _forward("out", "b", ALLOW)),
        "allow: default/out",
    ),
    (
        "what it leaves open is established",
        through(state=ESTABLISHED),
        (_raw(_to(1)), _forward("in", "a", DENY)),
        "allow: established",
    ),
    ("untracked egress has no part in it", through(), (_raw(egress=(DENY,)),), "allow: no-forward-policy"),
    (
        "what is untracked stays untranslated",
        FORWARDED,
        (_raw(_to(80)), _forward("out", "b", _to(80))),
        "allow: default/out",
    ),
    ("preDNAT policy applies", through(), (_pre(DENY),), "deny: default/pre"),
    ("and sees the original", FORWARDED, (_pre(_to(80, Action.DENY)),), "deny: default/pre"),
    ("its Allow skips the way in", FORWARDED, (_pre(_to(80)), _forward("in", "a", DENY)), "allow: default/pre"),
    ("and not the way out", FORWARDED, (_pre(_to(80)), _forward("out", "b", DENY)), "deny: default/out"),
    (
        "which sees the translated one",
        FORWARDED,
        (_pre(_to(80)), _forward("out", "b", _to(8080))),
        "allow: default/out",
    ),
    (
        "as does the way in, once the original is allowed",
        FORWARDED,
        (_pre(), _on_a(_to(80)), _forward("in", "a", _to(8080))),
        "allow: default/in",
    ),
    ("which is policy for the host itself", FORWARDED, (_on_a(_to(8080)),), "deny: end-of-tier default"),
    ("and enough where no other forbids it", FORWARDED, (_on_a(_to(80)),), "allow: default/on-a"),
    ("though not to get past one", FORWARDED, (_on_a(_to(80)), _forward("out", "b", DENY)), "deny: default/out"),
    ("nor is it asked of what others publish", PASSING, (_on_a(DENY),), "allow: no-forward-policy"),
    ("a failsafe exempts from preDNAT", through(22), (_pre(DENY),), "allow: no-forward-policy"),
    ("and from untracked policy", through(22), (_raw(DENY),), "allow: no-forward-policy"),
    ("and opens nothing after it", through(22), (_pre(DENY), _forward("in", "a", DENY)), "deny: default/in"),
    ("no match goes on", through(81), (_raw(_to(80)), _pre(_to(80))), "allow: no-forward-policy"),
]


@pytest.mark.parametrize(("name", "packet", "policies", "expected"), FORWARD_CASES, ids=[c[0] for c in FORWARD_CASES])
def test_forwarded_traffic_meets_the_classes_before_it_is_routed(
    name: str, packet: Packet, policies: tuple[GlobalNetworkPolicy, ...], expected: str
) -> None:
    """Allowed packets have met the policy on the way in, and still meet the one on the way out."""
    assert _fate(explained(packet, *policies, endpoints=A_AND_B)) == expected, name


@pytest.mark.parametrize(
    ("name", "packet", "endpoints", "settings", "expected"),
    [
        ("who publishes it decides", FORWARDED, A_AND_B, THEIRS, "allow: no-forward-policy"),
        ("and where it is sent on to", PUBLISHED, A_AND_B, THEIRS, "deny: end-of-tier default"),
        ("no HostEndpoint has a say", FORWARDED, A_AND_B[1:], Settings(), "allow: no-forward-policy"),
        (
            "the wildcard has",
            FORWARDED,
            (hep("all", "*", labels={"on": "a"}),),
            Settings(),
            "deny: end-of-tier default",
        ),
        ("failsafes are open", replace(FORWARDED, original=MOVED_TO_80), A_AND_B, Settings(), "allow: failsafe"),
        (
            "established is established",
            replace(FORWARDED, state=ESTABLISHED),
            A_AND_B,
            Settings(),
            "allow: established",
        ),
    ],
)
def test_a_published_port_is_judged_by_whom_it_is_said_to_be(
    name: str, packet: Packet, endpoints: tuple[HostEndpoint, ...], settings: Settings, expected: str
) -> None:
    """By the policy of the interface, as the setting says, and by failsafes as every port of the host."""
    policies = (_on_a(_to(1)),)

    assert _fate(explained(packet, *policies, endpoints=endpoints, settings=settings)) == expected, name


def test_every_step_names_its_class() -> None:
    """In the order of the hooks."""
    policies = (_raw(_to(1)), _pre(_to(1)), _forward("in", "a", ALLOW), _forward("out", "b", ALLOW))

    assert _classes(explained(through(), *policies, endpoints=A_AND_B)) == [
        (PolicyClass.UNTRACKED, "raw", StepVerdict.NEXT),
        (PolicyClass.PRE_DNAT, "pre", StepVerdict.NEXT),
        (PolicyClass.FORWARD, "in", StepVerdict.ALLOW),
        (PolicyClass.FORWARD, "out", StepVerdict.ALLOW),
    ]


# ------------------------------------------------------------------------------------------ what the host sends, NAT

SENT = leaving(8080, interface="eth1", destination="192.168.1.9", original=Original(net(PEER).address, 80, "eth0"))
"""To port 80 of a peer behind eth0, which a proxy's NAT sends to port 8080 of another behind eth1."""


def _egress(on: str, *rules: Rule, untracked: bool = False) -> GlobalNetworkPolicy:
    return gnp(f"on-{on}", selector=f"on == '{on}'", egress=rules, types=EGRESS, untracked=untracked)


@pytest.mark.parametrize(
    ("name", "policies", "expected"),
    [
        ("it goes out on the new interface", (_egress("a", DENY), _egress("b", ALLOW)), "allow: default/on-b"),
        ("and is denied there", (_egress("a", ALLOW), _egress("b", DENY)), "deny: default/on-b"),
        ("to the translated port", (_egress("b", _to(8080)),), "allow: default/on-b"),
        ("and not the original", (_egress("b", _to(80)),), "deny: end-of-tier default"),
        ("at the translated address", (_egress("b", _to_net("192.168.1.9/32", Action.ALLOW)),), "allow: default/on-b"),
        (
            "untracked policy meets it on the first interface, untranslated",
            (_egress("a", _to(80), untracked=True), _egress("b", DENY)),
            "allow: default/on-a",
        ),
        (
            "and not on the new one",
            (_egress("b", DENY, untracked=True), gnp("p", egress=(ALLOW,), types=EGRESS)),
            "allow: default/p",
        ),
    ],
)
def test_the_egress_policy_of_what_nat_redirects(
    name: str, policies: tuple[GlobalNetworkPolicy, ...], expected: str
) -> None:
    """It is met in postrouting, the first hook that knows the second route."""
    assert _fate(explained(SENT, *policies, endpoints=A_AND_B)) == expected, name


@pytest.mark.parametrize(
    ("name", "packet", "expected"),
    [
        (
            "a failsafe is of the translated port",
            replace(SENT, protocol=UDP.number, destination_port=53),
            "allow: failsafe",
        ),
        ("to the host itself it goes on lo", replace(SENT, out_interface="lo"), "allow: loopback"),
        ("established", replace(SENT, state=ESTABLISHED), "allow: established"),
        ("on an unmanaged interface", replace(SENT, out_interface="tun7"), "deny: unmanaged-interface"),
    ],
)
def test_what_nat_redirects_is_local_traffic_otherwise(name: str, packet: Packet, expected: str) -> None:
    """Nothing else about it is special."""
    settings = Settings(unmanaged_interfaces=UnmanagedInterfaces(Unmanaged.DENY, Unmanaged.DENY))

    assert _fate(explained(packet, _normal(DENY), endpoints=A_AND_B, settings=settings)) == expected, name


# ------------------------------------------------------------------------------------------------------------ staged


def _staged(*rules: Rule, name: str = "try", order: float = 1, **more: object) -> StagedGlobalNetworkPolicy:
    """A staged policy that comes before all others of its tier."""
    return staged(gnp(name, ingress=rules, order=order, **more))  # type: ignore[arg-type]


def _would_be(explanation: Explanation) -> list[str]:
    return [f"{step.policy}: {step.action}" for step in explanation.staged]


Policies = tuple[GlobalNetworkPolicy | StagedGlobalNetworkPolicy, ...]

STAGED_CASES: list[tuple[str, Policies, str, list[str]]] = [
    ("a Deny denies nothing", (_staged(DENY), _normal(ALLOW)), "allow: default/normal", ["try: Deny"]),
    ("an Allow allows nothing", (_staged(ALLOW), _normal(DENY)), "deny: default/normal", ["try: Allow"]),
    ("a Pass passes nothing", (_staged(PASS), _normal(DENY)), "deny: default/normal", ["try: Pass"]),
    (
        "the first rule that matches is the one",
        (_staged(_to(1), ALLOW, DENY), _normal(DENY)),
        "deny: default/normal",
        ["try: Allow"],
    ),
    ("a Log goes on with the next rule", (_staged(LOG, DENY), _normal(ALLOW)), "allow: default/normal", ["try: Deny"]),
    ("no match is no would-be verdict", (_staged(_to(1)), _normal(ALLOW)), "allow: default/normal", []),
    (
        "each staged policy has its say",
        (_staged(DENY), _staged(PASS, name="other", order=2), _staged(ALLOW, name="third", order=3), _normal(ALLOW)),
        "allow: default/normal",
        ["try: Deny", "other: Pass", "third: Allow"],
    ),
    ("what is decided before is not met", (_staged(DENY), _normal(ALLOW, order=0)), "allow: default/normal", []),
    ("nor what a Pass leaves behind", (_staged(DENY), _normal(PASS, order=0)), "deny: no-profile-match", []),
    ("alone it is not a policy", (_staged(ALLOW),), "deny: no-policy", ["try: Allow"]),
    ("a tier of it alone has no end", (_staged(_to(1), tier="hard"), _normal(ALLOW)), "allow: default/normal", []),
    ("a tier of more has one", (_staged(_to(1)), _normal(_to(1))), "deny: end-of-tier default", []),
    (
        "untracked it changes nothing",
        (_staged(DENY, untracked=True), _normal(ALLOW)),
        "allow: default/normal",
        ["try: Deny"],
    ),
    ("nor allows", (_staged(ALLOW, untracked=True), _normal(DENY)), "deny: default/normal", ["try: Allow"]),
    ("nor before NAT", (_staged(DENY, pre_dnat=True), _normal(ALLOW)), "allow: default/normal", ["try: Deny"]),
]


@pytest.mark.parametrize(("name", "policies", "expected", "would_be"), STAGED_CASES, ids=[c[0] for c in STAGED_CASES])
def test_staged_policies_say_what_they_would_do(
    name: str, policies: Policies, expected: str, would_be: list[str]
) -> None:
    """In their place among the others, and without any effect."""
    explanation = explained(arriving(), *policies, tiers=(SOFT, HARD))

    assert (_fate(explanation), _would_be(explanation)) == (expected, would_be), name
    assert all(step.verdict is StepVerdict.NEXT for step in explanation.staged)


def test_profiles_decide_where_policies_are_staged_alone() -> None:
    """As without them."""
    allowing = profile("open", ingress=(ALLOW,))

    explanation = explained(
        arriving(), _staged(DENY), endpoints=(hep("e", "eth0", profiles=("open",)),), profiles=(allowing,)
    )

    assert _fate(explanation) == "allow: open"


def test_a_staged_log_is_a_step_and_no_log() -> None:
    """`logged_by` is what the enforced rules log."""
    explanation = explained(arriving(), _staged(LOG, ALLOW), _normal(LOG, ALLOW))

    assert [(s.policy, s.action, s.staged, s.missed) for s in explanation.steps] == [
        ("try", Action.LOG, True, ""),
        ("try", Action.ALLOW, True, ""),
        ("normal", Action.LOG, False, ""),
        ("normal", Action.ALLOW, False, ""),
    ]
    assert explanation.logged_by == (explanation.steps[2],)
    assert explanation.staged == (explanation.steps[1],)
    assert explanation.steps[0].rule is not None
    assert explanation.steps[0].rule.kind == "StagedGlobalNetworkPolicy"


@pytest.mark.parametrize(
    ("name", "packet", "policy", "expected"),
    [
        ("on forward", through(), _staged(DENY, forward=True), "allow: no-forward-policy"),
        ("on forward, invalid", through(state=INVALID), _staged(DENY, forward=True), "allow: no-forward-policy"),
        ("before NAT, invalid", through(state=INVALID), _staged(DENY, pre_dnat=True), "allow: no-forward-policy"),
        ("untracked", through(state=INVALID), _staged(ALLOW, untracked=True), "allow: no-forward-policy"),
    ],
)
def test_staged_policies_change_nothing_about_forwarded_traffic(
    name: str, packet: Packet, policy: StagedGlobalNetworkPolicy, expected: str
) -> None:
    """Invalid packets are dropped on account of enforced policy alone."""
    explanation = explained(packet, policy, endpoints=A_AND_B)

    assert _fate(explanation) == expected, name
    assert len(explanation.staged) == 1
    assert explanation.staged[0].direction is Direction.INGRESS
