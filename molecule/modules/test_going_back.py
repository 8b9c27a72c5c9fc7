"""Rollouts that stop: every host that had the change is as it was before, whatever that was."""

import pytest

FAILING_CHECK = """
- name: Look at the host from the monitoring
  ansible.builtin.fail:
    msg: the monitoring cannot see it
"""
KEPT = {"hostfw_rollout_order": "inventory"}


@pytest.fixture
def stop(fleet):
    """Run a rollout whose check of the canary fails after the canary has kept the change."""
    checks = fleet.top / "checks.yml"
    checks.write_text(FAILING_CHECK)

    def run(*names, **variables):
        arguments = {"hostfw_directory": fleet.policies(*names), "hostfw_rollout_checks": checks, **KEPT, **variables}
        return fleet.run("rollout", *(f"-e{name}={value}" for name, value in arguments.items()))

    return run


def test_a_first_rollout_that_stops_leaves_no_rule_behind(fleet, stop):
    """The real hostfwctl: an empty directory would be refused, and if not would deny every service of the host."""
    fleet.add_namespace("hfm-first")

    done = stop("web")

    assert done.status != 0
    assert "the monitoring cannot see it" in done.text
    assert fleet.tables("hfm-first") == [], done.text
    assert fleet.etc("hfm-first") == {}
    assert "hfm-first has no rules of hostfw in force, as before it came" in done.text
    assert "hfm-first                no rules of hostfw are in force" in done.text
    assert "changed by something else" not in done.text


def test_after_that_the_next_rollout_is_a_first_one_again(fleet, stop):
    """And going back from it by hand, twice, is back and forth."""
    fleet.add_namespace("hfm-again")
    stop("web")

    directory = f"hostfw_directory={fleet.policies('web')}"
    assert fleet.run("rollout", "-e", directory).status == 0
    assert "table ip hostfw" in fleet.tables("hfm-again")
    assert fleet.run("back").status == 0
    assert (fleet.tables("hfm-again"), fleet.etc("hfm-again")) == ([], {})
    assert fleet.run("back").status == 0
    assert "table ip hostfw" in fleet.tables("hfm-again")
    assert "web.yaml" in fleet.etc("hfm-again")


def test_a_rollout_that_multiplied_the_policies_goes_back_as_well(fleet, stop):
    """From twelve to five is a loss of more than half, which was meant: it is what was there before."""
    fleet.add_namespace("hfm-grown")
    few, many = [[f"p{number}" for number in range(count)] for count in (5, 12)]
    assert fleet.run("rollout", "-e", f"hostfw_directory={fleet.policies(*few)}").status == 0
    before = fleet.etc("hfm-grown")

    done = stop(*many)

    assert done.status != 0
    assert fleet.etc("hfm-grown") == before, done.text
