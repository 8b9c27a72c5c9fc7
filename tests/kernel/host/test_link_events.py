"""The kernel's messages about links, addresses and routes, and those that wake a listener."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from select import select
from time import monotonic, sleep

import pytest

from hostfw.host.network.interfaces.link_events import LinkEvents, LinkNews
from lab.namespace import Namespace, inside, namespace


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace with a veth pair up, `left` with an address and a default route, and a bridge; the test is in it."""
    with namespace("links") as made, inside(made):
        ip(
            "link set lo up",
            "link add left type veth peer name right",
            "link set left up",
            "link set right up",
            "link add bridge type bridge",
            "addr add 192.0.2.1/24 dev left",
            "addr add 2001:db8::1/64 dev left nodad",
            "route add default via 192.0.2.2",
        )
        sleep(0.1)
        yield made


@pytest.fixture
def events(place: Namespace) -> Iterator[LinkEvents]:
    """A listener that knows what there is: it has heard every link and address once."""
    with LinkEvents() as listener:
        for link in ("lo", "left", "right", "bridge"):
            ip(f"link set {link} mtu 1400")
        ip("addr change 192.0.2.1/24 dev left", "addr change 2001:db8::1/64 dev left valid_lft 900 preferred_lft 900")
        assert received(listener).interfaces == {"lo", "left", "right", "bridge"}, place.name
        yield listener


def ip(*commands: str) -> None:
    """Let iproute2 do things, in the namespace that we are in."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def received(events: LinkEvents) -> LinkNews:
    """Everything that comes until nothing has come for a tenth of a second."""
    total = LinkNews()
    while select((events,), (), (), 0.1)[0]:
        news = events.read()
        total = LinkNews(total.interfaces | news.interfaces, total.routes or news.routes, total.missed or news.missed)
    return total


CHANGES: list[tuple[str, tuple[str, ...], set[str]]] = [
    ("a link comes", ("link add extra type bridge",), {"extra"}),
    ("a pair comes and goes", ("link add near type veth peer name far", "link del near"), {"near", "far"}),
    ("a link goes down", ("link set right down",), {"left", "right"}),
    ("a link is renamed", ("link set right down", "link set right name wrong"), {"left", "right", "wrong"}),
    ("an altname", ("link property add dev left altname uplink-to-the-world",), {"left"}),
    ("an altname less", ("link property add dev left altname up", "link property del dev left altname up"), {"left"}),
    ("a group", ("link set left group 7",), {"left"}),
    ("a master", ("link set left master bridge",), {"left"}),
    ("an address comes", ("addr add 192.0.2.9/32 dev right",), {"right"}),
    ("an IPv6 address comes", ("addr add 2001:db8::9/64 dev left nodad",), {"left"}),
    ("an address goes", ("addr del 2001:db8::1/64 dev left",), {"left"}),
]


@pytest.mark.parametrize(("commands", "interfaces"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES])
def test_changes_are_heard(events: LinkEvents, commands: tuple[str, ...], interfaces: set[str]) -> None:
    """With the names of the interfaces, and the peer of a veth, which loses its carrier, only where it matters."""
    ip(*commands)

    found = received(events)
    assert found
    assert found.interfaces - {"bridge"} <= interfaces
    assert found.interfaces & interfaces
    assert not found.missed


@pytest.mark.parametrize(
    "commands",
    [
        ("route replace default via 192.0.2.3",),
        ("route del default",),
        ("route add ::/0 dev left",),
        ("route append default metric 7 nexthop via 192.0.2.4 nexthop via 192.0.2.5",),
    ],
)
def test_default_routes_are_heard(events: LinkEvents, commands: tuple[str, ...]) -> None:
    """Of the main table, in either family."""
    ip(*commands)

    assert received(events) == LinkNews(routes=True)


@pytest.mark.parametrize(
    "commands",
    [
        ("link set left mtu 1300", "link set left txqueuelen 7"),
        ("addr change 192.0.2.1/24 dev left", "addr change 2001:db8::1/64 dev left valid_lft 800 preferred_lft 800"),
        ("route add 198.51.100.0/24 via 192.0.2.2", "route add 2001:db8:1::/48 dev left"),
        ("route add default via 192.0.2.2 table 99", "route add ::/0 dev left table 99"),
        ("route add unreachable default metric 99",),
    ],
)
def test_what_is_of_no_concern_wakes_nobody(events: LinkEvents, commands: tuple[str, ...]) -> None:
    """Sizes, queues, lifetimes, and routes that lead to a part of the world or stand in another table."""
    ip(*commands)

    assert received(events) == LinkNews()


def test_a_flapping_full_table_does_not_wake(place: Namespace) -> None:
    """50,000 routes that come and go would overflow the smallest buffer, if they came that far."""
    assert place.name == "links"
    routes = [f"10.{n >> 8 & 255}.{n & 255}.{n >> 16 << 7}/25" for n in range(25_000)]
    with LinkEvents(receive_buffer_bytes=4096) as small:
        ip(*(f"route add {route} via 192.0.2.2" for route in routes))
        ip(*(f"route del {route} via 192.0.2.2" for route in routes))
        found = received(small)

    assert not found.missed
    assert not found.routes


def test_a_lost_carrier_is_of_no_concern(events: LinkEvents) -> None:
    """Only the peer that is set down changes."""
    ip("link set right down")

    assert received(events).interfaces == {"right"}


def test_an_overflow_is_told_and_forgets(place: Namespace) -> None:
    """Later messages are all new, whatever was known: one may be the reverse of a change that was missed."""
    assert place.name == "links"
    with LinkEvents(receive_buffer_bytes=4096) as small:
        ip("link set left group 1")
        assert received(small).interfaces == {"left"}
        ip("link set left group 2", *(f"link add extra{n} type bridge" for n in range(100)))
        flooded = received(small)
        ip("link set left group 1")
        after = received(small)

    assert flooded.missed
    assert after.interfaces == {"left"}


def test_a_hundred_links_at_once_are_read_in_short_pieces(events: LinkEvents) -> None:
    """Deleted together, each is named."""
    ip(*(f"link add v{n} type veth peer name w{n}" for n in range(100)), "link set v7 up")
    received(events)
    ip(*(f"link del v{n}" for n in range(100)))
    start = monotonic()
    names = events.read().interfaces
    spent_s = monotonic() - start
    names |= received(events).interfaces

    assert {f"v{n}" for n in range(100)} | {f"w{n}" for n in range(100)} <= names
    assert spent_s < 0.1


def test_a_bridge_port_says_it_once(events: LinkEvents) -> None:
    """A bridge's messages about its ports in its own family are not counted as changes of a link."""
    ip("link set left master bridge")
    received(events)
    run_bridge("link", "set", "dev", "left", "learning", "off")

    assert received(events) == LinkNews()


def run_bridge(*arguments: str) -> None:
    """Let iproute2's bridge do something, in the namespace that we are in."""
    subprocess.run(["bridge", *arguments], check=True)


def test_a_link_that_leaves_the_namespace_is_gone(events: LinkEvents) -> None:
    """As when a container takes it."""
    with namespace("elsewhere") as other:
        ip(f"link set right netns {other.path}")
        found = received(events).interfaces

    assert "right" in found


@pytest.fixture
def by_id_alone(place: Namespace) -> Iterator[LinkEvents]:
    """A listener where the kernel reports next hop objects by themselves, and the default route goes by a group."""
    Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text("0")
    ip(
        "route del default",
        "nexthop add id 5 via 192.0.2.2 dev left",
        "nexthop add id 6 dev right",
        "nexthop add id 7 group 5",
        "route add default nhid 7",
    )
    with LinkEvents() as listener:
        received(listener)
        assert place.name == "links"
        yield listener


def test_a_link_is_told_as_it_was_and_as_it_is(events: LinkEvents) -> None:
    """With its alternative names, its group and the name of its master; an address with the name of its link."""
    ip("link set right down", "link set right name wrong", "link set wrong group 7 master bridge")
    ip("addr add 192.0.2.9/32 dev wrong")
    links: set[tuple[str, int, str | None]] = set()
    addresses: set[tuple[str, str]] = set()
    while select((events,), (), (), 0.1)[0]:
        news = events.read()
        links |= {(one.name, one.link_group, one.master) for one in news.links if one.kind == "veth"}
        addresses |= {(name, str(cidr)) for name, cidr in news.addresses}
        assert {one.name for one in news.links} | {name for name, _ in news.addresses} == news.interfaces

    assert {("right", 0, None), ("wrong", 0, None), ("wrong", 7, "bridge")} <= links
    assert ("wrong", "192.0.2.9/32") in addresses


@pytest.mark.parametrize(
    "command", ["nexthop replace id 7 group 5/6", "nexthop replace id 5 dev right", "nexthop del id 7"]
)
def test_a_default_route_that_follows_its_next_hop_object_is_heard(by_id_alone: LinkEvents, command: str) -> None:
    """The route itself stays what it was, so that nobody reports it."""
    ip(command)

    assert received(by_id_alone).routes


@pytest.mark.parametrize("lifetime", ["valid_lft 600 preferred_lft 600", "valid_lft forever preferred_lft forever"])
def test_an_address_that_begins_to_end_or_no_longer_does_is_heard(events: LinkEvents, lifetime: str) -> None:
    """It says who set the address; a lifetime that merely grows says nothing."""
    start = "valid_lft forever preferred_lft forever" if "600" in lifetime else "valid_lft 900 preferred_lft 900"
    ip(f"addr change 192.0.2.1/24 dev left {start}")
    received(events)

    ip(f"addr change 192.0.2.1/24 dev left {lifetime}")

    assert received(events).interfaces == {"left"}
