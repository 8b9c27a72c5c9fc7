"""Workloads that come and go under the service, with real packets between network namespaces.

Two guests behind routed interfaces of their own, and somebody outside. What runs is written to files below the run
directory, as a hook of a hypervisor or container engine would.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import run
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe
from lab.service import service
from lab.topology import Link, Node, Route, Topology, assigned
from tests.kernel.packets.ethernet import IPV4, frame, ipv4_udp
from tests.kernel.workloads.new_interfaces import MAC, NewInterfaces, closed_in_every_state, payload
from tests.kernel.workloads.workload_files import passes, write_workload

_PATIENCE_S = 10.0
_SETTINGS = 'workloads: {interfaces: ["ve-*"]}\n'
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
  egress: [{action: Allow, destination: {selector: app == 'db'}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: db}
spec:
  selector: app == 'db'
  ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'web'}}]
"""
_DATAGRAMS = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: datagrams}
spec: {selector: app == 'db', ingress: [{action: Allow, protocol: UDP, source: {selector: app == 'web'}}]}
"""


def _guest(name: str, number: int) -> Node:
    return Node(
        name,
        (Link("host0", f"of-{name}", addresses=assigned(f"10.0.{number}.2/24", f"fd00:{number}::2/64")),),
        (Route("default", f"10.0.{number}.1"), Route("default", f"fd00:{number}::1")),
    )


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[tuple[Lab, Installation]]:
    links = (
        Link("eth0", "wire", addresses=assigned("192.0.2.1/24", "2001:db8::1/64")),
        Link("ve-web", "of-web", addresses=assigned("10.0.3.1/24", "fd00:3::1/64")),
        Link("ve-db", "of-db", addresses=assigned("10.0.4.1/24", "fd00:4::1/64")),
    )
    outer = Link("eth0", "wire", addresses=assigned("192.0.2.2/24", "2001:db8::2/64"))
    routes = (Route("default", "192.0.2.1"), Route("default", "2001:db8::1"))
    topology = Topology(
        (Node("host", links, forwards=True), Node("outer", (outer,), routes), _guest("web", 3), _guest("db", 4))
    )
    with laboratory(topology) as lab:
        host = install(lab["host"], tmp_path / "hostfw")
        (host.config / "hostfw.yaml").write_text(_SETTINGS)
        (host.config / "policy.yaml").write_text(_POLICY)
        yield lab, host


def _workload(name: str, number: int) -> str:
    return (
        "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n"
        f"metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\n"
        f'spec: {{interfaceName: ve-{name}, ipNetworks: [10.0.{number}.2, "fd00:{number}::2"]}}\n'
    )


def _comes(lab: Lab, source: str, destination: str, port: int) -> bool:
    """True if a connection gets through before long."""
    deadline = monotonic() + _PATIENCE_S
    while not passes(lab, source, destination, port, expected=True):
        if monotonic() > deadline:
            return False
        sleep(0.1)
    return True


def test_a_workload_is_closed_until_it_is_named_and_once_it_is_gone(
    house: tuple[Lab, Installation], tmp_path: Path
) -> None:
    """With a wildcard of allowed egress and no forward policy at all, what nobody names gets nowhere."""
    lab, host = house
    hostfwctl(host, "apply")
    with service(host, tmp_path / "log"):
        for ends in (("web", "db"), ("outer", "web"), ("host", "web"), ("web", "outer")):
            assert passes(lab, *ends, 80, expected=False), ends

        write_workload(host, "web", _workload("web", 3))
        assert _comes(lab, "outer", "web", 80)
        assert passes(lab, "outer", "web", 81, expected=False)
        assert passes(lab, "host", "web", 80, expected=True)
        assert passes(lab, "web", "db", 5432, expected=False)

        write_workload(host, "db", _workload("db", 4))
        assert _comes(lab, "web", "db", 5432)
        assert passes(lab, "outer", "db", 5432, expected=False)
        assert passes(lab, "db", "web", 80, expected=False)
        assert passes(lab, "web", "host", 22, expected=False)

        (host.run / "workloads/db.yaml").unlink()
        deadline = monotonic() + _PATIENCE_S
        while not passes(lab, "web", "db", 5432, expected=False):
            assert monotonic() < deadline
    # The rules stay without the service.
    assert passes(lab, "outer", "web", 80, expected=True)
    assert passes(lab, "outer", "db", 5432, expected=False)


def test_an_interface_is_closed_from_its_first_packet_on(
    house: tuple[Lab, Installation], tmp_path: Path, soak: bool
) -> None:
    """Whatever address it sends from, and whatever becomes of the service: a thousand of them, with soak."""
    lab, host = house
    interfaces = NewInterfaces(lab, "outer", "ve-n", "up", (("db", "host0"),))
    sent = frame("02:00:00:00:03:00", MAC, IPV4, ipv4_udp("10.0.3.2", "10.0.4.2", (7, 5432), payload()))
    assert interfaces.arrived(0, 3, sent), "what new interfaces send gets through without rules"
    for name, number in (("web", 3), ("db", 4)):
        write_workload(host, name, _workload(name, number))
    # Whoever is taken for web may send this.
    (host.config / "datagrams.yaml").write_text(_DATAGRAMS)
    hostfwctl(host, "apply")
    for state in closed_in_every_state(interfaces, host, 250 if soak else 50, sent, tmp_path / "log"):
        assert passes(lab, "web", "db", 5432, expected=True), state


def test_what_a_workload_sends_under_other_addresses_gets_nowhere(house: tuple[Lab, Installation]) -> None:
    """An address of the same network that is not its own."""
    lab, host = house
    write_workload(host, "web", _workload("web", 3))
    write_workload(host, "db", _workload("db", 4))
    hostfwctl(host, "apply")
    assert passes(lab, "web", "db", 5432, expected=True)

    run(lab["web"], ["ip", "address", "add", "10.0.3.77/24", "dev", "host0"])
    run(lab["web"], ["ip", "route", "replace", "default", "via", "10.0.3.1", "src", "10.0.3.77"])
    flow = Flow("web", "db", TCP, 5432, Family.V4)

    assert probe(lab, (flow,), DENY_PATIENCE_S)[0].verdict is not Verdict.ALLOWED
    counters = json.loads(hostfwctl(host, "counters", "-o", "json").stdout)
    assert "spoofed-source" in json.dumps(counters)


def test_what_a_workload_sends_from_another_ethernet_address_gets_nowhere(house: tuple[Lab, Installation]) -> None:
    """Its own is in the WorkloadEndpoint."""
    lab, host = house
    mac = json.loads(run(lab["web"], ["ip", "-j", "link", "show", "host0"]).stdout)[0]["address"]
    write_workload(host, "web", _workload("web", 3).replace("ipNetworks", f'mac: "{mac}", ipNetworks'))
    write_workload(host, "db", _workload("db", 4))
    hostfwctl(host, "apply")
    assert passes(lab, "web", "db", 5432, expected=True)

    run(lab["web"], ["ip", "link", "set", "host0", "address", "02:00:00:00:00:77"])

    assert passes(lab, "web", "db", 5432, expected=False)
    assert "spoofed-source" in hostfwctl(host, "counters", "-o", "json").stdout


def test_a_container_without_policy_is_open_and_a_machine_is_not(house: tuple[Lab, Installation]) -> None:
    """Until a policy selects it, and never to the host."""
    lab, host = house
    for name, number, orchestrator in (("web", 3, "docker"), ("db", 4, "libvirt")):
        text = _workload(name, number).replace("interfaceName", f"orchestrator: {orchestrator}, interfaceName")
        write_workload(host, name, text.replace(f"app: {name}", "app: other"))
    hostfwctl(host, "apply")

    assert passes(lab, "outer", "web", 80, expected=True)
    assert passes(lab, "web", "outer", 80, expected=True)
    assert passes(lab, "web", "host", 22, expected=False)
    assert passes(lab, "web", "db", 80, expected=False)
    assert passes(lab, "outer", "db", 80, expected=False)


def test_a_wrong_file_counts_for_nothing_and_is_told(house: tuple[Lab, Installation]) -> None:
    """One that belongs to somebody else, and one with a mistake; the other one holds."""
    lab, host = house
    write_workload(host, "web", _workload("web", 3))
    write_workload(host, "db", _workload("db", 4).replace("ipNetworks", "ipNetwork"))
    applied = hostfwctl(host, "apply")

    assert 'unknown field "ipNetwork"' in applied.stderr
    assert passes(lab, "outer", "web", 80, expected=True)
    assert passes(lab, "web", "db", 5432, expected=False)
    assert "(unidentified)" in hostfwctl(host, "interfaces").stdout
    findings = hostfwctl(host, "doctor", check=False).stdout
    assert 'unknown field "ipNetwork"' in findings
    assert "no WorkloadEndpoint names ve-db" in findings
    assert "shop/web" in hostfwctl(host, "get", "wep").stdout

    (host.run / "workloads/web.yaml").chmod(0o666)
    assert "is writable by everyone" in hostfwctl(host, "apply").stderr
    assert passes(lab, "outer", "web", 80, expected=False)


def test_the_script_of_the_next_boot_knows_no_workload_that_ran(house: tuple[Lab, Installation]) -> None:
    """Whatever has the name of its interface by then is unidentified, until it is named."""
    lab, host = house
    write_workload(host, "web", _workload("web", 3))
    hostfwctl(host, "apply")
    assert passes(lab, "outer", "web", 80, expected=True)
    (script,) = host.state.glob("generations/*/ruleset.nft")

    run(lab["host"], ["nft", "-f", str(script)])

    assert passes(lab, "outer", "web", 80, expected=False)
    assert passes(lab, "web", "outer", 80, expected=False)


def test_interfaces_of_workloads_are_not_left_to_nobody_by_a_change(house: tuple[Lab, Installation]) -> None:
    """Without the setting whatever is behind them would be forwarded without policy."""
    _, host = house
    write_workload(host, "web", _workload("web", 3))
    hostfwctl(host, "apply")
    (host.config / "hostfw.yaml").write_text("{}\n")

    refused = hostfwctl(host, "apply", check=False)

    assert refused.returncode != 0
    assert "would no longer name ve-db, ve-web" in refused.stderr
    assert hostfwctl(host, "apply", "--accept-loss").returncode == 0
