"""The kernel's routing, asked as it decides: for what the host sends, and for what comes in from somebody."""

from collections.abc import Iterator

import pytest

from hostfw.host.network.routing import Routed, RouteKind, routed, routed_through
from hostfw.model.values import Family, parse_address
from lab.namespace import Namespace, inside, namespace, run, set_sysctl

COMMANDS = """\
link set lo up
link add wan0 type veth peer name wan1
link add lan0 type veth peer name lan1
link set wan0 up
link set wan1 up
link set lan0 up
link set lan1 up
address add 192.0.2.10/24 brd + dev wan0
address add 10.5.0.1/24 brd + dev lan0
route add default via 192.0.2.20
route add 198.51.100.0/24 via 10.5.0.20
route add unreachable 203.0.113.0/24
route add blackhole 203.0.114.0/24
rule add from 10.5.0.0/24 lookup 77
route add default via 10.5.0.20 table 77
"""


@pytest.fixture(name="router")
def _router() -> Iterator[Namespace]:
    with namespace("router") as place:
        run(place, ["ip", "-batch", "-"], text=COMMANDS)
        set_sysctl(place, "net.ipv4.ip_forward", "1")
        yield place


def address(text: str) -> int:
    """The value of an IPv4 address."""
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("192.0.2.20", Routed(RouteKind.UNICAST, "wan0", address("192.0.2.10"))),
        ("198.51.100.7", Routed(RouteKind.UNICAST, "lan0", address("10.5.0.1"))),
        ("192.0.2.255", Routed(RouteKind.BROADCAST, "wan0", address("192.0.2.10"))),
        ("10.5.0.1", Routed(RouteKind.LOCAL, "lo", address("10.5.0.1"))),
        ("203.0.113.7", Routed(RouteKind.NONE)),
        ("203.0.114.7", Routed(RouteKind.NONE)),
    ],
)
def test_what_the_host_sends(router: Namespace, destination: str, expected: Routed) -> None:
    """By its kind and interface, from the address that the kernel takes; nothing goes where no route leads."""
    with inside(router):
        assert routed(Family.V4, address(destination)) == expected


@pytest.mark.parametrize(
    ("source", "interface", "destination", "expected"),
    [
        ("192.0.2.20", "wan0", "198.51.100.7", (RouteKind.UNICAST, "lan0")),
        ("10.5.0.7", "lan0", "203.0.115.1", (RouteKind.UNICAST, "lan0")),
        ("198.51.100.7", "lan0", "203.0.115.1", (RouteKind.UNICAST, "wan0")),
        ("192.0.2.20", "wan0", "203.0.113.7", (RouteKind.NONE, "")),
        ("192.0.2.20", "gone0", "198.51.100.7", (RouteKind.NONE, "")),
    ],
)
def test_what_comes_in(
    router: Namespace, source: str, interface: str, destination: str, expected: tuple[RouteKind, str]
) -> None:
    """Rules of policy routing look at the source and the interface."""
    with inside(router):
        found = routed_through(Family.V4, address(destination), address(source), interface)

    assert (found.kind, found.interface) == expected
