"""The exposure of a host's services and published ports, its changes, and the warnings about them."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from hostfw.exposure.sources import LargeSet, Part, everybody, without
from hostfw.model.host.services import BoundAddress, HostServices, Peer, PublishedPort, Service
from hostfw.model.plan import AddressSet
from hostfw.model.prefixes import packed_cidrs
from hostfw.model.ranges import Ranges, cidrs_of, difference, intersection, ranges_of, union
from hostfw.model.values import FAMILIES, TCP, UDP, Cidr, Family, parse_cidr
from tests.unit.cli_runs import Machine, machine

ANY = tuple(BoundAddress(family) for family in FAMILIES)
WEB = Service(TCP.number, 80, ANY, "nginx", "nginx.service")
DATABASE = Service(TCP.number, 5432, ANY, "postgres", "postgresql.service")
LOCAL = Service(TCP.number, 9000, (BoundAddress(Family.V4, 0x7F000001),), "php-fpm")

ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {node: web1, interfaceName: eth0}
"""
POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'web'
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [80]}}
"""
TO_OFFICE = POLICY.replace("ports: [80]", "ports: [5432]").replace("TCP,", "TCP, source: {nets: [10.0.0.0/8]},")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A web server with a database, of which policy opens the web to everybody on eth0."""
    made = machine(tmp_path, monkeypatch)
    made.services = HostServices((WEB, DATABASE, LOCAL))
    made.write(uplink=ENDPOINT, web=POLICY)
    return made


def test_a_first_apply_says_what_it_closes(host: Machine) -> None:
    """By service, unit, interface, sources and decision; what stays open, and what nobody could reach, is not said."""
    status, _, err = host.hostfwctl("apply")

    assert status == 0
    assert err.splitlines()[:-1] == [
        "closes tcp/5432 postgresql.service on eth0 to 0.0.0.0/0, ::/0 (end of tier default)",
        "closes tcp/80 nginx.service on eth1 to 0.0.0.0/0 (no HostEndpoint)",
        "closes tcp/5432 postgresql.service on eth1 to 0.0.0.0/0 (no HostEndpoint)",
    ]


def test_what_a_change_opens_and_closes_is_said_before_and_with_it(host: Machine) -> None:
    """By diff beforehand, then by apply, in the same words."""
    host.hostfwctl("apply", "-q")
    host.write(web=TO_OFFICE)
    lines = [
        "closes tcp/80 nginx.service on eth0 to 0.0.0.0/0, ::/0 (end of tier default)",
        "opens tcp/5432 postgresql.service on eth0 to 10.0.0.0/8 (web, etc/web.yaml:7)",
    ]

    assert host.hostfwctl("diff").out.splitlines()[-2:] == lines
    assert host.hostfwctl("apply").err.splitlines()[:2] == lines
    assert host.hostfwctl("apply").err.startswith("no change")


def test_going_back_says_it_too(host: Machine) -> None:
    """The other way round."""
    host.hostfwctl("apply", "-q")
    host.write(web=TO_OFFICE)
    host.hostfwctl("apply", "-q")

    err = host.hostfwctl("rollback", "--to", "1").err

    assert "opens tcp/80 nginx.service on eth0 to 0.0.0.0/0, ::/0 (web, etc/web.yaml:7)" in err
    assert "closes tcp/5432 postgresql.service on eth0 to 10.0.0.0/8 (end of tier default)" in err


def test_to_close_what_somebody_uses_is_a_warning(host: Machine) -> None:
    """A peer that is connected is named; otherwise the packets that were let in are counted."""
    host.hostfwctl("apply", "-q")
    host.write(web=TO_OFFICE)
    peer = Peer(TCP.number, 80, Family.V4, 0x0A000005)
    host.services = replace(host.services, peers=(peer,))
    closed = "warning: closes tcp/80 nginx.service on eth0 to 0.0.0.0/0, ::/0 (end of tier default); "

    assert f"{closed}10.0.0.5 is connected to it now" in host.hostfwctl("apply").err

    host.write(web=POLICY)
    host.hostfwctl("apply", "-q")
    host.write(web=TO_OFFICE)
    host.services = replace(host.services, peers=())
    host.packets = {counter.name: 7 for counter in host.kernel.read_tables().ip.counters}

    assert f"{closed}the rule that allowed it has counted 7 packets" in host.hostfwctl("apply").err


@pytest.mark.parametrize(
    ("denied", "is_warned"), [("192.0.2.7/32", False), ("192.0.0.0/8", False), ("0.0.0.0/1", True), ("0.0.0.0/0", True)]
)
def test_packets_of_a_rule_say_nothing_of_a_few_whom_it_let_in(host: Machine, denied: str, *, is_warned: bool) -> None:
    """A list of bad addresses that gets one more each hour is no alarm each hour."""
    host.hostfwctl("apply", "-q")
    host.packets = {counter.name: 7 for counter in host.kernel.read_tables().ip.counters}
    host.write(web=POLICY.replace("ingress:\n", f"ingress:\n    - {{action: Deny, source: {{nets: [{denied}]}}}}\n"))

    said = host.hostfwctl("apply").err

    assert f"closes tcp/80 nginx.service on eth0 to {denied} (web, etc/web.yaml:7)" in said
    assert ("has counted 7 packets" in said) == is_warned
    assert ("warning: closes tcp/80" in said) == is_warned


def test_the_table_tells_who_reaches_what(host: Machine) -> None:
    """Also what nobody reaches, and what listens on loopback alone."""
    host.hostfwctl("apply", "-q")
    rows = [line.split("  ") for line in host.hostfwctl("exposure").out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]

    assert ["tcp/80 nginx.service", "*", "eth0", "0.0.0.0/0, ::/0", "web, etc/web.yaml:7"] in cells
    assert ["tcp/5432 postgresql.service", "*", "eth0", "nobody", "end of tier default"] in cells
    assert ["tcp/9000 php-fpm", "127.0.0.1", "-", "this host only", "a loopback address"] in cells


def test_a_published_port_is_open_to_whom_ingress_policy_allows(host: Machine) -> None:
    """By the port that is published; the target's opens nothing, and forward policy may still deny that."""
    published = PublishedPort(Family.V4, TCP.number, 8080, 0xAC110002, 80, "ip nat", out_interface="eth1")
    host.services = HostServices(published=(published,))
    host.hostfwctl("apply", "-q")
    row = "tcp/8080 -> 172.17.0.2:80 (table ip nat)   any address   eth0         "
    assert f"{row}nobody" in host.hostfwctl("exposure").out

    host.write(web=POLICY.replace("[80]", "[8080]"))
    opened = "opens tcp/8080 -> 172.17.0.2:80 (table ip nat) on eth0 to 0.0.0.0/0 (web, etc/web.yaml:7)"
    assert host.hostfwctl("apply").err.splitlines()[0] == opened

    host.write(web=POLICY.replace("[80]", "[8080]").replace("spec:", "spec:\n  applyOnForward: true"))
    closed = "closes tcp/8080 -> 172.17.0.2:80 (table ip nat) on eth0 to 0.0.0.0/0 (end of tier default)"
    assert host.hostfwctl("apply").err.splitlines()[0] == closed


def test_left_to_others_a_published_port_is_what_the_forward_path_lets_through(host: Machine) -> None:
    """Ingress policy of the host does not see it, unless it applies on forward."""
    host.write(hostfw="publishedPorts: theirs\n")
    published = PublishedPort(
        Family.V4, TCP.number, 8080, 0xAC110002, 80, "ip nat", out_interface="eth1", not_interfaces=("eth1",)
    )
    host.services = HostServices(published=(published,))
    host.hostfwctl("apply", "-q")
    assert "tcp/8080 -> 172.17.0.2:80 (table ip nat)   any address   eth0         0.0.0.0/0" in (
        host.hostfwctl("exposure").out
    )

    host.write(web=POLICY.replace("spec:", "spec:\n  applyOnForward: true"))
    assert "tcp/8080" not in host.hostfwctl("apply").err
    host.write(web=POLICY.replace("spec:", "spec:\n  applyOnForward: true").replace("[80]", "[443]"))
    closed = "closes tcp/8080 -> 172.17.0.2:80 (table ip nat) on eth0 to 0.0.0.0/0 (end of tier default)"
    assert host.hostfwctl("apply").err.splitlines()[0] == closed


def test_a_redirect_leads_to_the_first_address_of_the_interface(host: Machine) -> None:
    """Whatever address the packet was sent to, so that a rule for that address alone decides, left to others."""
    host.write(hostfw="publishedPorts: theirs\n")
    redirect = PublishedPort(Family.V4, TCP.number, 8080, 0, 80, "ip nat", local=True)
    host.services = HostServices(published=(redirect,))
    other = "destination: {nets: [198.51.100.1/32], ports: [80]}"
    host.write(web=POLICY.replace("destination: {ports: [80]}", other))
    host.hostfwctl("apply", "-q")
    assert "tcp/8080 -> port 80 of this host (table ip nat)   any address   eth0         nobody" in (
        host.hostfwctl("exposure").out
    )

    host.write(web=POLICY.replace("destination: {ports: [80]}", other.replace("198.51.100.1", "192.0.2.1")))
    opened = "opens tcp/8080 -> port 80 of this host (table ip nat) on eth0 to 0.0.0.0/0 (web, etc/web.yaml:7)"
    assert host.hostfwctl("apply").err.splitlines()[0] == opened


# ------------------------------------------------------------------------------------------------ sets of sources


def _cidrs(*texts: str) -> tuple[Cidr, ...]:
    return tuple(cidr for text in texts if (cidr := parse_cidr(text)) is not None)


@pytest.mark.parametrize(
    ("operation", "one", "other", "expected"),
    [
        (difference, ["0.0.0.0/0"], ["10.0.0.0/8"], 8),
        (difference, ["10.0.0.0/8"], ["0.0.0.0/0"], 0),
        (intersection, ["10.0.0.0/8", "192.0.2.0/24"], ["10.1.0.0/16", "192.0.2.128/25"], 2),
        (union, ["10.0.0.0/25"], ["10.0.0.128/25"], 1),
    ],
)
def test_prefixes_are_counted_as_sets(
    operation: Callable[[Ranges, Ranges], Ranges], one: list[str], other: list[str], expected: int
) -> None:
    """The fewest prefixes of a result."""
    ranges = operation(ranges_of(_cidrs(*one), Family.V4), ranges_of(_cidrs(*other), Family.V4))

    assert len(list(cidrs_of(ranges, Family.V4))) == expected


def test_the_prefixes_of_ranges_are_those_of_the_standard_library() -> None:
    """Exactly the addresses, in as few prefixes."""
    ranges = difference((0, 1 << 32), ranges_of(_cidrs("10.1.2.3/32"), Family.V4))
    expected = IPv4Network("0.0.0.0/0").address_exclude(IPv4Network("10.1.2.3/32"))

    assert {str(cidr) for cidr in cidrs_of(ranges, Family.V4)} == set(map(str, expected))


def _large(*texts: str) -> LargeSet:
    packed = packed_cidrs(_cidrs(*texts))
    return LargeSet(AddressSet("list == 'drop'", packed), packed)


def test_a_large_set_stays_a_condition_and_can_be_spelled_out() -> None:
    """Everybody but a list is one part; the same with its members in full is as many ranges as it takes."""
    large = _large("10.0.0.0/8", "192.0.2.1/32")
    (left,) = without((everybody(Family.V4),), Part((0, 1 << 32), inside=frozenset((large,))))

    assert left.outside == frozenset((large,))
    assert [left.holds(Family.V4, address) for address in (0x0A000001, 0x0B000000)] == [False, True]
    assert len(left.in_full(Family.V4)) == 6
    assert not left.is_empty(Family.V4)


def test_what_a_list_has_gained_is_told_from_what_it_had() -> None:
    """Its new members alone, and nothing where it is as it was."""
    old, new = _large("10.0.0.0/8"), _large("10.0.0.0/8", "192.0.2.1/32")
    gained = Part((0, 1 << 32), frozenset((new,)), frozenset((old,)))
    lost = Part((0, 1 << 32), frozenset((old,)), frozenset((new,)))

    assert [str(cidr) for cidr in cidrs_of(gained.in_full(Family.V4), Family.V4)] == ["192.0.2.1/32"]
    assert (gained.is_empty(Family.V4), lost.is_empty(Family.V4)) == (False, True)


def test_udp_and_tcp_of_one_port_are_two_services() -> None:
    """As they are named."""
    assert [str(replace(WEB, protocol=number)) for number in (TCP.number, UDP.number)] == [
        "tcp/80 nginx.service",
        "udp/80 nginx.service",
    ]


FORWARDING = POLICY.replace("  ingress:", "  applyOnForward: true\n  types: [Ingress]\n  ingress:")
CLOSED = "closes what is forwarded in from eth0, but for what applyOnForward policy allows"
OPENED = "opens what is forwarded in from eth0, which no applyOnForward policy closes now"


def test_what_is_forwarded_is_said_as_well(host: Machine) -> None:
    """A router that begins to filter, or no longer does, says so before and with the change."""
    host.hostfwctl("apply", "-q")
    host.write(web=FORWARDING)

    assert host.hostfwctl("diff").out.splitlines()[-1] == CLOSED
    assert CLOSED in host.hostfwctl("apply").err
    host.write(web=FORWARDING.replace("[80]", "[81]"))
    assert "is forwarded" not in host.hostfwctl("apply").err
    host.write(web=POLICY)
    assert host.hostfwctl("diff").out.splitlines()[-1] == OPENED
    assert OPENED in host.hostfwctl("reload").err
    assert CLOSED in host.hostfwctl("rollback", "--to", "2").err


def test_a_tier_that_passes_on_closes_nothing_that_is_forwarded(host: Machine) -> None:
    """As the tier of quick rules, whose Deny of an address is about what is forwarded, too."""
    host.hostfwctl("apply", "-q")

    assert "is forwarded" not in host.hostfwctl("deny", "198.51.100.7").err
    (host.config / "uplink.yaml").unlink()
    host.write(web=FORWARDING)
    assert "is forwarded" not in host.hostfwctl("apply", "--accept-loss").err


def test_a_host_that_forwards_nothing_has_nothing_to_say_of_it(host: Machine) -> None:
    """Whatever policy says of forwarded packets."""
    host.forwards = False
    host.hostfwctl("apply", "-q")
    host.write(web=FORWARDING)

    assert "is forwarded" not in host.hostfwctl("apply").err
