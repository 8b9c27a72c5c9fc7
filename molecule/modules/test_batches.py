"""Batches: what cannot fit is refused, and a lost host ends nothing."""

from pathlib import Path

import pytest

SLOW = """
- name: Look at the host
  ansible.builtin.assert:
    that: inventory_hostname != 'web2'
"""
CUT_OFF = """
- name: Cut the host off, after it has confirmed
  ansible.builtin.file:
    path: "{{ hosts_top }}/web2/gone"
    state: touch
  delegate_to: web1
  when: inventory_hostname == 'web2'
"""


def test_the_host_that_could_not_keep_it_is_named_to_all(fleet):
    """Nobody passes, and nobody is asked to confirm."""
    fleet.add("web1", "web2", "web3")
    (fleet.top / "verify.yml").write_text(SLOW)
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}", "-e", '{"hostfw_rollout_serial": [3]}')

    done = fleet.run("rollout", *arguments, "-e", f"hostfw_verify_tasks={fleet.top}/verify.yml")

    assert done.status != 0
    assert "not kept, because of web2" in done.text
    assert not any("accepted" in line for name in fleet.variables for line in fleet.log(name))
    assert all(fleet.etc(name) == {} for name in fleet.variables)


@pytest.mark.parametrize("playbook", ["role", "rollout"])
def test_a_batch_that_cannot_be_confirmed_in_time_is_refused_before_anything_changes(fleet, playbook):
    """It says what is too large, and what to do."""
    fleet.add(*(f"h{number}" for number in range(7)))
    arguments = ("-e", "hostfw_confirm_at_most=130", "-e", '{"hostfw_rollout_serial": [7]}', "-f", "2")

    done = fleet.run(playbook, "-e", f"hostfw_directory={fleet.policies('web')}", *arguments)

    assert done.status != 0
    assert "a batch of 7 hosts with 2 forks needs 165 s" in " ".join(done.text.split())
    assert all(fleet.log(name) == [] for name in fleet.variables)


def test_the_deadline_is_that_of_the_batch(fleet):
    """Five hosts by two forks are three waves."""
    fleet.add(*(f"h{number}" for number in range(5)))

    done = fleet.run("role", "-e", f"hostfw_directory={fleet.policies('web')}", "-f", "2")

    assert done.status == 0, done.text
    assert all("--confirm-within 150s" in fleet.log(name)[0] for name in fleet.variables)


def test_a_host_that_is_lost_after_it_has_confirmed_ends_neither_the_way_back_nor_the_report(fleet):
    """Hosts of earlier batches go back, and the lost one is named."""
    fleet.add("web1")
    fleet.add("web2", ansible_connection="flaky")
    (fleet.top / "checks.yml").write_text(CUT_OFF)
    (fleet.top / "plugins").mkdir()
    (fleet.top / "plugins/flaky.py").symlink_to(Path(__file__).with_name("flaky.py"))
    plugins = {
        "ANSIBLE_CONNECTION_PLUGINS": str(fleet.top / "plugins"),
        "FLAKY_TOP": str(fleet.top / "hosts"),
    }
    assert fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies('web')}", **plugins).status == 0
    before = fleet.etc("web1")
    folder = fleet.policies("web", "more", folder="more")

    done = fleet.run(
        "rollout",
        *("-e", f"hostfw_directory={folder}", "-e", "hostfw_rollout_order=inventory"),
        *("-e", f"hostfw_rollout_checks={fleet.top}/checks.yml"),
        **plugins,
    )

    assert done.status != 0
    assert "stopped by web2" in done.text
    assert fleet.etc("web1") == before, done.text
    assert "web2                     could not be reached" in done.text


def test_a_free_strategy_is_no_other_rollout(fleet):
    """Ansible's setting for all plays does not change the order of a rollout."""
    fleet.add("web1", "web2", "web3")

    done = fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies('web')}", ANSIBLE_STRATEGY="free")

    assert done.status == 0, done.text
    assert {tuple(sorted(fleet.etc(name))) for name in fleet.variables} == {
        ("hostfw.yaml", "inventory-endpoints.yaml", "web.yaml")
    }
