"""Results of the role on the controller, without any host."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import environment

TREE = Path(__file__).parents[2]
PLAYBOOK = """
- name: Render
  hosts: all[0]
  gather_facts: false
  vars:
    ansible_connection: local
  tasks:
    - name: Render
      ansible.builtin.import_role:
        name: hostfw.hostfw.hostfw
        tasks_from: render

    - name: Judge it
      ansible.builtin.import_role:
        name: hostfw.hostfw.hostfw
        tasks_from: valid
"""
TIER = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: security}\nspec: {order: 10}\n"
INVENTORY = {
    "all": {
        "children": {
            "web": {"hosts": {"web1": {"ansible_host": "192.0.2.1"}, "web2": {"ansible_host": "2001:db8::2"}}},
            "database": {"hosts": {"DB_1": {"hostfw_addresses": ["192.0.2.3"], "hostfw_labels": {"role": "sql"}}}},
        }
    }
}


@pytest.fixture
def render(tmp_path):
    """Run the role's `render` with variables; gives the exit status, what was said and the directory."""
    hostfwctl = tmp_path / "hostfwctl"
    hostfwctl.write_text(f'#!/bin/sh\nPYTHONPATH={TREE} exec /usr/bin/python3 -m hostfw.cli "$@"\n')
    hostfwctl.chmod(0o755)
    (tmp_path / "inventory.json").write_text(json.dumps(INVENTORY))
    (tmp_path / "render.yml").write_text(PLAYBOOK)
    (tmp_path / "work").mkdir()
    etc = tmp_path / "work/etc"

    def run(**variables):
        variables |= {"hostfw_workspace": str(etc), "hostfw_controller_command": str(hostfwctl)}
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", str(tmp_path / "inventory.json"), "-e", json.dumps(variables), str(tmp_path / "render.yml")),
            ],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            timeout=100,
        )
        return done.returncode, done.stdout, etc

    return run


def test_the_directory_is_made_of_git_a_directory_and_the_inventory(render, tmp_path):
    """Of a repository the path and version that are named; over it a directory; beside it the inventory's endpoints."""
    repository, directory = tmp_path / "repository", tmp_path / "directory"
    (repository / "hosts/policies").mkdir(parents=True)
    (repository / "hosts/policies/tier.yaml").write_text(TIER)
    (repository / "README").write_text("not of the configuration\n")
    git = [
        "git",
        "-C",
        str(repository),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example",
        "-c",
        "init.defaultBranch=main",
    ]
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-q", "-m", "x"],
        ["tag", "v1"],
        ["rm", "-rq", "hosts"],
        ["commit", "-q", "-m", "y"],
    ):
        subprocess.run([*git, *arguments], check=True)
    directory.mkdir()
    (directory / "hostfw.yaml").write_text("denyAction: reject\n")

    status, said, etc = render(
        hostfw_git_repo=str(repository),
        hostfw_git_version="v1",
        hostfw_git_path="hosts",
        hostfw_directory=str(directory),
    )

    assert status == 0, said
    found = {str(path.relative_to(etc)) for path in etc.rglob("*") if path.is_file()}
    assert found == {"hostfw.yaml", "inventory-endpoints.yaml", "policies/tier.yaml"}
    endpoints = (etc / "inventory-endpoints.yaml").read_text()
    assert [line for line in endpoints.splitlines() if "expectedIPs" in line] == [
        '  expectedIPs: ["192.0.2.3"]',
        '  expectedIPs: ["192.0.2.1"]',
        '  expectedIPs: ["2001:db8::2"]',
    ]
    assert 'labels: {"group/database": "true", "role": "sql"}' in endpoints


def test_a_mistake_ends_the_run_on_the_controller(render, tmp_path):
    """With hostfw's own words, before any host is asked for anything."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/tier.yaml").write_text(TIER.replace("order", "ordr"))

    status, said, _ = render(hostfw_directory=str(tmp_path / "directory"))

    assert status == 2
    assert "tier.yaml:4:8: unknown field" in said


def test_a_host_without_an_address_ends_the_run(render):
    """The message has the name of the host, and the next step."""
    status, said, _ = render(hostfw_addresses=[])

    assert status == 2
    assert "web1: no address is known, so that policies of other hosts would not find it" in said
