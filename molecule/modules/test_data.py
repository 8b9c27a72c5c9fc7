"""Variables of an inventory: labels and ports of several groups, vaulted values, switches, local edits and mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import POLICY

SECRET = "open sesame"


@pytest.fixture
def vault(fleet):
    """Encrypt a text as an inventory has it; the secret is in a file, for --vault-password-file."""
    password = fleet.top / "secret"
    password.write_text(SECRET)
    tool = Path(os.environ.get("ANSIBLE_BIN", str(Path(sys.executable).parent))) / "ansible-vault"

    def encrypt(text):
        argv = [tool, "encrypt_string", "--vault-password-file", password, text]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=fleet.top)
        return done.stdout.partition("!vault |")[2]

    return encrypt


def _variables(fleet, text):
    """Variables of all hosts in a file of YAML, which a JSON inventory cannot have."""
    (fleet.top / "group_vars").mkdir()
    (fleet.top / "group_vars/all.yml").write_text(text)


def test_groups_add_labels_and_ports_to_each_other(fleet):
    """Of labels the host's own win; ports of all are open; a switch of the inventory is no host."""
    fleet.add(
        "web1",
        hostfw_labels={"role": "web"},
        hostfw_labels_site={"site": "north", "role": "any"},
        hostfw_allow=[{"port": 443, "from": ["192.0.2.0/24", "database"]}],
        hostfw_allow_monitoring=[{"ports": [9100, "9200-9210"], "from": "2001:db8::1"}],
    )
    fleet.groups = {"database": ["web1"]}
    fleet.variables["switch1"] = {"ansible_network_os": "ios", "ansible_connection": "ansible.netcommon.network_cli"}

    done = fleet.run("rollout")

    assert done.status == 0, done.text
    files = fleet.etc("web1")
    (endpoint,) = yaml.safe_load_all(files["inventory-endpoints.yaml"])
    assert endpoint["metadata"]["labels"] == {"group/database": "true", "role": "web", "site": "north"}
    (policy,) = yaml.safe_load_all(files["inventory-resources.yaml"])
    assert [(rule["destination"]["ports"], rule["source"]) for rule in policy["spec"]["ingress"]] == [
        ([9100, "9200:9210"], {"nets": ["2001:db8::1/128"]}),
        ([443], {"nets": ["192.0.2.0/24"]}),
        ([443], {"selector": "has(group/database)"}),
    ]


def test_vaulted_values_are_decrypted(fleet, vault):
    """In labels, addresses, ports and resources; nothing on the host is a vault's text."""
    fleet.add("web1")
    del fleet.variables["web1"]["hostfw_addresses"]
    _variables(
        fleet,
        f"hostfw_labels:\n  owner: !vault |{vault('somebody')}\n"
        f"hostfw_addresses:\n  - !vault |{vault('192.0.2.77')}\n"
        f"hostfw_allow:\n  - port: 443\n    from:\n      - !vault |{vault('198.51.100.0/24')}\n",
    )

    done = fleet.run("role", "--vault-password-file", str(fleet.top / "secret"))

    assert done.status == 0, done.text
    told = "".join(fleet.etc("web1").values())
    assert '"owner": "somebody"' in told
    assert '"192.0.2.77"' in told
    assert "198.51.100.0/24" in told
    assert "vault" not in told


def test_a_vaulted_value_that_cannot_be_decrypted_is_refused_and_nothing_changes(fleet, vault):
    """Somebody forgot the secret, or gave another one."""
    fleet.add("web1")
    _variables(fleet, f"hostfw_labels:\n  owner: !vault |{vault('somebody')}\n")
    (fleet.top / "other").write_text("wrong")
    folder = fleet.policies("web")

    done = fleet.run("role", "-e", f"hostfw_directory={folder}", "--vault-password-file", str(fleet.top / "other"))

    assert done.status != 0
    assert "hostfw_labels" in done.text
    assert "crypt" in done.text
    assert fleet.log("web1") == []


def test_a_template_of_a_vaulted_value_is_refused_by_the_name_of_its_variable(fleet, vault):
    """A port for a network that is vaulted in a variable of its own; the secret is forgotten."""
    fleet.add("web1")
    _variables(
        fleet,
        f"site_office: !vault |{vault('198.51.100.0/24')}\n"
        "hostfw_allow_office:\n  - {port: 443, from: ['{{ site_office }}']}\n",
    )

    done = fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies('web')}")

    assert done.status != 0
    assert "hostfw_allow_office" in done.text.partition("Say who runs what")[2]
    assert "decrypt" in done.text
    assert fleet.log("web1") == []


def test_a_local_edit_is_told_before_it_is_overwritten(fleet):
    """Check mode tells it too, and what was there can be had back."""
    fleet.add("web1")
    directory = f"hostfw_directory={fleet.policies('web')}"
    assert fleet.run("role", "-e", directory).status == 0
    edited = fleet.state("web1") / "etc/web.yaml"
    edited.write_text(edited.read_text().replace("1000", "1001"))

    foretold = fleet.run("role", "-e", directory, "--check")
    done = fleet.run("role", "-e", directory)

    for said in (foretold, done):
        assert said.status == 0, said.text
        assert "was edited since the last run: ~ web.yaml" in " ".join(said.text.split())
    assert "1001" in (fleet.state("web1") / "previous/web.yaml").read_text()
    again = fleet.run("role", "-e", directory)
    assert "edited since the last run" not in again.text


def test_an_error_of_validation_has_its_file_line_and_column_in_the_message(fleet):
    """As text, in the rollout's own report as well."""
    fleet.add("web1")
    (fleet.state("web1") / "invalid").write_text("web.yaml:4:8: unknown field\n    4 | spec: {ordr: 1}\n")

    done = fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies('web')}")

    assert done.status != 0
    assert "web.yaml:4:8: unknown field" in done.text.partition("Fail if it was stopped")[2]
    assert fleet.log("web1") == []


def test_json_and_markdown_foretell_what_a_rollout_would_do(fleet):
    """Every host, also those after one that would refuse; nothing changes."""
    fleet.add("web1", "web2", "web3")
    (fleet.state("web2") / "refuses").write_text("this would cut the host off: ssh from 192.0.2.1")
    (fleet.state("web3") / "closes").write_text("closes tcp/8080 to everybody")
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}", "-e", "hostfw_rollout_order=inventory", "--check")

    done = fleet.run("rollout", *arguments, "-e", f"hostfw_rollout_report={fleet.top}/report.json")
    fleet.run("rollout", *arguments, "-e", f"hostfw_rollout_report={fleet.top}/report.md")

    found = json.loads((fleet.top / "report.json").read_text())
    hosts = {host["host"]: host for host in found["hosts"]}
    assert done.status != 0
    assert found["foretold"]
    assert "+ GlobalNetworkPolicy/web" in hosts["web1"]["differences"]
    assert "this would cut the host off: ssh" in hosts["web2"]["refused"]
    assert hosts["web3"]["closes"] == ["closes tcp/8080 to everybody"]
    text = (fleet.top / "report.md").read_text()
    assert text.startswith("### hostfw: 2 of 3 hosts would change, 1 refused\n")
    assert all(fleet.log(name) == [] for name in hosts)


@pytest.mark.parametrize(
    ("tags", "log", "staged"),
    [("stage", False, True), ("report", False, False), ("install,stage,apply,report", True, False)],
)
def test_tags_are_parts_of_a_run(fleet, tags, log, staged):
    """`stage` puts nothing into force and leaves what can be looked at; all of them are a run."""
    fleet.add("web1")

    done = fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies('web')}", "--tags", tags)

    assert done.status == 0, done.text
    assert bool(fleet.log("web1")) is log
    assert (fleet.state("web1") / "staging/web.yaml").exists() is staged
    assert "Say who runs what" in done.text


def test_a_template_is_a_file_of_each_host(fleet):
    """It is validated with the rest on the host, and what is wrong with it is told."""
    fleet.add("web1", "web2")
    folder = fleet.policies("web")
    (folder / "own.yaml.j2").write_text(POLICY.format(name="own", port=1009) + "# of {{ inventory_hostname }}\n")

    done = fleet.run("rollout", "-e", f"hostfw_directory={folder}")

    assert done.status == 0, done.text
    for name in fleet.variables:
        assert sorted(fleet.etc(name)) == ["hostfw.yaml", "inventory-endpoints.yaml", "own.yaml", "web.yaml"]
        assert f"# of {name}\n" in fleet.etc(name)["own.yaml"]

    (fleet.state("web1") / "invalid").write_text("own.yaml:4:8: unknown field\n")
    refused = fleet.run("role", "-e", f"hostfw_directory={folder}", "--limit", "web1")
    assert refused.status != 0
    assert "not valid on web1, and nothing was changed" in refused.text
    assert "own.yaml:4:8: unknown field" in refused.text
