"""`hostfwctl validate`: every problem, in forms for people, editors and CI."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.model.host.facts import HostFacts
from hostfw.model.values import Learned
from tests.unit.builders.policy_builders import net
from tests.unit.cli_runs import FACTS, UPLINK, WEB, Machine, hostfwctl, machine

DATA = Path(__file__).parents[4] / "data"
MISTAKES = "twenty-mistakes"


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


def test_twenty_mistakes_give_twenty_problems(monkeypatch: pytest.MonkeyPatch, *, update_golden: bool) -> None:
    """A folder with twenty different mistakes: each is found, placed and explained, byte for byte."""
    monkeypatch.chdir(DATA)

    status, out, err = hostfwctl("validate", "-f", MISTAKES)

    golden = DATA / f"{MISTAKES}.txt"
    if update_golden:
        golden.write_text(out)
    assert out == golden.read_text()
    assert (status, err) == (3, "20 problems in 8 files\n")


def test_twenty_mistakes_are_twenty_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors get the same problems with the same places, as data."""
    monkeypatch.chdir(DATA)

    _, text, _ = hostfwctl("validate", "-f", MISTAKES)
    status, out, _ = hostfwctl("validate", "-f", MISTAKES, "-o", "json")

    document = json.loads(out)
    heads = [line for line in text.splitlines() if line.startswith(MISTAKES)]
    assert status == 3
    assert (document["apiVersion"], document["kind"]) == ("hostfw.io/v1", "ProblemList")
    assert document["summary"] == {"errors": 20, "warnings": 0}
    assert [f"{i['path']}:{i['line']}:{i['column']}: {i['message']}" for i in document["items"]] == heads


def test_a_valid_configuration_is_counted(host: Machine) -> None:
    """A valid configuration prints no data, and a message with its counts."""
    host.write(web=WEB, uplink=UPLINK)

    assert host.hostfwctl("validate") == (0, "", "ok: 1 policy, 1 endpoint\n")


def test_no_resources_are_valid(host: Machine) -> None:
    """An empty directory is a configuration: closed inward apart from the failsafes, as a warning says."""
    status, out, err = host.hostfwctl("validate")

    assert (status, err) == (0, "ok: 0 policies, 0 endpoints; 1 warning\n")
    assert out.startswith("hostfw: warning: no HostEndpoint governs an interface of this host")


def test_quiet_prints_problems_and_says_nothing(host: Machine) -> None:
    """The problems are what was asked for; their number is not."""
    host.write(web=WEB.replace("selector", "selectr"), uplink=UPLINK)

    status, out, err = host.hostfwctl("-q", "validate")

    assert (status, err) == (3, "")
    assert out.startswith('etc/web.yaml:7:3: unknown field "selectr"')


def test_a_directory_that_is_not_there_is_a_problem(host: Machine) -> None:
    """A misspelt directory is not an empty configuration."""
    status, out, err = host.hostfwctl("validate", "-f", host.directory / "staging")

    assert (status, err) == (3, "1 problem in 1 file\n")
    assert out == "staging:1:1: cannot be read: there is no such file or directory\n"


def test_valid_documents_are_an_empty_list(host: Machine) -> None:
    """A program always gets a document."""
    host.write(web=WEB, uplink=UPLINK)

    status, out, _ = host.hostfwctl("validate", "-o", "json")

    assert status == 0
    assert json.loads(out)["items"] == []


def test_annotate_prints_the_file_with_marks(host: Machine) -> None:
    """The file itself, marked at the line, with a footer that says why."""
    host.write(web=WEB.replace("selector", "selectr"), uplink=UPLINK)

    status, out, err = host.hostfwctl("validate", "--annotate")

    assert (status, err) == (3, "1 problem in 1 file\n")
    assert out.startswith("# " + str(host.config / "web.yaml").replace(f"{host.directory}/", "") + "\napiVersion:")
    assert "  selectr: role == 'web'  # E1\n" in out
    assert '# Errors:\n#   E1: line 7, column 3: unknown field "selectr"' in out


def test_colour_on_demand(host: Machine) -> None:
    """`--color=always` colours what goes into a pipe."""
    host.write(web=WEB.replace("selector", "selectr"), uplink=UPLINK)

    _, out, _ = host.hostfwctl("validate", "--color=always")

    assert out.startswith("\033[1metc/web.yaml:7:3:\033[0m ")


BY_ADDRESS = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: web1, expectedIPs: [192.0.2.1]}
"""
LEASED = """\
apiVersion: hostfw.io/v1
kind: HostFacts
node: web1
interfaces:
- {name: eth0, index: 2, addresses: [192.0.2.1], learned: {dhcp: [192.0.2.1]}}
"""


def test_what_a_neighbour_keeps_from_counting_is_said_of_this_host(host: Machine) -> None:
    """Of the configuration directory alone; what `-f` names may be for another host."""
    host.write(uplink=BY_ADDRESS)
    leased = ((net("192.0.2.1"), Learned.DHCP),)
    host.facts = HostFacts("web1", (replace(FACTS.interfaces[0], learned=leased),))

    status, out, err = host.hostfwctl("validate")

    assert (status, err) == (0, "ok: 0 policies, 1 endpoint; 2 warnings\n")
    assert "claims no interface now: 192.0.2.1 of eth0 came by DHCP, and a neighbour may say that" in out
    assert host.hostfwctl("validate", "-f", host.directory / "etc").out == ""


def test_facts_of_a_host_tell_what_a_configuration_means_there(host: Machine) -> None:
    """Every warning of the host, and mistakes of the facts themselves."""
    host.write(uplink=BY_ADDRESS)
    facts = host.directory / "facts.yaml"
    facts.write_text(LEASED)

    assert "192.0.2.1 of eth0 came by DHCP" in host.hostfwctl("validate", "--facts", facts).out
    facts.write_text(LEASED.replace("learned: {dhcp: [192.0.2.1]}", "learned: {dhcp: [192.0.2.9]}"))
    status, _, err = host.hostfwctl("validate", "--facts", facts)
    assert status == 3
    assert "learned.dhcp has 192.0.2.9" in err
    facts.write_text(LEASED.replace("addresses: [192.0.2.1], learned: {dhcp: [192.0.2.1]}", "up: false"))
    assert "no interface of this host has one of its expectedIPs" in host.hostfwctl("validate", "--facts", facts).out


def test_who_may_not_see_the_workloads_that_run_asks_about_the_files(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That folder is root's, so that every other user had a warning about it; what is wrong in it is still said."""
    host.write(web=WEB, uplink=UPLINK)
    folder = host.directory / "run" / "workloads"
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text("a: b\n")
    assert "kind is missing" in host.hostfwctl("validate").out
    listed: Callable[..., object] = os.scandir

    def refused(path: object = ".") -> object:
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refused)

    assert host.hostfwctl("validate") == (0, "", "ok: 1 policy, 1 endpoint\n")
    assert "workloads:1:1: warning: cannot be read" in host.hostfwctl("explain", "192.0.2.9", "host:80").err
