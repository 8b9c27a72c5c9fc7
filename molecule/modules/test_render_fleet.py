"""The playbook `render`: a fleet is compiled, compared and tested for a pull request, and no host is reached."""

import json

import pytest

from conftest import PYTHON, TREE

POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: database}}
spec:
  selector: role == 'database'
  types: [Ingress]
  ingress:
    - {{action: Allow, protocol: TCP, source: {{selector: role == 'web'}}, destination: {{ports: [{port}]}}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: out}}
spec: {{selector: all(), types: [Egress], egress: [{{action: Allow}}]}}
"""
TEMPLATE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: of-the-host}
spec:
  selector: all()
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [{{ own_port }}]}}]
"""
TEST = """\
apiVersion: hostfw.io/v1
kind: PolicyTest
metadata: {name: database}
spec:
  connections:
    - {from: role == 'web', to: role == 'database', ports: [tcp/5432], allowed: true}
"""


CACHE = """
- name: Know what an earlier run gathered
  hosts: web1
  gather_facts: false
  tasks:
    - name: Keep it
      ansible.builtin.set_fact:
        cacheable: true
        ansible_default_ipv4: {interface: ens3}
        ansible_interfaces: [lo, ens3]
        ansible_lo: {type: loopback, ipv4: {address: 127.0.0.1}}
        ansible_ens3: {type: ether, active: true, ipv4: {address: 192.0.2.71}}
"""


@pytest.fixture
def render(fleet):
    """Hosts that nobody can reach, and the playbook on them; one has facts in a cache, one was seen, one is known."""
    unreachable = {"ansible_connection": "ssh", "ansible_host": "nobody.invalid"}
    fleet.add("web1", hostfw_labels={"role": "web"}, own_port=8001, **unreachable)
    fleet.add("db1", hostfw_labels={"role": "database"}, own_port=8002, **unreachable)
    fleet.add("db2", hostfw_labels={"role": "database"}, own_port=8003, **unreachable)
    for name in ("web1", "db1"):
        del fleet.variables[name]["hostfw_addresses"]
    seen = {"default": ["eth0"], "interfaces": {"eth0": ["192.0.2.72"]}, "seen": "2026-01-01"}
    (fleet.top / ".hostfw-addresses.json").write_text(json.dumps({"hosts": {"db1": seen}}))
    hostfwctl = fleet.top / "hostfwctl"
    hostfwctl.write_text(f'#!/bin/sh\nPYTHONPATH={TREE} exec {PYTHON} -m hostfw.cli "$@"\n')
    hostfwctl.chmod(0o755)
    fleet.shared["hostfw_controller_command"] = str(hostfwctl)
    (fleet.top / "tests.yaml").write_text(TEST)

    fleet.playbook = CACHE
    cache = {
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet.top / "cache"),
        "ANSIBLE_CACHE_PLUGIN_TIMEOUT": "0",
    }
    kept = fleet.run("role", **cache)
    assert kept.status == 0, kept.text

    def run(port, to, **variables):
        folder = fleet.top / f"policies-{to}"
        (folder / "own").mkdir(parents=True)
        (folder / "database.yaml").write_text(POLICY.format(port=port))
        (folder / "own/host.yaml.j2").write_text(TEMPLATE)
        variables |= {"hostfw_directory": str(folder), "hostfw_render_to": str(fleet.top / to)}
        return fleet.run("render", "-e", json.dumps(variables), **cache)

    return run


def test_a_pull_request_is_judged_without_a_host(fleet, render):
    """Compiled for each by what is known of it, compared with the main branch, and tested; JSON and Markdown."""
    main = render(5433, "main")
    reports = [str(fleet.top / f"review.{form}") for form in ("md", "json", "html")]

    done = render(
        5432,
        "proposed",
        hostfw_render_against=str(fleet.top / "main"),
        hostfw_render_tests=str(fleet.top / "tests.yaml"),
        hostfw_render_reach=["tcp/5432", "tcp/8002"],
        hostfw_render_report=reports,
    )

    assert main.status == 0, main.text
    assert done.status == 0, done.text
    assert "known by facts of Ansible: web1" in done.text
    assert "known by addresses of an earlier run, with no other fact: db1" in done.text
    assert "known by the inventory alone: names of interfaces are guesses: db2" in done.text
    found = json.loads((fleet.top / "review.json").read_text())
    hosts = {host["host"]: host for host in found["hosts"]}
    assert found["holds"]
    assert hosts["db1"]["opens"] == ["opens tcp/5432 on eth0 to 192.0.2.71/32 (database, database.yaml:8)"]
    assert hosts["web1"]["opens"] == []
    assert {(one["from"], one["to"]) for one in found["reach"] if "tcp/8002" in one["services"]} == {
        ("web1", "db1"),
        ("db2", "db1"),
    }
    assert (fleet.top / "review.md").read_text().startswith("### hostfw: 3 hosts, 3 would change, every test holds\n")
    assert "<table>" in (fleet.top / "review.html").read_text()
    assert all(fleet.log(name) == [] for name in fleet.variables)


def test_a_test_that_does_not_hold_fails_the_run_and_is_reported(fleet, render):
    """The report is written before."""
    done = render(
        5433,
        "proposed",
        hostfw_render_tests=str(fleet.top / "tests.yaml"),
        hostfw_render_report=str(fleet.top / "review.md"),
    )

    assert done.status != 0
    assert "1 of 1 test failed" in done.text
    assert "web1 (192.0.2.71) -> db1 (192.0.2.72):tcp/5432 is denied" in (fleet.top / "review.md").read_text()


def test_a_mistake_in_a_test_is_the_report(fleet, render):
    """With its file, line and column, for whoever reads the pull request; and in the last message of the run."""
    (fleet.top / "tests.yaml").write_text(TEST.replace("connections:", "cases:"))

    done = render(
        5432,
        "proposed",
        hostfw_render_tests=str(fleet.top / "tests.yaml"),
        hostfw_render_report=[str(fleet.top / "review.md"), str(fleet.top / "review.json")],
    )

    assert done.status != 0
    said = 'tests.yaml:5:3: unknown field "cases" in spec'
    assert said in (fleet.top / "review.md").read_text()
    assert any(said in line for line in json.loads((fleet.top / "review.json").read_text())["problems"])
    assert "connections is missing" in done.text.partition("TASK [hostfw.hostfw.hostfw : Fail where")[2]


def test_what_it_did_not_make_it_does_not_replace(fleet, render):
    """A mistyped directory."""
    (fleet.top / "precious").mkdir()
    (fleet.top / "precious/file").write_text("mine")

    done = render(5432, "precious")

    assert done.status != 0
    assert "was not rendered by hostfw" in done.text
    assert (fleet.top / "precious/file").read_text() == "mine"
