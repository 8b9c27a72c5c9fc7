"""The fate of a packet and its reason: the reference semantics."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.explain.rule_match import _is_member, first_mismatch
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.plan import AddressSet
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Resources, Rule, Tier
from hostfw.model.settings import (
    CALICO_COMPATIBLE,
    Failsafe,
    FailsafePort,
    InvalidPackets,
    Loopback,
    NeighbourDiscovery,
    Settings,
    Unmanaged,
    UnmanagedInterfaces,
)
from hostfw.model.values import ICMP, ICMPV6, SCTP, TCP, UDP, Action, Direction, Family, Icmp, Protocol, merge
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.packet_builders import (
    HOST,
    HOST6,
    ON_ETH0,
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
    LOG,
    PASS,
    at,
    facts,
    gnp,
    hep,
    net,
    profile,
    rule,
    side,
    tier,
)

INVALID = ConntrackState.INVALID


# --------------------------------------------------------------------------------------------------------- a packet


def test_a_packet_takes_the_path_that_its_interfaces_say() -> None:
    """In alone is for the host, out alone from it, both through it."""
    assert [p.path for p in (arriving(), leaving(), through())] == [Path.LOCAL_IN, Path.LOCAL_OUT, Path.FORWARDED]
    assert through().hops == (("eth0", Direction.INGRESS), ("eth1", Direction.EGRESS))


def test_a_packet_without_interfaces_is_none() -> None:
    """Nothing on a host has neither."""
    with pytest.raises(ValueError, match="a packet comes in on an interface, goes out on one, or both"):
        replace(arriving(), in_interface=None)


# ------------------------------------------------------------------------------------------------- tiers and actions

ONE, TWO = tier("one", 1), tier("two", 2)
SOFT = tier("soft", 1, Action.PASS)

TIER_CASES: list[tuple[str, tuple[GlobalNetworkPolicy, ...], tuple[Tier, ...], tuple[bool, Reason, str]]] = [
    ("allow", (gnp("p", ingress=(ALLOW,)),), (), (True, Reason.RULE, "default/p")),
    ("deny", (gnp("p", ingress=(DENY,)),), (), (False, Reason.RULE, "default/p")),
    ("the first rule that matches decides", (gnp("p", ingress=(ALLOW, DENY)),), (), (True, Reason.RULE, "default/p")),
    (
        "policies by order",
        (gnp("a", order=2, ingress=(DENY,)), gnp("b", order=1, ingress=(ALLOW,))),
        (),
        (True, Reason.RULE, "default/b"),
    ),
    (
        "policies by name/namespace/kind",
        (gnp("ab", ingress=(DENY,)), gnp("ab-c", ingress=(ALLOW,))),
        (),
        (True, Reason.RULE, "default/ab-c"),
    ),
    ("a Log goes on", (gnp("p", ingress=(LOG, ALLOW)),), (), (True, Reason.RULE, "default/p")),
    (
        "a Log alone still ends in the tier's drop",
        (gnp("p", ingress=(LOG,)),),
        (),
        (False, Reason.END_OF_TIER, "default"),
    ),
    ("a policy without rules too", (gnp("p"),), (), (False, Reason.END_OF_TIER, "default")),
    (
        "the next policy of the tier has the word after no match",
        (gnp("a"), gnp("b", ingress=(ALLOW,))),
        (),
        (True, Reason.RULE, "default/b"),
    ),
    (
        "an Allow in an earlier tier is final",
        (gnp("a", tier="one", ingress=(ALLOW,)), gnp("b", ingress=(DENY,))),
        (ONE,),
        (True, Reason.RULE, "one/a"),
    ),
    (
        "a Deny too",
        (gnp("a", tier="one", ingress=(DENY,)), gnp("b", ingress=(ALLOW,))),
        (ONE,),
        (False, Reason.RULE, "one/a"),
    ),
    (
        "Pass goes on with the next tier",
        (gnp("a", tier="one", ingress=(PASS, DENY)), gnp("b", ingress=(ALLOW,))),
        (ONE,),
        (True, Reason.RULE, "default/b"),
    ),
    (
        "Pass skips the tier's other policies",
        (gnp("a", tier="one", ingress=(PASS,)), gnp("b", tier="one", ingress=(DENY,)), gnp("c", ingress=(ALLOW,))),
        (ONE,),
        (True, Reason.RULE, "default/c"),
    ),
    (
        "Pass in the last tier leaves it to the profiles",
        (gnp("a", ingress=(PASS,)),),
        (),
        (False, Reason.NO_PROFILE_MATCH, ""),
    ),
    (
        "a Deny tier drops what it does not decide",
        (gnp("a", tier="one"), gnp("b", ingress=(ALLOW,))),
        (ONE,),
        (False, Reason.END_OF_TIER, "one"),
    ),
    (
        "a Pass tier passes it on",
        (gnp("a", tier="soft"), gnp("b", ingress=(ALLOW,))),
        (SOFT,),
        (True, Reason.RULE, "default/b"),
    ),
    ("to the profiles in the end", (gnp("a", tier="soft"),), (SOFT,), (False, Reason.NO_PROFILE_MATCH, "")),
    (
        "a tier that selects the endpoint in the other direction alone does not drop",
        (gnp("a", tier="one", types=EGRESS), gnp("b", ingress=(ALLOW,))),
        (ONE,),
        (True, Reason.RULE, "default/b"),
    ),
    (
        "nor one that selects other endpoints",
        (gnp("a", tier="one", selector="has(x)"), gnp("b", ingress=(ALLOW,))),
        (ONE,),
        (True, Reason.RULE, "default/b"),
    ),
    (
        "tiers by order",
        (gnp("a", tier="one", ingress=(DENY,)), gnp("b", tier="two", ingress=(ALLOW,))),
        (TWO, ONE),
        (False, Reason.RULE, "one/a"),
    ),
    (
        "types hides the rules of a direction",
        (gnp("p", types=EGRESS, ingress=(ALLOW,)),),
        (),
        (False, Reason.NO_POLICY, ""),
    ),
    (
        "nothing selects the endpoint",
        (gnp("p", selector="has(x)", ingress=(ALLOW,)),),
        (),
        (False, Reason.NO_POLICY, ""),
    ),
]


@pytest.mark.parametrize(("name", "policies", "tiers", "expected"), TIER_CASES, ids=[c[0] for c in TIER_CASES])
def test_tiers_decide_in_order(
    name: str, policies: tuple[GlobalNetworkPolicy, ...], tiers: tuple[Tier, ...], expected: tuple[bool, Reason, str]
) -> None:
    """First match within a tier, Pass to the next, the tier's default action at its end."""
    assert outcome_of(explained(arriving(), *policies, tiers=tiers)) == expected, name


PROFILE_CASES: list[tuple[str, tuple[str, ...], tuple[GlobalNetworkPolicy, ...], tuple[bool, Reason, str]]] = [
    ("a profile allows", ("allows",), (), (True, Reason.RULE, "allows")),
    ("the first that decides", ("denies", "allows"), (), (False, Reason.RULE, "denies")),
    ("one without a match leaves it to the next", ("silent", "allows"), (), (True, Reason.RULE, "allows")),
    ("Pass in a profile too", ("passes", "allows"), (), (True, Reason.RULE, "allows")),
    ("no match in any", ("silent", "passes"), (), (False, Reason.NO_PROFILE_MATCH, "")),
    ("the built-in one", ("projectcalico-default-allow",), (), (True, Reason.RULE, "projectcalico-default-allow")),
    ("not after the end of a tier", ("allows",), (gnp("p"),), (False, Reason.END_OF_TIER, "default")),
    ("after a Pass", ("allows",), (gnp("p", ingress=(PASS,)),), (True, Reason.RULE, "allows")),
    ("after policies of the other direction", ("allows",), (gnp("p", types=EGRESS),), (True, Reason.RULE, "allows")),
]


@pytest.mark.parametrize(("name", "listed", "policies", "expected"), PROFILE_CASES, ids=[c[0] for c in PROFILE_CASES])
def test_profiles_decide_what_tiers_leave_open(
    name: str, listed: tuple[str, ...], policies: tuple[GlobalNetworkPolicy, ...], expected: tuple[bool, Reason, str]
) -> None:
    """In the order that the endpoint lists them; the end is a drop."""
    profiles = (
        profile("allows", ingress=(ALLOW,)),
        profile("denies", ingress=(DENY,)),
        profile("passes", ingress=(PASS, DENY)),
        profile("silent", ingress=(LOG,), egress=(ALLOW,)),
    )

    explanation = explained(arriving(), *policies, endpoints=(hep("web", "eth0", profiles=listed),), profiles=profiles)

    assert outcome_of(explanation) == expected, name


def test_an_endpoint_denies_both_directions_the_moment_it_exists() -> None:
    """An ingress policy leaves egress to profiles, and without any to the drop."""
    ingress_only = gnp("p", ingress=(ALLOW,))

    assert outcome_of(explained(arriving(), ingress_only)) == (True, Reason.RULE, "default/p")
    assert outcome_of(explained(leaving(), ingress_only)) == (False, Reason.NO_POLICY, "")
    assert outcome_of(explained(arriving())) == (False, Reason.NO_POLICY, "")


# ------------------------------------------------------------------------------------------------ before any policy

SHUT = gnp("shut", types=BOTH, ingress=(DENY,), egress=(DENY,), forward=True)
OPEN = gnp("open", types=BOTH, ingress=(ALLOW,), egress=(ALLOW,), forward=True)
NDP = [arriving(None, ICMPV6, PEER6, HOST6, icmp_type=t, icmp_code=0, hop_limit=255) for t in (133, 134, 135, 136)]
LINK6 = "fe80::9"
MLD = [arriving(None, ICMPV6, LINK6, HOST6, icmp_type=t, icmp_code=0, hop_limit=1) for t in (130, 131, 132, 143)]
IGMP = arriving(None, Protocol(2), "192.0.2.9", "224.0.0.1", hop_limit=1)
REDIRECT = arriving(None, ICMP, icmp_type=5, icmp_code=1, state=ConntrackState.RELATED)


@pytest.mark.parametrize("state", [ConntrackState.ESTABLISHED, ConntrackState.RELATED])
@pytest.mark.parametrize(
    "packet", [arriving(), leaving(), through(), arriving(interface="eth1"), arriving(interface="lo")]
)
def test_established_and_related_traffic_is_accepted_first_in_every_hook(packet: Packet, state: ConntrackState) -> None:
    """A new Deny does not cut what runs."""
    explanation = explained(replace(packet, state=state), SHUT)

    assert outcome_of(explanation) == (True, Reason.ESTABLISHED, "")
    assert len(explanation.steps) == 1


@pytest.mark.parametrize("packet", [REDIRECT, replace(REDIRECT, out_interface="eth1")])
def test_a_redirect_meets_policy_related_as_it_is(packet: Packet) -> None:
    """Whoever can send one would else move the connections of a host to themselves."""
    assert outcome_of(explained(packet, SHUT)) == (False, Reason.RULE, "default/shut")
    assert outcome_of(explained(packet, OPEN)) == (True, Reason.RULE, "default/open")
    assert outcome_of(explained(replace(packet, icmp_type=3), SHUT)) == (True, Reason.ESTABLISHED, "")


@pytest.mark.parametrize("packet", [arriving(), leaving(), through()])
def test_untracked_traffic_meets_policy(packet: Packet) -> None:
    """It is neither established nor invalid."""
    untracked = replace(packet, state=ConntrackState.UNTRACKED)

    assert outcome_of(explained(untracked, SHUT)) == (False, Reason.RULE, "default/shut")
    assert outcome_of(explained(untracked, OPEN)) == (True, Reason.RULE, "default/open")


@pytest.mark.parametrize(
    ("name", "endpoints", "settings", "expected"),
    [
        ("exempt without a HostEndpoint", (), Settings(), (True, Reason.LOOPBACK, "")),
        ("exempt from the wildcard", (hep("all", "*"),), Settings(), (True, Reason.LOOPBACK, "")),
        ("governed by one that names it", (hep("self", "lo"),), Settings(), (False, Reason.RULE, "default/shut")),
        (
            "governed by the wildcard where policed",
            (hep("all", "*"),),
            Settings(loopback=Loopback.POLICED),
            (False, Reason.RULE, "default/shut"),
        ),
        (
            "exempt where policed but ungoverned",
            (ON_ETH0,),
            Settings(loopback=Loopback.POLICED),
            (True, Reason.LOOPBACK, ""),
        ),
    ],
)
@pytest.mark.parametrize("packet", [arriving(interface="lo"), leaving(interface="lo")])
def test_lo_is_exempt_unless_a_host_endpoint_governs_it(
    name: str,
    endpoints: tuple[HostEndpoint, ...],
    settings: Settings,
    expected: tuple[bool, Reason, str],
    packet: Packet,
) -> None:
    """In both directions."""
    assert outcome_of(explained(packet, SHUT, endpoints=endpoints, settings=settings)) == expected, name


@pytest.mark.parametrize("packet", [*NDP, *MLD, replace(MLD[3], source=0), IGMP, replace(IGMP, source=0)])
def test_neighbour_discovery_and_multicast_membership_bypass_policy(packet: Packet) -> None:
    """On governed and unmanaged interfaces, in and out, whatever conntrack thinks of them."""
    outward = replace(packet, in_interface=None, out_interface="eth0")
    for variant in (packet, outward, replace(packet, in_interface="eth1"), replace(packet, state=INVALID)):
        assert outcome_of(explained(variant, SHUT)) == (True, Reason.NEIGHBOUR_DISCOVERY, "")


@pytest.mark.parametrize(
    ("name", "packet", "settings"),
    [
        ("from beyond the link", replace(NDP[2], hop_limit=254), Settings()),
        ("another type", replace(NDP[2], icmp_type=128), Settings()),
        ("a multicast query from beyond the link", replace(MLD[0], source=NDP[0].source), Settings()),
        ("a report that a router has passed on", replace(MLD[3], hop_limit=64), Settings()),
        ("a report that claims to come from the link", replace(MLD[3], hop_limit=255), Settings()),
        ("redirects", replace(NDP[2], icmp_type=137), Settings()),
        ("the same numbers over IPv4", arriving(None, ICMPV6, icmp_type=135, hop_limit=255), Settings()),
        ("another protocol", replace(NDP[2], protocol=59), Settings()),
        ("where the settings police it", NDP[2], Settings(neighbour_discovery=NeighbourDiscovery.POLICED)),
        ("in Calico's way", MLD[0], CALICO_COMPATIBLE),
        ("forwarded", replace(NDP[2], out_interface="eth1"), Settings()),
        ("IGMP to one host", replace(IGMP, destination=arriving().destination), Settings()),
        ("IGMP below the groups", replace(IGMP, destination=(224 << 24) - 1), Settings()),
        ("IGMP above the groups", replace(IGMP, destination=240 << 24), Settings()),
        ("IGMP that a router may have passed on", replace(IGMP, hop_limit=2), Settings()),
        ("its number over IPv6", replace(NDP[2], protocol=2, hop_limit=1, destination=0xFF02 << 112), Settings()),
        ("IGMP in Calico's way", IGMP, CALICO_COMPATIBLE),
        ("IGMP that is forwarded", replace(IGMP, out_interface="eth1"), Settings()),
    ],
)
def test_what_is_no_neighbour_discovery_meets_policy(name: str, packet: Packet, settings: Settings) -> None:
    """The hop limit of 255 proves a neighbour, and for multicast listeners a hop limit of 1 and a link-local source."""
    assert outcome_of(explained(packet, SHUT, settings=settings)) == (False, Reason.RULE, "default/shut"), name


@pytest.mark.parametrize(
    ("name", "packet", "policies", "expected"),
    [
        ("dropped before an Allow", arriving(state=INVALID), (OPEN,), (False, Reason.INVALID, "")),
        ("outward", leaving(state=INVALID), (OPEN,), (False, Reason.INVALID, "")),
        ("before a failsafe", arriving(22, state=INVALID), (OPEN,), (False, Reason.INVALID, "")),
        ("forwarded under policy", through(state=INVALID), (OPEN,), (False, Reason.INVALID, "")),
        ("forwarded without", through(state=INVALID), (), (True, Reason.NO_FORWARD_POLICY, "")),
        (
            "on a closed unmanaged interface",
            arriving(22, interface="eth1", state=INVALID),
            (),
            (False, Reason.INVALID, ""),
        ),
        ("on an open one", leaving(interface="eth1", state=INVALID), (), (True, Reason.UNMANAGED, "")),
        ("on lo", arriving(interface="lo", state=INVALID), (), (True, Reason.LOOPBACK, "")),
    ],
)
def test_invalid_packets_are_dropped_where_something_governs(
    name: str, packet: Packet, policies: tuple[GlobalNetworkPolicy, ...], expected: tuple[bool, Reason, str]
) -> None:
    """The drop comes before failsafes."""
    assert outcome_of(explained(packet, *policies)) == expected, name


def test_invalid_packets_meet_policy_where_the_settings_say_so() -> None:
    """Asymmetric routing needs it."""
    policed = Settings(invalid_packets=InvalidPackets.POLICED)

    assert outcome_of(explained(arriving(state=INVALID), OPEN, settings=policed)) == (True, Reason.RULE, "default/open")
    assert outcome_of(explained(arriving(22, state=INVALID), SHUT, settings=policed)) == (True, Reason.FAILSAFE, "")


NARROW = Settings(
    failsafe=Failsafe(
        inbound=(FailsafePort(TCP, 22, net("10.9.0.0/16")),), outbound=(FailsafePort(UDP, 53, net("2001:db8::/32")),)
    )
)


@pytest.mark.parametrize(
    ("name", "packet", "settings", "failsafe"),
    [
        ("ssh in", arriving(22), Settings(), "tcp 22"),
        ("DHCP in", arriving(68, UDP), Settings(), "udp 68"),
        ("DNS out", leaving(53, UDP), Settings(), "udp 53"),
        ("DNS over TCP out", leaving(53), Settings(), "tcp 53"),
        ("over IPv6", arriving(22, source=PEER6, destination=HOST6), Settings(), "tcp 22"),
        ("ssh out", leaving(22), Settings(), None),
        ("the port of another protocol", arriving(22, UDP), Settings(), None),
        ("another port", arriving(23), Settings(), None),
        ("a source port", replace(arriving(80), source_port=22), Settings(), None),
        ("forwarded", through(22), Settings(), None),
        ("from a peer in the net", arriving(22), NARROW, "tcp 10.9.0.0/16 22"),
        ("from one that is not", arriving(22, source="10.8.0.1"), NARROW, None),
        ("a net is of one family", arriving(22, source=PEER6, destination=HOST6), NARROW, None),
        ("to a peer in the net", leaving(53, UDP, HOST6, PEER6), NARROW, "udp 2001:db8::/32 53"),
        ("to one that is not", leaving(53, UDP, HOST6, "fd00::1"), NARROW, None),
        ("none left", arriving(22), Settings(failsafe=Failsafe((), ())), None),
        ("Calico's own", arriving(6443), CALICO_COMPATIBLE, "tcp 6443"),
    ],
)
def test_failsafes_come_before_policy(name: str, packet: Packet, settings: Settings, failsafe: str | None) -> None:
    """By destination port and the peer's address, for local traffic alone."""
    decided = explained(packet, SHUT, settings=settings).decided_by

    assert decided.reason is (Reason.RULE if failsafe is None else Reason.FAILSAFE), name
    assert (None if decided.failsafe is None else str(decided.failsafe)) == failsafe, name


# --------------------------------------------------------------------------------------------- unmanaged interfaces

ALLOWING = UnmanagedInterfaces(Unmanaged.ALLOW, Unmanaged.ALLOW)
DENYING = UnmanagedInterfaces(Unmanaged.DENY, Unmanaged.DENY)


@pytest.mark.parametrize(
    ("name", "packet", "unmanaged", "expected"),
    [
        ("closed inward", arriving(interface="eth1"), UnmanagedInterfaces(), (False, Reason.UNMANAGED, "")),
        ("open outward", leaving(interface="eth1"), UnmanagedInterfaces(), (True, Reason.UNMANAGED, "")),
        ("failsafes pass", arriving(22, interface="eth1"), UnmanagedInterfaces(), (True, Reason.FAILSAFE, "")),
        ("open inward", arriving(interface="eth1"), ALLOWING, (True, Reason.UNMANAGED, "")),
        ("open before failsafes", arriving(22, interface="eth1"), ALLOWING, (True, Reason.UNMANAGED, "")),
        ("closed outward", leaving(interface="eth1"), DENYING, (False, Reason.UNMANAGED, "")),
        ("failsafes pass outward", leaving(53, UDP, interface="eth1"), DENYING, (True, Reason.FAILSAFE, "")),
        (
            "an interface that nobody has heard of",
            arriving(interface="tun7"),
            UnmanagedInterfaces(),
            (False, Reason.UNMANAGED, ""),
        ),
    ],
)
def test_an_unmanaged_interface_does_what_the_settings_say(
    name: str, packet: Packet, unmanaged: UnmanagedInterfaces, expected: tuple[bool, Reason, str]
) -> None:
    """No policy reaches it."""
    settings = Settings(unmanaged_interfaces=unmanaged)

    assert outcome_of(explained(packet, OPEN, SHUT, settings=settings)) == expected, name


def test_no_resources_at_all_is_closed_inward_reachable_and_open_outward() -> None:
    """The state of a host that is installed and enabled before anyone wrote policy."""
    packets = (arriving(), arriving(22), leaving(), through(), arriving(interface="lo"))

    assert [explained(p, endpoints=()).allowed for p in packets] == [False, True, True, True, True]


def test_the_wildcard_governs_every_interface_without_its_own() -> None:
    """Future ones too; one with its own never meets the wildcard's policies."""
    endpoints = (hep("all", "*", labels={"is": "all"}), hep("web", "eth0", labels={"is": "web"}))
    policies = (
        gnp("all", selector="is == 'all'", ingress=(ALLOW,)),
        gnp("web", selector="is == 'web'", ingress=(DENY,)),
    )

    decided = {
        name: outcome_of(explained(arriving(interface=name), *policies, endpoints=endpoints))
        for name in ("eth0", "eth1", "tun7")
    }

    assert decided == {
        "eth0": (False, Reason.RULE, "default/web"),
        "eth1": (True, Reason.RULE, "default/all"),
        "tun7": (True, Reason.RULE, "default/all"),
    }


def test_policy_is_by_interface_not_by_address() -> None:
    """Traffic to any local address that arrives on an interface is governed by its endpoint."""
    assert not explained(arriving(destination="192.168.1.1"), SHUT).allowed


# ------------------------------------------------------------------------------------------------- forwarded traffic

FORWARD_ENDPOINTS = (hep("a", "eth0", labels={"on": "a"}), hep("b", "eth1", labels={"on": "b"}))


def _forward(name: str, on: str, direction: str, *rules: Rule, tier: str = "default") -> GlobalNetworkPolicy:
    into = direction == "in"
    return gnp(
        name,
        selector=f"on == '{on}'",
        tier=tier,
        types=(Direction.INGRESS if into else Direction.EGRESS,),
        ingress=rules if into else (),
        egress=() if into else rules,
        forward=True,
    )


FORWARD_CASES: list[tuple[str, tuple[GlobalNetworkPolicy, ...], tuple[bool, Reason, str]]] = [
    ("no policy at all", (), (True, Reason.NO_FORWARD_POLICY, "")),
    (
        "policies without applyOnForward",
        (gnp("p", types=BOTH, ingress=(DENY,), egress=(DENY,)),),
        (True, Reason.NO_FORWARD_POLICY, ""),
    ),
    ("the incoming endpoint's ingress denies", (_forward("p", "a", "in", DENY),), (False, Reason.RULE, "default/p")),
    ("the outgoing endpoint's egress denies", (_forward("p", "b", "out", DENY),), (False, Reason.RULE, "default/p")),
    (
        "the incoming endpoint's egress is not asked",
        (_forward("p", "a", "out", DENY),),
        (True, Reason.NO_FORWARD_POLICY, ""),
    ),
    (
        "the outgoing endpoint's ingress is not asked",
        (_forward("p", "b", "in", DENY),),
        (True, Reason.NO_FORWARD_POLICY, ""),
    ),
    (
        "both allow",
        (_forward("p", "a", "in", ALLOW), _forward("q", "b", "out", ALLOW)),
        (True, Reason.RULE, "default/q"),
    ),
    (
        "an ingress Allow does not skip egress",
        (_forward("p", "a", "in", ALLOW), _forward("q", "b", "out", DENY)),
        (False, Reason.RULE, "default/q"),
    ),
    (
        "an egress Allow does not undo an ingress Deny",
        (_forward("p", "a", "in", DENY), _forward("q", "b", "out", ALLOW)),
        (False, Reason.RULE, "default/p"),
    ),
    ("one side alone is enough", (_forward("p", "a", "in", ALLOW),), (True, Reason.RULE, "default/p")),
    ("no match ends in the tier's drop", (_forward("p", "a", "in"),), (False, Reason.END_OF_TIER, "default")),
    ("Pass at the end passes", (_forward("p", "a", "in", PASS),), (True, Reason.NO_FORWARD_POLICY, "")),
    ("so does a Pass tier", (_forward("p", "a", "in", tier="soft"),), (True, Reason.NO_FORWARD_POLICY, "")),
    (
        "Pass goes on with the next tier",
        (_forward("p", "a", "in", PASS, tier="soft"), _forward("q", "a", "in", DENY)),
        (False, Reason.RULE, "default/q"),
    ),
    (
        "a Pass tier inward and an Allow outward",
        (_forward("p", "a", "in", tier="soft"), _forward("q", "b", "out", ALLOW)),
        (True, Reason.RULE, "default/q"),
    ),
]


@pytest.mark.parametrize(("name", "policies", "expected"), FORWARD_CASES, ids=[c[0] for c in FORWARD_CASES])
def test_forwarded_traffic_needs_both_endpoints(
    name: str, policies: tuple[GlobalNetworkPolicy, ...], expected: tuple[bool, Reason, str]
) -> None:
    """Open while no applyOnForward policy exists in the direction; no profiles and no final drop."""
    endpoints = tuple(replace(e, profiles=("denies",)) for e in FORWARD_ENDPOINTS)
    profiles = (profile("denies", ingress=(DENY,), egress=(DENY,)),)

    explanation = explained(through(22), *policies, endpoints=endpoints, profiles=profiles, tiers=(SOFT,))

    assert outcome_of(explanation) == expected, name


def test_unmanaged_interfaces_never_touch_forwarded_traffic() -> None:
    """Not even where they deny; a governed interface on the other side still decides."""
    denying = Settings(unmanaged_interfaces=DENYING)

    assert explained(through(), SHUT, endpoints=(), settings=denying).allowed
    assert not explained(through(incoming="tun7", outgoing="eth0"), SHUT, settings=denying).allowed
    assert not explained(through(incoming="eth0", outgoing="tun7"), SHUT, settings=denying).allowed


def test_the_wildcard_applies_to_forwarded_traffic_on_interfaces_without_their_own() -> None:
    """An interface with its own endpoint is not the wildcard's, even if its own has no forward policy."""
    endpoints = (hep("a", "*", labels={"on": "a"}), hep("b", "eth1", labels={"on": "b"}))
    policies = (_forward("in", "a", "in", DENY),)

    assert not explained(through(), *policies, endpoints=endpoints).allowed
    assert explained(through(incoming="eth1", outgoing="eth0"), *policies, endpoints=endpoints).allowed
    assert not explained(through(incoming="lo"), *policies, endpoints=endpoints).allowed


def test_an_apply_on_forward_policy_governs_local_traffic_too() -> None:
    """It is in both lists."""
    assert outcome_of(explained(arriving(), SHUT)) == (False, Reason.RULE, "default/shut")


# ------------------------------------------------------------------------------------------------------------ rules

V6 = arriving(80, TCP, PEER6, HOST6)
PING = arriving(None, ICMP, icmp_type=8, icmp_code=0)
PING6 = arriving(None, ICMPV6, PEER6, HOST6, icmp_type=128, icmp_code=0)
UNREACHABLE = arriving(None, ICMP, icmp_type=3, icmp_code=1)
SETS = ("one", "two", "nine")
IN_ONE, IN_TWO = "10.1.0.7", "10.2.0.7"

MATCH_CASES: list[tuple[str, Rule, Packet, str]] = [
    ("no criteria", ALLOW, arriving(), ""),
    ("ipVersion", Rule(Action.ALLOW, ip_version=Family.V4), V6, "ipVersion"),
    ("ipVersion of the packet", Rule(Action.ALLOW, ip_version=Family.V6), V6, ""),
    ("protocol", rule(Action.ALLOW, TCP), arriving(80, UDP), "protocol"),
    ("protocol by number", rule(Action.ALLOW, Protocol(6)), arriving(), ""),
    ("notProtocol", Rule(Action.ALLOW, not_protocol=TCP), arriving(), "notProtocol"),
    ("notProtocol of another", Rule(Action.ALLOW, not_protocol=UDP), arriving(), ""),
    ("ICMP never matches IPv6", rule(Action.ALLOW, ICMP), PING6, "ipVersion"),
    ("ICMPv6 never matches IPv4", rule(Action.ALLOW, ICMPV6), PING, "ipVersion"),
    ("notProtocol ICMP matches all IPv6", Rule(Action.ALLOW, not_protocol=ICMP), PING6, ""),
    ("ICMP type", Rule(Action.ALLOW, protocol=ICMP, icmp=Icmp(8)), PING, ""),
    ("another ICMP type", Rule(Action.ALLOW, protocol=ICMP, icmp=Icmp(0)), PING, "icmp"),
    ("ICMP type and code", Rule(Action.ALLOW, protocol=ICMP, icmp=Icmp(3, 1)), UNREACHABLE, ""),
    ("another code", Rule(Action.ALLOW, protocol=ICMP, icmp=Icmp(3, 0)), UNREACHABLE, "icmp"),
    ("code 0 is a code", Rule(Action.ALLOW, protocol=ICMP, icmp=Icmp(8, 0)), PING, ""),
    ("ICMP by number", Rule(Action.ALLOW, protocol=Protocol(58), icmp=Icmp(128)), PING6, ""),
    ("notICMP", Rule(Action.ALLOW, not_icmp=Icmp(8)), PING, "notICMP"),
    ("notICMP of another type", Rule(Action.ALLOW, not_icmp=Icmp(0)), PING, ""),
    ("notICMP matches other protocols", Rule(Action.ALLOW, not_icmp=Icmp(8)), arriving(), ""),
    ("notICMP negates type and code together", Rule(Action.ALLOW, not_icmp=Icmp(3, 0)), UNREACHABLE, ""),
    ("notICMP of type and code", Rule(Action.ALLOW, not_icmp=Icmp(3, 1)), UNREACHABLE, "notICMP"),
    ("nets", rule(Action.ALLOW, source=side(nets=("10.8.0.0/16", "10.9.0.0/16"))), arriving(), ""),
    ("none of the nets", rule(Action.ALLOW, source=side(nets=("10.8.0.0/16",))), arriving(), "source.nets"),
    ("nets of the other family", rule(Action.ALLOW, source=side(nets=("10.9.0.0/16",))), V6, "ipVersion"),
    ("all of IPv4 is not IPv6", rule(Action.ALLOW, source=side(nets=("0.0.0.0/0",))), V6, "ipVersion"),
    ("notNets", rule(Action.ALLOW, source=side(not_nets=("10.9.0.0/16",))), arriving(), "source.notNets"),
    ("none of notNets", rule(Action.ALLOW, source=side(not_nets=("10.8.0.0/16",))), arriving(), ""),
    ("notNets of the other family", rule(Action.ALLOW, source=side(not_nets=("10.8.0.0/16",))), V6, "ipVersion"),
    ("destination nets inward", rule(Action.ALLOW, destination=side(nets=("10.0.0.1/32",))), arriving(), ""),
    (
        "another local address",
        rule(Action.ALLOW, destination=side(nets=("10.0.0.2/32",))),
        arriving(),
        "destination.nets",
    ),
    ("selector", rule(Action.ALLOW, source=side(selector="set == 'one'")), arriving(source=IN_ONE), ""),
    (
        "an address outside of it",
        rule(Action.ALLOW, source=side(selector="set == 'one'")),
        arriving(source=IN_TWO),
        "source.selector",
    ),
    (
        "a selector that matches nothing",
        rule(Action.ALLOW, source=side(selector="set == 'x'")),
        arriving(),
        "source.selector",
    ),
    ("its negation matches every packet", rule(Action.ALLOW, source=side(not_selector="set == 'x'")), arriving(), ""),
    ("all() is what is known", rule(Action.ALLOW, source=side(selector="all()")), arriving(source=IN_ONE), ""),
    (
        "and nothing else",
        rule(Action.ALLOW, source=side(selector="all()")),
        arriving(source="10.77.0.1"),
        "source.selector",
    ),
    ("no selector is any address", rule(Action.ALLOW, source=side(selector="")), arriving(source="10.77.0.1"), ""),
    (
        "notSelector",
        rule(Action.ALLOW, source=side(not_selector="set == 'one'")),
        arriving(source=IN_ONE),
        "source.notSelector",
    ),
    (
        "notSelector matches unknown addresses",
        rule(Action.ALLOW, source=side(not_selector="all()")),
        arriving(source="10.77.0.1"),
        "",
    ),
    (
        "a negated selector does not",
        rule(Action.ALLOW, source=side(selector="!has(set)")),
        arriving(source="10.77.0.1"),
        "source.selector",
    ),
    (
        "selector and nets are both asked",
        rule(Action.ALLOW, source=side(selector="all()", nets=("10.1.0.0/24",))),
        arriving(source="10.1.1.1"),
        "source.nets",
    ),
    (
        "and both must hold",
        rule(Action.ALLOW, source=side(selector="set == 'one'", nets=("10.0.0.0/8",))),
        arriving(source=IN_TWO),
        "source.selector",
    ),
    (
        "selector without notSelector",
        rule(Action.ALLOW, source=side(selector="all()", not_selector="set == 'two'")),
        arriving(source=IN_ONE),
        "",
    ),
    (
        "selector with notSelector",
        rule(Action.ALLOW, source=side(selector="all()", not_selector="set == 'two'")),
        arriving(source=IN_TWO),
        "source.notSelector",
    ),
    ("a set of IPv4 does not hold IPv6", rule(Action.ALLOW, source=side(selector="all()")), V6, "source.selector"),
    ("ports", rule(Action.ALLOW, TCP, destination=side(ports=(22, 80))), arriving(), ""),
    ("none of the ports", rule(Action.ALLOW, TCP, destination=side(ports=(22, 81))), arriving(), "destination.ports"),
    ("the first port of a range", rule(Action.ALLOW, TCP, destination=side(ports=((80, 90),))), arriving(), ""),
    ("the last", rule(Action.ALLOW, TCP, destination=side(ports=((70, 80),))), arriving(), ""),
    ("beyond", rule(Action.ALLOW, TCP, destination=side(ports=((70, 79),))), arriving(), "destination.ports"),
    ("source ports", rule(Action.ALLOW, TCP, source=side(ports=(40000,))), arriving(), ""),
    ("not the destination's", rule(Action.ALLOW, TCP, source=side(ports=(80,))), arriving(), "source.ports"),
    ("notPorts", rule(Action.ALLOW, TCP, destination=side(not_ports=(80,))), arriving(), "destination.notPorts"),
    ("none of notPorts", rule(Action.ALLOW, TCP, destination=side(not_ports=(22,))), arriving(), ""),
    (
        "ports and notPorts",
        rule(Action.ALLOW, TCP, destination=side(ports=((1, 99),), not_ports=(80,))),
        arriving(),
        "destination.notPorts",
    ),
    ("SCTP has ports", rule(Action.ALLOW, SCTP, destination=side(ports=(80,))), arriving(80, SCTP), ""),
]


@pytest.mark.parametrize(("name", "written", "packet", "missed"), MATCH_CASES, ids=[c[0] for c in MATCH_CASES])
def test_a_rule_matches_where_every_criterion_holds(name: str, written: Rule, packet: Packet, missed: str) -> None:
    """`missed` is the first criterion that does not; none stands for a match."""
    step = explained(packet, gnp("p", ingress=(written,)), sets=SETS).steps[0]

    assert (step.reason, step.missed, step.verdict is StepVerdict.ALLOW) == (Reason.RULE, missed, not missed), name


def test_icmp_by_name_is_of_its_family_whatever_the_plan_says() -> None:
    """Resolve keeps such a rule out of the other family; matching does not rely on it."""
    plan, _ = resolve(
        Resources(policies=(gnp("p", ingress=(rule(Action.ALLOW, ICMPV6),)),), endpoints=(ON_ETH0,)),
        Settings(),
        facts(),
    )
    planned = plan.endpoints[0].ingress.tiers[0].policies[0].rules[0]
    anywhere = replace(planned, families=(Family.V4, Family.V6))

    assert first_mismatch(anywhere, PING6) == ""
    assert first_mismatch(anywhere, replace(PING, protocol=58)) == "protocol"


WITH_PORTS = (
    hep("web", "eth0", ips=(HOST, HOST6), labels={"role": "web"}, ports=(("web", TCP, 80), ("dns", UDP, 53))),
    hep("db", "eth0", node="db1", ips=(PEER,), labels={"role": "db"}, ports=(("web", TCP, 8080), ("up", TCP, 40000))),
    hep("cache", "eth0", node="db2", labels={"role": "cache"}, ports=(("cache", TCP, 80),)),
)

PORT_NAME_CASES: list[tuple[str, Rule, Packet, str]] = [
    (
        "address, protocol and port of a member",
        rule(Action.ALLOW, TCP, destination=side(ports=("web",))),
        arriving(80),
        "",
    ),
    ("IPv6 as well", rule(Action.ALLOW, TCP, destination=side(ports=("web",))), V6, ""),
    (
        "the port of another endpoint's member",
        rule(Action.ALLOW, TCP, destination=side(ports=("web",))),
        arriving(8080),
        "destination.ports",
    ),
    (
        "an address that has no such port",
        rule(Action.ALLOW, TCP, destination=side(ports=("web",))),
        arriving(80, destination="10.0.0.2"),
        "destination.ports",
    ),
    (
        "without a protocol each member has its own",
        rule(Action.ALLOW, destination=side(ports=("dns",))),
        arriving(53, UDP),
        "",
    ),
    ("and no other", rule(Action.ALLOW, destination=side(ports=("dns",))), arriving(53), "destination.ports"),
    (
        "the rule's protocol filters",
        rule(Action.ALLOW, TCP, destination=side(ports=("dns",))),
        arriving(53),
        "destination.ports",
    ),
    (
        "an endpoint without expectedIPs has no member",
        rule(Action.ALLOW, TCP, destination=side(ports=("cache",))),
        arriving(80),
        "destination.ports",
    ),
    ("an unknown name", rule(Action.ALLOW, TCP, destination=side(ports=("x",))), arriving(80), "destination.ports"),
    ("an unknown name negated", rule(Action.ALLOW, TCP, destination=side(not_ports=("x",))), arriving(80), ""),
    (
        "a name negated",
        rule(Action.ALLOW, TCP, destination=side(not_ports=("web",))),
        arriving(80),
        "destination.notPorts",
    ),
    (
        "another address",
        rule(Action.ALLOW, TCP, destination=side(not_ports=("web",))),
        arriving(80, destination="10.0.0.2"),
        "",
    ),
    (
        "a name or a number",
        rule(Action.ALLOW, TCP, destination=side(ports=("dns", 80))),
        arriving(80, destination="10.0.0.2"),
        "",
    ),
    (
        "the side's selector",
        rule(Action.ALLOW, TCP, destination=side(ports=("web",), selector="role == 'db'")),
        arriving(80),
        "destination.selector",
    ),
    ("the source side", rule(Action.ALLOW, TCP, source=side(ports=("up",))), arriving(80), ""),
    (
        "the source side by its own port",
        rule(Action.ALLOW, TCP, source=side(ports=("web",))),
        arriving(8080),
        "source.ports",
    ),
    ("a packet without ports", rule(Action.ALLOW, destination=side(ports=("web",))), PING, "destination.ports"),
    ("a packet without ports, negated", rule(Action.ALLOW, destination=side(not_ports=("web",))), PING, ""),
]


@pytest.mark.parametrize(("name", "written", "packet", "missed"), PORT_NAME_CASES, ids=[c[0] for c in PORT_NAME_CASES])
def test_a_port_name_matches_address_protocol_and_port_together(
    name: str, written: Rule, packet: Packet, missed: str
) -> None:
    """It stands for the expectedIPs and ports of HostEndpoints, not for a number."""
    step = explained(packet, gnp("p", ingress=(written,)), endpoints=WITH_PORTS).steps[0]

    assert (step.reason, step.missed, step.verdict is StepVerdict.ALLOW) == (Reason.RULE, missed, not missed), name


def test_rule_selectors_know_expected_ips_and_not_the_addresses_of_the_interface() -> None:
    """eth1 has 192.168.1.1, which its HostEndpoint does not say."""
    endpoints = (
        ON_ETH0,
        hep("b", "eth1", labels={"role": "b"}),
        hep("c", "eth0", node="n", ips=(PEER,), labels={"role": "c"}),
    )

    for role, source, expected in (("b", "192.168.1.1", False), ("c", PEER, True)):
        allow = gnp("p", ingress=(rule(Action.ALLOW, source=side(selector=f"role == '{role}'")),))
        assert explained(arriving(source=source), allow, endpoints=endpoints).allowed is expected


@given(
    st.lists(st.tuples(st.integers(0, 63), st.integers(0, 6)), max_size=12),
    st.integers(0, 63),
    st.sampled_from(["10.0.0.", "2001:db8::"]),
)
def test_membership_is_that_of_any_prefix(prefixes: list[tuple[int, int]], address: int, base: str) -> None:
    """The search in sorted, disjoint prefixes finds what looking at each one finds."""
    start = net(f"{base}0")
    cidrs = [net(f"{base}{n:x}" if ":" in base else f"{base}{n}") for n, _ in prefixes]
    cidrs = [
        c._replace(address=c.address >> k << k, length=c.length - k) for c, (_, k) in zip(cidrs, prefixes, strict=True)
    ]
    target = start.address + address

    assert _is_member(AddressSet("", merge(cidrs)), start.family, target) is any(c.contains(target) for c in cidrs)


# ------------------------------------------------------------------------------------------------------------ trace


def test_a_trace_names_every_step_and_the_one_that_decided() -> None:
    """With the rule's identity, position and the first criterion that did not hold."""
    policies = (
        gnp("a", tier="soft", ingress=(rule(Action.ALLOW, UDP, line=3), rule(Action.LOG, line=4))),
        gnp("b", ingress=(rule(Action.DENY, TCP, line=9),)),
    )

    explanation = explained(arriving(), *policies, tiers=(SOFT,))

    assert [
        (s.tier, s.policy, s.rule and s.rule.index, s.action, s.missed, s.verdict, s.reason, s.position.line)
        for s in explanation.steps
    ] == [
        ("soft", "a", 0, Action.ALLOW, "protocol", StepVerdict.NEXT, Reason.RULE, 3),
        ("soft", "a", 1, Action.LOG, "", StepVerdict.NEXT, Reason.RULE, 4),
        ("soft", "", None, Action.PASS, "", StepVerdict.NEXT, Reason.END_OF_TIER, 0),
        ("default", "b", 0, Action.DENY, "", StepVerdict.DENY, Reason.RULE, 9),
    ]
    assert explanation.decided_by is explanation.steps[-1]
    assert explanation.decided_by.position == at(9)
    assert explanation.logged_by == (explanation.steps[1],)
    assert {(s.interface, s.direction, s.endpoint) for s in explanation.steps} == {("eth0", Direction.INGRESS, "web")}


def test_the_trace_of_forwarded_traffic_holds_both_sides() -> None:
    """The last rule that allowed it decided."""
    policies = (_forward("p", "a", "in", ALLOW), _forward("q", "b", "out", ALLOW))

    explanation = explained(through(), *policies, endpoints=FORWARD_ENDPOINTS)

    assert [(s.interface, s.direction, s.endpoint, s.policy, s.verdict) for s in explanation.steps] == [
        ("eth0", Direction.INGRESS, "a", "p", StepVerdict.ALLOW),
        ("eth1", Direction.EGRESS, "b", "q", StepVerdict.ALLOW),
    ]
    assert explanation.decided_by is explanation.steps[1]


def test_the_step_of_an_unmanaged_interface_has_no_endpoint() -> None:
    """Nobody governs it."""
    assert explained(arriving(interface="eth1")).steps == (
        Step(StepVerdict.DENY, Reason.UNMANAGED, "eth1", Direction.INGRESS),
    )
