"""Variables as README gives them on the command line: texts, whatever they mean."""

import pytest


@pytest.fixture
def host(fleet):
    """A fleet of one."""
    fleet.add("web1")
    return fleet


def test_a_false_on_the_command_line_is_false(host):
    """README's way to look before anything is in force: staged and validated, and that is all."""
    folder = host.policies("web")
    switches = ("install", "apply", "service", "mask_conflicting", "confirm_together", "feeds_anywhere")

    done = host.run("role", "-e", f"hostfw_directory={folder}", *(f"-ehostfw_{switch}=false" for switch in switches))

    assert done.status == 0, done.text
    assert host.log("web1") == []
    assert (host.state("web1") / "staging/web.yaml").exists()


def test_repositories_are_not_asked_for_what_is_there(host):
    """They may be down, or out of reach for a host that policy governs; new policy does not wait for them."""
    done = host.run(
        "role",
        *("-e", f"hostfw_directory={host.policies('web')}", "-e", "hostfw_install=true"),
        *("-e", "hostfw_package_name=hostfw-that-no-repository-has"),
    )

    assert done.status == 0, done.text
    assert "web.yaml" in host.etc("web1")


def test_a_path_is_that_of_the_directory_where_the_person_stands(host):
    """As every command takes one: the directory of the policies, the checks and the report."""
    host.policies("web")
    (host.top / "check.yml").write_text(
        "- name: Look at the host\n  ansible.builtin.assert: {that: inventory_hostname != ''}\n"
    )

    done = host.run(
        "rollout",
        *("-e", "hostfw_directory=policies", "-e", "hostfw_rollout_report=report.md"),
        *("-e", "hostfw_verify_tasks=check.yml", "-e", "hostfw_rollout_checks=check.yml"),
    )
    seen = host.run("report", "-e", "hostfw_report_to=fleet.json")

    assert (done.status, seen.status) == (0, 0), done.text + seen.text
    assert "web.yaml" in host.etc("web1")
    assert done.text.count("Look at the host") == 2
    assert (host.top / "report.md").exists()
    assert (host.top / "fleet.json").exists()


def test_a_number_on_the_command_line_is_a_number(host):
    """The deadline, which two other times are made of."""
    done = host.run(
        "role",
        "-e",
        f"hostfw_directory={host.policies('web')}",
        "-e",
        "hostfw_confirm_within=40",
        "-ehostfw_service=false",
    )

    assert done.status == 0, done.text
    assert any("--confirm-within 40s" in line for line in host.log("web1"))
