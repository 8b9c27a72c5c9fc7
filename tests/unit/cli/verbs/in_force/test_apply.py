"""`hostfwctl apply` and `reload`: outcomes for people and for programs."""

import errno
import json
from pathlib import Path

import pytest

from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.script_runner import NftResult
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    return made


@pytest.mark.parametrize("verb", ["apply", "reload"])
def test_one_line_says_what_is_in_force(host: Machine, verb: str) -> None:
    """The generation, what it holds, and what it took."""
    status, out, err = host.hostfwctl(verb)

    words = err.split()
    assert (status, out) == (0, "")
    assert err.count("\n") == 1
    assert words[0] == "generation"
    assert " ".join(words[2:]).startswith("in force: 1 policy, 1 endpoint on 1 interface; ")
    assert err.rstrip().endswith(" ms")


def test_a_second_apply_changes_nothing(host: Machine) -> None:
    """The active generation is reported as unchanged, and nothing is committed."""
    host.hostfwctl("apply")
    committed = len(host.kernel.committed)

    status, _, err = host.hostfwctl("apply")

    assert status == 0
    assert err.startswith("no change: generation ")
    assert len(host.kernel.committed) == committed


def test_a_refused_configuration_changes_nothing(host: Machine) -> None:
    """Problems go to stderr with their places; the kernel hears of nothing."""
    host.write(web=WEB.replace("selector", "selectr"), uplink=UPLINK)

    status, out, err = host.hostfwctl("apply")

    assert (status, out) == (3, "")
    assert err.startswith('etc/web.yaml:7:3: unknown field "selectr"')
    assert err.endswith("hostfwctl: 1 problem in 1 file; nothing was changed\n")
    assert (host.kernel.checked, host.kernel.committed) == ([], [])


def test_what_nft_refuses_has_failed(host: Machine) -> None:
    """A failure says what is in force nevertheless."""
    host.kernel.failures.append(NftResult(ok=False, error="1:1-1: Error: no\n", line=1, column=1))

    status, _, err = host.hostfwctl("apply")

    assert status == 1
    assert err.startswith("hostfwctl: nft refused the transaction")
    assert err.endswith("the ruleset in force is unchanged\n")


def test_a_name_that_two_things_come_to_is_a_refusal(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are digests; whoever finds two contents of one is told, and nothing is changed."""
    with monkeypatch.context() as patch:
        patch.setattr("hostfw.compile.object_names.rules_digest", lambda *_: "0123456789abcdef")
        host.write(web=WEB, uplink=UPLINK)
        status, _, err = host.hostfwctl("apply")

    assert status == 3
    assert "two parts of the ruleset come to the one name " in err
    assert err.endswith("nothing was changed\n")
    assert host.hostfwctl("apply").status == 0


def test_without_privileges_it_is_not_permitted(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing permissions are told apart from failures."""

    def refused() -> KernelTables:
        raise NetlinkError(errno.EPERM, "reading the table ip hostfw")

    monkeypatch.setattr(host.kernel, "read_tables", refused)

    status, _, err = host.hostfwctl("apply")

    assert status == 4
    assert err.startswith("hostfwctl: reading the table ip hostfw: Operation not permitted")


def test_programs_learn_what_was_done(host: Machine) -> None:
    """The ApplyResult has what the line for people has, as numbers."""
    status, out, _ = host.hostfwctl("apply", "-o", "json")
    applied = json.loads(out)
    _, out, _ = host.hostfwctl("apply", "-o", "json")
    unchanged = json.loads(out)

    assert status == 0
    assert (applied["apiVersion"], applied["kind"]) == ("hostfw.io/v1", "ApplyResult")
    assert applied["result"] == "applied"
    assert applied["chainsNew"] > 0
    assert {k: applied[k] for k in ("node", "policies", "endpoints", "interfaces", "problems", "warnings")} == {
        "node": "web1",
        "policies": 1,
        "endpoints": 1,
        "interfaces": 1,
        "problems": [],
        "warnings": [],
    }
    assert unchanged["result"] == "unchanged"
    assert unchanged["generation"] == applied["generation"]
    assert (unchanged["chainsNew"], unchanged["chainsSwept"]) == (0, 0)


def test_programs_learn_why_it_was_refused(host: Machine) -> None:
    """The problems are in the document, and the status says that there are some."""
    host.write(web=WEB.replace("selector", "selectr"), uplink=UPLINK)

    status, out, _ = host.hostfwctl("apply", "-o", "json")

    document = json.loads(out)
    assert status == 3
    assert document["result"] == "refused"
    assert [(p["line"], p["column"], p["severity"]) for p in document["problems"]] == [(7, 3, "error")]


def test_programs_learn_why_it_failed(host: Machine) -> None:
    """Message, hint and what is in force."""
    host.kernel.failures.append(NftResult(ok=False, error="1:1-1: Error: no\n", line=1, column=1))

    status, out, _ = host.hostfwctl("apply", "-o", "json")

    document = json.loads(out)
    assert status == 1
    assert document["result"] == "failed"
    assert document["inForce"] == "the ruleset in force is unchanged"


def test_quiet_says_nothing_of_success(host: Machine) -> None:
    """A cron job has nothing to mail."""
    assert host.hostfwctl("-q", "apply") == (0, "", "")


def test_verbose_shows_what_was_sent(host: Machine) -> None:
    """The scripts of prepare and switch, for who wants to see them."""
    _, _, err = host.hostfwctl("-v", "apply")

    assert "# prepare\n" in err
    assert "# switch\n" in err


def test_a_wildcard_governs_every_interface_but_lo(host: Machine) -> None:
    """The count is that of interfaces with a HostEndpoint, however they came by it."""
    host.write(uplink=UPLINK.replace("eth0", '"*"'))

    _, _, err = host.hostfwctl("apply")

    assert " 1 endpoint on 2 interfaces; " in err


def test_a_reload_tells_a_warning_once(host: Machine) -> None:
    """As timers run it; an apply and a document tell all of them, and one that comes back is told again."""
    restricting = WEB.replace("ports: [80]", "ports: [22]").replace("action: Allow", "action: Deny")
    told = "stays open as a failsafe port"
    host.write(web=restricting, uplink=UPLINK)

    assert told in host.hostfwctl("reload").err
    assert told not in host.hostfwctl("reload").err
    assert told in host.hostfwctl("apply").err
    assert told in host.hostfwctl("reload", "-o", "json").out
    host.write(web="# a line more\n" + restricting)
    assert told not in host.hostfwctl("reload").err
    host.write(web=WEB)
    assert told not in host.hostfwctl("reload").err
    host.write(web=restricting)
    assert told in host.hostfwctl("reload").err
