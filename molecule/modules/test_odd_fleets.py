"""Fleets with hosts that are no use to a rollout, and playbooks that roll out more than once."""

import pytest

TWICE = """
- name: Roll the first out
  ansible.builtin.import_playbook: hostfw.hostfw.rollout
  vars: {hostfw_directory: FIRST}

- name: Roll the second out
  ansible.builtin.import_playbook: hostfw.hostfw.rollout
  vars: {hostfw_directory: SECOND}
"""
MOVING = """
- name: Change the directory after the canary has kept it
  ansible.builtin.copy:
    src: SECOND/
    dest: FIRST
    mode: "0644"
  delegate_to: localhost
  run_once: true
"""


@pytest.fixture
def odd(fleet):
    """Whoever is first in the inventory does what is done once: a switch, a dead host, one without Python."""
    fleet.add("a-switch", ansible_network_os="cisco.ios.ios", ansible_connection="ansible.netcommon.network_cli")
    fleet.add("b-dead", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    fleet.add("c-bare", ansible_python_interpreter="/nonexistent/python3")
    fleet.add("web1", "web2")
    return fleet


def test_hosts_that_are_lost_do_not_stand_in_the_way_of_the_others(odd):
    """They are named, and a switch is nobody's business."""
    directory = f"hostfw_directory={odd.policies('web')}"

    refused = odd.run("rollout", "-e", directory)
    done = odd.run("rollout", "-e", directory, "-e", "hostfw_rollout_unreachable=2")

    assert refused.status != 0
    assert "nothing was changed, because these hosts cannot be reached: b-dead, c-bare" in refused.text
    assert not list((odd.top / "hosts").glob("*/lock/turn"))
    assert done.status == 0, done.text
    assert {name: "web.yaml" in odd.etc(name) for name in odd.variables} == {
        "a-switch": False,
        "b-dead": False,
        "c-bare": False,
        "web1": True,
        "web2": True,
    }
    for name in ("b-dead", "c-bare"):
        assert f"{name:<24} left out, since it could not be reached" in done.text


def test_the_second_rollout_of_a_playbook_is_one_of_its_own(fleet):
    """The second one makes anew what it puts into force."""
    fleet.add("web1", "web2")
    first, second = fleet.policies("first", folder="first"), fleet.policies("first", "second", folder="second")
    fleet.playbook = TWICE.replace("FIRST", str(first)).replace("SECOND", str(second))

    done = fleet.run("role")

    assert done.status == 0, done.text
    for name in fleet.variables:
        assert "second.yaml" in fleet.etc(name)
        assert len([line for line in fleet.log(name) if line.startswith("accepted")]) == 2


def test_every_batch_gets_what_the_canary_got(fleet):
    """Also where somebody changes the directory in between."""
    fleet.add("web1", "web2")
    first, second = fleet.policies("web", folder="first"), fleet.policies("web", "later", folder="second")
    checks = fleet.top / "checks.yml"
    checks.write_text(MOVING.replace("FIRST", str(first)).replace("SECOND", str(second)))

    done = fleet.run("rollout", "-e", f"hostfw_directory={first}", "-e", f"hostfw_rollout_checks={checks}")

    assert done.status == 0, done.text
    assert (first / "later.yaml").exists()
    assert fleet.etc("web1") == {**fleet.etc("web2"), "hostfw.yaml": fleet.etc("web1")["hostfw.yaml"]}
    assert "later.yaml" not in fleet.etc("web2")
