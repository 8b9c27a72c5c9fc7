"""Observation of real interfaces."""

import gc
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from hostfw.host.network.interfaces.links import observe
from hostfw.host.network.interfaces.pyroute2_comparison import differences
from hostfw.model.host.facts import HostFacts, Interface
from lab.namespace import Namespace, inside, namespace

SETUP = """\
link set lo up
link add wan0 type veth peer name wan1
link property add dev wan0 altname uplink0 altname a-very-long-alternative-name
link set wan0 group 7
link add br0 type bridge
link add port0 type veth peer name port1
link set port0 master br0
link set wan0 up
link set wan1 up
link set br0 up
link set port0 up
link set port1 up
address add 192.0.2.1/24 dev wan0
address add 192.0.2.9/24 dev wan0
address add 10.9.9.1 peer 10.9.9.2 dev br0
address add 2001:db8::1/64 dev wan0 nodad
address add fd00::5 peer fd00::6 dev port0 nodad
"""


def ip(*words: str, commands: str | None = None) -> None:
    """Run iproute2 in the namespace that we are in."""
    subprocess.run(["ip", *words], input=commands, text=True, check=True, capture_output=True)


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace with the links of SETUP, which the test is in."""
    with namespace("Web-1.Example.ORG") as made, inside(made):
        ip("-batch", "-", commands=SETUP)
        yield made


def seen(facts: HostFacts, name: str) -> Interface:
    """The interface of that name."""
    interface = facts.interface(name)
    assert interface is not None
    return interface


def default_routes() -> set[str]:
    """The interfaces that have one."""
    return {interface.name for interface in observe(nft="").interfaces if interface.default_route}


@pytest.mark.usefixtures("place")
def test_interfaces_are_observed_as_they_are() -> None:
    """By name, with kinds, groups, masters and alternative names."""
    facts = observe()

    assert [i.name for i in facts.interfaces] == sorted(["br0", "lo", "port0", "port1", "wan0", "wan1"])
    assert {i.name: i.kind for i in facts.interfaces} == {
        "br0": "bridge",
        "lo": "loopback",
        "port0": "veth",
        "port1": "veth",
        "wan0": "veth",
        "wan1": "veth",
    }
    wan = seen(facts, "wan0")
    assert wan.altnames == ("a-very-long-alternative-name", "uplink0")
    assert (wan.link_group, wan.master, wan.up) == (7, None, True)
    assert seen(facts, "port0").master == "br0"
    assert seen(facts, "wan1").link_group == 0
    assert all(i.index == socket.if_nametoindex(i.name) for i in facts.interfaces)


@pytest.mark.usefixtures("place")
def test_addresses_are_our_own_of_both_families() -> None:
    """Of a point-to-point link not the peer's; as host prefixes, whatever the network's length."""
    facts = observe()

    def global_addresses(name: str) -> list[str]:
        return [str(cidr) for cidr in seen(facts, name).addresses if not str(cidr).startswith("fe80:")]

    assert global_addresses("wan0") == ["192.0.2.1/32", "192.0.2.9/32", "2001:db8::1/128"]
    assert global_addresses("br0") == ["10.9.9.1/32"]
    assert global_addresses("port0") == ["fd00::5/128"]
    assert global_addresses("lo") == ["127.0.0.1/32", "::1/128"]
    assert global_addresses("wan1") == []
    assert any(str(cidr).startswith("fe80:") for cidr in seen(facts, "wan0").addresses)


@pytest.mark.usefixtures("place")
def test_an_interface_that_is_down_is_observed_as_down() -> None:
    """Policy for it is kept for when it comes back."""
    ip("link", "set", "wan0", "down")

    assert not seen(observe(), "wan0").up


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "routes", "expected"),
    [
        ("none", [], set()),
        ("IPv4", ["route add default via 192.0.2.254"], {"wan0"}),
        ("without a gateway", ["route add default dev br0"], {"br0"}),
        ("IPv6", ["route add default via 2001:db8::9"], {"wan0"}),
        (
            "one of each family",
            ["route add default via 10.9.9.2", "route add default via 2001:db8::9"],
            {"br0", "wan0"},
        ),
        (
            "two with different metrics",
            ["route add default dev br0 metric 5", "route add default dev wan0 metric 9"],
            {"br0", "wan0"},
        ),
        ("multipath", ["route add default nexthop via 192.0.2.254 nexthop via 10.9.9.2"], {"br0", "wan0"}),
        (
            "IPv6 multipath",
            ["route add ::/0 nexthop via 2001:db8::9 nexthop via fe80::1 dev br0"],
            {"br0", "wan0"},
        ),
        (
            "through a next hop object",
            ["nexthop add id 5 via 192.0.2.254 dev wan0", "route add default nhid 5"],
            {"wan0"},
        ),
        (
            "through a group of next hop objects",
            [
                "nexthop add id 5 via 192.0.2.254 dev wan0",
                "nexthop add id 6 dev br0",
                "nexthop add id 7 group 5/6,3",
                "route add default nhid 7",
            ],
            {"wan0", "br0"},
        ),
        (
            "IPv6 through a next hop object",
            ["nexthop add id 8 via 2001:db8::9 dev wan0", "route add ::/0 nhid 8"],
            {"wan0"},
        ),
        ("another table", ["route add default via 192.0.2.254 table 100"], set()),
        ("one that leads nowhere", ["route add unreachable 0.0.0.0/0", "route add blackhole ::/0"], set()),
        ("half of the world", ["route add 0.0.0.0/1 dev wan0", "route add 2000::/3 dev wan0"], set()),
    ],
)
def test_default_routes_are_those_of_the_main_table(name: str, routes: list[str], expected: set[str]) -> None:
    """In either family, whatever they look like; of next hop objects the kernel may give the id alone."""
    ip("-batch", "-", commands="".join(f"{route}\n" for route in routes))

    for compat in ("1", "0"):
        Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text(compat)
        assert default_routes() == expected, name


@pytest.mark.usefixtures("place")
def test_an_observation_leaves_nothing_behind() -> None:
    """No cycle for the collector, so that a process that observes for years stays as small as it was."""
    observe(nft="")
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            observe(nft="")
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.usefixtures("place")
def test_a_second_reader_sees_the_same() -> None:
    """pyroute2, which has every message's layout from another program."""
    iproute = pytest.importorskip("pyroute2").IPRoute
    with iproute() as route:
        links = {link.get_attr("IFLA_IFNAME"): link for link in route.get_links()}
        names = {link["index"]: name for name, link in links.items()}
        held = {(names[a["index"]], a.get_attr("IFA_LOCAL") or a.get_attr("IFA_ADDRESS")) for a in route.get_addr()}
        facts = observe(nft="")

        assert {i.name for i in facts.interfaces} == set(links)
        assert {(i.name, str(c).partition("/")[0]) for i in facts.interfaces for c in i.addresses} == held
        for interface in facts.interfaces:
            link = links[interface.name]
            properties = link.get_attr("IFLA_PROP_LIST")
            assert interface.index == link["index"]
            assert interface.altnames == tuple(sorted(properties.get_attrs("IFLA_ALT_IFNAME") if properties else ()))
            kind = "loopback" if interface.name == "lo" else link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""
            assert interface.kind == kind
            assert interface.link_group == link.get_attr("IFLA_GROUP")
            assert interface.master == names.get(link.get_attr("IFLA_MASTER"))
            assert interface.up is bool(link["flags"] & 1)


@pytest.mark.usefixtures("place")
def test_default_routes_are_found_among_very_many() -> None:
    """And soon: a router has a full table."""
    routes = (
        f"route add 10.{a}.{b}.{c * 16}/28 dev wan0\n" for a in range(10, 14) for b in range(250) for c in range(16)
    )
    ip("-batch", "-", commands="".join(routes))
    ip("route", "add", "default", "dev", "br0")
    default_routes()
    started = monotonic()

    assert default_routes() == {"br0"}

    assert monotonic() - started < 2


@pytest.mark.usefixtures("place")
def test_the_host_is_called_what_it_is_called() -> None:
    """In lower case, as Calico does, unless the settings say otherwise."""
    assert observe().node == "web-1.example.org"
    assert observe("Other").node == "Other"


@pytest.mark.usefixtures("place")
def test_versions_are_those_of_kernel_and_nft() -> None:
    """The one of nft is not asked for where it is known."""
    facts = observe()

    assert facts.kernel == os.uname().release
    assert facts.nft[0].isdigit()
    assert observe(nft="0.0").nft == "0.0"


def test_interfaces_that_come_and_go_do_not_disturb(place: Namespace) -> None:
    """An interface is in the facts or not, and the others always are."""
    stop = threading.Event()
    steady = {"br0", "lo", "port0", "port1", "wan0", "wan1"}

    def churn() -> None:
        add = "link add passing type veth peer name passing1\naddress add 198.51.100.1/24 dev passing\n"
        with inside(place):
            while not stop.is_set():
                ip("-batch", "-", commands=add + "link delete passing\n")

    other = threading.Thread(target=churn)
    other.start()
    try:
        deadline = monotonic() + 2
        observations = []
        while monotonic() < deadline:
            observations.append(observe(nft=""))
    finally:
        stop.set()
        other.join()

    assert len(observations) > 5
    for facts in observations:
        assert {i.name for i in facts.interfaces} - {"passing", "passing1"} == steady
        assert [str(c) for c in seen(facts, "wan0").addresses][:2] == ["192.0.2.1/32", "192.0.2.9/32"]


def test_only_the_own_namespace_is_observed(place: Namespace) -> None:
    """Whatever the process saw before."""
    assert observe().interface("wan0")
    with namespace("empty") as other, inside(other):
        facts = observe()
        assert [i.name for i in facts.interfaces] == ["lo"]
        assert not facts.interfaces[0].up
    with inside(place):
        assert observe().interface("wan0")


@pytest.mark.usefixtures("place")
def test_the_doctor_is_told_where_a_second_reader_sees_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing as things are; the interface, where ours had the layout of a message wrong."""
    pytest.importorskip("pyroute2")

    assert differences() == ()
    monkeypatch.setattr("hostfw.host.netlink.rtnetlink._IFLA_GROUP", 27 + 1000)
    assert differences() == ("wan0",)
