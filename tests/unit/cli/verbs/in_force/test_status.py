"""`hostfwctl status`: what is in force, since when, and whether it still is what was put there."""

import errno
import json
import zlib
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import yaml

from hostfw.cli.output.reports.service_lines import age
from hostfw.control.messages import ServiceReport
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.store.generations.active import note_begun
from hostfw.host.workloads import noted_bridges
from hostfw.model.host.facts import HostFacts, Interface
from lab.fakes.fake_kernel.kernel import FakeKernel
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

NO_SERVICE = "Service:       not running: nothing follows interfaces, logs or repairs\n"


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    return made


def test_before_the_first_apply_nothing_is_in_force(host: Machine) -> None:
    """The status of a host without a ruleset is not zero, and says what a first `apply` would govern."""
    governs = "Governs:       nothing; `hostfwctl apply` would govern eth0 with 1 policy, 1 endpoint\n"
    assert host.hostfwctl("status") == (4, f"State:         nothing in force\n{governs}{NO_SERVICE}", "")
    assert json.loads(host.hostfwctl("status", "-o", "json").out)["wouldGovern"] == ["eth0"]

    host.hostfwctl("apply")

    assert json.loads(host.hostfwctl("status", "-o", "json").out)["wouldGovern"] is None


@pytest.mark.parametrize(
    ("files", "governs", "interfaces"),
    [
        ({"web": "", "uplink": ""}, "nothing: every packet passes that no other program denies; `hostfwctl init`", []),
        ({"web": "kind: Wep\n"}, "nothing, and `hostfwctl apply` would be refused: etc has 1 error, which", None),
        ({"uplink": UPLINK.replace("eth0", "eth9")}, "`hostfwctl apply` would govern no interface with 1 policy", []),
        ({"uplink": UPLINK.replace("eth0", "eth9")}, "eth0 has no HostEndpoint: new connections to it are", []),
    ],
)
def test_before_the_first_apply_it_is_said_what_would_stay_open(
    host: Machine, files: dict[str, str], governs: str, interfaces: list[str] | None
) -> None:
    """Whatever stands in the way of it: no files, wrong ones, or none for this host's interfaces."""
    host.write(**files)

    assert governs in " ".join(host.hostfwctl("status").out.split())
    assert json.loads(host.hostfwctl("status", "-o", "json").out)["wouldGovern"] == interfaces


def test_the_generation_in_force_is_shown(host: Machine) -> None:
    """The generation, its time, and how much it governs."""
    _, out, _ = host.hostfwctl("apply", "-o", "json")
    generation = json.loads(out)["generation"]
    host.clock.wait(7200)

    assert host.hostfwctl("status") == (
        0,
        f"""\
State:         in force
Generation:    {generation}
Node:          web1
Applied:       2030-01-01 00:00:00 UTC (2 hours ago)
Governs:       1 policy, 1 endpoint on 1 interface
{NO_SERVICE}""",
        "",
    )


def test_bridges_meet_no_policy_without_the_module(
    host: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag of a bridge says nothing once br_netfilter is unloaded."""
    module = tmp_path / "bridge-nf-call-iptables"
    monkeypatch.setattr(noted_bridges, "BRIDGE_NETFILTER", module)
    host.hostfwctl("apply")
    noted_bridges.note_bridges(host.directory / "run", {"br0": (False, False)})

    assert "br0 meets no policy: this kernel runs without br_netfilter" in host.hostfwctl("status").out
    module.touch()
    assert "br0 meets policy, by a flag" in host.hostfwctl("status").out


def test_files_that_were_not_applied_are_pending(host: Machine) -> None:
    """A change in /etc that nobody put into force is noticed; moving a file is none."""
    host.hostfwctl("apply")
    (host.config / "uplink.yaml").rename(host.config / "moved.yaml")
    _, moved, _ = host.hostfwctl("status")
    host.write(web=WEB.replace("80", "443"))
    _, changed, _ = host.hostfwctl("status")

    assert "Pending" not in moved
    assert changed.endswith("Pending:       etc has changes that are not in force; `hostfwctl diff` shows them\n")


def test_changes_by_another_program_are_drift(host: Machine) -> None:
    """Changes of another program to our tables are listed in sentences."""
    host.hostfwctl("apply")
    host.kernel.meddle("flush chain ip hostfw input\n")

    status, out, _ = host.hostfwctl("status")

    assert status == 0
    assert out.startswith("State:         in force, but changed by another program\n")
    assert "Drift:         table ip hostfw: chain input was changed by another program\n" in out


def test_a_record_of_an_older_release_tells_of_no_changes(host: Machine) -> None:
    """It took its digests of less; between an upgrade and the next apply or start they accuse nobody."""
    host.hostfwctl("apply")
    path = host.directory / "run/generation.json"
    record = json.loads(path.read_text())
    del record["counters"]
    record |= json.loads(zlib.decompress(b64decode(record.pop("objects"))))
    for family in ("ip", "ip6"):
        record["chains"][family] = dict.fromkeys(record["chains"][family], "of less")
        record["sets"][family] = dict.fromkeys(record["sets"][family], "of less")
    path.write_text(json.dumps(record))
    host.kernel.meddle("add table inet other\n")
    _, out, _ = host.hostfwctl("status")

    assert out.startswith("State:         in force\n")
    assert "Drift" not in out
    host.hostfwctl("apply")
    host.kernel.meddle("flush chain ip hostfw input\n")
    assert "Drift" in host.hostfwctl("status").out


def test_names_are_not_read_either_where_all_was_compared(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10,000 policies that takes a second, as the stored script does; a record of before has names compared."""
    host.hostfwctl("apply")
    read: list[str] = []
    for name in ("read_tables", "read_names"):
        monkeypatch.setattr(host.kernel, name, partial(_noted, read, name, getattr(host.kernel, name)))
    monkeypatch.setattr("hostfw.host.store.generations.generations.load_script", partial(_noted, read, "script"))

    assert host.hostfwctl("status").out.startswith("State:         in force\n")
    assert read == []

    path = host.directory / "run/generation.json"
    path.write_text(path.read_text().replace('"compared": true', '"compared": false'))
    assert host.hostfwctl("status").out.startswith("State:         in force\n")
    assert read == ["read_names"]


def _noted(read: list[str], name: str, real: Callable[[], KernelTables]) -> KernelTables:
    read.append(name)
    return real()


@pytest.mark.parametrize(
    ("untouched", "reads"), [((1, 99), 0), ((99, 99), 1), ((1, 1), 1), (None, 1)], ids=["all", "late", "early", "none"]
)
def test_the_service_knows_who_touched_our_tables(
    host: Machine, monkeypatch: pytest.MonkeyPatch, untouched: tuple[int, int] | None, reads: int
) -> None:
    """Nothing is read for commits of other programs to their own tables, if the service heard all since the record."""
    host.hostfwctl("apply")
    host.kernel.generation += 1
    told = ServiceReport(
        1, datetime(2030, 1, 1, tzinfo=UTC), "a", "", 0, 0, 0, 0, 0, 0, listening=True, untouched=untouched
    )
    monkeypatch.setattr("hostfw.cli.output.reports.service_lines.report", lambda _: told)
    read: list[str] = []
    monkeypatch.setattr(host.kernel, "read_tables", partial(_noted, read, "read_tables", host.kernel.read_tables))

    assert host.hostfwctl("status").out.startswith("State:         in force\n")

    assert len(read) == reads


def test_a_change_that_did_not_end_has_everything_read(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the record says: our tables may hold parts of it."""
    host.hostfwctl("apply")
    note_begun(host.directory / "run")
    read: list[str] = []
    monkeypatch.setattr(host.kernel, "read_names", partial(_noted, read, "read_names", host.kernel.read_names))

    host.hostfwctl("status")

    assert read == ["read_names"]


def test_rules_are_read_only_where_somebody_may_have_changed_them(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nftables has the generation of our last commit, rules are not read; after any other they are."""
    host.hostfwctl("apply")
    read = list[None]()
    read_tables = host.kernel.read_tables

    def counted() -> KernelTables:
        read.append(None)
        return read_tables()

    monkeypatch.setattr(host.kernel, "read_tables", counted)
    first = host.hostfwctl("status")
    unread = len(read)
    host.kernel.meddle("flush chain ip hostfw input\n")
    second = host.hostfwctl("status")

    assert (first.status, unread, len(read)) == (0, 0, 1)
    assert "chain input was changed" not in first.out
    assert "chain input was changed" in second.out


def test_a_ruleset_without_a_record_is_in_force(host: Machine) -> None:
    """After a boot the last good script is in force before anyone has written down that it is."""
    host.hostfwctl("apply")
    for path in (host.directory / "run").iterdir():
        path.unlink()

    status, out, _ = host.hostfwctl("status")

    assert status == 0
    assert out.splitlines()[1] == "Generation:    not on record, as after a boot; `hostfwctl apply` makes it known"
    assert out.splitlines()[2].startswith("Accepted:      generation ")


def test_a_change_that_did_not_end_is_not_called_in_force_without_a_record(host: Machine) -> None:
    """As with full disks and base protection in place of what was flushed: nothing says what the rules are."""
    host.hostfwctl("apply")
    (host.directory / "run" / "generation.json").unlink()
    note_begun(host.directory / "run")

    _, out, _ = host.hostfwctl("status")
    doctor = host.hostfwctl("doctor")

    assert out.splitlines()[0].endswith("with parts of a change by hostfw that did not end; `hostfwctl reload` ends it")
    assert "may be those of base protection" in out.splitlines()[1]
    assert (doctor.status, "a change by hostfw did not end" in doctor.out) == (1, True)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_a_versioned_document(host: Machine, form: str) -> None:
    """JSON and YAML hold the same Status."""
    _, out, _ = host.hostfwctl("apply", "-o", "json")
    generation = json.loads(out)["generation"]

    status, out, _ = host.hostfwctl("status", "-o", form)

    assert status == 0
    assert (json.loads if form == "json" else yaml.safe_load)(out) == {
        "apiVersion": "hostfw.io/v1",
        "kind": "Status",
        "inForce": True,
        "ipVersions": [4, 6],
        "wouldGovern": None,
        "generation": generation,
        "node": "web1",
        "hostName": "web1",
        "keptInterfaces": [],
        "ungovernedInterfaces": [],
        "appliedAt": "2030-01-01T00:00:00+00:00",
        "saved": True,
        "counts": {"policies": 1, "stagedPolicies": 0, "endpoints": 1, "interfaces": 1},
        "drift": [],
        "accepted": generation,
        "pending": False,
        "confirmation": None,
        "lastEvent": {
            "kind": "applied",
            "at": "2030-01-01T00:00:00+00:00",
            "generation": generation,
            "reason": "",
        },
        "warnings": [],
        "problems": [],
        "service": None,
        "block": None,
        "bridges": [],
        "feeds": [],
    }


def test_what_no_service_follows_is_compared_with_the_record(host: Machine) -> None:
    """An interface that no rule in force is for, and one that keeps its policy under another name."""
    mac = "02:00:00:00:00:02"
    host.facts = HostFacts("web1", (Interface("eth0", 2, mac=mac),))
    host.hostfwctl("apply")
    host.facts = HostFacts("web1", (Interface("br0", 9, kind="bridge"), Interface("eth0", 2, master="br0", mac=mac)))
    status, out, _ = host.hostfwctl("status")
    text = " ".join(out.split())
    items = json.loads(host.hostfwctl("status", "-o", "json").out)["ungovernedInterfaces"]

    became = "eth0, which HostEndpoint uplink governs, became a port of it"
    assert status == 0
    assert f"Ungoverned: no rule in force is for br0 yet, which HostEndpoint uplink governs ({became}): new" in text
    assert "passes; `hostfwctl reload` has it governed" in text
    assert items == [{"interface": "br0", "endpoint": "uplink", "reason": became}]
    host.facts = HostFacts("web1", (Interface("ens3", 2, mac=mac),))
    kept = json.loads(host.hostfwctl("status", "-o", "json").out)["keptInterfaces"]
    assert [(one["interface"], one["endpoint"], one["since"]) for one in kept] == [("ens3", "uplink", None)]
    assert "Kept:          ens3 under HostEndpoint uplink, which no longer claims it" in host.hostfwctl("status").out


def test_nothing_in_force_is_a_document_too(host: Machine) -> None:
    """Unknown values are null."""
    status, out, _ = host.hostfwctl("status", "-o", "json")

    document = json.loads(out)
    assert status == 4
    assert (document["inForce"], document["generation"], document["appliedAt"]) == (False, None, None)


def test_only_root_may_ask(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does not tell is no kernel without a ruleset, even though the exit status is the same."""

    def refused() -> KernelTables:
        raise NetlinkError(errno.EPERM, "reading the table ip hostfw")

    monkeypatch.setattr(host.kernel, "read_tables", refused)

    status, out, err = host.hostfwctl("status")

    assert (status, out) == (4, "")
    assert err == "hostfwctl: reading the table ip hostfw: Operation not permitted\n  hint: run it as root\n"


AGES = [
    (0, "just now"),
    (59, "just now"),
    (60, "1 minute ago"),
    (3599, "59 minutes ago"),
    (3600, "1 hour ago"),
    (86_399, "23 hours ago"),
    (86_400, "1 day ago"),
    (10 * 86_400, "10 days ago"),
    (-5, "in the future: was the clock set back?"),
]


@pytest.mark.parametrize(("seconds", "expected"), AGES)
def test_an_age_is_said_in_its_largest_unit(seconds: int, expected: str) -> None:
    """Nobody wants the seconds of last month."""
    moment = datetime(2030, 1, 1, tzinfo=UTC)

    assert age(moment, moment + timedelta(seconds=seconds)) == expected


def test_what_is_out_of_force_governs_nothing(host: Machine) -> None:
    """A record of what was in force is no claim that it still is."""
    host.hostfwctl("apply", "-q")
    host.kernel = FakeKernel()

    lines = host.hostfwctl("status").out.splitlines()

    assert lines[0].split() == ["State:", "nothing", "in", "force"]
    assert "Governs:       nothing: 1 policy, 1 endpoint on 1 interface are out of force" in lines
