"""`hostfwctl explain`: verdicts, what decides them, and questions that are not enough."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hostfw.host.network.routing import Routed, RouteKind
from hostfw.model.host.services import HostServices, PublishedPort
from hostfw.model.values import TCP, Family, parse_address
from lab.stories.flows import ExpectedFlow, Story, stories
from tests.unit.builders.story_queries import question
from tests.unit.cli_runs import FACTS, UPLINK, WEB, Machine, hostfwctl, machine

STORIES = stories()

MORE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early}
spec:
  order: 1
  selector: role == 'web'
  types: [Ingress, Egress]
  ingress:
    - {action: Log, protocol: UDP}
    - action: Deny
      protocol: TCP
      source: {nets: [203.0.113.0/24], notNets: [203.0.113.7/32]}
      destination: {ports: [22, "8000:8080"]}
  egress:
    - {action: Allow, protocol: UDP}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: later}
spec:
  order: 2
  selector: role == 'web'
  ingress:
    - {action: Deny, protocol: TCP, source: {selector: kind == 'bad'}}
    - {action: Deny, protocol: TCP, destination: {ports: [80]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: bad, labels: {kind: bad}}
spec: {nets: [198.51.100.0/24, 198.51.100.9, "2001:db8:bad::/48"]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: elsewhere}
spec: {node: web2, interfaceName: eth0, expectedIPs: [192.0.2.2, "2001:db8::2"]}
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK, more=MORE)
    return made


EXPLAINED = [
    (
        "a rule allows, and a staged one would not",
        ["192.0.2.9", "192.0.2.1:80", "--in", "eth0"],
        0,
        """\
allowed    TCP 192.0.2.9:49152 -> 192.0.2.1:80, in on eth0
by         default/web ingress[0] Allow   etc/web.yaml:9
staged     default/later ingress[1] Deny   etc/more.yaml:25

eth0 ingress, HostEndpoint uplink
  default/early            no rule matches: protocol, source.nets
  default/later (staged)   [1] Deny, were it not staged             etc/more.yaml:25
  default/web              [0] Allow                                etc/web.yaml:9
""",
    ),
    (
        "a failsafe opens what a policy denies",
        ["203.0.113.9", "192.0.2.1:22", "--in", "eth0", "--sport", "1024"],
        0,
        """\
allowed    TCP 203.0.113.9:1024 -> 192.0.2.1:22, in on eth0
by         failsafe tcp 22 (ingress)
failsafe   without it, this would be denied by default/early ingress[1] Deny   etc/more.yaml:10

eth0 ingress, HostEndpoint uplink
  failsafe tcp 22   Allow
""",
    ),
    (
        "the end of a tier denies what was logged, from a HostEndpoint of another node",
        ["elsewhere", "host:53/udp", "--in", "eth0"],
        10,
        """\
denied     UDP 192.0.2.2:49152 -> 192.0.2.1:53, in on eth0
by         end-of-tier default (ingress)
logged     default/early ingress[0] Log   etc/more.yaml:9

eth0 ingress, HostEndpoint uplink
  default/early            [0] Log, and on             etc/more.yaml:9
  default/later (staged)   no rule matches: protocol
  default/web              no rule matches: protocol
  end of tier default      Deny
""",
    ),
    (
        "the whole trace says what each rule asked for",
        ["2001:db8:bad::7", "[2001:db8::1]:443", "--in", "eth0", "-v"],
        10,
        """\
denied     TCP [2001:db8:bad::7]:49152 -> [2001:db8::1]:443, in on eth0
by         end-of-tier default (ingress)
staged     default/later ingress[0] Deny   etc/more.yaml:24

eth0 ingress, HostEndpoint uplink
  default/early [0] Log             no match: protocol UDP           etc/more.yaml:9
  default/early [1] Deny            no match: ipVersion 4            etc/more.yaml:10
  default/later (staged) [0] Deny   matches, were it not staged      etc/more.yaml:24
  default/web [0] Allow             no match: destination.ports 80   etc/web.yaml:9
  end of tier default               Deny
""",
    ),
    (
        "what the host sends takes the default route, and nothing said is a ping",
        ["host", "elsewhere"],
        10,
        """\
denied     ICMP 192.0.2.1 -> 192.0.2.2, type 8 code 0, out on eth0
by         end-of-tier default (egress)
assumed    out on eth0, which has the default route

eth0 egress, HostEndpoint uplink
  default/early         no rule matches: protocol
  end of tier default   Deny
""",
    ),
    (
        "what the host says to itself",
        ["host", "192.0.2.1:80"],
        0,
        """\
allowed    TCP 192.0.2.1:49152 -> 192.0.2.1:80, in on lo
by         loopback (ingress)
assumed    what the host says to itself is sent on lo and received there

lo egress, no HostEndpoint
  what the host says to itself on lo   Allow
lo ingress, no HostEndpoint
  what the host says to itself on lo   Allow
""",
    ),
    (
        "what is forwarded without applyOnForward policy",
        ["10.0.0.1", "10.0.0.2:80", "--in", "eth0", "--out", "eth1"],
        0,
        """\
allowed    TCP 10.0.0.1:49152 -> 10.0.0.2:80, in on eth0, out on eth1
by         no-forward-policy (egress)

eth1 egress, no HostEndpoint, applyOnForward policy
  no applyOnForward policy decided   Allow
""",
    ),
    (
        "neighbour discovery arrives with the hop limit that it is sent with",
        ["fe80::1", "ff02::1:ff00:1", "--icmp", "135", "--in", "eth0"],
        0,
        """\
allowed    ICMPv6 fe80::1 -> ff02::1:ff00:1, type 135 code 0, in on eth0
by         neighbour-discovery (ingress)

eth0 ingress, HostEndpoint uplink
  neighbour discovery, multicast membership   Allow
""",
    ),
    (
        "so does what is sent to join a group of multicast, over IPv6",
        ["fe80::1", "ff02::16", "--icmp", "143", "--in", "eth0"],
        0,
        """\
allowed    ICMPv6 fe80::1 -> ff02::16, type 143 code 0, in on eth0
by         neighbour-discovery (ingress)

eth0 ingress, HostEndpoint uplink
  neighbour discovery, multicast membership   Allow
""",
    ),
    (
        "and over IPv4",
        ["10.0.0.1", "224.0.0.22/2", "--in", "eth0"],
        0,
        """\
allowed    protocol 2 10.0.0.1 -> 224.0.0.22, in on eth0
by         neighbour-discovery (ingress)

eth0 ingress, HostEndpoint uplink
  neighbour discovery, multicast membership   Allow
""",
    ),
    (
        "what belongs to a connection",
        ["10.0.0.1", "host:9", "--in", "eth0", "--state", "established"],
        0,
        """\
allowed    TCP 10.0.0.1:49152 -> 192.0.2.1:9, in on eth0, established
by         established (ingress)

eth0 ingress, HostEndpoint uplink
  belongs to what is established   Allow
""",
    ),
    (
        "a protocol by its number, on an interface that nobody governs",
        ["10.0.0.1", "192.0.2.1/47", "--in", "eth1"],
        10,
        """\
denied     protocol 47 10.0.0.1 -> 192.0.2.1, in on eth1
by         unmanaged-interface (ingress)

eth1 ingress, no HostEndpoint
  unmanagedInterfaces   Deny
""",
    ),
]


def test_an_address_of_a_log_is_the_one_that_packets_have(host: Machine) -> None:
    """A program with one socket for both IP versions logs IPv4 so."""
    asked = host.hostfwctl("explain", "10.0.0.1", "192.0.2.1:80", "--in", "eth0")

    assert host.hostfwctl("explain", "::ffff:10.0.0.1", "[::ffff:192.0.2.1]:80", "--in", "eth0") == asked
    assert asked.status in (0, 10)


@pytest.mark.parametrize(("arguments", "status", "expected"), [c[1:] for c in EXPLAINED], ids=[c[0] for c in EXPLAINED])
def test_a_packet_is_explained(host: Machine, arguments: list[str], status: int, expected: str) -> None:
    """The verdict, what decided with its place, what else is worth knowing, and what was met on the way."""
    assert host.hostfwctl("explain", *arguments) == (status, expected, "")


QUESTIONS = [
    (
        "where it comes in is not known",
        ["fe80::1", "[2001:db8::1]:80"],
        "the facts of the host do not tell where a packet from fe80::1 comes in",
        "give --in: eth0 (uplink), eth1 (unmanaged)",
    ),
    (
        "where it goes out is not known",
        ["host", "fe80::9"],
        "the facts of the host do not tell where a packet to fe80::9 goes out",
        "give --out: eth0 (uplink), eth1 (unmanaged)",
    ),
    (
        "neither is of this host",
        ["10.0.0.1", "10.0.0.2"],
        "neither SRC nor DST is an address of this host, and what it forwards comes in somewhere",
        "write host for this host, or give --in: eth0 (uplink), eth1 (unmanaged)",
    ),
    (
        "--out for what comes in",
        ["10.0.0.1", "192.0.2.1:80", "--out", "eth0"],
        "192.0.2.1 is an address of this host, so --out means nothing",
        "leave out --out",
    ),
    (
        "--in for what goes out",
        ["host", "10.0.0.1:80", "--in", "eth0"],
        "192.0.2.1 is an address of this host, so --in means nothing",
        "leave out --in",
    ),
    (
        "an interface without an address",
        ["fd00::1", "host:80", "--in", "eth1"],
        "host has no IPv6 address on eth1",
        "write the address",
    ),
    ("a HostEndpoint without addresses", ["10.0.0.1", "bare"], "bare has no IPv4 address", "write the address"),
    (
        "an unknown HostEndpoint",
        ["elsewheer", "host"],
        'there is no HostEndpoint "elsewheer"',
        'did you mean "elsewhere"?',
    ),
    (
        "an address that is none",
        ["10.0.0", "host"],
        'SRC is "10.0.0"',
        "it is an address, the name of a HostEndpoint, or host for this host",
    ),
    (
        "a bracket too few",
        ["fd00::2", "[fd00::1"],
        'DST is "[fd00::1"',
        "write [ADDRESS]:PORT, such as [fd00::1]:443",
    ),
    (
        "a port alone",
        ["10.0.0.1", "443"],
        'DST is "443", which is not an address',
        "`hostfwctl explain 10.0.0.1 host:443`",
    ),
    ("two IP versions", ["10.0.0.1", "[fd00::1]:80"], "SRC is of IPv4 and DST is of IPv6", ""),
    (
        "the ICMP of the other version",
        ["fd00::2", "host/icmp"],
        "SRC is of IPv6 and ICMP is of IPv4",
        "write /icmp for IPv4 and /icmpv6 for IPv6",
    ),
    ("no port", ["10.0.0.1", "host/udp"], "UDP needs a port", "write DST:PORT, such as 192.0.2.1:443 or [fd00::1]:443"),
    ("a port that is none", ["10.0.0.1", "host:ssh"], 'the port is "ssh"', "it is a number from 1 to 65535"),
    ("a port too high", ["10.0.0.1", "host:65536"], 'the port is "65536"', "it is a number from 1 to 65535"),
    ("a source port too low", ["10.0.0.1", "host:1", "--sport", "0"], "--sport is 0", "it is a number from 1 to 65535"),
    (
        "a port where there are none",
        ["10.0.0.1", "host:80/icmp"],
        "ICMP has no ports that policy can match",
        "leave them out, or write /tcp, /udp or /sctp",
    ),
    (
        "a source port of a ping",
        ["10.0.0.1", "host", "--sport", "7"],
        "a ping has no ports that policy can match",
        "leave them out, or write /tcp, /udp or /sctp",
    ),
    (
        "an unknown protocol",
        ["10.0.0.1", "host:80/tpc"],
        'the protocol is "tpc"',
        (
            "it is one of tcp, udp, icmp, icmpv6, sctp, udplite, igmp, ipip, gre, esp, ah, eigrp, ospf, pim, vrrp, "
            "l2tp, or a number from 1 to 255"
        ),
    ),
    (
        "ICMP with a port",
        ["10.0.0.1", "host:80", "--icmp", "8"],
        "--icmp is given for TCP",
        "leave out the port, or write /icmp or /icmpv6",
    ),
    (
        "ICMP of another protocol",
        ["10.0.0.1", "host/47", "--icmp", "8"],
        "--icmp is given for protocol 47",
        "write /icmp or /icmpv6, or leave out --icmp",
    ),
    (
        "an ICMP code that is none",
        ["10.0.0.1", "host", "--icmp", "3/x"],
        '--icmp is "3/x"',
        "it is TYPE or TYPE/CODE, each from 0 to 255",
    ),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), [c[1:] for c in QUESTIONS], ids=[c[0] for c in QUESTIONS])
def test_a_question_that_is_not_one_packet_is_refused(
    host: Machine, arguments: list[str], message: str, hint: str
) -> None:
    """With what is wrong and what to write, and never an answer to something else."""
    host.write(bare=UPLINK.replace("uplink", "bare").replace("web1", "web3"))
    said = f"hostfwctl: {message}\n" + (f"  hint: {hint}\n" if hint else "")

    assert host.hostfwctl("explain", *arguments) == (2, "", said)


def test_an_interface_that_the_host_lacks_is_said(host: Machine) -> None:
    """A name misspelt would else be taken for one that nobody governs."""
    status, out, err = host.hostfwctl("explain", "10.0.0.1", "192.0.2.1", "--in", "wg0")

    assert (status, out.splitlines()[1]) == (10, "by         unmanaged-interface (ingress)")
    assert err == 'warning: this host has no interface "wg0"; the answer is for one of that name\n'


def test_where_all_interfaces_are_governed_alike_none_is_asked_for(host: Machine) -> None:
    """One HostEndpoint for all of them gives one answer."""
    host.write(uplink=UPLINK.replace("eth0", '"*"'))

    status, out, _ = host.hostfwctl("explain", "fe80::1", "[2001:db8::1]:80")

    assert status == 0
    assert "assumed    in on eth0, all interfaces being governed alike\n" in out


def _address(text: str) -> tuple[Family, int]:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed


UNLESS = "whatever policy says, unless sysctl route_localnet allows it"
ROUTED = [
    (
        "a packet comes in where the route back to its source leads",
        ["10.0.0.1", "192.0.2.1:80"],
        {"10.0.0.1": Routed(RouteKind.UNICAST, "eth1")},
        "in on eth1",
        "in on eth1, where the route back to its source leads",
    ),
    (
        "without a route the default route decides",
        ["10.0.0.1", "192.0.2.1:80"],
        {},
        "in on eth0",
        "in on eth0, which has the default route",
    ),
    (
        "the broadcast of a network is for the host",
        ["192.0.2.20", "192.0.2.255:137/udp"],
        {"192.0.2.255": Routed(RouteKind.BROADCAST, "eth0")},
        "in on eth0",
        "in on eth0, whose broadcast it is",
    ),
    (
        "a prefix that is routed to the host is its own, whatever addresses it has",
        ["192.0.2.20", "203.0.113.7:8080", "--in", "eth0"],
        {"203.0.113.7": Routed(RouteKind.LOCAL, "lo")},
        "in on eth0",
        "",
    ),
    (
        "a broadcast of another network comes in where its sender is",
        ["10.0.0.1", "192.0.2.255:137/udp"],
        {"192.0.2.255": Routed(RouteKind.BROADCAST, "eth0"), "10.0.0.1": Routed(RouteKind.UNICAST, "eth1")},
        "in on eth1",
        "in on eth1, where the route back to its source leads",
    ),
    (
        "a broadcast of all networks comes in where its sender is",
        ["10.0.0.1", "255.255.255.255:137/udp"],
        {"255.255.255.255": Routed(RouteKind.BROADCAST, "eth0"), "10.0.0.1": Routed(RouteKind.UNICAST, "eth1")},
        "in on eth1",
        "in on eth1, where the route back to its source leads",
    ),
    (
        "a host without an address sends from none",
        ["0.0.0.0", "255.255.255.255:67/udp", "--in", "eth1"],
        {"0.0.0.0": Routed(RouteKind.LOCAL, "lo"), "255.255.255.255": Routed(RouteKind.BROADCAST, "eth0")},
        "in on eth1",
        "",
    ),
    (
        "what the host sends to a group goes where the kernel sends it",
        ["host", "224.0.0.251:5353/udp"],
        {"224.0.0.251": Routed(RouteKind.MULTICAST, "eth1")},
        "out on eth1",
        "out on eth1, unless the program names another interface",
    ),
    (
        "nothing is sent where no route leads",
        ["host", "203.0.113.5:443"],
        {"203.0.113.5": Routed(RouteKind.NONE)},
        "out on eth0",
        "           this host has no route to 203.0.113.5, so nothing is sent there, whatever policy says",
    ),
    (
        "nobody reaches an address of loopback from outside",
        ["203.0.113.5", "127.0.0.1:80"],
        {},
        "in on eth0",
        f"           the kernel drops what comes in on eth0 for a loopback address, {UNLESS}",
    ),
    (
        "what the host sends to a broadcast goes out",
        ["host", "192.0.2.255:137/udp"],
        {"192.0.2.255": Routed(RouteKind.BROADCAST, "eth0")},
        "out on eth0",
        "out on eth0, where the route to its destination leads",
    ),
    (
        "both ways of what is forwarded are known by routes",
        ["10.0.0.1", "198.51.100.1:80"],
        {"10.0.0.1": Routed(RouteKind.UNICAST, "eth1"), "198.51.100.1": Routed(RouteKind.UNICAST, "eth0")},
        "in on eth1, out on eth0",
        "in on eth1, where the route back to its source leads",
    ),
]


@pytest.mark.parametrize(("arguments", "routes", "way", "assumed"), [c[1:] for c in ROUTED], ids=[c[0] for c in ROUTED])
def test_the_way_is_that_of_the_routing(
    host: Machine, arguments: list[str], routes: dict[str, Routed], way: str, assumed: str
) -> None:
    """Local packets and interfaces follow the kernel's routing; assumptions are reported."""
    host.routes = {_address(text): route for text, route in routes.items()}

    first, _, *others = host.hostfwctl("explain", *arguments).out.splitlines()

    assert first.endswith(f", {way}")
    if assumed:
        assert assumed in [line.removeprefix("assumed    ") for line in others]
    else:
        assert not any(line.startswith("assumed") for line in others)


def test_the_host_sends_from_the_address_that_the_routing_takes(host: Machine) -> None:
    """Not from that of the default route, which leads elsewhere."""
    host.routes = {
        _address("10.0.0.1"): Routed(RouteKind.UNICAST, "eth1", 0x0A00004D),
        _address("10.0.0.77"): Routed(RouteKind.LOCAL, "lo"),
    }

    assert "TCP 10.0.0.77:49152 -> 10.0.0.1:443, out on eth1" in host.hostfwctl("explain", "host", "10.0.0.1:443").out


def test_what_is_forwarded_goes_out_where_its_source_and_interface_lead_it(host: Machine) -> None:
    """The kernel is asked with both, since rules of policy routing look at them."""
    host.routes = {
        _address("10.0.0.1"): Routed(RouteKind.UNICAST, "eth1"),
        _address("198.51.100.1"): Routed(RouteKind.UNICAST, "eth0"),
    }
    family, address = _address("198.51.100.1")
    host.routes_through = {(family, address, "eth1"): Routed(RouteKind.UNICAST, "eth1")}

    out = host.hostfwctl("explain", "10.0.0.1", "198.51.100.1:80").out

    assert out.splitlines()[0].endswith("in on eth1, out on eth1")
    assert "out on eth1, where the route to its destination leads" in out


@pytest.mark.parametrize(
    ("destination", "route", "said"),
    [
        (
            "10.0.0.2",
            Routed(RouteKind.UNICAST, "eth0"),
            "the routes to both lead to eth0, so that their packets do not",
        ),
        ("203.0.113.5", Routed(RouteKind.NONE), "it has no route to 203.0.113.5, so nothing is sent there"),
    ],
    ids=["on one link", "no route"],
)
def test_what_does_not_come_through_is_said(host: Machine, destination: str, route: Routed, said: str) -> None:
    """In place of a question for an interface that would make no difference."""
    host.routes = {_address("10.0.0.1"): Routed(RouteKind.UNICAST, "eth0"), _address(destination): route}

    asked = host.hostfwctl("explain", "10.0.0.1", f"{destination}:80")

    assert asked.status == 2
    assert said in " ".join(asked.err.split())


def test_another_host_of_the_default_route_on_both_sides_is_asked_about(host: Machine) -> None:
    """A question about two strangers is mostly one about another host."""
    assert host.hostfwctl("explain", "10.0.0.1", "198.51.100.1:80").err.startswith("hostfwctl: neither SRC nor DST")


def test_a_published_port_is_answered_for_its_target(host: Machine) -> None:
    """With both destinations and the interface of the target; a rule with unknown conditions is reported."""
    port = PublishedPort(Family.V4, TCP.number, 5432, 0xAC110002, 5432, "ip nat", out_interface="eth1")
    host.services = HostServices(published=(port,))
    question = ("explain", "10.0.0.1", "192.0.2.1:5432", "--in", "eth0")

    out = host.hostfwctl(*question).out
    assert out.splitlines()[:2] == [
        "denied     TCP 10.0.0.1:49152 -> 172.17.0.2:5432, sent to 192.0.2.1:5432, in on eth0, out on eth1",
        "by         end-of-tier default (ingress)",
    ]
    assert "assumed    translated to 172.17.0.2:5432 by the table ip nat" in out

    allowed = host.hostfwctl("explain", "10.0.0.1", "192.0.2.1:80", "--in", "eth0").out
    host.services = HostServices(published=(replace(port, port=80),))
    published = host.hostfwctl("explain", "10.0.0.1", "192.0.2.1:80", "--in", "eth0").out
    assert published.splitlines()[1] == allowed.splitlines()[1], "decided by the rule for the host's own port 80"
    assert published.startswith(
        "allowed    TCP 10.0.0.1:49152 -> 172.17.0.2:5432, sent to 192.0.2.1:80, in on eth0, out on eth1\n"
    )

    host.write(hostfw="publishedPorts: theirs\n")
    host.services = HostServices(published=(port,))
    assert host.hostfwctl(*question).out.startswith("allowed    TCP 10.0.0.1:49152 -> 172.17.0.2:5432, sent to")
    host.write(hostfw="")

    host.services = HostServices(published=(replace(port, certain=False),))
    out = host.hostfwctl(*question).out
    assert out.startswith("denied     TCP 10.0.0.1:49152 -> 192.0.2.1:5432, in on eth0\n")
    assert "not translated to 172.17.0.2:5432 by the table ip nat, which may happen" in out


def test_ports_of_a_bond_are_not_asked_for(host: Machine) -> None:
    """Packets on a port of a bridge or bond belong to the master; those of a VRF device do not."""
    bond = replace(FACTS.interfaces[1], name="bond0", kind="bond", master=None, index=9)
    host.facts = replace(
        FACTS,
        interfaces=(
            *(replace(i, master="bond0") for i in FACTS.interfaces[:1]),
            replace(FACTS.interfaces[1], master="bond0"),
            bond,
            FACTS.interfaces[2],
        ),
    )

    assert "in on bond0" in host.hostfwctl("explain", "10.0.0.1", "192.0.2.1:80").out


def test_programs_get_the_whole_trace(host: Machine) -> None:
    """The document has the packet, the decision, and every step with its place, whatever -v says."""
    status, out, _ = host.hostfwctl("explain", "203.0.113.9", "192.0.2.1:22", "--in", "eth0", "-o", "json")

    document = json.loads(out)
    assert status == 0
    assert (document["apiVersion"], document["kind"], document["allowed"]) == ("hostfw.io/v1", "Explanation", True)
    assert document["packet"] == {
        "path": "local-in",
        "in": "eth0",
        "out": None,
        "ipVersion": 4,
        "protocol": 6,
        "source": "203.0.113.9",
        "sourcePort": 49152,
        "destination": "192.0.2.1",
        "destinationPort": 22,
        "originalDestination": None,
        "originalDestinationPort": None,
        "icmpType": None,
        "icmpCode": None,
        "state": "new",
    }
    assert [step["failsafe"] for step in document["decidedBy"]] == ["tcp 22"]
    assert document["withoutFailsafes"] == {
        "verdict": "deny",
        "reason": "rule",
        "text": "default/early ingress[1]",
        "interface": "eth0",
        "direction": "ingress",
        "class": "normal",
        "endpoint": "uplink",
        "tier": "default",
        "kind": "GlobalNetworkPolicy",
        "policy": "early",
        "rule": 1,
        "action": "Deny",
        "staged": False,
        "beforeFailsafes": False,
        "matched": True,
        "missed": None,
        "failsafe": None,
        "path": "etc/more.yaml",
        "line": 10,
    }


def test_yaml_is_the_same_document(host: Machine) -> None:
    """Both forms hold the same."""
    words = ["explain", "elsewhere", "host:53/udp", "--in", "eth0"]
    _, as_json, _ = host.hostfwctl(*words, "-o", "json")
    status, as_yaml, _ = host.hostfwctl(*words, "-o", "yaml")

    document = json.loads(as_json)
    assert status == 10
    assert yaml.safe_load(as_yaml) == document
    assert [step["text"] for step in document["loggedBy"]] == ["default/early ingress[0]"]
    assert [step["missed"] for step in document["steps"]] == [None, *["protocol"] * 4, None]


def test_many_policies_that_say_nothing_are_counted(host: Machine) -> None:
    """A short trace stays short; the whole one is whole."""
    host.write(many="\n---\n".join(WEB.replace("name: web", f"name: none-{n}").replace("80", "81") for n in range(20)))
    words = ["explain", "192.0.2.9", "192.0.2.1:9", "--in", "eth0"]

    short, whole = (host.hostfwctl(*words, *more).out.splitlines() for more in ([], ["-v"]))

    assert short[4].split() == ["11", "policies", "no", "rule", "matches", "-v", "shows", "them"]
    assert sum("no rule matches: destination.ports" in line for line in short) == 12
    assert sum("no match: destination.ports 81" in line for line in whole) == 20


def test_nothing_is_explained_of_an_invalid_configuration(host: Machine) -> None:
    """The problems are printed instead."""
    host.write(web=WEB.replace("selector", "selectr"))

    status, out, err = host.hostfwctl("explain", "192.0.2.9", "host:80", "--in", "eth0")

    assert (status, out) == (3, "")
    assert 'etc/web.yaml:7:3: unknown field "selectr"' in err


def test_a_denial_without_a_record_is_told(host: Machine) -> None:
    """The log has nothing of it, and whoever reads it learns why."""
    rules = "[{action: Deny, protocol: [UDP, ESP], metadata: {annotations: {hostfw.io/log: none}}}]"
    policy = f"spec: {{order: -1, selector: role == 'web', ingress: {rules}}}"
    head = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: noise}\n"
    host.write(noise=f"{head}{policy}\n")

    status, out, _ = host.hostfwctl("explain", "192.0.2.9", "host:53/udp", "--in", "eth0")

    assert status == 10
    assert "[0] Deny, not logged" in out
    assert "Deny (not logged): protocol UDP or ESP" in host.hostfwctl("describe", "gnp", "noise").out
    document = json.loads(host.hostfwctl("explain", "192.0.2.9", "host:53/udp", "--in", "eth0", "-o", "json").out)
    assert [step["unrecorded"] for step in document["decidedBy"]] == [True]


FLOWS = [(story, flow) for story in STORIES for flow in story.flows]


@pytest.mark.parametrize(
    ("story", "expected"),
    FLOWS,
    ids=[f"{story.name}-{n}" for n, (story, _) in enumerate(FLOWS)],
)
def test_the_examples_are_explained_as_they_turn_out(story: Story, expected: ExpectedFlow) -> None:
    """Every flow of every example, which `make try` sends as packets, has the verdict and the decision foretold."""
    files = [*(["-f", str(story.configuration)] if story.configuration.exists() else []), "--facts", str(story.facts)]

    status, out, err = hostfwctl("explain", *question(story, expected.flow), *files, "-o", "json")

    document = json.loads(out)
    assert err == ""
    assert (status, document["allowed"]) == (0 if expected.allowed else 10, expected.allowed)
    assert ", ".join(step["text"] for step in document["decidedBy"]) == expected.by
