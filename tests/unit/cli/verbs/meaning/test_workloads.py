"""`hostfwctl workloads`: what runs, and what decides about it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from tests.unit.builders.policy_builders import nets
from tests.unit.builders.policy_texts import manifest
from tests.unit.cli_runs import UPLINK, Machine, machine

FACTS = HostFacts(
    "web1",
    (
        Interface("eth0", 2, addresses=nets("192.0.2.1"), default_route=True),
        *(Interface(name, number) for number, name in enumerate(("ve-web", "ve-new", "ve-twice"), start=3)),
        Interface("ve-port", 9, master="br0"),
    ),
)


def wep(name: str, interface: str, more: str = "", metadata: str = "namespace: shop") -> str:
    """A WorkloadEndpoint."""
    spec = f"{{interfaceName: {interface}, ipNetworks: [10.0.3.2, 'fd00:3::2', 10.9.0.0/24]{more}}}"
    return manifest("WorkloadEndpoint", spec, name, f"{metadata}, labels: {{app: {name}}}")


WORKLOADS = "---\n".join(
    (
        wep("web", "ve-web", ", orchestrator: nspawn, profiles: [projectcalico-default-allow]"),
        wep("gone", "ve-gone"),
        wep("far", "ve-web", ", node: db1"),
    )
)
POLICIES = "---\n".join(
    (
        manifest("NetworkPolicy", "{types: [Ingress, Egress]}", "all", "namespace: shop"),
        manifest(
            "NetworkPolicy",
            "{podSelector: {matchLabels: {app: web}}}",
            "web",
            "namespace: shop",
            "networking.k8s.io/v1",
        ),
        manifest("StagedNetworkPolicy", "{types: [Ingress]}", "tried", "namespace: shop"),
        manifest("GlobalNetworkPolicy", "{order: 1, selector: app == 'web', egress: [{action: Pass}]}", "names"),
    )
)


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.facts = FACTS
    made.write(hostfw="workloads: {interfaces: ['ve-*']}\n", uplink=UPLINK)
    return made


def test_every_workload_is_listed_with_its_policies_and_state(host: Machine) -> None:
    """Those that are there, away and elsewhere, and last the interfaces that nobody names."""
    host.write(workloads=WORKLOADS, policies=POLICIES)

    listed = json.loads(host.hostfwctl("workloads", "-o", "json").out)

    assert (listed["apiVersion"], listed["kind"]) == ("hostfw.io/v1", "Workloads")
    assert [(one.get("name"), one["interface"], one["state"]) for one in listed["items"]] == [
        ("far", "ve-web", "elsewhere"),
        ("gone", "ve-gone", "absent"),
        ("web", "ve-web", "governed"),
        (None, "ve-new", "unidentified"),
        (None, "ve-twice", "unidentified"),
    ]
    web = listed["items"][2]
    assert web["policies"] == ["shop/knp.default.web", "shop/all", "projectcalico-default-allow", "names"]
    assert web["ipNetworks"] == ["10.0.3.2", "10.9.0.0/24", "fd00:3::2"]
    assert (web["namespace"], web["orchestrator"], web["labels"]) == ("shop", "nspawn", {"app": "web"})
    assert (web["path"], web["line"]) == ("etc/workloads.yaml", 1)


def test_what_runs_now_is_listed_and_what_is_in_doubt_is_denied(host: Machine) -> None:
    """Of two with one interface neither governs it; a name that no setting has is ungoverned."""
    folder = host.directory / "run" / "workloads"
    folder.mkdir(mode=0o755, parents=True)
    for name, interface in (("a", "ve-twice"), ("b", "ve-twice"), ("c", "eth7")):
        (folder / f"{name}.yaml").write_text(wep(name, interface))

    told = host.hostfwctl("workloads")

    rows = [line.split() for line in told.out.splitlines()]
    assert rows[0][:2] == ["NAME", "INTERFACE"]
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        ("shop/a", "ve-twice", "denied"),
        ("shop/b", "ve-twice", "denied"),
        ("shop/c", "eth7", "ungoverned"),
        ("-", "ve-web", "unidentified"),
        ("-", "ve-new", "unidentified"),
    ]
    assert host.hostfwctl("workloads", "-o", "name").out == "shop/a\nshop/b\nshop/c\n"
    assert "nspawn" not in told.out


def test_labels_and_places_are_wide(host: Machine) -> None:
    """On request."""
    host.write(workloads=WORKLOADS)

    out = host.hostfwctl("workloads", "-o", "wide").out

    assert "ORCHESTRATOR" in out
    assert "app=web" in out
    assert "workloads.yaml:1" in out


def test_a_host_without_workloads_says_so(host: Machine) -> None:
    """In a sentence."""
    host.facts = replace(FACTS, interfaces=FACTS.interfaces[:1])

    assert host.hostfwctl("workloads").err == "there is no workload\n"


def test_a_policy_names_the_ports_of_the_workloads_that_it_selects(host: Machine) -> None:
    """Those behind a bridge have no interface of their own, and are governed all the same."""
    bridge = Interface("br0", 8, kind="bridge", bridge=BridgeFacts())
    host.facts = replace(FACTS, interfaces=(*FACTS.interfaces, bridge), bridge_netfilter=True)
    spec = "{interfaceName: ve-port, mac: '02:00:00:00:00:01', ipNetworks: [10.0.3.9]}"
    port = manifest("WorkloadEndpoint", spec, "web", "namespace: shop, labels: {app: web}")
    host.write(hostfw="workloads: {bridges: [br0]}\n", weps=port, policies=POLICIES)

    assert "shop/web: governs ve-port " in host.hostfwctl("describe", "knp", "shop/web").out
