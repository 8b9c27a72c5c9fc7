"""`hostfwctl fleet`: every host of a fleet offline, what a change does there, and tests of who reaches whom."""

import json
from pathlib import Path

import pytest

from tests.unit.builders.fleets import OUT, POLICY, ROLES, TEST, write_fleet
from tests.unit.cli_runs import hostfwctl


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Three hosts, of which the application alone reaches the database."""
    return write_fleet(tmp_path / "fleet", POLICY.format(port=5432))


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """A file of connections that must be as it says."""
    path = tmp_path / "tests.yaml"
    path.write_text(TEST)
    return path


def test_tests_hold_and_the_matrix_says_who_reaches_whom(fleet: Path, tests: Path) -> None:
    """Both families, and the failsafe of ssh between all."""
    done = hostfwctl("fleet", fleet, "--tests", tests, "--reach", "tcp/5432", "tcp/22", "-o", "json")

    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert [test["asked"] for test in found["tests"]] == [2, 2, 1, 1]
    at_database = {one["from"] for one in found["reach"] if "tcp/5432" in one["services"]}
    assert at_database == {"app1"}
    assert sum("tcp/22" in one["services"] for one in found["reach"]) == 6


def test_a_way_out_that_is_closed_is_no_way(fleet: Path, tests: Path) -> None:
    """The source's own policy counts, and is named as the one that denies."""
    (fleet / "hosts/app1/etc/out.yaml").write_text(OUT.replace("[{action: Allow}]", "[{action: Deny}]"))

    done = hostfwctl("fleet", fleet, "--tests", tests)

    assert done.status == 1
    assert "app1 (192.0.2.2) -> db1 (192.0.2.3):tcp/5432 is denied by out" in done.out
    assert "(way out)" in done.out


@pytest.mark.parametrize(("old", "new"), [("role == 'application'", "role == 'web'"), ("[5432]", "[5433]")])
def test_a_test_that_does_not_hold_fails_and_says_which_connection(
    tmp_path: Path, tests: Path, old: str, new: str
) -> None:
    """The wrong ones are let in, or the right ones are not."""
    fleet = write_fleet(tmp_path / "other", POLICY.format(port=5432).replace(old, new))

    done = hostfwctl("fleet", fleet, "--tests", tests, "-o", "markdown")

    assert done.status == 1
    assert "app1 (2001:db8::2) -> db1 (2001:db8::3):tcp/5432 is denied by end of tier default (way in)" in done.out


def test_a_test_that_matches_nothing_does_not_hold(fleet: Path, tests: Path) -> None:
    """A label that was renamed would otherwise end all tests without a word."""
    tests.write_text(TEST.replace("to: role == 'database'", "to: role == 'databases'"))

    done = hostfwctl("fleet", fleet, "--tests", tests)

    assert done.status == 1
    assert "matches no connection of the fleet" in done.out


def test_a_change_is_told_by_host_with_what_it_closes_and_opens(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are named as the repository has them; hosts that are new or gone are told."""
    before = write_fleet(tmp_path / "before", POLICY.format(port=5433))
    (before / "hosts/web1").rename(before / "hosts/web0")

    monkeypatch.chdir(fleet)
    found = json.loads(hostfwctl("fleet", ".", "--against", before, "-o", "json").out)
    page = hostfwctl("fleet", fleet, "--against", before, "-o", "html").out

    hosts = {host["host"]: host for host in found["hosts"]}
    assert found["gone"] == ["web0"]
    assert hosts["web1"]["new"]
    assert [one["resource"] for one in hosts["app1"]["differences"]] == ["GlobalNetworkPolicy/database"]
    assert (hosts["app1"]["closes"], hosts["app1"]["opens"]) == ([], [])
    assert hosts["db1"]["closes"] == ["closes tcp/5433 on eth0 to 192.0.2.2/32, 2001:db8::2/128 (end of tier default)"]
    assert hosts["db1"]["opens"] == [
        "opens tcp/5432 on eth0 to 192.0.2.2/32, 2001:db8::2/128 (database, database.yaml:8)"
    ]
    assert "opens tcp/5432" in page


def test_no_change_is_none(fleet: Path) -> None:
    """Compared with itself."""
    done = hostfwctl("fleet", fleet, "--against", fleet)

    assert (done.status, done.out) == (0, "")
    assert "3 hosts, 0 would change" in done.err


def test_a_mistake_is_told_for_the_hosts_that_have_it(fleet: Path) -> None:
    """The others are compiled all the same; the place is that of the repository."""
    (fleet / "hosts/web1/etc/own.yaml").write_text("apiVersion: hostfw.io/v1\nkind: Nothing\n")
    (fleet / "hosts/db1/facts.json").write_text("{}")
    scripts = fleet.parent / "scripts"

    done = hostfwctl("fleet", fleet, "--scripts", scripts, "-o", "json")

    hosts = {host["host"]: host for host in json.loads(done.out)["hosts"]}
    assert done.status == 3
    assert [path.name for path in scripts.iterdir()] == ["app1.nft"]
    assert hosts["web1"]["problems"][0]["path"] == "web1/etc/own.yaml"
    assert hosts["db1"]["problems"][0]["path"] == "db1/facts.json"
    assert hosts["app1"]["generation"]


def test_the_script_is_that_of_compile(fleet: Path, tmp_path: Path) -> None:
    """Whatever the host before it was."""
    hostfwctl("fleet", fleet, "--scripts", tmp_path / "scripts")

    for name in ROLES:
        host = fleet / "hosts" / name
        alone = hostfwctl("compile", "-f", fleet / "shared", host / "etc", "--facts", host / "facts.json").out
        assert (tmp_path / "scripts" / f"{name}.nft").read_text() == alone


def test_what_holds_no_fleet_is_told(tmp_path: Path) -> None:
    """The directory of one host, for example."""
    done = hostfwctl("fleet", tmp_path)

    assert done.status == 2
    assert "holds no directory of a host" in done.err
