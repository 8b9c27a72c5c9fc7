"""Reading of links without the kernel."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.host.netlink.parsed import Parsed
from hostfw.host.netlink.rtnetlink import IFA_F_PERMANENT, Hop, Link, LinkAddress, Route
from hostfw.host.network.dhcp.dhcp_leases import EndlessLease, endless_leases
from hostfw.host.network.interfaces import links
from hostfw.host.network.interfaces.links import LastReading, Network, interfaces_of, link_groups
from hostfw.host.workloads import noted_bridges
from hostfw.model.host.facts import HostFacts
from hostfw.model.values import Cidr, Family, Learned, address_text, host_cidr, parse_address, parse_cidr


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Debian's own", "# device group names\n0\tdefault\n", (("default", 0),)),
        ("by name", "2 wan\n0x10 dmz # behind\n 0 default\n", (("default", 0), ("dmz", 16), ("wan", 2))),
        ("lines that mean nothing", "x y\n7\n1 2 3\n-\n5 ok\n", (("ok", 5),)),
        ("the last of two", "1 a\n2 a\n", (("a", 2),)),
        ("nothing", "", ()),
    ],
)
def test_link_groups_have_names(tmp_path: Path, name: str, text: str, expected: tuple[tuple[str, int], ...]) -> None:
    """As iproute2 reads them."""
    (tmp_path / "group").write_text(text)

    assert link_groups((tmp_path / "group",)) == expected, name


def test_the_first_file_of_link_groups_is_the_one(tmp_path: Path) -> None:
    """An administrator's file hides the distribution's."""
    etc, usr, none = tmp_path / "etc", tmp_path / "usr", tmp_path / "none"
    etc.write_text("1 mine\n")
    usr.write_text("0 default\n")

    assert link_groups((none, etc, usr)) == (("mine", 1),)
    assert link_groups((none, usr)) == (("default", 0),)
    assert link_groups((none,)) == ()


ETH0 = Link(2, "eth0", up=True)


def held(text: str, length: int, flags: int = IFA_F_PERMANENT, protocol: int = 0) -> LinkAddress:
    """An address of eth0."""
    parsed = parse_address(text)
    assert parsed is not None
    return LinkAddress(2, *parsed, length, 0, flags, protocol)


def way(protocol: int, to: str = "", source: str = "", family: Family = Family.V4, index: int = 2) -> Route:
    """A route by eth0, to everywhere unless said otherwise."""
    cidr = parse_cidr(to) or Cidr(family, 0, 0)
    by = parse_address(source)
    hops = (Hop(index),)
    return Route(cidr.family, cidr.address, cidr.length, 254, protocol, 1, hops, None if by is None else by[1])


@pytest.mark.parametrize(
    ("name", "set_at", "expected"),
    [
        ("just now", 100_000, 0.0),
        ("a while ago", 99_000, 10.0),
        ("a little ahead", 100_003, 0.0),
        ("before the counter began anew", 2**32 - 1000, 1010.0),
        ("nobody says", None, math.inf),
    ],
)
def test_an_address_has_an_age(name: str, set_at: int | None, expected: float) -> None:
    """In seconds, from the kernel's hundredths."""
    assert replace(held("192.0.2.9", 24), set_at=set_at).age_s(1000.0) == expected, name


V6 = Family.V6
BOOT, STATIC, BIRD, RA, DHCP = 3, 4, 12, 9, 16
ADDRESSES: list[tuple[str, LinkAddress, tuple[Route, ...], tuple[EndlessLease, ...], Learned | None]] = [
    ("an administrator's", held("192.0.2.9", 24), (), (), None),
    ("an administrator's IPv6", held("2001:db8::9", 64), (), (), None),
    ("one that ends", held("192.0.2.9", 24, 0), (), (), Learned.DHCP),
    ("a single IPv6 one that ends", held("2001:db8::9", 128, 0), (), (), Learned.DHCP),
    ("an IPv6 one that ends", held("2001:db8::9", 64, 0), (), (), Learned.RA),
    ("a single one of a router", held("2001:db8::9", 128, 0, 2), (), (), Learned.RA),
    ("one that a router gave for ever, marked", held("2001:db8::9", 64, 0x80, 2), (), (), Learned.RA),
    (
        "one that DHCP gave for ever, by a route",
        held("192.0.2.9", 24),
        (way(DHCP, source="192.0.2.9"),),
        (),
        Learned.DHCP,
    ),
    ("beside one that DHCP gave", held("192.0.2.9", 24), (way(DHCP, source="192.0.2.8"),), (), None),
    (
        "one leased for ever, by name",
        held("192.0.2.9", 24),
        (),
        (EndlessLease("eth0", Family.V4, 0xC0000209),),
        Learned.DHCP,
    ),
    (
        "one leased for ever, by index",
        held("192.0.2.9", 24),
        (),
        (EndlessLease(2, Family.V4, 0xC0000209),),
        Learned.DHCP,
    ),
    ("one leased elsewhere", held("192.0.2.9", 24), (), (EndlessLease("eth1", Family.V4, 0xC0000209),), None),
    ("networkd's, advertised for ever", held("2001:db8::9", 64, 0x280), (way(RA, "2001:db8::/64"),), (), Learned.RA),
    ("an administrator's in an advertised prefix", held("2001:db8::9", 64), (way(RA, "2001:db8::/64"),), (), None),
    ("without a prefix route, not advertised", held("2001:db8::9", 64, 0x280), (way(RA, "2001:db8:1::/64"),), (), None),
    ("the host's own on the link", held("fe80::9", 64, 0x80, 3), (), (), None),
]


@pytest.mark.parametrize(
    ("one", "routes", "leases", "expected"), [case[1:] for case in ADDRESSES], ids=[case[0] for case in ADDRESSES]
)
def test_an_address_that_a_neighbour_gave_is_told_apart(
    one: LinkAddress, routes: tuple[Route, ...], leases: tuple[EndlessLease, ...], expected: Learned | None
) -> None:
    """By its lifetime, its protocol, its routes and the lease files."""
    (eth0,) = interfaces_of(Network([ETH0], [one], routes), leases)

    assert eth0.learned == (((host_cidr(one.family, one.address), expected),) if expected else ())
    assert eth0.addresses == (host_cidr(one.family, one.address),)


LEASED = held("192.0.2.9", 24, 0)
DEFAULT_ROUTES: list[tuple[str, tuple[LinkAddress, ...], tuple[Route, ...], bool, tuple[Learned, ...]]] = [
    ("none", (), (), False, ()),
    ("an administrator's", (), (way(BOOT),), True, ()),
    ("networkd's own", (LEASED,), (way(STATIC),), True, ()),
    ("a routing daemon's", (LEASED,), (way(BIRD),), True, ()),
    ("by DHCP", (), (way(DHCP),), True, (Learned.DHCP,)),
    ("by a router", (), (way(RA, family=V6),), True, (Learned.RA,)),
    ("by dhclient's script", (LEASED,), (way(BOOT),), True, (Learned.DHCP,)),
    ("IPv6 beside dhclient's", (LEASED,), (way(BOOT, family=V6),), True, ()),
    ("both", (), (way(RA, family=V6), way(DHCP)), True, (Learned.DHCP, Learned.RA)),
    ("an administrator's beside a router's", (), (way(RA, family=V6), way(BOOT)), True, ()),
    ("to elsewhere", (), (way(BOOT, "10.0.0.0/8"), way(RA, "2001:db8::/64")), False, ()),
    ("of another link", (), (way(BOOT, index=3),), False, ()),
]


@pytest.mark.parametrize(
    ("addresses", "routes", "there", "makers"),
    [case[1:] for case in DEFAULT_ROUTES],
    ids=[case[0] for case in DEFAULT_ROUTES],
)
def test_a_default_route_that_a_neighbour_made_is_told_apart(
    addresses: tuple[LinkAddress, ...], routes: tuple[Route, ...], there: bool, makers: tuple[Learned, ...]
) -> None:
    """It is one all the same; of several an administrator's makes the others no matter."""
    (eth0,) = interfaces_of(Network([ETH0], addresses, routes))

    assert (eth0.default_route, eth0.default_route_learned) == (there, makers)


def test_leases_without_an_end_are_read_from_the_files_of_dhcp_clients(tmp_path: Path) -> None:
    """Dhclient's only where they say so, NetworkManager's only of this boot; what is no lease says nothing."""
    networkd, dhclient, manager, proc = (tmp_path / name for name in ("networkd", "dhclient", "manager", "proc"))
    for folder in (networkd, dhclient, manager, proc):
        folder.mkdir()
    (networkd / "7").write_text("# private\nADDRESS=192.0.2.7\nSERVER_ADDRESS=192.0.2.1\n")
    (networkd / "junk").write_text("ADDRESS=192.0.2.8\n")
    lease = 'lease {{\n  interface "{}";\n  fixed-address {};\n  {}\n}}\n'
    (dhclient / "dhclient.eth0.leases").write_text(
        lease.format("eth0", "192.0.2.9", "expire never;")
        + lease.format("eth1", "192.0.2.10", "option dhcp-lease-time 4294967295;")
        + lease.format("eth0", "192.0.2.11", "option dhcp-lease-time 600;\n  expire 2 2026/12/01 10:00:00;")
    )
    (dhclient / "dhclient6.eth0.leases").write_text(
        'default-duid "x";\nlease6 {\n  interface "eth0";\n  ia-na 00:00:00:01 {\n    starts 1;\n    renew 900;\n'
        "    iaaddr fd66::9 {\n      starts 1;\n      preferred-life 4294967295;\n      max-life 4294967295;\n    }\n"
        "    iaaddr fd66::a {\n      starts 1;\n      preferred-life 900;\n      max-life 1800;\n    }\n  }\n}\n"
    )
    name = "internal-01234567-89ab-cdef-0123-456789abcdef-{}.lease"
    (manager / name.format("wlan0")).write_text("ADDRESS=192.0.2.12\n")
    (manager / name.format("wlan1")).write_text("ADDRESS=192.0.2.13\n")
    os.utime(manager / name.format("wlan1"), (50, 50))
    (proc / "stat").write_text("cpu 1 2\nbtime 100\n")

    found = endless_leases(networkd, dhclient, manager, proc)

    assert {(link, address_text(family, address)) for link, family, address in found} == {
        (7, "192.0.2.7"),
        ("eth0", "192.0.2.9"),
        ("eth0", "fd66::9"),
        ("eth1", "192.0.2.10"),
        ("wlan0", "192.0.2.12"),
    }
    assert endless_leases(*(tmp_path / "none",) * 4) == frozenset()


KERNEL = 2
NETWORKS: list[tuple[str, tuple[LinkAddress, ...], tuple[Route, ...], dict[str, Learned | None]]] = [
    ("of an address", (held("192.0.2.9", 24),), (), {"192.0.2.0/24": None}),
    ("of one that DHCP gave", (held("192.0.2.9", 24, 0),), (), {"192.0.2.0/24": Learned.DHCP}),
    ("of both", (held("192.0.2.9", 24, 0), held("192.0.2.8", 24)), (), {"192.0.2.0/24": None}),
    ("the other way round", (held("192.0.2.8", 24), held("192.0.2.9", 24, 0)), (), {"192.0.2.0/24": None}),
    ("of a router", (held("2001:db8::9", 64, 0),), (), {"2001:db8::/64": Learned.RA}),
    ("none of an address alone", (held("192.0.2.9", 32), held("2001:db8::9", 128, 0)), (), {}),
    ("that of a peer", (replace(held("192.0.2.9", 32), peer=0xC6336401),), (), {"198.51.100.1/32": None}),
    (
        "advertised on the link",
        (held("2001:db8::9", 128, 0),),
        (way(KERNEL, "2001:db8::/64"),),
        {"2001:db8::/64": Learned.RA},
    ),
    ("networkd's", (), (way(RA, "2001:db8::/64"),), {"2001:db8::/64": Learned.RA}),
    ("an administrator's", (held("2001:db8::9", 64),), (way(KERNEL, "2001:db8::/64"),), {"2001:db8::/64": None}),
    ("none by a gateway", (), (replace(way(RA, "2001:db8::/48"), hops=(Hop(2, (V6, 1)),)),), {}),
    ("none of a routing daemon", (), (way(BIRD, "2001:db8::/48"), way(DHCP, "10.0.0.0/8")), {}),
    ("none of another table", (), (replace(way(KERNEL, "2001:db8::/64"), table=255),), {}),
    ("none of another link", (), (way(RA, "2001:db8::/64", index=3),), {}),
]


@pytest.mark.parametrize(
    ("addresses", "routes", "expected"), [case[1:] for case in NETWORKS], ids=[case[0] for case in NETWORKS]
)
def test_an_interface_is_on_the_networks_of_its_addresses_and_on_those_that_are_advertised(
    addresses: tuple[LinkAddress, ...], routes: tuple[Route, ...], expected: dict[str, Learned | None]
) -> None:
    """With how they came; one that an administrator set as well is an administrator's."""
    (eth0,) = interfaces_of(Network([ETH0], addresses, routes))

    learned = dict(eth0.networks_learned)
    assert {str(cidr): learned.get(cidr) for cidr in eth0.networks} == expected


def test_an_interface_of_which_nothing_new_is_said_stays_the_very_same() -> None:
    """Of a thousand one is made anew; a master that is renamed, or an address that is learned, counts as well."""
    last = LastReading()
    br0, port, other = Link(3, "br0"), Link(4, "veth4", master=3), Link(5, "veth5")
    network = Network([br0, port, other], [held("10.0.0.1", 24)])
    first = interfaces_of(network, last=last)
    again = interfaces_of(Network([br0, port, replace(other, up=True)], [held("10.0.0.1", 24)]), last=last)
    renamed = interfaces_of(Network([replace(br0, name="br1"), port], []), last=last)

    assert [one is before for one, before in zip(again, first, strict=True)] == [True, True, False]
    assert [one.master for one in renamed] == [None, "br1"]
    assert interfaces_of(network, last=last) == interfaces_of(network)
    eth0 = Network([ETH0], [held("10.0.0.1", 24)])
    assert interfaces_of(eth0, last=last) == interfaces_of(eth0)
    leased = [EndlessLease("eth0", Family.V4, 10 << 24 | 1)]
    assert interfaces_of(eth0, leased, last) == interfaces_of(eth0, leased) != interfaces_of(eth0)


def test_a_message_that_was_in_the_last_dump_is_not_parsed_again() -> None:
    """Of those that were not, all are; what is gone from one dump is forgotten."""
    seen: list[bytes] = []

    def parse(payload: bytes) -> bytes | None:
        seen.append(payload)
        return None if payload == b"none" else payload.upper()

    parsed = Parsed(parse)

    assert parsed.of([b"a", b"none", b"b"]) == [b"A", b"B"]
    assert parsed.of([b"b", b"none", b"c"]) == [b"B", b"C"]
    assert parsed.of([b"a"]) == [b"A"]
    assert seen == [b"a", b"none", b"b", b"c", b"a"]


def test_what_the_kernel_sends_no_message_about_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that was unloaded, though no link has changed."""
    module = tmp_path / "bridge-nf-call-iptables"
    monkeypatch.setattr(noted_bridges, "BRIDGE_NETFILTER", module)
    before = HostFacts(node="web", bridge_netfilter=True)

    assert links.observed_again(before) == replace(before, link_groups=link_groups(), bridge_netfilter=False)
    module.touch()
    assert links.observed_again(before).bridge_netfilter
