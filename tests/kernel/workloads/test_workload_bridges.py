"""Workloads behind ports of bridges, with real packets between network namespaces.

Two bridges, two workloads on the first and one on the second, the host as their router, and somebody outside. What
workloads send as they should is sent by sockets, and what they should not as frames.
"""

import json
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from ipaddress import IPv6Address
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import pytest

from hostfw.model.values import Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import open_socket, run, set_sysctl
from lab.service import service
from lab.topology import Link, Node, Route, Topology, assigned
from tests.kernel.packets.ethernet import (
    ARP,
    BROADCAST,
    IPV4,
    IPV6,
    VLAN,
    arp,
    frame,
    icmpv6,
    ipv4_udp,
    ipv6_udp,
    opened,
    received,
)
from tests.kernel.workloads.new_interfaces import MAC, NewInterfaces, closed_in_every_state, payload
from tests.kernel.workloads.workload_files import passes, write_workload

_SETTINGS = 'workloads: {bridges: ["br*"]}\n'
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: uplink}}
spec: {interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: uplink}
spec: {selector: role == 'uplink', egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: app == 'web'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
  egress: [{action: Allow, destination: {selector: "app in {'db', 'far'}"}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: db}
spec:
  selector: "app in {'db', 'far'}"
  ingress: [{action: Allow, source: {selector: app == 'web'}}]
"""
_AT_ONCE_S = 5.0
"""Far more than it takes on a machine of its own."""
_NUMBERS = {"web": (1, 2), "db": (1, 3), "far": (2, 2)}
"""Of a workload: its bridge, and its number there."""


def _guest(name: str) -> Node:
    bridge, number = _NUMBERS[name]
    own = assigned(f"10.{bridge}.0.{number}/24", f"fd00:{bridge}::{number}/64")
    routes = (Route("default", f"10.{bridge}.0.1"), Route("default", f"fd00:{bridge}::1"))
    return Node(name, (Link("host0", f"of-{name}", addresses=own),), routes)


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[tuple[Lab, Installation]]:
    links = (
        Link("eth0", "wire", addresses=assigned("192.0.2.1/24", "2001:db8::1/64")),
        *(Link(f"br{n}", kind="bridge", addresses=assigned(f"10.{n}.0.1/24", f"fd00:{n}::1/64")) for n in (1, 2)),
        *(Link(f"p-{name}", f"of-{name}", master=f"br{bridge}") for name, (bridge, _) in _NUMBERS.items()),
    )
    outer = Link("eth0", "wire", addresses=assigned("192.0.2.2/24", "2001:db8::2/64"))
    routes = (Route("default", "192.0.2.1"), Route("default", "2001:db8::1"))
    guests = map(_guest, _NUMBERS)
    topology = Topology((Node("host", links, forwards=True), Node("outer", (outer,), routes), *guests))
    with laboratory(topology) as lab:
        for family in ("iptables", "ip6tables", "arptables"):
            set_sysctl(lab["host"], f"net.bridge.bridge-nf-call-{family}", "0")
        host = install(lab["host"], tmp_path / "hostfw")
        (host.config / "hostfw.yaml").write_text(_SETTINGS)
        (host.config / "policy.yaml").write_text(_POLICY)
        yield lab, host


def _workload(lab: Lab, name: str) -> str:
    bridge, number = _NUMBERS[name]
    mac = json.loads(run(lab[name], ["ip", "-j", "link", "show", "host0"]).stdout)[0]["address"]
    return (
        "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n"
        f"metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n"
        f'spec: {{interfaceName: p-{name}, mac: "{mac}", '
        f'ipNetworks: [10.{bridge}.0.{number}, "fd00:{bridge}::{number}"]}}\n'
    )


def _with_all(lab: Lab, host: Installation) -> None:
    for name in _NUMBERS:
        write_workload(host, name, _workload(lab, name))
    hostfwctl(host, "apply")


_WAYS = [
    ("web", "db", 5432, True),
    ("db", "web", 80, False),
    ("web", "far", 5432, True),
    ("far", "web", 80, False),
    ("far", "db", 5432, False),
    ("outer", "web", 80, True),
    ("outer", "web", 81, False),
    ("outer", "db", 5432, False),
    ("web", "outer", 80, False),
    ("host", "web", 80, True),
    ("host", "db", 5432, False),
    ("web", "host", 22, False),
    ("web", "host", 53, True),
]
"""Connections on one bridge, on two, and with the host and the outside, and whether policy allows them."""


def test_policy_is_on_every_way_to_and_from_a_port(house: tuple[Lab, Installation]) -> None:
    """Without rules everything passes; with them only what policy allows, and explain says the same."""
    lab, host = house
    for source, destination, port, _ in _WAYS:
        assert passes(lab, source, destination, port, expected=True), (source, destination)

    _with_all(lab, host)

    for source, destination, port, expected in _WAYS:
        assert passes(lab, source, destination, port, expected=expected), (source, destination, port)
        for family in Family:
            assert _explained(lab, host, source, destination, port, family) is expected, (source, destination, port)


def _mac(lab: Lab, node: str, link: str = "host0") -> str:
    return str(json.loads(run(lab[node], ["ip", "-j", "link", "show", link]).stdout)[0]["address"])


def _frames(lab: Lab) -> dict[str, bytes]:
    """Frames that web may not send, by what is wrong with them."""
    own, db, bridge = _mac(lab, "web"), _mac(lab, "db"), _mac(lab, "host", "br1")
    other, here, there, router = "02:00:00:00:00:99", "10.1.0.2", "10.1.0.3", "10.1.0.1"
    here6, there6, router6, all_nodes = "fd00:1::2", "fd00:1::3", "fd00:1::1", "ff02::1"
    link_local, group = "fe80::99", "33:33:00:00:00:01"
    ports, override = (9, 9), b"\xa0\0\0\0"

    def about(address: str) -> bytes:
        return IPv6Address(address).packed + b"\x02\x01" + bytes.fromhex(own.replace(":", ""))

    router_says = struct.pack("!BBHII", 64, 0, 1800, 0, 0)
    solicited, claim = "ff02::1:ff00:3", b"\0\0\0\0" + IPv6Address(there6).packed
    of = {
        "another Ethernet address": frame(other, db, IPV4, ipv4_udp(here, there, ports, b"")),
        "that of another workload": frame(db, bridge, IPV4, ipv4_udp(here, router, ports, b"")),
        "that of the bridge": frame(bridge, db, IPV4, ipv4_udp(here, there, ports, b"")),
        "another's IPv4 address": frame(own, bridge, IPV4, ipv4_udp(there, router, ports, b"")),
        "an IPv4 address of nobody": frame(own, db, IPV4, ipv4_udp("10.1.0.77", there, ports, b"")),
        "the host's IPv4 address": frame(own, db, IPV4, ipv4_udp(router, there, ports, b"")),
        "no IPv4 address": frame(own, BROADCAST, IPV4, ipv4_udp("0.0.0.0", "255.255.255.255", ports, b"")),
        "another's IPv6 address": frame(own, bridge, IPV6, ipv6_udp(there6, router6, ports, b"")),
        "an IPv6 address of nobody": frame(own, db, IPV6, ipv6_udp("fd00:1::77", there6, ports, b"")),
        "the host's IPv6 address": frame(own, db, IPV6, ipv6_udp(router6, there6, ports, b"")),
        "a link-local address that is not its own": frame(own, db, IPV6, ipv6_udp(link_local, all_nodes, ports, b"")),
        "ARP for the host": frame(own, db, ARP, arp(2, (own, router), (db, there))),
        "ARP for another": frame(own, bridge, ARP, arp(2, (own, there), (bridge, router))),
        "ARP for all of them": frame(own, BROADCAST, ARP, arp(1, (own, router), (BROADCAST, router))),
        "ARP with another Ethernet address": frame(own, db, ARP, arp(2, (other, here), (db, there))),
        "RARP": frame(own, BROADCAST, 0x8035, arp(3, (own, there), (own, there))),
        "a neighbour advertisement of the host": frame(
            own, db, IPV6, icmpv6(here6, there6, 136, override + about(router6))
        ),
        "a neighbour advertisement of another": frame(
            own, bridge, IPV6, icmpv6(here6, router6, 136, override + about(there6))
        ),
        "one behind another header": frame(
            own, db, IPV6, icmpv6(here6, there6, 136, override + about(router6), behind=b"\x3a\0\x01\x04\0\0\0\0\0")
        ),
        "a solicitation under another's address": frame(
            own, bridge, IPV6, icmpv6(there6, router6, 135, b"\0\0\0\0" + about(router6))
        ),
        "a claim to another's address": frame(own, group, IPV6, icmpv6("::", solicited, 135, claim)),
        "a router advertisement": frame(own, group, IPV6, icmpv6(here6, all_nodes, 134, router_says)),
        "one behind options": frame(
            own, group, IPV6, icmpv6(here6, all_nodes, 134, router_says, behind=b"\x3a\0\x05\x02\0\0\x01\0\0")
        ),
        "a redirect": frame(own, db, IPV6, icmpv6(here6, there6, 137, b"\0\0\0\0" + about(router6) + about(here6))),
        "a server of DHCP": frame(own, db, IPV4, ipv4_udp(here, there, (67, 68), b"offer")),
        "a server of DHCPv6": frame(own, db, IPV6, ipv6_udp(here6, there6, (547, 546), b"reply")),
        "a VLAN": frame(own, db, VLAN, b"\0\x05\x08\0" + ipv4_udp(here, there, ports, b"")),
        "a VLAN of no number": frame(own, db, VLAN, b"\0\0\x08\0" + ipv4_udp(there, there, ports, b"")),
        "another protocol": frame(own, db, 0x88B5, b"experiment"),
        "a spanning tree": frame(own, "01:80:c2:00:00:00", 39, b"\x42\x42\x03" + bytes(36)),
        "LLDP": frame(own, "01:80:c2:00:00:0e", 0x88CC, b"\x02\x07\x04" + bytes(8)),
    }
    # These make the bridge believe that others are here, so that nothing for them is sent there any more.
    last = ("another Ethernet address", "that of another workload", "that of the bridge")
    return {what: sent for what, sent in of.items() if what not in last} | {what: of[what] for what in last}


def _arrived(lab: Lab, frames: dict[str, bytes]) -> list[str]:
    """Those of some frames that get to another workload or to the host itself."""
    with ExitStack() as stack:
        port, *links = (
            stack.enter_context(opened(lab[node], link))
            for node, link in (("web", "host0"), ("db", "host0"), ("far", "host0"), ("host", "br1"))
        )
        for sent in frames.values():
            port.send(sent)
        sleep(0.3)
        found = [each for link in links for each in received(link)]
        # The wires of the laboratory are bridges, and believe by now that others are where these frames came from.
        for link, node, at, address in ((links[0], "db", "host0", "10.1.0.3"), (links[2], "host", "br1", "10.1.0.1")):
            mac = _mac(lab, node, at)
            link.send(frame(mac, BROADCAST, ARP, arp(1, (mac, address), (BROADCAST, address))))
        sleep(0.1)
    return [what for what, sent in frames.items() if any(_is_same(each, sent) for each in found)]


def _is_same(got: bytes, sent: bytes) -> bool:
    """True if a frame is the one that was sent, as it comes: without its tag, and what filled it up."""
    if got[:12] != sent[:12]:
        return False
    body = sent[18:] if sent[12:14] == struct.pack("!H", VLAN) else sent[14:]
    return all(one == other for one, other in zip(body, got[14:], strict=False))


def test_what_a_port_sends_in_another_s_name_gets_nowhere(house: tuple[Lab, Installation]) -> None:
    """Under another's MAC, IPv4 or IPv6 address, in ARP and neighbour discovery, or as a router or server."""
    lab, host = house
    frames = _frames(lab)
    unpoliced = set(_arrived(lab, frames))
    # A bridge takes these for itself, and keeps a VLAN of no number from nobody.
    assert set(frames) - unpoliced <= {"a spanning tree", "LLDP", "that of the bridge"}, set(frames) - unpoliced
    for node in ("db", "far", "host"):
        run(lab[node], ["ip", "neigh", "flush", "all"])
    run(lab["host"], ["ip", "link", "set", "br1", "type", "bridge", "fdb_flush"])

    _with_all(lab, host)

    assert _arrived(lab, frames) == []
    assert passes(lab, "web", "db", 5432, expected=True)
    counters = json.loads(hostfwctl(host, "counters", "-o", "json").stdout)
    spoofed = next(
        one for one in counters["reasons"] if (one["reason"], one["direction"]) == ("spoofed-source", "egress")
    )
    assert spoofed["bridge"]["packets"] >= 15


@pytest.mark.parametrize("known", [True, False], ids=["with an address", "before the first"])
def test_a_guest_gets_its_lease_from_the_host(known: bool, house: tuple[Lab, Installation]) -> None:
    """A client without an address is received by the host and no other guest, and the answer to all comes back.

    Before it is known to have an address it may use none.
    """
    lab, host = house
    _with_all(lab, host)
    if not known:
        text = _workload(lab, "web")
        write_workload(host, "web", re.sub("ipNetworks: .*", "ipNetworks: []}", text))
        hostfwctl(host, "apply")
    own, bridge = _mac(lab, "web"), _mac(lab, "host", "br1")
    asked = frame(own, BROADCAST, IPV4, ipv4_udp("0.0.0.0", "255.255.255.255", (68, 67), b"discover"))
    answer = frame(bridge, own, IPV4, ipv4_udp("10.1.0.1", "10.1.0.2", (67, 68), b"offer"))
    with ExitStack() as stack:
        web, db, at_host = (
            stack.enter_context(opened(lab[node], link))
            for node, link in (("web", "host0"), ("db", "host0"), ("host", "br1"))
        )
        web.send(asked)
        at_host.send(answer)
        sleep(0.3)
        assert any(b"discover" in got for got in received(at_host))
        assert not any(b"discover" in got for got in received(db))
        assert any(b"offer" in got for got in received(web))
    assert passes(lab, "web", "db", 5432, expected=known)
    assert passes(lab, "web", "host", 53, expected=known)


def test_what_a_bridge_with_stp_says_of_itself_is_no_denial(house: tuple[Lab, Installation]) -> None:
    """It says so each two seconds, as libvirt's bridges do, and reaches no workload."""
    lab, host = house
    _with_all(lab, host)
    with opened(lab["web"], "host0") as web:
        run(lab["host"], ["ip", "link", "set", "br1", "type", "bridge", "stp_state", "1", "hello_time", "100"])
        sleep(3)
        # To the group of STP; the kernel of a port that forwards says so at once.
        assert not any(got.startswith(bytes.fromhex("0180c2000000")) for got in received(web))
    counters = json.loads(hostfwctl(host, "counters", "-o", "json").stdout)
    nowhere = next(
        one for one in counters["reasons"] if (one["reason"], one["direction"]) == ("unidentified-workload", "ingress")
    )
    assert nowhere["bridge"]["packets"] == 0


def test_what_a_bridge_closes_of_the_host_is_told(house: tuple[Lab, Installation]) -> None:
    """With who is connected to it now; explain says the same of a session that comes in by a bridge."""
    lab, host = house
    (host.config / "hostfw.yaml").write_text("{}\n")
    hostfwctl(host, "apply")
    with ExitStack() as stack:
        listening = stack.enter_context(open_socket(lab["host"], socket.AF_INET, socket.SOCK_STREAM, 0))
        listening.bind(("10.1.0.1", 22))
        listening.listen()
        client = stack.enter_context(open_socket(lab["db"], socket.AF_INET, socket.SOCK_STREAM, 0))
        client.connect(("10.1.0.1", 22))
        stack.enter_context(listening.accept()[0])
        (host.config / "hostfw.yaml").write_text(_SETTINGS)

        told = " ".join(hostfwctl(host, "apply").stderr.split())

    assert "closes tcp/22" in told
    assert "10.1.0.3 is connected to it now" in told
    assert not _explained(lab, host, "db", "host", 22, Family.V4)


def _explained(lab: Lab, host: Installation, source: str, destination: str, port: int, family: Family) -> bool:
    """True if explain allows a connection."""
    ends = [lab.topology.address(*pair, family) for pair in ((destination, source), (source, destination))]
    where = f"[{ends[1]}]:{port}" if family is Family.V6 else f"{ends[1]}:{port}"
    said = hostfwctl(host, "explain", ends[0], where, "-o", "json", check=False)
    return bool(json.loads(said.stdout)["allowed"])


def test_two_workloads_with_one_address_are_closed_both(house: tuple[Lab, Installation]) -> None:
    """Nobody can tell which of them sends; the others go on."""
    lab, host = house
    _with_all(lab, host)
    assert passes(lab, "web", "db", 5432, expected=True)
    write_workload(host, "db", _workload(lab, "db").replace("10.1.0.3", "10.1.0.2"))

    said = hostfwctl(host, "apply").stderr

    assert "has 10.1.0.2, as has shop/db behind the same bridge br1" in " ".join(said.split())
    assert passes(lab, "outer", "web", 80, expected=False)
    assert passes(lab, "web", "far", 5432, expected=False)


def test_a_workload_that_moves_to_another_port_takes_its_policy_along(house: tuple[Lab, Installation]) -> None:
    """Under its old port's name nobody sends as it any more."""
    lab, host = house
    _with_all(lab, host)
    for command in ("link set p-web nomaster", "link set p-web down", "link set p-web name p-moved"):
        run(lab["host"], ["ip", *command.split()])
    for command in ("link set p-moved up", "link set p-moved master br1"):
        run(lab["host"], ["ip", *command.split()])
    assert passes(lab, "outer", "web", 80, expected=False)

    write_workload(host, "web", _workload(lab, "web").replace("interfaceName: p-web", "interfaceName: p-moved"))
    hostfwctl(host, "apply")

    assert passes(lab, "outer", "web", 80, expected=True)
    assert passes(lab, "web", "db", 5432, expected=True)
    run(lab["host"], ["ip", "link", "set", "p-db", "master", "br2"])
    assert passes(lab, "web", "db", 5432, expected=False)


def _new_ports(lab: Lab) -> NewInterfaces:
    return NewInterfaces(lab, "far", "x", "up master br1", (("db", "host0"), ("host", "br1")))


def _in_the_name_of_web(lab: Lab) -> bytes:
    return frame(MAC, _mac(lab, "db"), IPV4, ipv4_udp("10.1.0.2", "10.1.0.3", (7, 7), payload()))


def test_a_port_is_closed_from_its_first_packet_on(house: tuple[Lab, Installation], tmp_path: Path, soak: bool) -> None:
    """Whatever name of a workload it sends in, and whatever becomes of the service: a thousand of them, with soak."""
    lab, host = house
    ports, sent = _new_ports(lab), _in_the_name_of_web(lab)
    assert ports.arrived(0, 3, sent), "what new ports send gets through without rules"
    _with_all(lab, host)
    for state in closed_in_every_state(ports, host, 250 if soak else 50, sent, tmp_path / "log"):
        assert passes(lab, "web", "db", 5432, expected=True), state


def test_labels_are_in_force_at_once(house: tuple[Lab, Installation], tmp_path: Path) -> None:
    """From the file that names a workload to the first packet that gets through, in the running service."""
    lab, host = house
    _with_all(lab, host)
    took: list[float] = []
    with service(host, tmp_path / "log"), ExitStack() as stack:
        listener = stack.enter_context(opened(lab["db"], "host0"))
        port = stack.enter_context(opened(lab["web"], "host0"))
        sent = frame(_mac(lab, "web"), _mac(lab, "db"), IPV4, ipv4_udp("10.1.0.2", "10.1.0.3", (7, 7), b"at once"))
        for _ in range(11):
            (host.run / "workloads/web.yaml").unlink()
            deadline = monotonic() + 10
            received(listener)
            while monotonic() < deadline:
                port.send(sent)
                sleep(0.05)
                if not received(listener):
                    break
            text = _workload(lab, "web")
            begun = monotonic()
            write_workload(host, "web", text)
            while not any(b"at once" in got for got in received(listener)):
                assert monotonic() < begun + 10
                port.send(sent)
                sleep(0.001)
            took.append(monotonic() - begun)
    assert median(took) < _AT_ONCE_S, took


def test_other_programs_cannot_open_a_bridge_for_long(house: tuple[Lab, Installation], tmp_path: Path) -> None:
    """The table of bridges that is deleted, its rules that are flushed, and the flag of a bridge."""
    lab, host = house
    _with_all(lab, host)
    with service(host, tmp_path / "log"):
        for what in (
            "nft delete table bridge hostfw",
            "nft flush table bridge hostfw",
            "ip link set br1 type bridge nf_call_iptables 0 nf_call_ip6tables 0",
        ):
            run(lab["host"], what.split())
            deadline = monotonic() + 10
            while "raw-prerouting" not in _bridge_rules(lab) or not _calls(lab, "br1"):
                assert monotonic() < deadline, what
                sleep(0.05)
            sleep(0.3)
            assert _arrived(lab, _frames(lab)) == [], what
            assert passes(lab, "db", "web", 80, expected=False), what
            assert passes(lab, "web", "db", 5432, expected=True), what
        assert "in force" in hostfwctl(host, "status").stdout


def _bridge_rules(lab: Lab) -> str:
    listed = run(lab["host"], ["nft", "list", "table", "bridge", "hostfw"], check=False).stdout
    return listed if "vmap" in listed else ""


def _calls(lab: Lab, bridge: str) -> bool:
    link = json.loads(run(lab["host"], ["ip", "-j", "-d", "link", "show", bridge]).stdout)[0]
    data = link["linkinfo"]["info_data"]
    return bool(data["nf_call_iptables"] and data["nf_call_ip6tables"])


def test_the_flag_of_a_bridge_is_put_back(house: tuple[Lab, Installation]) -> None:
    """By disable, and once no setting names the bridge; status tells of it meanwhile."""
    lab, host = house
    _with_all(lab, host)
    assert _calls(lab, "br1")
    assert _calls(lab, "br2")
    assert "br1" in hostfwctl(host, "status").stdout
    assert "meets the IPv4 and IPv6 rules of every program" in _told(host)

    run(lab["host"], ["ip", "link", "set", "br1", "type", "bridge", "nf_call_iptables", "0"])
    assert "between ports of br1 meets no policy" in _told(host)
    hostfwctl(host, "apply")
    assert _calls(lab, "br1")

    (host.config / "hostfw.yaml").write_text('workloads: {bridges: ["br1"]}\n')
    hostfwctl(host, "apply", "--accept-loss")
    assert _calls(lab, "br1")
    assert not _calls(lab, "br2")

    hostfwctl(host, "disable", "--remove-rules")
    assert not _calls(lab, "br1")
    assert "bridge hostfw" not in run(lab["host"], ["nft", "list", "tables"]).stdout
    assert passes(lab, "db", "web", 80, expected=True)


def _told(host: Installation) -> str:
    """The findings of doctor, without its line breaks."""
    return " ".join(hostfwctl(host, "doctor", check=False).stdout.split())


def test_the_layout_of_a_workload_has_the_rules_of_its_port(house: tuple[Lab, Installation]) -> None:
    """Beside what packets meet in the tables of IPv4 and IPv6."""
    lab, host = house
    _with_all(lab, host)
    described = " ".join(hostfwctl(host, "describe", "wep", "shop/web", "--layout").stdout.split())

    assert "layout bridge p-web in: 1 lookup and at most" in described
    assert "layout IPv4 br1 in: at most" in described
    assert "shop/web" in hostfwctl(host, "workloads").stdout
    assert "a port of br1" in " ".join(hostfwctl(host, "interfaces").stdout.split())


def test_a_boot_closes_bridges_until_their_workloads_are_named(house: tuple[Lab, Installation]) -> None:
    """The stored script knows none of those that ran; a port of another bridge goes on."""
    lab, host = house
    (host.config / "hostfw.yaml").write_text('workloads: {bridges: ["br1"]}\n')
    _with_all(lab, host)
    (script,) = host.state.glob("generations/*/ruleset.nft")
    run(lab["host"], ["nft", "flush", "ruleset"])

    run(lab["host"], ["nft", "-f", str(script)])

    assert _arrived(lab, _frames(lab)) == []
    assert passes(lab, "web", "db", 5432, expected=False)
    assert passes(lab, "host", "far", 80, expected=True)


def test_a_lockdown_stops_what_is_between_ports(house: tuple[Lab, Installation]) -> None:
    """It is above all generations, and what policy allows passes again once it is over."""
    lab, host = house
    _with_all(lab, host)
    hostfwctl(host, "lockdown", "--all")
    assert passes(lab, "web", "db", 5432, expected=False)
    hostfwctl(host, "unblock")
    assert passes(lab, "web", "db", 5432, expected=True)


def test_denials_are_put_down_to_who_sent_them(house: tuple[Lab, Installation], tmp_path: Path) -> None:
    """By the bridge and address where policy denies, and by the port where it is spoofed or nobody's."""
    lab, host = house
    _with_all(lab, host)
    with service(host, tmp_path / "log") as running:
        running.wait_for(lambda _: running.told("is governed by"))
        # A moment later it knows of what was in force before it came that it is what is in force now.
        sleep(2)
        assert passes(lab, "db", "web", 80, expected=False)
        _arrived(lab, _frames(lab))
        assert _new_ports(lab).arrived(0, 1, _in_the_name_of_web(lab)) == []
        wanted = {
            ("shop/db", "no-policy", "br1"),
            ("shop/web", "spoofed-source", "p-web"),
            ("shop/web", "workload-to-host", "p-web"),
            ("(unidentified)", "unidentified-workload", "x0"),
        }
        deadline = monotonic() + 10
        while lacking := wanted - {_denial(entry) for entry in running.entries()}:
            assert monotonic() < deadline, (lacking, {_denial(entry) for entry in running.entries()})
            sleep(0.1)


def _denial(entry: Mapping[str, str]) -> tuple[str, str, str]:
    return entry.get("HOSTFW_ENDPOINT", ""), entry.get("HOSTFW_REASON", ""), entry.get("HOSTFW_INTERFACE", "")
