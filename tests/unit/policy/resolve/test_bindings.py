"""The HostEndpoints that govern interfaces."""

from dataclasses import replace
from functools import partial

import pytest

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.problems import Severity
from hostfw.model.resources import HostEndpoint
from hostfw.model.settings import Loopback
from hostfw.model.values import Learned
from hostfw.policy.resolve.bindings import bind
from hostfw.policy.resolve.interface_groups import in_group
from tests.unit.builders.policy_builders import ETH0, ETH1, LO, at, facts, group, hep, link, net
from tests.unit.timing import processor_s

UPLINKS = group("uplinks", InterfaceMatch(name="eth*"))

CASES: list[tuple[str, tuple[HostEndpoint, ...], dict[str, str], str | None]] = [
    ("by name", (hep("a", "eth0"),), {"eth0": "a"}, None),
    ("of two by name the first by name wins", (hep("b", "eth0"), hep("a", "eth0")), {"eth0": "a"}, None),
    (
        "an address match that is first by name beats a name",
        (hep("b", "eth0"), hep("a", ips=("10.0.0.1",))),
        {"eth0": "a"},
        None,
    ),
    (
        "a name that is first by name beats an address",
        (hep("a", "eth0"), hep("b", ips=("10.0.0.1",))),
        {"eth0": "a"},
        None,
    ),
    (
        "a group match that is first by name beats a name",
        (hep("b", "eth0"), hep("a", group="uplinks")),
        {"eth0": "a", "eth1": "a"},
        None,
    ),
    ("an address of either family governs the interface", (hep("a", ips=("2001:db8::1",)),), {"eth0": "a"}, None),
    (
        "one list of addresses may govern several interfaces",
        (hep("a", ips=("10.0.0.1", "192.168.1.1")),),
        {"eth0": "a", "eth1": "a"},
        None,
    ),
    ("expectedIPs select nothing beside interfaceName", (hep("a", "eth1", ips=("10.0.0.1",)),), {"eth1": "a"}, None),
    (
        "expectedIPs select nothing beside interfaceGroup",
        (hep("a", group="uplinks", ips=("127.0.0.1",)),),
        {"eth0": "a", "eth1": "a"},
        None,
    ),
    ("names are matched, alternative names are not", (hep("a", "enp1s0"),), {"enp1s0": "a"}, None),
    ("an absent interface is bound by its name", (hep("a", "wg0"),), {"wg0": "a"}, None),
    ("an address that no interface has binds nothing", (hep("a", ips=("10.9.9.9",)),), {}, None),
    ("a wildcard is no binding", (hep("a", "*"),), {}, "a"),
    ("of two wildcards the first by name wins", (hep("b", "*"), hep("a", "*")), {}, "a"),
    ("a wildcard does not reach an interface with its own", (hep("a", "*"), hep("b", "eth0")), {"eth0": "b"}, "a"),
    ("lo is governed by a HostEndpoint that names it", (hep("a", "lo"), hep("b", "*")), {"lo": "a"}, "b"),
    ("lo is not governed for an address on it", (hep("a", ips=("127.0.0.1",)),), {}, None),
    ("nothing to bind", (), {}, None),
]


@pytest.mark.parametrize(("name", "endpoints", "expected", "wildcard"), CASES, ids=[c[0] for c in CASES])
def test_an_interface_is_governed_by_the_first_endpoint_by_name_that_claims_it(
    name: str, endpoints: tuple[HostEndpoint, ...], expected: dict[str, str], wildcard: str | None
) -> None:
    """Name, address and group claims compete by the HostEndpoint's name alone."""
    eth0 = link("eth0", "10.0.0.1", "2001:db8::1", altnames=("enp1s0",))

    bound, _ = bind(endpoints, (UPLINKS,), Loopback.EXEMPT, facts(LO, eth0, ETH1))

    assert ({b.interface: b.endpoint for b in bound.bindings}, bound.wildcard) == (expected, wildcard), name


def test_bindings_are_sorted_and_say_why_and_whether_the_interface_is_there() -> None:
    """Each kind of claim has its own words."""
    endpoints = (hep("a", "wg0"), hep("b", ips=("192.168.1.1",)), hep("c", group="uplinks"))

    bound, _ = bind(endpoints, (UPLINKS,), Loopback.EXEMPT, facts())

    assert [(b.interface, b.endpoint, b.reason, b.present) for b in bound.bindings] == [
        ("eth0", "c", "interfaceGroup uplinks", True),
        ("eth1", "b", "expectedIPs 192.168.1.1", True),
        ("wg0", "a", "interfaceName wg0", False),
    ]
    assert bound.governing == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "endpoints", "expected"),
    [
        ("the wildcard governs lo", (hep("a", "*"),), {"lo": "a"}),
        ("one that names lo comes before the wildcard", (hep("a", "*"), hep("b", "lo")), {"lo": "b"}),
        ("an address on lo claims it", (hep("a", ips=("127.0.0.1",)),), {"lo": "a"}),
        ("a glob still does not", (hep("a", group="everything"),), {"eth0": "a", "eth1": "a"}),
    ],
)
def test_lo_is_an_interface_like_others_where_loopback_is_policed(
    name: str, endpoints: tuple[HostEndpoint, ...], expected: dict[str, str]
) -> None:
    """`loopback: policed` is Calico's behaviour; groups are an extension and must still say lo."""
    bound, _ = bind(endpoints, (group("everything", InterfaceMatch(name="*")),), Loopback.POLICED, facts())

    assert {b.interface: b.endpoint for b in bound.bindings} == expected, name


GROUP_CASES: list[tuple[str, InterfaceGroup, set[str]]] = [
    ("a glob over names", group("g", InterfaceMatch(name="eth*")), {"eth0", "eth1"}),
    ("a glob over alternative names", group("g", InterfaceMatch(name="enp*")), {"eth0"}),
    ("a glob is case-sensitive", group("g", InterfaceMatch(name="ETH*")), set()),
    ("a kind", group("g", InterfaceMatch(kind="bridge")), {"br0"}),
    ("a link group by number", group("g", InterfaceMatch(link_group=7)), {"eth1"}),
    ("a link group by name", group("g", InterfaceMatch(link_group="dmz")), {"eth1"}),
    ("a link group that the host does not know", group("g", InterfaceMatch(link_group="lan")), set()),
    ("a master", group("g", InterfaceMatch(master="br0")), {"veth1"}),
    ("an address within a prefix", group("g", InterfaceMatch(address_in=(net("10.0.0.0/8"),))), {"eth0"}),
    ("a prefix is of one family", group("g", InterfaceMatch(address_in=(net("::/0"),))), {"eth0"}),
    (
        "any of several prefixes",
        group("g", InterfaceMatch(address_in=(net("10.0.0.0/8"), net("192.168.0.0/16")))),
        {"eth0", "eth1"},
    ),
    ("the default route", group("g", InterfaceMatch(default_route=True)), {"eth0"}),
    ("no default route", group("g", InterfaceMatch(name="eth*", default_route=False)), {"eth1"}),
    ("all fields of an entry must hold", group("g", InterfaceMatch(name="eth*", link_group=7)), {"eth1"}),
    ("any entry will do", group("g", InterfaceMatch(name="eth1"), InterfaceMatch(kind="bridge")), {"eth1", "br0"}),
    (
        "but none of except",
        group("g", InterfaceMatch(name="eth*"), but=(InterfaceMatch(default_route=True),)),
        {"eth1"},
    ),
    ("a glob does not catch lo", group("g", InterfaceMatch(name="*")), {"eth0", "eth1", "br0", "veth1"}),
    ("nor does an address", group("g", InterfaceMatch(address_in=(net("127.0.0.0/8"),))), set()),
    ("lo by its name", group("g", InterfaceMatch(name="lo")), {"lo"}),
    ("lo by its kind", group("g", InterfaceMatch(kind="loopback")), {"lo"}),
    ("except takes lo away by a glob", group("g", InterfaceMatch(name="lo"), but=(InterfaceMatch(name="l*"),)), set()),
]


@pytest.mark.parametrize(("name", "of", "expected"), GROUP_CASES, ids=[c[0] for c in GROUP_CASES])
def test_an_interface_group_holds_what_its_entries_describe(name: str, of: InterfaceGroup, expected: set[str]) -> None:
    """Within an entry all fields must hold, one entry is enough, and `except` wins."""
    host = facts(
        LO,
        link("eth0", "10.0.0.1", "2001:db8::1", altnames=("enp1s0", "enx0"), default_route=True),
        link("eth1", "192.168.1.1", link_group=7),
        link("br0", kind="bridge"),
        link("veth1", kind="veth", master="br0"),
        link_groups=(("default", 0), ("dmz", 7)),
    )

    assert {i.name for i in host.interfaces if in_group(of, i, host)} == expected, name


@pytest.mark.parametrize(
    ("interface", "safe"),
    [
        ("eth0.100", True),
        ("a*b", True),
        ("a'b;{}$#@!", True),
        ("~", True),
        ("eth*", False),
        ("*", False),
        ('a"b', False),
        ("a\\b", False),
        ("a\x1bb", False),
        ("a\x7f", False),
        ("a b", False),
        ("büro", False),
        ("", False),
    ],
)
def test_a_safe_name_means_itself_between_quotes(interface: str, safe: bool) -> None:
    """Quotes, backslashes, a final star, blanks, control characters and non-ASCII do not."""
    assert is_safe_name(interface) is safe


def _messages(
    endpoints: tuple[HostEndpoint, ...], host: HostFacts, *groups: InterfaceGroup
) -> list[tuple[int, str, str, str]]:
    _, problems = bind(endpoints, groups, Loopback.EXEMPT, host)
    assert all(p.severity is Severity.WARNING for p in problems)
    return [(p.position.line, p.message, p.expected, p.hint) for p in problems]


def test_an_absent_interface_is_a_warning_that_lists_those_present() -> None:
    """A typing error in an interface name leaves the real interface to others."""
    assert _messages((hep("a", "eth7", line=4),), facts()) == [
        (
            4,
            'HostEndpoint "a" names the interface "eth7", which this host does not have',
            "one of eth0, eth1, lo",
            "its policy applies as soon as the interface appears",
        )
    ]


def test_an_alternative_name_in_its_place_is_pointed_out() -> None:
    """`iifname` sees the name alone."""
    assert _messages((hep("a", "enp1s0"),), facts(LO, link("eth0", altnames=("enp1s0",)))) == [
        (
            1,
            'HostEndpoint "a" names the interface "enp1s0", which this host does not have',
            "one of eth0, lo",
            '"enp1s0" is an alternative name of "eth0", and rules match the name itself',
        )
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (8, "one of veth0, veth1, veth2, veth3, veth4, veth5, veth6, veth7"),
        (10, "one of veth0, veth1, veth2, veth3, veth4, veth5, veth6, veth7 and 2 more"),
    ],
)
def test_a_long_list_of_interfaces_is_cut(count: int, expected: str) -> None:
    """A host of containers has hundreds."""
    many = tuple(link(f"veth{n}") for n in range(count))

    assert [listed for _, _, listed, _ in _messages((hep("a", "x"),), facts(*many))] == [expected]


def test_an_endpoint_whose_group_or_addresses_match_nothing_is_a_warning() -> None:
    """It governs nothing, which nobody means."""
    endpoints = (hep("a", group="bonds", line=4), hep("b", ips=("10.9.9.9",), line=9))

    assert _messages(endpoints, facts(), group("bonds", InterfaceMatch(kind="bond"))) == [
        (
            5,
            'HostEndpoint "a" claims no interface now: InterfaceGroup "bonds" has none of this host',
            "one of eth0, eth1, lo",
            "",
        ),
        (
            9,
            'HostEndpoint "b" claims no interface now: no interface of this host has one of its expectedIPs',
            "",
            "give an interfaceName, which binds whatever the addresses are",
        ),
    ]


def test_two_endpoints_for_the_same_interfaces_are_one_warning() -> None:
    """It stands where the loser is and names the winner."""
    assert _messages((hep("b", group="uplinks", line=7), hep("a", group="uplinks")), facts(), UPLINKS) == [
        (
            8,
            'HostEndpoint "b" does not govern eth0, eth1: "a" does, being first by name',
            "one HostEndpoint for an interface",
            "",
        )
    ]


def test_two_wildcards_are_a_warning() -> None:
    """Only the first by name counts."""
    assert [m for _, m, _, _ in _messages((hep("b", "*"), hep("a", "*")), facts())] == [
        'HostEndpoint "b" does not govern *: "a" does, being first by name'
    ]


def test_an_unknown_link_group_is_a_warning() -> None:
    """The names are those of the host's own file."""
    of = group("g", InterfaceMatch(name="eth*"), InterfaceMatch(link_group="lan", position=at(6)))

    assert _messages((hep("a", group="g"),), facts(link_groups=(("default", 0),)), of) == [
        (
            6,
            'this host has no link group "lan", so no interface matches this entry',
            "a number, or a name of /etc/iproute2/group such as default",
            "",
        )
    ]


@pytest.mark.parametrize(
    "endpoints", [(hep("a", "eth0"),), (hep("a", group="uplinks"),), (hep("a", ips=("10.0.0.1",)),), (hep("a", "*"),)]
)
def test_what_is_bound_is_no_problem(endpoints: tuple[HostEndpoint, ...]) -> None:
    """A sound configuration is silent."""
    assert _messages(endpoints, facts(), UPLINKS) == []


def test_without_an_observed_interface_nothing_is_said_to_be_absent() -> None:
    """An offline check knows nothing of the host."""
    endpoints = (hep("a", "eth0"), hep("b", group="uplinks"), hep("c", ips=("10.0.0.1",)))
    dmz = group("uplinks", InterfaceMatch(link_group="dmz"))

    assert _messages(endpoints, HostFacts("web1"), dmz) == []


def test_an_interface_whose_name_nftables_cannot_match_is_left_to_the_wildcard() -> None:
    """Nothing is written that would mean another interface."""
    odd = Interface('a"b', 9)
    endpoints = (hep("a", group="g", line=3), hep("b", "*"))

    bound, problems = bind(endpoints, (group("g", InterfaceMatch(name="a*")),), Loopback.EXEMPT, facts(LO, ETH0, odd))

    assert (bound.bindings, bound.wildcard) == ((), "b")
    assert [(p.position.line, p.message) for p in problems] == [
        (4, 'HostEndpoint "a" cannot govern the interface \'a"b\': nftables cannot match its name')
    ]


def learned(name: str, *gifts: tuple[str, Learned], by: tuple[Learned, ...] = ()) -> Interface:
    """An interface with addresses that a neighbour gave, and a default route if anybody made it."""
    ways = tuple((net(text), how) for text, how in gifts)
    return link(name, *(t for t, _ in gifts), learned=ways, default_route=bool(by), default_route_learned=by)


WIFI = learned("wifi0", ("10.6.6.6", Learned.DHCP), ("fd66::1", Learned.RA), by=(Learned.RA,))
BY_RA = "by a router advertisement"
BELIEVE = (Learned.DHCP, Learned.RA)
V4_OR_V6 = net("10.0.0.0/8"), net("fd00::/8")
DISBELIEF: list[tuple[str, InterfaceMatch, bool]] = [
    ("an address of the neighbour's", InterfaceMatch(address_in=V4_OR_V6), False),
    ("a default route of the neighbour's", InterfaceMatch(default_route=True), False),
    ("both", InterfaceMatch(address_in=V4_OR_V6, default_route=True), False),
    ("no default route but the neighbour's", InterfaceMatch(default_route=False), True),
    ("one way believed, of the address", InterfaceMatch(address_in=V4_OR_V6, learned=(Learned.DHCP,)), True),
    ("the other way believed", InterfaceMatch(address_in=(net("10.0.0.0/8"),), learned=(Learned.RA,)), False),
    ("the way of the route believed", InterfaceMatch(default_route=True, learned=(Learned.RA,)), True),
    ("not the way of the route", InterfaceMatch(default_route=True, learned=(Learned.DHCP,)), False),
    ("all believed", InterfaceMatch(address_in=V4_OR_V6, default_route=True, learned=BELIEVE), True),
    ("what no neighbour says", InterfaceMatch(name="wifi*"), True),
]


@pytest.mark.parametrize(("entry", "holds"), [c[1:] for c in DISBELIEF], ids=[c[0] for c in DISBELIEF])
def test_what_a_neighbour_says_makes_no_member(entry: InterfaceMatch, holds: bool) -> None:
    """Unless the entry believes it; in `except` it takes no member out either."""
    every = InterfaceMatch(kind="")
    host = facts(LO, WIFI)

    assert in_group(group("g", entry), WIFI, host) is holds
    assert in_group(group("g", every, but=(entry,)), WIFI, host) is not holds


def test_an_entry_that_holds_for_nothing_because_of_a_neighbour_says_so() -> None:
    """With the interface, the fact, and the field that would make it count."""
    entry = InterfaceMatch(address_in=V4_OR_V6, default_route=True, position=at(7))
    endpoints = (hep("a", group="g"), hep("b", ips=("10.6.6.6",), line=9))

    _, problems = bind(endpoints, (group("g", entry),), Loopback.EXEMPT, facts(LO, WIFI))

    assert [(p.position.line, p.message, p.hint) for p in problems if "neighbour" in p.message] == [
        (
            7,
            (
                f"no interface matches this entry: 10.6.6.6 of wifi0 came by DHCP, fd66::1 of wifi0 came {BY_RA}, "
                f"the default route to wifi0 came {BY_RA}, and a neighbour may say that"
            ),
            "add learned: [dhcp, ra] if it is to decide all the same",
        ),
        (
            9,
            'HostEndpoint "b" claims no interface now: 10.6.6.6 of wifi0 came by DHCP, and a neighbour may say that',
            "give an interfaceName, or add learned: [dhcp] if it is to decide all the same",
        ),
    ]


def test_expected_addresses_bind_only_where_they_are_believed() -> None:
    """A HostEndpoint that believes a way is bound by what came that way."""
    endpoint = hep("a", ips=("10.6.6.6", "fd66::1"))

    for ways, expected in (((), ()), ((Learned.RA,), ("wifi0",)), (BELIEVE, ("wifi0",))):
        bound, _ = bind((replace(endpoint, learned=ways),), (), Loopback.EXEMPT, facts(LO, WIFI))
        assert tuple(binding.interface for binding in bound.bindings) == expected


def test_an_interface_whose_name_is_an_asterisk_is_not_the_wildcard() -> None:
    """The kernel permits the name; whoever is in a group or has an address by it stays one interface."""
    star = Interface("*", 9, addresses=(net("10.7.7.7"),))
    endpoints = (hep("a", group="g", line=3), hep("b", ips=("10.7.7.7",), line=5))

    bound, problems = bind(endpoints, (group("g", InterfaceMatch(name="*")),), Loopback.EXEMPT, facts(LO, star))

    assert (bound.bindings, bound.wildcard) == ((), None)
    assert [p.message for p in problems] == [
        f"HostEndpoint \"{name}\" cannot govern the interface '*': nftables cannot match its name" for name in "ab"
    ]


def test_binding_takes_time_in_proportion_to_endpoints_and_interfaces() -> None:
    """A thousand of each, absent, by name, by address and by group, in well under what each by each would take."""
    host = facts(LO, *(link(f"if{n}", str(net(f"10.0.{n >> 8}.{n & 255}"))[:-3]) for n in range(1000)))
    kinds: list[tuple[str, tuple[HostEndpoint, ...], tuple[InterfaceGroup, ...]]] = [
        ("absent", tuple(hep(f"e{n}", f"none{n}") for n in range(1000)), ()),
        ("present", tuple(hep(f"e{n}", f"if{n}") for n in range(1000)), ()),
        ("addresses", tuple(hep(f"e{n}", ips=(f"10.0.{n >> 8}.{n & 255}",)) for n in range(1000)), ()),
        (
            "groups",
            tuple(hep(f"e{n}", group=f"g{n}") for n in range(1000)),
            tuple(group(f"g{n}", InterfaceMatch(name=f"if{n}")) for n in range(1000)),
        ),
    ]
    for name, endpoints, groups in kinds:
        work = partial(bind, endpoints, groups, Loopback.EXEMPT, host)
        assert len(work()[0].bindings) == 1000
        assert processor_s(work) < 0.25, name
