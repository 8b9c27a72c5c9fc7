"""`hostfwctl staged`: what a staged policy would have done."""

import json
from collections import deque
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from hostfw.audit.packet_event import EventAction
from hostfw.journal.packet_entry import fields
from hostfw.model.values import Family
from tests.unit.builders.event_builders import event
from tests.unit.cli_runs import UPLINK, Machine, machine

V4, V6 = Family.V4, Family.V6
STAGED = """\
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: default.web}
spec:
  selector: all()
  types: [Ingress]
  ingress:
    - {action: Deny, protocol: TCP, destination: {ports: [22]}}
    - {action: Allow, protocol: TCP}
"""


class Journal:
    """A journal that has some events of staged policies."""

    def __init__(self) -> None:
        self.there: deque[dict[str, str]] = deque()

    def entries(self) -> deque[dict[str, str]]:
        """The entries so far."""
        return self.there

    def wait(self, _: float | None) -> None:
        """Nobody waits."""
        raise AssertionError

    def open(self, _identifier: str, _ids: object, since: datetime | None) -> "Journal":
        """Since the boot."""
        assert since is None
        return self


@pytest.fixture(name="journal")
def _journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    journal = Journal()
    monkeypatch.setattr("hostfw.cli.verbs.traffic.staged.open_history", journal.open)
    return journal


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Journal) -> Machine:
    """A machine with a staged policy in force that has seen some packets."""
    made = machine(tmp_path, monkeypatch)
    made.write(staged=STAGED, uplink=UPLINK)
    made.hostfwctl("apply")
    monkeypatch.setenv("TZ", "UTC")
    deny, allow = (c.name for c in made.kernel.read_tables().ip.counters if c.name.startswith("staged/"))
    assert journal.there == deque()
    made.kernel.count(V4, deny, 3)
    made.kernel.count(V6, deny, 2)
    made.kernel.count(V4, allow, 0)
    return made


def sample(policy: str, port: int) -> dict[str, str]:
    """The journal entry of a packet that a staged policy would have denied."""
    packet = replace(event().packet, destination_port=port)
    made = replace(event(), action=EventAction.WOULD_DENY, tier="default", policy=policy, rule=0, packet=packet)
    return fields(made)


@pytest.mark.parametrize("name", ["default.web", "default/default.web"])
def test_its_rules_have_their_numbers(host: Machine, name: str) -> None:
    """Both families added up, in order, with where they are written; without a journal there are no samples."""
    status, out, err = host.hostfwctl("staged", name)

    assert (status, out.splitlines()) == (
        0,
        [
            "PACKETS   BYTES   ACTION        BY                               ORIGIN",
            "      5       0   would-deny    default/default.web ingress[0]   etc/staged.yaml:8",
            "      0       0   would-allow   default/default.web ingress[1]   etc/staged.yaml:9",
        ],
    )
    assert err == (
        "of the packets that reached it, it would have decided to deny 5; "
        "`hostfwctl promote` has the change that enforces it\n"
    )


def test_its_last_packets_come_out_of_the_journal(host: Machine, journal: Journal) -> None:
    """No more than ten, and none of another policy."""
    journal.there = deque([sample("other", 1), *(sample("default.web", port) for port in range(20))])

    _, out, _ = host.hostfwctl("staged", "default.web")

    rows = out.partition("\n\n")[2].splitlines()
    assert [row.split()[8].rpartition(":")[2] for row in rows[1:]] == [str(port) for port in range(10, 20)]


def test_programs_get_all_of_it(host: Machine, journal: Journal) -> None:
    """As a document."""
    journal.there = deque([sample("default.web", 22)])

    content = json.loads(host.hostfwctl("staged", "default.web", "-o", "json").out)

    assert (content["kind"], content["tier"], content["policy"]) == ("StagedPolicy", "default", "default.web")
    assert [(rule["action"], rule["packets"], rule["origin"]) for rule in content["rules"]] == [
        ("Deny", 5, "etc/staged.yaml:8"),
        ("Allow", 0, "etc/staged.yaml:9"),
    ]
    assert [one["HOSTFW_DST_PORT"] for one in content["samples"]] == ["22"]


def test_one_that_has_seen_nothing_says_so(host: Machine) -> None:
    """Rather than a line of noughts alone."""
    host.write(staged=STAGED.replace("22", "23"))
    host.hostfwctl("apply")

    assert "has seen nothing yet" in host.hostfwctl("staged", "default.web").err


def test_one_that_is_not_there_is_said(host: Machine) -> None:
    """With those that are."""
    status, out, err = host.hostfwctl("staged", "web")

    assert (status, out) == (1, "")
    assert err == 'hostfwctl: no staged policy "web" is in force on this host\n  hint: staged are: default.web\n'


def test_where_none_is_staged_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nothing is in force at all."""
    made = machine(tmp_path, monkeypatch)
    made.write(uplink=UPLINK)
    assert made.hostfwctl("staged", "web").status == 4
    made.hostfwctl("apply")

    status, _, err = made.hostfwctl("staged", "web")

    assert (status, "no staged policy governs an interface of this host" in err) == (1, True)
