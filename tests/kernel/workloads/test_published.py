"""Published ports with real connections: open to whom policy allows, whoever publishes them and in whatever form."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import run
from lab.topology import Link, Node, Route, Topology, assigned
from tests.kernel.cli.exposed_hosts import Knock, disagreements, listening
from tests.unit.project.documentation import shown

HOST, HOST6 = "203.0.113.1", "2001:db8:113::1"
LATER, LATER6 = "203.0.113.77", "2001:db8:113::77"
OFFICE, OFFICE6 = "10.20.0.5", "2001:db8:20::5"
ANYBODY, ANYBODY6 = "198.51.100.9", "2001:db8:99::9"
GUEST, GUEST6 = "172.17.0.2", "fd17::2"
TO_ALL, TO_OFFICE, CLOSED = 8080, 5432, 9000
"""Ports that the policy of docs/docker.md allows to all, to the office, and to nobody."""
PORTS = (TO_ALL, TO_OFFICE, CLOSED, 9001)

DOCKER = """\
table ip docker-bridges {
    chain nat-prerouting-and-output { fib daddr type local counter jump nat-docker }
    chain nat-docker { {rules4} }
    chain raw-PREROUTING { type filter hook prerouting priority raw; policy accept; }
    chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump nat-prerouting-and-output }
    chain filter-forward {
        type filter hook forward priority filter; policy accept;
        oifname "docker0" ct state established,related counter accept
        oifname "docker0" ct status dnat counter accept
        oifname "docker0" counter drop
    }
    chain nat-postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
}
table ip6 docker-bridges {
    chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump nat-docker; }
    chain nat-docker { {rules6} }
}
"""
"""In the shape of Docker's nftables backend."""
PODMAN = """\
table inet netavark {
    chain NETAVARK-HOSTPORT-DNAT { {rules4}; {rules6} }
    chain PREROUTING {
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump NETAVARK-HOSTPORT-DNAT
    }
}
"""
"""In the shape of netavark's."""
BY_HAND = """\
table inet mine {
    chain moved { type nat hook prerouting priority -150; policy accept; iifname "eth0" jump moved-to }
    chain moved-to { {rules4}; {rules6} }
}
"""
"""NAT rules by a person, at an earlier priority than usual."""
NSPAWN = """\
table ip io.systemd.nat {
    map map_port_ipport {
        type inet_proto . inet_service : ipv4_addr . inet_service
        elements = { {elements4} }
    }
    chain prerouting {
        type nat hook prerouting priority dstnat + 1; policy accept;
        fib daddr type local dnat ip to meta l4proto . th dport map @map_port_ipport
    }
}
table ip6 io.systemd.nat {
    map map_port_ipport {
        type inet_proto . inet_service : ipv6_addr . inet_service
        elements = { {elements6} }
    }
    chain prerouting {
        type nat hook prerouting priority dstnat + 1; policy accept;
        fib daddr type local dnat ip6 to meta l4proto . th dport map @map_port_ipport
    }
}
"""
"""In the shape of systemd-nspawn's `Port=`."""

_SHAPES = {"docker": DOCKER, "podman": PODMAN, "nspawn": NSPAWN, "by hand": BY_HAND}


@pytest.fixture(name="street")
def _street(tmp_path: Path) -> Iterator[tuple[Lab, Installation]]:
    """A host with a container, the policy of docs/docker.md in force, and a neighbour with many addresses."""
    links = (
        Link("eth0", "wire", addresses=assigned(f"{HOST}/24", f"{HOST6}/64")),
        Link("docker0", "containers", addresses=assigned("172.17.0.1/16", "fd17::1/64")),
    )
    outer = Link("eth0", "wire", addresses=assigned("203.0.113.2/24", "2001:db8:113::2/64"))
    guest = Link("eth0", "containers", addresses=assigned(f"{GUEST}/16", f"{GUEST6}/64"))
    topology = Topology(
        (
            Node("host", links, (Route("default", "203.0.113.2"), Route("default", "2001:db8:113::2")), forwards=True),
            Node("outer", (outer,)),
            Node("guest", (guest,), (Route("default", "172.17.0.1"), Route("default", "fd17::1"))),
        )
    )
    with laboratory(topology) as lab:
        for address in (ANYBODY, OFFICE, ANYBODY6, OFFICE6):
            family, bits = (6, 128) if ":" in address else (4, 32)
            run(lab["outer"], ["ip", f"-{family}", "address", "add", f"{address}/{bits}", "dev", "lo"])
        with listening(lab, "guest", [(GUEST, 80), (GUEST6, 80)]), listening(lab, "host", [("::", 80)]):
            installation = install(lab["host"], tmp_path / "hostfw")
            (page,) = (each.text for each in shown() if each.page == "docker.md")
            (installation.config / "policy.yaml").write_text(page)
            yield lab, installation


def _rules(family: str, target: str) -> str:
    return "; ".join(f"tcp dport {port} dnat {family} to {target}" for port in PORTS)


def _published(shape: str, lab: Lab, *, redirected: bool = False) -> str:
    """Have somebody publish the ports; gives all the rules that there are then."""
    rules4 = _rules("ip", f"{GUEST}:80")
    rules6 = _rules("ip6", f"[{GUEST6}]:80")
    if redirected:
        rules4, rules6 = "; ".join(f"tcp dport {port} redirect to :80" for port in PORTS), ""
    text = shape.replace("{rules4}", rules4).replace("{rules6}", rules6)
    for version, guest in ((4, GUEST), (6, GUEST6)):
        text = text.replace(f"{{elements{version}}}", ", ".join(f"tcp . {port} : {guest} . 80" for port in PORTS))
    # Of a chain on one line nft wants the rules ended.
    text = text.replace("{ ", "{\n").replace(" }\n", "\n}\n")
    run(lab["host"], ["nft", "-f", "-"], text=text)
    return run(lab["host"], ["nft", "--stateless", "list", "ruleset"]).stdout


def _expected(port: int, source: str) -> bool:
    return port == TO_ALL or (port == TO_OFFICE and source in (OFFICE, OFFICE6))


def _knocks(host: str = HOST, host6: str = HOST6) -> list[Knock]:
    ends = [(source, host) for source in (ANYBODY, OFFICE)] + [(source, host6) for source in (ANYBODY6, OFFICE6)]
    return [Knock("eth0", source, to, port, _expected(port, source)) for source, to in ends for port in PORTS]


@pytest.mark.parametrize(
    ("shape", "redirected"),
    [
        *(pytest.param(shape, False, id=name) for name, shape in _SHAPES.items()),
        *(pytest.param(_SHAPES[name], True, id=f"{name} to another port") for name in ("docker", "podman", "by hand")),
    ],
)
def test_published_ports_are_open_to_whom_policy_allows(
    shape: str, redirected: bool, street: tuple[Lab, Installation]
) -> None:
    """Packets, `explain` and `exposure` say the same, from in and out of policy, and nothing of the others' changes."""
    lab, installation = street
    theirs = _published(shape, lab, redirected=redirected)

    hostfwctl(installation, "apply")

    assert disagreements(lab, _knocks()) == []
    for source, host in ((ANYBODY, HOST), (OFFICE, HOST), (OFFICE6, f"[{HOST6}]"), (ANYBODY6, f"[{HOST6}]")):
        for port in (TO_OFFICE, CLOSED):
            said = hostfwctl(installation, "explain", source, f"{host}:{port}", "--in", "eth0", check=False).stdout
            assert said.startswith("allowed" if _expected(port, source) else "denied"), said
    found = json.loads(hostfwctl(installation, "exposure", "-o", "json").stdout)["items"]
    reached: dict[int, set[str]] = {}
    for item in found:
        if item["target"]:
            reached.setdefault(item["port"], set()).update(_sources(item["reached"]))
    assert reached.keys() == set(PORTS)
    assert reached[CLOSED] == set()
    assert "0.0.0.0/0" in reached[TO_ALL]
    assert "10.20.0.0/16" in reached[TO_OFFICE]
    assert "0.0.0.0/0" not in reached[TO_OFFICE]
    hostfwctl(installation, "disable", "--remove-rules")
    assert run(lab["host"], ["nft", "--stateless", "list", "ruleset"]).stdout == theirs


_DNAT = f"-m tcp -j DNAT --to-destination {GUEST}:80"
IPTABLES = f"""\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i br-5f0d2c1b7a90 -j RETURN
-A DOCKER -i br-9a1be6c4d233 -j RETURN
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp --dport {TO_ALL} {_DNAT}
-A DOCKER ! -i docker0 -p tcp --dport {TO_OFFICE} {_DNAT}
-A DOCKER ! -i docker0 -p tcp --dport {CLOSED} {_DNAT}
-A DOCKER ! -i docker0 -p tcp --dport 9001 {_DNAT}
COMMIT
"""
"""In the shape of Docker's iptables backend, with two networks beside the usual one."""


def test_ports_that_iptables_publishes_are_known_for_certain(street: tuple[Lab, Installation]) -> None:
    """Other networks of Docker, whose packets it leaves alone, hide none of them."""
    lab, installation = street
    run(lab["host"], ["iptables-nft-restore"], text=IPTABLES)
    hostfwctl(installation, "apply")

    knocks = [knock for knock in _knocks() if knock.destination == HOST]
    assert disagreements(lab, knocks) == []
    found = json.loads(hostfwctl(installation, "exposure", "-o", "json").stdout)["items"]
    assert {item["port"]: item["target"] for item in found if item["target"]} == dict.fromkeys(PORTS, f"{GUEST}:80")
    for knock in knocks:
        said = hostfwctl(
            installation, "explain", knock.source, f"{HOST}:{knock.port}", "--in", "eth0", check=False
        ).stdout
        assert said.startswith("allowed" if knock.expected else "denied"), said
        assert f"translated to {GUEST}:80 by the table ip nat" in said
    # Of what the host sends itself, all but what is for loopback.
    for address, translated in ((HOST, True), ("172.17.0.1", True), ("127.0.0.1", False)):
        said = hostfwctl(installation, "explain", "host", f"{address}:{CLOSED}", check=False).stdout
        assert (f"translated to {GUEST}:80 by the table ip nat" in said) is translated, said
        assert ("out on docker0" in said) is translated, said


def _sources(places: object) -> set[str]:
    assert isinstance(places, list)
    here = (place for place in places if place["interface"] == "eth0")
    allowed = (decision for place in here for decision in place["decisions"] if decision["allowed"])
    return {source for decision in allowed for source in decision["sources"]}


def test_an_address_that_the_host_gets_later_is_its_own_at_once(street: tuple[Lab, Installation]) -> None:
    """Nobody runs in between who could notice it."""
    lab, installation = street
    _published(DOCKER, lab)
    hostfwctl(installation, "apply")

    run(lab["host"], ["ip", "address", "add", f"{LATER}/24", "dev", "eth0"])
    run(lab["host"], ["ip", "-6", "address", "add", f"{LATER6}/64", "dev", "eth0", "nodad"])

    assert disagreements(lab, _knocks(LATER, LATER6)) == []


def test_what_is_published_after_the_apply_is_closed_from_its_first_packet(street: tuple[Lab, Installation]) -> None:
    """As by `docker run` and `docker network create`: policy needs to know nothing of it."""
    lab, installation = street
    hostfwctl(installation, "apply")

    _published(PODMAN, lab)

    assert disagreements(lab, _knocks()) == []


def test_with_theirs_published_ports_are_open_and_doctor_says_so(street: tuple[Lab, Installation]) -> None:
    """It names the port, who reaches it and that policy would not let them."""
    lab, installation = street
    _published(DOCKER, lab)
    (installation.config / "hostfw.yaml").write_text("publishedPorts: theirs\n")
    hostfwctl(installation, "apply")

    assert disagreements(lab, [knock for knock in _knocks() if knock.expected]) == []
    assert len(disagreements(lab, [knock for knock in _knocks() if not knock.expected])) == 10
    said = hostfwctl(installation, "doctor", check=False).stdout
    assert f"publishes tcp/{CLOSED} -> {GUEST}:80" in said
    assert "though ingress policy denies the port there" in said


@pytest.mark.parametrize("rule", ["redirect to :", "dnat ip to 172.17.0.1:"])
def test_a_map_of_ports_translates_those_alone(rule: str, street: tuple[Lab, Installation]) -> None:
    """Other ports are as they were, and `exposure` still has the services that nobody translates."""
    lab, installation = street
    base = "type nat hook prerouting priority dstnat; policy accept;"
    to = f"meta l4proto tcp {rule}tcp dport map {{ {TO_ALL} : 80, {CLOSED} : 80 }}"
    run(lab["host"], ["nft", "-f", "-"], text=f"table ip mine {{\nchain pre {{ {base}\n{to}\n}}\n}}\n")

    hostfwctl(installation, "apply")

    found = json.loads(hostfwctl(installation, "exposure", "-o", "json").stdout)["items"]
    assert sorted({item["port"] for item in found if item["target"]}) == [TO_ALL, CLOSED]
    assert 80 in {item["port"] for item in found if not item["target"] and item["reached"]}
    knocks = [knock for knock in _knocks() if knock.port in (TO_ALL, CLOSED) and knock.destination == HOST]
    assert disagreements(lab, knocks) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (f"ip daddr . tcp dport {{ {HOST} . {TO_ALL} }} dnat to {GUEST}:80", [(TO_ALL, f"{GUEST}:80")]),
        (f"ip daddr . tcp dport {{ {HOST} . {TO_ALL} }} redirect to :80", [(TO_ALL, "port 80 of this host")]),
        (f"dnat to ip daddr . tcp dport map {{ {HOST} . {TO_ALL} : {GUEST} . 80 }}", [(TO_ALL, f"{GUEST}:80")]),
        (f"ip daddr . tcp dport vmap {{ {HOST} . {TO_ALL} : jump there }}", [(TO_ALL, f"{GUEST}:80")]),
    ],
)
def test_fields_that_are_looked_up_together_are_all_looked_at(
    rule: str, expected: list[tuple[int, str]], street: tuple[Lab, Installation]
) -> None:
    """The address and the port of one element belong together."""
    lab, installation = street
    base = "type nat hook prerouting priority dstnat; policy accept;"
    there = f"chain there {{\nmeta l4proto tcp dnat to {GUEST}:80\n}}\n"
    run(lab["host"], ["nft", "-f", "-"], text=f"table ip mine {{\n{there}chain pre {{ {base}\n{rule}\n}}\n}}\n")

    hostfwctl(installation, "apply")

    found = json.loads(hostfwctl(installation, "exposure", "-o", "json").stdout)["items"]
    assert [(item["port"], item["target"]) for item in found if item["target"]] == expected
    knocks = [knock for knock in _knocks() if knock.port in (TO_ALL, CLOSED) and knock.destination == HOST]
    assert disagreements(lab, knocks) == []
