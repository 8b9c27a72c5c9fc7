"""The configuration that `init` proposes: it is valid, and each service is reachable by it where it was."""

from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import check_candidate
from hostfw.exposure.services import exposure
from hostfw.model.explanation import StepVerdict
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import BoundAddress, HostServices, Peer, PublishedPort, Service
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import TCP, UDP, Family
from hostfw.policy.resolve.plan import resolve
from hostfw.quick.starter import starter
from tests.unit.cli_runs import Machine, machine
from tests.unit.policy_builders import nets

ETH0, ETH1 = nets("192.0.2.1", "2001:db8::1"), nets("10.0.0.1")
FACTS = HostFacts(
    "web1",
    (
        Interface("eth0", 2, addresses=ETH0, default_route=True),
        Interface("eth1.5", 3, kind="vlan", addresses=ETH1),
        Interface("on", 4, kind="wireguard", addresses=nets("10.9.0.1")),
        Interface("veth9", 5, kind="veth", master="br0"),
        Interface("br0", 6, kind="bridge"),
        Interface("a*b", 7, addresses=nets("10.8.0.1")),
        Interface("lo", 1, kind="loopback", addresses=nets("127.0.0.1", "::1")),
    ),
)
ANY4, ANY6 = BoundAddress(Family.V4), BoundAddress(Family.V6)
SERVICES = HostServices(
    (
        Service(TCP.number, 22, (ANY4, ANY6), "sshd", "ssh.service"),
        Service(TCP.number, 5432, (BoundAddress(Family.V4, ETH1[0].address),), "postgres"),
        Service(TCP.number, 8080, (ANY6,), "java\n- {action: Allow}"),
        Service(UDP.number, 53, (BoundAddress(Family.V4, 0x7F000001), BoundAddress(Family.V6, 1)), "unbound"),
        Service(UDP.number, 443, (BoundAddress(Family.V6, ETH0[1].address), ANY4)),
    ),
    (
        PublishedPort(Family.V4, TCP.number, 8000, 0xAC110002, 80, "ip nat", out_interface="docker0"),
        PublishedPort(Family.V4, TCP.number, 2222, 0, 22, "inet mine", local=True),
    ),
    (Peer(TCP.number, 22, Family.V4, 0xCB007109),),
)


def proposed() -> str:
    """The text for a host of several interfaces and services."""
    return starter(FACTS, SERVICES)


def test_it_is_valid_and_says_why() -> None:
    """No problem is found in it, not even a warning; names that programs chose do not become policy."""
    candidate = check_candidate(Configuration(resources=(Source("start.yaml", proposed()),)))

    assert candidate.problems == ()
    assert "# ssh.service (sshd) listens on every address; 1 connection now." in proposed()
    assert "# (postgres) listens on 10.0.0.1." in proposed()
    assert "Published by another program, table ip nat, to 172.17.0.2:80." in proposed()
    assert "Published by another program, table inet mine, to port 22 of this host." in proposed()
    assert [endpoint.interface_name for endpoint in candidate.resources.endpoints] == ["eth0", "eth1.5", "on"]
    assert [len(policy.ingress) for policy in candidate.resources.policies] == [0, 9]


def test_each_service_is_reachable_where_it_listens() -> None:
    """At every address of its own, on every interface with a HostEndpoint, from everybody; and on loopback alone."""
    candidate = check_candidate(Configuration(resources=(Source("start.yaml", proposed()),)))
    plan, _ = resolve(candidate.resources, candidate.settings, FACTS)

    entries = exposure(plan, FACTS, SERVICES)

    governed = [entry for entry in entries if entry.interface in ("eth0", "eth1.5", "on")]
    assert {entry.subject for entry in governed if isinstance(entry.subject, Service)} == {
        service for service in SERVICES.services if service.process != "unbound"
    }
    for entry in governed:
        if isinstance(entry.subject, Service):
            assert {decision.step.verdict for decision in entry.reach.decisions} == {StepVerdict.ALLOW}
    assert "[53]" not in proposed()


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


def test_it_is_printed_or_written_once(host: Machine) -> None:
    """A directory that holds anything is left unchanged."""
    host.services = SERVICES
    printed = host.hostfwctl("init")
    assert list(yaml.safe_load_all(printed.out))
    assert list(host.config.iterdir()) == []

    written = host.hostfwctl("init", "--write")

    assert (written.status, written.out) == (0, "")
    assert (host.config / "start.yaml").read_text() == printed.out
    assert "hostfwctl apply --confirm-within" in written.err
    assert host.hostfwctl("apply").status == 0
    again = host.hostfwctl("init", "--write")
    assert again.status == 1
    assert "etc is not empty" in again.err
