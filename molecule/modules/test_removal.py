"""Runs that would take policies or endpoints away from a fleet: refused before anything changes, unless it is said."""

import pytest

NAMES = [f"policy-{number}" for number in range(8)]


@pytest.fixture
def protected(fleet):
    """Three hosts that have eight policies."""
    fleet.add("web1", "web2", "db1")
    done = fleet.run("role", "-e", f"hostfw_directory={fleet.policies(*NAMES)}")
    assert done.status == 0, done.text
    return fleet


@pytest.mark.parametrize("playbook", ["role", "rollout"])
def test_no_source_of_policies_is_refused(protected, playbook):
    """hostfw_directory was forgotten: every host keeps what it has, and the message names the variable."""
    before = {name: (protected.etc(name), protected.log(name)) for name in protected.variables}

    done = protected.run(playbook)

    assert done.status != 0
    assert "no source of policies: set hostfw_directory" in done.text
    assert {name: (protected.etc(name), protected.log(name)) for name in protected.variables} == before


@pytest.mark.parametrize("content", ["nothing", "settings alone", "documentation"])
def test_a_directory_without_a_policy_is_refused(protected, content):
    """It is empty, or that of a wrong checkout; so is one that has only settings."""
    folder = protected.policies(folder="other")
    if content == "settings alone":
        (folder / "hostfw.yaml").write_text("denyAction: reject\n")
    elif content == "documentation":
        (folder / "README.md").write_text("# Not here\n")
    before = {name: (protected.etc(name), protected.log(name)) for name in protected.variables}

    done = protected.run("role", "-e", f"hostfw_directory={folder}", "-e", "hostfw_accept_loss=true")

    assert done.status != 0
    assert "no policy" in done.text
    assert {name: (protected.etc(name), protected.log(name)) for name in protected.variables} == before


def test_a_directory_that_is_not_there_is_refused_by_name(protected):
    """The path is in the message."""
    done = protected.run("role", "-e", f"hostfw_directory={protected.top}/polices")

    assert done.status != 0
    assert f"hostfw_directory={protected.top}/polices is not a directory" in done.text


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_run_that_removes_a_share_of_the_policies_is_refused(protected, arguments):
    """Two of eight is more than a fifth; check mode foretells the refusal; nothing but the word lets it through."""
    folder = protected.policies(*NAMES[:6])
    before = {name: (protected.etc(name), protected.log(name)) for name in protected.variables}

    done = protected.run("role", "-e", f"hostfw_directory={folder}", *arguments)

    assert done.status != 0
    assert "would remove 2 of 8 policies: policy-6, policy-7" in done.text
    assert "hostfw_accept_removal=true" in done.text
    assert {name: (protected.etc(name), protected.log(name)) for name in protected.variables} == before


def test_a_removal_that_is_meant_is_let_through_and_passes_no_other_check(protected):
    """The host is not told --accept-loss, which answers another question."""
    folder = protected.policies(*NAMES[:6])

    done = protected.run("role", "-e", f"hostfw_directory={folder}", "-e", "hostfw_accept_removal=true")

    assert done.status == 0, done.text
    assert all("--accept-loss" not in line for name in protected.variables for line in protected.log(name))
    assert "policy-7.yaml" not in protected.etc("web1")


def test_a_removal_within_the_share_needs_no_word(protected):
    """One of eight; and hostfw_removal_share is the share."""
    folder = protected.policies(*NAMES[:7])
    strict = protected.run("role", "-e", f"hostfw_directory={folder}", "-e", "hostfw_removal_share=10")
    assert strict.status != 0

    done = protected.run("role", "-e", f"hostfw_directory={folder}")

    assert done.status == 0, done.text


def test_policies_of_another_fleet_are_a_removal(protected):
    """As many as before, under other names: a wrong checkout."""
    folder = protected.policies(*(f"other-{number}" for number in range(8)), folder="other")

    done = protected.run("role", "-e", f"hostfw_directory={folder}")

    assert done.status != 0
    assert "would remove 8 of 8 policies" in done.text


def test_an_inventory_that_lost_hosts_is_a_removal(protected):
    """Their HostEndpoints would go from those that stay."""
    directory = f"hostfw_directory={protected.policies(*NAMES)}"
    protected.add(*(f"app{number}" for number in range(5)))
    assert protected.run("role", "-e", directory, "--limit", "web1").status == 0
    del protected.variables["db1"], protected.variables["web2"]

    done = protected.run("role", "-e", directory, "--limit", "web1")

    assert done.status != 0
    assert "would remove 2 of 8 HostEndpoints: db1-all, web2-all" in done.text


def test_the_way_back_is_open_after_a_removal_was_refused(protected):
    """The run that stopped left no lock and no trial; the right one goes through."""
    protected.run("role", "-e", f"hostfw_directory={protected.policies(*NAMES[:2])}")

    done = protected.run("role", "-e", f"hostfw_directory={protected.policies(*NAMES)}")

    assert done.status == 0, done.text
    assert {name: done.changed(name) for name in protected.variables} == dict.fromkeys(protected.variables, 0)
