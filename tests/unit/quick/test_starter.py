"""The configuration that `init` proposes: it is valid, and each service is reachable by it where it was."""

from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import check_candidate
from hostfw.exposure.services import exposure
from hostfw.host.nftables.base_chains import OtherChain, OtherTable
from hostfw.host.nftables.nf_tables import BaseHook
from hostfw.host.systemd.surroundings import Surroundings, Unit
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import BoundAddress, HostServices, Peer, PublishedPort, Service
from hostfw.model.packets.explanation import StepVerdict
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import TCP, UDP, Family
from hostfw.policy.resolve.plan import resolve
from hostfw.quick.starter import OtherFirewall, starter
from tests.unit.builders.policy_builders import nets
from tests.unit.cli_runs import Machine, machine

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


def test_other_firewalls_are_named_at_the_top() -> None:
    """In comments, whatever another program calls its tables; the configuration is the same."""
    named = starter(FACTS, SERVICES, (OtherFirewall("the table inet\nx denies packets as well", "`nft list`"),))

    head, _, rest = named.partition("apiVersion")
    assert rest == proposed().partition("apiVersion")[2]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "#   - the table inet?x denies packets as well. Next: `nft list`." in head
    assert "hostfwctl import" in head


def test_who_may_not_see_other_firewalls_is_told_so(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proposal is printed all the same: another user than root may ask for it."""
    unseen = Surroundings(unseen=("reading the tables: Operation not permitted",))
    monkeypatch.setattr("hostfw.cli.verbs.quick.init.look_at_firewalls", lambda _: unseen)

    printed = host.hostfwctl("init")

    assert printed.status == 0
    assert "#   - other firewalls could not be looked at: reading the tables: Operation not permitted." in printed.out
    assert "Next: run it as root" in " ".join(printed.out.replace("\n#", " ").split())


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


def test_other_firewalls_are_named_when_it_is_written(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and units, each with the next step; one that is off is not there."""
    chain = OtherChain("input", BaseHook("filter", "input", 10, "drop"), denies=True, leads_to=())
    found = Surroundings(
        (OtherTable("inet", "firewalld", (chain,)),),
        units=(
            Unit("firewalld.service", "loaded", "enabled", "active"),
            Unit("netfilter-persistent.service", "loaded", "disabled", "inactive"),
        ),
    )
    monkeypatch.setattr("hostfw.cli.verbs.quick.init.look_at_firewalls", lambda _: found)

    written = host.hostfwctl("init", "--write")

    assert written.status == 0
    assert "firewalld (inet firewalld) denies packets as well" in written.err
    assert "firewalld.service is enabled and running: two firewalls decide" in written.err
    assert "netfilter-persistent" not in written.err
    assert "Next: let one of the two go" in written.err
    assert "# Others decide about packets of this host as well:" in (host.config / "start.yaml").read_text()


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
