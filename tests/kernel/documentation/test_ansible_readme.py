"""The YAML of ansible/README.md, as the collection makes configuration of it, does with packets what its text says."""

import re
from pathlib import Path

import pytest
import yaml

from lab.hostfwctl import hostfwctl, install
from lab.laboratory import laboratory
from lab.namespace import run
from lab.topology import Link, Node, Route, Topology, assigned
from tests.kernel.cli.exposed_hosts import Knock, disagreements, listening
from tests.unit.ansible.test_allow import allow
from tests.unit.ansible.test_inventory import inventory

README = (Path(__file__).parents[3] / "ansible/README.md").read_text()
WEB1, DB1 = "192.0.2.11", "192.0.2.12"
PORTS = (22, 80, 443, 5432)


def written(file: str) -> str:
    """The content of a file that the page writes by a here-document."""
    (found,) = re.findall(rf"^cat >{file} <<'END'\n(.*?)^END$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def fences() -> tuple[str, ...]:
    """Every block of YAML, those within lists too."""
    found = re.findall(r"^( *)```yaml\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    return tuple("".join(line[len(indent) :] for line in text.splitlines(keepends=True)) for indent, text in found)


def hosts() -> dict[str, dict[str, object]]:
    """The inventory that the page writes: its groups and addresses as Ansible hands them to the filter."""
    (text,) = re.findall(r"^printf '(.*)' >inventory/hosts$", README, re.MULTILINE)
    group, found = "", dict[str, dict[str, object]]()
    for line in text.replace("\\n", "\n").splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif not group.endswith(":vars"):
            name, address = line.split()
            found[name] = {"group_names": [group], "ansible_host": address.partition("=")[2]}
    return found


@pytest.mark.parametrize(("node", "address"), [("web1", WEB1), ("db1", DB1)])
def test_the_first_rollout_opens_the_web_servers_alone(tmp_path: Path, node: str, address: str) -> None:
    """Every host gets a HostEndpoint, and what no policy allows is denied but for the failsafe ports."""
    host = Link("eth0", "wire", addresses=assigned(f"{address}/24"))
    outer = Link("eth0", "wire", addresses=assigned("192.0.2.2/24"))
    topology = Topology((Node("host", (host,), (Route("default", "192.0.2.2"),)), Node("outer", (outer,))))
    with laboratory(topology) as lab, listening(lab, "host", [("0.0.0.0", port) for port in PORTS]):
        installation = install(lab["host"], tmp_path / "hostfw")
        found = hosts()
        (installation.config / "hostfw.yaml").write_text(f"node: {node}\n")
        (installation.config / "web.yaml").write_text(written("policies/web.yaml"))
        (installation.config / "endpoints.yaml").write_text(
            inventory.manifests(inventory.host_endpoints(sorted(found), found))
        )
        hostfwctl(installation, "apply", "--accept-lockout")
        is_open = {port: port == 22 or (node == "web1" and port in (80, 443)) for port in PORTS}

        assert {name: each["ansible_host"] for name, each in found.items()} == {"web1": WEB1, "db1": DB1}
        assert disagreements(lab, [Knock("eth0", "192.0.2.2", address, *one) for one in is_open.items()]) == []


TUNNELS = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: tunnels}
spec: {match: [{name: tun0}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: inside}
spec:
  selector: zone == 'inside'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: routers}
spec:
  selector: role == 'router' && site == 'north'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [443]}}]
"""


def test_a_host_with_more_than_one_endpoint_has_the_labels_of_each(tmp_path: Path) -> None:
    """Those of the host on all of its interfaces, those of an endpoint on its own alone."""
    variables = yaml.safe_load(fences()[0])
    links = [
        Link(name, f"net{number}", addresses=assigned(address))
        for number, (name, address) in enumerate(
            (("eth0", "192.0.2.1/24"), ("eth1", "10.0.0.1/24"), ("tun0", "10.1.0.1/24"))
        )
    ]
    peers = [
        Node(f"peer{number}", (Link("eth0", f"net{number}", addresses=assigned(address)),))
        for number, address in enumerate(("192.0.2.2/24", "10.0.0.2/24", "10.1.0.2/24"))
    ]
    topology = Topology((Node("host", tuple(links)), *peers))
    with laboratory(topology) as lab, listening(lab, "host", [("0.0.0.0", port) for port in PORTS]):
        installation = install(lab["host"], tmp_path / "hostfw")
        (installation.config / "hostfw.yaml").write_text("node: gw1\n")
        (installation.config / "policy.yaml").write_text(TUNNELS)
        (installation.config / "endpoints.yaml").write_text(
            inventory.manifests(inventory.host_endpoints(["gw1"], {"gw1": variables}))
        )
        hostfwctl(installation, "apply", "--accept-lockout")
        reached = {
            (number, port)
            for number, address in enumerate(("192.0.2.1", "10.0.0.1", "10.1.0.1"))
            for port in (80, 443, 5432)
            if run(
                lab[f"peer{number}"],
                ["python3", "-c", f"import socket; socket.create_connection(({address!r}, {port}), 1)"],
                check=False,
            ).returncode
            == 0
        }

    assert reached == {(0, 443), (1, 443), (2, 443), (1, 80)}


def test_ports_that_variables_allow_are_open_to_whom_they_name(tmp_path: Path) -> None:
    """To everybody, to a network and the hosts of a group, and to one host of another group."""
    entries = yaml.safe_load(fences()[1])["hostfw_allow"]
    application, monitoring, other = "198.51.100.9", "198.51.100.10", "198.51.100.11"
    known = {
        "app1": {"group_names": ["application"], "ansible_host": application},
        "mon1": {"group_names": ["monitoring"], "ansible_host": monitoring},
        "db1": {"group_names": [], "ansible_host": "192.0.2.1"},
    }
    ports = (443, 5432, 9100, 9205, 80)
    host = Link("eth0", "wire", addresses=assigned("192.0.2.1/24"))
    outer = Link("eth0", "wire", addresses=assigned("192.0.2.2/24"))
    topology = Topology((Node("host", (host,), (Route("default", "192.0.2.2"),)), Node("outer", (outer,))))
    with laboratory(topology) as lab, listening(lab, "host", [("0.0.0.0", port) for port in ports]):
        for address in (application, monitoring, other):
            run(lab["outer"], ["ip", "address", "add", f"{address}/32", "dev", "lo"])
        installation = install(lab["host"], tmp_path / "hostfw")
        (installation.config / "hostfw.yaml").write_text("node: db1\n")
        (installation.config / "allow.yaml").write_text(yaml.safe_dump_all(allow.policies(entries, 1000)))
        (installation.config / "endpoints.yaml").write_text(
            inventory.manifests(inventory.host_endpoints(sorted(known), known))
        )
        hostfwctl(installation, "apply", "--accept-lockout")
        opened = {application: {443, 5432}, "192.0.2.2": {443, 5432}, monitoring: {443, 9100, 9205}, other: {443}}
        knocks = [
            Knock("eth0", source, "192.0.2.1", port, port in there)
            for source, there in opened.items()
            for port in ports
        ]

        assert disagreements(lab, knocks) == []


def test_every_block_of_yaml_is_held_by_a_test() -> None:
    """Two above; the third is of Ansible's own tasks, and is a list of tasks that Ansible knows by module."""
    first, second, tasks = fences()

    assert set(yaml.safe_load(first)) == {"hostfw_labels", "hostfw_endpoints"}
    assert set(yaml.safe_load(second)) == {"hostfw_allow"}
    assert [set(task) for task in yaml.safe_load(tasks)] == [{"name", "ansible.builtin.wait_for", "delegate_to"}]
