"""The meaning of resources on one host."""

from dataclasses import replace

import pytest

from hostfw.model.kinds.source_limit import Rate, SourceLimit, Unit
from hostfw.model.plan import Plan, PlannedDirection, PlannedRule, PlannedTier, PortMember
from hostfw.model.problems import Severity
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Resources, Rule, Tier
from hostfw.model.settings import Settings
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    IGMP,
    TCP,
    UDP,
    Action,
    Direction,
    Family,
    Icmp,
    PortRange,
    Protocol,
)
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import (
    ALLOW,
    BOTH,
    DENY,
    EGRESS,
    LOG,
    facts,
    gnp,
    gns,
    hep,
    net,
    nets,
    profile,
    rule,
    side,
    tier,
)

ANY_ETH0 = (hep("eth0", "eth0"),)


def _plan(resources: Resources, settings: Settings | None = None) -> Plan:
    plan, _ = resolve(resources, settings or Settings(), facts())
    return plan


def _direction(resources: Resources, direction: Direction = Direction.INGRESS) -> PlannedDirection:
    return _plan(resources).endpoints[0].direction(direction)


def _outline(tiers: tuple[PlannedTier, ...]) -> list[tuple[str, list[str]]]:
    return [(t.name, [p.name for p in t.policies]) for t in tiers]


def _planned(*rules: Rule, **more: object) -> tuple[PlannedRule, ...]:
    resources = Resources(policies=(gnp("p", ingress=rules),), endpoints=ANY_ETH0)
    planned = _direction(replace(resources, **more))  # type: ignore[arg-type]
    return planned.tiers[0].policies[0].rules


# --------------------------------------------------------------------------------------------------------- the node


@pytest.mark.parametrize(
    ("name", "setting", "host", "expected"),
    [
        ("the host's own name", None, "web1", "web1"),
        ("a setting wins", "web1", "other", "web1"),
        ("names of hosts are lower case", None, "WEB1", "web1"),
    ],
)
def test_the_node_is_the_setting_or_the_hosts_own_name(
    name: str, setting: str | None, host: str, expected: str
) -> None:
    """HostEndpoints are found by it."""
    plan, problems = resolve(Resources(endpoints=ANY_ETH0), Settings(node=setting), facts(node=host))

    assert (plan.node, [e.name for e in plan.endpoints], problems) == (expected, ["eth0"], ()), name


@pytest.mark.parametrize("host", ["web1", "renamed.example.com"])
def test_an_endpoint_without_a_node_is_of_every_host(host: str) -> None:
    """In a directory for many hosts each of them has it, beside those of its own name."""
    everywhere, here, elsewhere = hep("a", "eth0", node="*"), hep("b", "eth1", node="web1"), hep("c", "lo", node="db1")

    plan, problems = resolve(Resources(endpoints=(everywhere, here, elsewhere)), Settings(), facts(node=host))

    assert [e.name for e in plan.endpoints] == (["a", "b"] if host == "web1" else ["a"])
    assert problems == ()


def test_endpoints_of_other_nodes_alone_are_a_warning() -> None:
    """A wrong node name is otherwise silent, and nothing is enforced."""
    others = (hep("b", "eth0", node="db2", line=9), hep("a", "eth0", node="db1", line=4))

    plan, problems = resolve(Resources(endpoints=others), Settings(), facts())

    assert plan.endpoints == ()
    assert [(p.position.line, p.message, p.expected, p.hint, p.severity) for p in problems] == [
        (
            4,
            'no HostEndpoint is of this node, "web1", so no policy applies to it',
            "node: web1 (those here are of db1, db2)",
            "give the HostEndpoints the name of this node, or set node in hostfw.yaml to the name that they have",
            Severity.WARNING,
        )
    ]


def test_nothing_at_all_is_an_empty_plan_without_problems() -> None:
    """The state of a host that is installed and unconfigured."""
    assert resolve(Resources(), Settings(), facts()) == (Plan("web1", Settings()), ())


def test_endpoints_that_govern_nothing_are_left_out_and_the_wildcard_is_not() -> None:
    """A loser, one whose addresses are absent and one of another node have no place in the Plan."""
    endpoints = (
        hep("a", "eth0"),
        hep("b", "eth0"),
        hep("c", ips=("10.9.9.9",)),
        hep("d", "eth0", node="db1"),
        hep("e", "*"),
    )

    plan = _plan(Resources(endpoints=endpoints))

    assert [e.name for e in plan.endpoints] == ["a", "e"]
    assert plan.wildcard == "e"


# ------------------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("name", "policies", "expected"),
    [
        ("ascending order", (gnp("a", order=2), gnp("b", order=1)), ["b", "a"]),
        ("negative and fractional", (gnp("a", order=0), gnp("b", order=-0.5), gnp("c", order=-1)), ["c", "b", "a"]),
        ("none is last", (gnp("a"), gnp("b", order=1e300)), ["b", "a"]),
        ("ties by name", (gnp("b", order=1), gnp("a", order=1)), ["a", "b"]),
        ("ties without order by name", (gnp("b"), gnp("a")), ["a", "b"]),
        ("a hyphen is less than the slash behind a name", (gnp("ab"), gnp("ab-c")), ["ab-c", "ab"]),
        ("so is a dot", (gnp("a", order=5), gnp("a.b", order=5)), ["a.b", "a"]),
        ("a digit is not", (gnp("ab1"), gnp("ab")), ["ab", "ab1"]),
        ("a letter is not", (gnp("abc"), gnp("ab")), ["ab", "abc"]),
        ("zero is an order, not its absence", (gnp("a"), gnp("b", order=0), gnp("c", order=1)), ["b", "c", "a"]),
    ],
)
def test_policies_go_by_order_then_by_the_bytes_of_name_namespace_kind(
    name: str, policies: tuple[GlobalNetworkPolicy, ...], expected: list[str]
) -> None:
    """The order of files and of documents never matters."""
    for arrangement in (policies, policies[::-1]):
        tiers = _direction(Resources(policies=arrangement, endpoints=ANY_ETH0)).tiers

        assert _outline(tiers) == [("default", expected)], name


@pytest.mark.parametrize(
    ("name", "tiers", "expected"),
    [
        ("ascending order", (tier("a", 2), tier("b", 1)), ["b", "a", "default"]),
        ("none is after default", (tier("a"), tier("b", 1)), ["b", "default", "a"]),
        (
            "an order above a million is after default",
            (tier("a", 1_000_001), tier("b", 999_999)),
            ["b", "default", "a"],
        ),
        ("ties by name", (tier("b", 1), tier("a", 1)), ["a", "b", "default"]),
        ("a tie with default too", (tier("b", 1_000_000), tier("e", 1_000_000)), ["b", "default", "e"]),
        ("a declared default changes nothing", (tier("default", 5), tier("a", 6), tier("b", 7)), ["a", "b", "default"]),
    ],
)
def test_tiers_go_by_order_then_by_name(name: str, tiers: tuple[Tier, ...], expected: list[str]) -> None:
    """`default` is built in with order 1000000."""
    policies = tuple(gnp(f"in-{t}", tier=t) for t in ("default", "a", "b", "e") if t in expected)

    planned = _direction(Resources(policies=policies, tiers=tiers, endpoints=ANY_ETH0)).tiers

    assert [t.name for t in planned] == expected, name


def test_a_tier_has_its_default_action_and_is_absent_without_a_policy() -> None:
    """A tier drops only where it holds a policy of the direction for the endpoint."""
    resources = Resources(
        policies=(gnp("p", tier="a"), gnp("other", tier="b", selector="has(x)"), gnp("out", tier="c", types=EGRESS)),
        tiers=(tier("a", 1, Action.PASS), tier("b", 2), tier("c", 3), tier("empty", 4)),
        endpoints=ANY_ETH0,
    )

    assert [(t.name, t.default_action) for t in _direction(resources).tiers] == [("a", Action.PASS)]
    assert [(t.name, t.default_action) for t in _direction(resources, Direction.EGRESS).tiers] == [("c", Action.DENY)]


# ----------------------------------------------------------------------------------------- directions and selection


@pytest.mark.parametrize(
    ("name", "policy", "ingress", "egress"),
    [
        ("types hides rules of the other direction", gnp("p", ingress=(ALLOW,), egress=(DENY,)), 1, None),
        ("a listed direction without rules exists", gnp("p", types=BOTH, ingress=(ALLOW,)), 1, 0),
        ("both", gnp("p", types=BOTH, ingress=(ALLOW, DENY), egress=(DENY,)), 2, 1),
        ("egress alone", gnp("p", types=EGRESS, egress=(DENY,)), None, 1),
    ],
)
def test_a_policy_exists_in_the_directions_of_its_types(
    name: str, policy: GlobalNetworkPolicy, ingress: int | None, egress: int | None
) -> None:
    """None stands for a direction that does not see the policy, a number for its rules there."""
    resources = Resources(policies=(policy,), endpoints=ANY_ETH0)

    for direction, expected in ((Direction.INGRESS, ingress), (Direction.EGRESS, egress)):
        tiers = _direction(resources, direction).tiers
        assert (len(tiers[0].policies[0].rules) if tiers else None) == expected, name


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", True),
        ("all()", True),
        ("role == 'web'", True),
        ("zone == 'own'", True),
        ("zone == 'profile'", False),
        ("tier == 'front'", True),
        ("has(absent)", False),
        ("absent != 'x'", True),
        ("role in {}", False),
    ],
)
def test_a_policy_selects_endpoints_by_their_effective_labels(selector: str, selected: bool) -> None:
    """Labels of profiles are inherited, and the endpoint's own win."""
    resources = Resources(
        policies=(gnp("p", selector=selector),),
        endpoints=(hep("e", "eth0", labels={"role": "web", "zone": "own"}, profiles=("front",)),),
        profiles=(profile("front", labels={"tier": "front", "zone": "profile"}),),
    )

    assert bool(_direction(resources).tiers) is selected


def test_forward_tiers_hold_the_policies_with_apply_on_forward() -> None:
    """They govern local traffic as well."""
    resources = Resources(
        policies=(gnp("a"), gnp("b", forward=True), gnp("c", tier="x")), tiers=(tier("x", 1),), endpoints=ANY_ETH0
    )

    planned = _direction(resources)

    assert _outline(planned.tiers) == [("x", ["c"]), ("default", ["a", "b"])]
    assert _outline(planned.forward_tiers) == [("default", ["b"])]


def test_profiles_are_in_the_order_listed_with_the_built_in_one_known() -> None:
    """`projectcalico-default-allow` needs no file."""
    listed = ("two", "projectcalico-default-allow", "one")
    resources = Resources(
        endpoints=(hep("e", "eth0", profiles=listed),),
        profiles=(profile("one", ingress=(DENY,)), profile("two", ingress=(LOG, ALLOW), egress=(DENY,))),
    )

    ingress, egress = (_direction(resources, d).profiles for d in Direction)

    assert [(p.kind, p.name, p.tier, [r.action for r in p.rules]) for p in ingress] == [
        ("Profile", "two", "", [Action.LOG, Action.ALLOW]),
        ("Profile", "projectcalico-default-allow", "", [Action.ALLOW]),
        ("Profile", "one", "", [Action.DENY]),
    ]
    assert [[r.action for r in p.rules] for p in egress] == [[Action.DENY], [Action.ALLOW], []]


def test_endpoints_share_what_is_equal() -> None:
    """Many endpoints under many policies cost little more than one."""
    resources = Resources(
        policies=(gnp("a", ingress=(ALLOW,)), gnp("b", ingress=(DENY,), selector="has(x)"), gnp("c", tier="t")),
        tiers=(tier("t", 1),),
        endpoints=(hep("1", "eth0", labels={"x": ""}), hep("2", "eth1", labels={"x": "1"}), hep("3", "*")),
    )

    one, two, three = (e.ingress for e in _plan(resources).endpoints)

    assert one is two
    assert _outline(three.tiers) == [("t", ["c"]), ("default", ["a"])]
    assert one.tiers[0] is three.tiers[0]
    assert one.tiers[1].policies[0] is three.tiers[1].policies[0]


# -------------------------------------------------------------------------------------------------- rule selectors

BOOK = {
    "endpoints": (
        *ANY_ETH0,
        hep("other", "eth0", node="db1", ips=("10.1.0.2", "10.1.0.3"), labels={"role": "db"}, profiles=("p",)),
        hep("blank", "eth1", labels={"role": "db"}),
    ),
    "network_sets": (
        gns("office", "10.1.0.0/25", "10.1.0.128/25", "2001:db8::/32", labels={"where": "office"}),
        gns("inside", "10.1.0.9", "10.1.0.0/24", labels={"where": "inside"}),
        gns("empty", labels={"where": "nowhere"}),
    ),
    "profiles": (profile("p", labels={"site": "north"}),),
}


@pytest.mark.parametrize(
    ("name", "selector", "expected"),
    [
        ("an endpoint of another node, by its expectedIPs", "role == 'db'", ("10.1.0.2/31",)),
        ("by a label of a profile", "site == 'north'", ("10.1.0.2/31",)),
        ("a set, halves joined", "where == 'office'", ("10.1.0.0/24", "2001:db8::/32")),
        ("a bare address within a net of the set", "where == 'inside'", ("10.1.0.0/24",)),
        ("sets that overlap", "has(where)", ("10.1.0.0/24", "2001:db8::/32")),
        ("all() is every known address", "all()", ("10.1.0.0/24", "2001:db8::/32")),
        ("a negation is limited to what is known", "!has(where)", ("10.1.0.2/31",)),
        ("an empty set", "where == 'nowhere'", ()),
        ("nothing at all", "role == 'x'", ()),
    ],
)
def test_a_rule_selector_stands_for_the_addresses_of_the_book(
    name: str, selector: str, expected: tuple[str, ...]
) -> None:
    """All nodes' HostEndpoints and the GlobalNetworkSets, never an address that an interface really has."""
    (planned,) = _planned(
        rule(Action.ALLOW, source=side(selector=selector), destination=side(not_selector=selector)), **BOOK
    )

    assert planned.source.address_set is not None, name
    assert planned.source.address_set.cidrs == nets(*expected), name
    assert planned.destination.not_address_set is planned.source.address_set, name


@pytest.mark.parametrize("text", [None, "", " \t"])
def test_a_blank_selector_restricts_nothing(text: str | None) -> None:
    """Unlike `all()`, which is every known address and no other."""
    (planned,) = _planned(rule(Action.ALLOW, source=side(selector=text, not_selector=text)), **BOOK)

    assert (planned.source.address_set, planned.source.not_address_set) == (None, None)


def test_equal_selectors_are_one_set_named_by_the_canonical_text() -> None:
    """However they are spelled."""
    one, two = _planned(
        rule(Action.ALLOW, source=side(selector="role=='db'&&!!has(site)")),
        rule(Action.DENY, destination=side(selector='role == "db" && has( site )')),
        **BOOK,
    )

    assert one.source.address_set is not None
    assert one.source.address_set is two.destination.address_set
    assert one.source.address_set.selector == '(role == "db" && has(site))'


# ------------------------------------------------------------------------------------------------------ named ports

WEB = ("web", TCP, 8080)
PORTS = {
    "endpoints": (
        *ANY_ETH0,
        hep("a", "eth0", node="n1", ips=("10.1.0.1", "2001:db8::1"), labels={"role": "a"}, ports=(WEB,)),
        hep(
            "b", "eth0", node="n2", ips=("10.1.0.2",), labels={"role": "b"}, ports=(("web", TCP, 80), ("web", UDP, 81))
        ),
        hep("c", "eth0", node="n3", labels={"role": "a"}, ports=(("web", TCP, 99),)),
    )
}
A4, A6 = net("10.1.0.1"), net("2001:db8::1")
B4 = net("10.1.0.2")
MEMBER_A4 = PortMember(Family.V4, A4.address, 6, 8080)
MEMBER_A6 = PortMember(Family.V6, A6.address, 6, 8080)
MEMBER_B = PortMember(Family.V4, B4.address, 6, 80)
MEMBER_B_UDP = PortMember(Family.V4, B4.address, 17, 81)


@pytest.mark.parametrize(
    ("name", "port", "protocol", "selector", "expected"),
    [
        ("every endpoint that has it", "web", None, None, (MEMBER_A4, MEMBER_B, MEMBER_B_UDP, MEMBER_A6)),
        ("of the rule's protocol", "web", TCP, None, (MEMBER_A4, MEMBER_B, MEMBER_A6)),
        ("by number too", "web", Protocol(17), None, (MEMBER_B_UDP,)),
        ("a protocol that nobody has", "web", Protocol(132, "SCTP"), None, ()),
        ("on the endpoints of the same side's selector", "web", TCP, "role == 'a'", (MEMBER_A4, MEMBER_A6)),
        ("of a selector that matches nothing", "web", TCP, "role == 'x'", ()),
        ("an unknown name", "dns", TCP, None, ()),
        ("names are case-sensitive", "WEB", TCP, None, ()),
    ],
)
def test_a_port_name_stands_for_addresses_with_protocol_and_port(
    name: str, port: str, protocol: Protocol | None, selector: str | None, expected: tuple[PortMember, ...]
) -> None:
    """An endpoint without expectedIPs contributes nothing."""
    of = side(selector=selector, ports=(port,), not_ports=(port,))

    for planned in _planned(
        rule(Action.ALLOW, protocol, source=of), rule(Action.ALLOW, protocol, destination=of), **PORTS
    ):
        planned_side = planned.source if planned.source.restricts_ports else planned.destination
        (found,) = planned_side.port_sets
        assert (found.name, found.members) == (port, expected), name
        assert planned_side.not_port_sets == (found,), name


def test_the_other_sides_selector_does_not_narrow_a_port_name() -> None:
    """Each side names its own endpoints."""
    (planned,) = _planned(
        rule(Action.ALLOW, UDP, source=side(selector="role == 'a'"), destination=side(ports=("web",))), **PORTS
    )

    assert planned.destination.port_sets[0].members == (MEMBER_B_UDP,)


@pytest.mark.parametrize(
    ("name", "ports", "ranges", "names"),
    [
        ("none", (), None, []),
        ("numbers, sorted", (443, 80), (PortRange(80, 80), PortRange(443, 443)), []),
        ("ranges that overlap", ((10, 20), (15, 30), 30), (PortRange(10, 30),), []),
        ("neighbours stay as written", (80, 81), (PortRange(80, 80), PortRange(81, 81)), []),
        ("numbers and names", ("web", 80), (PortRange(80, 80),), ["web"]),
        ("names alone leave no number", ("web", "dns", "web"), (), ["dns", "web"]),
    ],
)
def test_numeric_ports_are_ranges_and_names_are_sets(
    name: str,
    ports: tuple[int | str | tuple[int, int], ...],
    ranges: tuple[PortRange, ...] | None,
    names: list[str],
) -> None:
    """A packet's port is in any of them."""
    (planned,) = _planned(rule(Action.ALLOW, TCP, destination=side(ports=ports, not_ports=ports)), **PORTS)

    assert (planned.destination.ports, [s.name for s in planned.destination.port_sets]) == (ranges, names), name
    assert planned.destination.not_ports == (ranges or ()), name
    assert [s.name for s in planned.destination.not_port_sets] == names, name


# ----------------------------------------------------------------------------------------------- rules and families

V4, V6 = (Family.V4,), (Family.V6,)


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("nothing said", Rule(Action.ALLOW), (Family.V4, Family.V6)),
        ("ipVersion", Rule(Action.ALLOW, ip_version=Family.V6), V6),
        ("nets", Rule(Action.ALLOW, source=side(nets=("10.0.0.0/8",))), V4),
        ("negated nets", Rule(Action.ALLOW, destination=side(not_nets=("2001:db8::/32",))), V6),
        ("nets against ipVersion", Rule(Action.ALLOW, ip_version=Family.V6, source=side(nets=("10.0.0.0/8",))), ()),
        ("ICMP", Rule(Action.ALLOW, protocol=ICMP), V4),
        ("ICMPv6", Rule(Action.ALLOW, protocol=ICMPV6), V6),
        ("the number 1 is any protocol number", Rule(Action.ALLOW, protocol=Protocol(1)), (Family.V4, Family.V6)),
        ("the number 1 with an ICMP type", Rule(Action.ALLOW, protocol=Protocol(1), icmp=Icmp(8)), V4),
        ("the number 58 with an ICMP type", Rule(Action.ALLOW, protocol=Protocol(58), icmp=Icmp(128)), V6),
        ("notProtocol ICMP", Rule(Action.ALLOW, not_protocol=ICMP), (Family.V4, Family.V6)),
        ("notICMP", Rule(Action.ALLOW, not_icmp=Icmp(8)), (Family.V4, Family.V6)),
        ("a list of ICMP and TCP", Rule(Action.ALLOW, protocol=ICMP, other_protocols=(TCP,)), (Family.V4, Family.V6)),
        ("a list of ICMP and IGMP", Rule(Action.ALLOW, protocol=ICMP, other_protocols=(IGMP,)), V4),
        ("nets of both", Rule(Action.ALLOW, source=side(nets=("10.0.0.0/8", "fd00::/8"))), (Family.V4, Family.V6)),
        ("a selector is of both", Rule(Action.ALLOW, source=side(selector="all()")), (Family.V4, Family.V6)),
    ],
)
def test_a_rule_exists_in_the_families_that_its_criteria_leave(
    name: str, written: Rule, expected: tuple[Family, ...]
) -> None:
    """A net of one family keeps the rule out of the other."""
    (planned,) = _planned(written)

    assert planned.families == expected, name


def test_nets_are_merged_and_their_absence_is_none() -> None:
    """An empty list restricts nothing."""
    (planned,) = _planned(
        rule(
            Action.ALLOW,
            source=side(nets=("10.0.1.0/24", "10.0.0.0/24", "10.0.0.5/32"), not_nets=("10.0.0.7/32", "10.0.0.6/32")),
        )
    )

    assert planned.source.nets == nets("10.0.0.0/23")
    assert planned.source.not_nets == nets("10.0.0.6/31")
    assert planned.destination.nets is None


# --------------------------------------------------------------------------------------------------------- identity


def _digest(written: Rule, **more: object) -> str:
    (planned,) = _planned(written, **more)
    return planned.identity.digest


_OFTEN = Rate(6, Unit.MINUTE)
SSH = rule(Action.ALLOW, TCP, destination=side(ports=(22, "ssh")), source=side(nets=("10.0.0.0/8", "10.1.0.0/16")))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("another place", replace(SSH, position=rule(Action.ALLOW, line=99).position)),
        ("annotations", replace(SSH, annotations=(("why", "because"),))),
        ("another order of nets", replace(SSH, source=side(nets=("10.1.0.0/16", "10.0.0.0/8")))),
        ("a record or none", replace(SSH, action=SSH.action, annotations=(("hostfw.io/log", "none"),))),
        ("another order of ports", replace(SSH, destination=side(ports=("ssh", 22)))),
    ],
)
def test_a_digest_stays_through(name: str, other: Rule) -> None:
    """Counters keyed by it live on."""
    assert _digest(other) == _digest(SSH), name


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("the action", replace(SSH, action=Action.DENY)),
        ("the family", replace(SSH, ip_version=Family.V4)),
        ("the protocol", replace(SSH, protocol=UDP)),
        ("another protocol beside it", replace(SSH, other_protocols=(UDP,))),
        ("the negated protocol", replace(SSH, protocol=None, not_protocol=TCP)),
        ("an ICMP type", replace(SSH, icmp=Icmp(8))),
        ("a limit", replace(SSH, limit=SourceLimit(_OFTEN))),
        ("IPsec", replace(SSH, ipsec=False)),
        ("a negated ICMP type", replace(SSH, not_icmp=Icmp(8))),
        ("a net", replace(SSH, source=side(nets=("10.0.0.0/8",)))),
        ("nets negated", replace(SSH, source=side(not_nets=("10.0.0.0/8", "10.1.0.0/16")))),
        ("sides swapped", replace(SSH, source=SSH.destination, destination=SSH.source)),
        ("a port", replace(SSH, destination=side(ports=(22,)))),
        ("ports negated", replace(SSH, destination=side(not_ports=(22, "ssh")))),
        ("a selector", replace(SSH, destination=replace(SSH.destination, selector=side(selector="all()").selector))),
        (
            "it negated",
            replace(SSH, destination=replace(SSH.destination, not_selector=side(selector="all()").selector)),
        ),
    ],
)
def test_a_digest_changes_with(name: str, other: Rule) -> None:
    """Every criterion is part of what a rule says."""
    assert _digest(other) != _digest(SSH), name


def test_a_digest_is_of_what_is_written_not_of_what_it_stands_for() -> None:
    """Another spelling of a selector and other members of it leave it alone."""
    spelled = rule(Action.ALLOW, source=side(selector="role == 'db'"))
    otherwise = rule(Action.ALLOW, source=side(selector='role=="db"'))

    assert _digest(spelled) == _digest(otherwise, **BOOK)


def test_a_plan_without_counters_is_the_same_but_for_digests() -> None:
    """And of two rules that say the same each is still told apart."""
    resources = Resources(policies=(gnp("p", ingress=(SSH, SSH, Rule(Action.ALLOW))),), endpoints=ANY_ETH0)
    counted, _ = resolve(resources, Settings(), facts())
    plan, problems = resolve(resources, Settings(), facts(), counted=False)

    def rules_of(of: Plan) -> list[PlannedRule]:
        return list(of.endpoints[0].ingress.tiers[0].policies[0].rules)

    assert problems == ()
    assert [one.identity.digest for one in rules_of(plan)] == ["", "", ""]
    assert len({one.identity for one in rules_of(plan)}) == 3
    without = [replace(one, identity=replace(one.identity, digest="", number=0)) for one in rules_of(counted)]
    assert [replace(one, identity=replace(one.identity, number=0)) for one in rules_of(plan)] == without


def test_digests_are_the_same_in_every_release() -> None:
    """They key named counters in the kernel, which outlive an upgrade."""
    assert _digest(Rule(Action.ALLOW)) == "d6d5bb172a33"
    assert _digest(SSH) == "d6d761cc9677"
    limits = (SourceLimit(_OFTEN), SourceLimit(max_connections=20), SourceLimit(_OFTEN, 20))
    found = [_digest(Rule(Action.ALLOW, limit=limit)) for limit in limits]
    assert found == ["69505f3420db", "994ce3fa79c4", "dbaf979cd67c"]


def test_a_list_of_protocols_is_the_same_in_any_order() -> None:
    """Any of them will do."""
    listed = replace(SSH, protocol=TCP, other_protocols=(UDP, Protocol(47)))

    assert _digest(listed) == _digest(replace(SSH, protocol=Protocol(47), other_protocols=(TCP, UDP)))


def test_denials_alone_are_unrecorded_by_their_own_word_or_that_of_the_policy() -> None:
    """An annotation of the policy is for all its Deny rules, and for nothing else."""
    silent = (("hostfw.io/log", "none"),)
    rules = (rule(Action.DENY), rule(Action.ALLOW), replace(rule(Action.DENY), annotations=silent), rule(Action.LOG))

    policy = gnp("p", ingress=rules)
    silenced = replace(policy, metadata=replace(policy.metadata, annotations=silent))

    assert [one.unrecorded for one in _planned(*rules)] == [False, False, True, False]
    assert [one.unrecorded for one in _planned(policies=(silenced,))] == [True, False, True, False]


def test_equal_rules_of_a_policy_are_numbered() -> None:
    """So that each has a counter of its own, whatever stands between them."""
    resources = Resources(
        policies=(gnp("p", types=BOTH, ingress=(ALLOW, DENY, ALLOW), egress=(ALLOW,)), gnp("q", ingress=(ALLOW,))),
        endpoints=ANY_ETH0,
    )

    found = [
        (i.policy, i.direction, i.number, i.index, i.kind, i.tier)
        for d in Direction
        for p in _direction(resources, d).tiers[0].policies
        for i in (r.identity for r in p.rules)
    ]

    assert found == [
        ("p", Direction.INGRESS, 0, 0, "GlobalNetworkPolicy", "default"),
        ("p", Direction.INGRESS, 0, 1, "GlobalNetworkPolicy", "default"),
        ("p", Direction.INGRESS, 1, 2, "GlobalNetworkPolicy", "default"),
        ("q", Direction.INGRESS, 0, 0, "GlobalNetworkPolicy", "default"),
        ("p", Direction.EGRESS, 0, 0, "GlobalNetworkPolicy", "default"),
    ]


def test_criteria_and_positions_are_carried_over() -> None:
    """Criteria that need no look-up are as they were written."""
    written = Rule(
        Action.LOG,
        protocol=Protocol(47),
        not_protocol=ICMP,
        icmp=None,
        not_icmp=Icmp(3, 1),
        source=EntityRule(),
        position=rule(Action.LOG, line=12).position,
    )

    (planned,) = _planned(written)

    assert (planned.action, planned.protocol, planned.not_protocol, planned.not_icmp, planned.position.line) == (
        Action.LOG,
        Protocol(47),
        ICMP,
        Icmp(3, 1),
        12,
    )
