"""`hostfwctl counters`: what each policy rule and every other reason decided."""

import json
from pathlib import Path

import pytest

from hostfw.compile.ruleset import compile_plan
from hostfw.engine.kernel.counts.counters import OtherCounter, Value, counters_of, values_of
from hostfw.model.values import FAMILIES
from hostfw.nft.object_text import render
from lab.fakes.fake_kernel.kernel import FakeKernel
from tests.unit.builders.event_builders import plan
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

V4, V6 = FAMILIES


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with a policy in force."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    made.hostfwctl("apply")
    return made


def counter(host: Machine, start: str) -> str:
    """The counter whose name begins so."""
    (name,) = (c.name for c in host.kernel.read_tables().ip.counters if c.name.startswith(start))
    return name


def test_rules_and_reasons_have_their_numbers(host: Machine) -> None:
    """Both families added up, rules first, with where they are written."""
    host.kernel.count(V4, counter(host, "gnp/default/web/in"), 12)
    host.kernel.count(V6, counter(host, "gnp/default/web/in"), 1)
    host.kernel.count(V4, "failsafe/in/tcp/22", 3)

    status, out, err = host.hostfwctl("counters")

    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[:3] == [
        "PACKETS   BYTES   ACTION   BY                              ORIGIN",
        "     13       0   allow    default/web ingress[0]          etc/web.yaml:9",
        "      0       0   deny     end-of-tier default (ingress)   -",
    ]
    assert "      3       0   allow    failsafe tcp 22 (ingress)       -" in lines


def test_families_stand_apart_in_a_wide_table(host: Machine) -> None:
    """Beside their sums."""
    host.kernel.count(V4, counter(host, "gnp/default/web/in"), 12)
    host.kernel.count(V6, counter(host, "gnp/default/web/in"), 1)

    heading, first, *_ = host.hostfwctl("counters", "-o", "wide").out.splitlines()

    numbers = "PACKETS   BYTES   PACKETS4   BYTES4   PACKETS6   BYTES6"
    assert heading.startswith(f"{numbers}   ACTION   BY")
    assert heading.split()[-2:] == ["KIND", "ORIGIN"]
    assert first.split()[:9] == ["13", "0", "12", "0", "1", "0", "allow", "default/web", "ingress[0]"]
    assert first.split()[9:] == ["GlobalNetworkPolicy", "etc/web.yaml:9"]


def test_a_document_has_everything(host: Machine) -> None:
    """Of kind Counters: rules, reasons, and nothing left over."""
    name = counter(host, "gnp/default/web/in")
    host.kernel.count(V6, name, 5)

    document = json.loads(host.hostfwctl("counters", "-o", "json").out)

    assert {key: document[key] for key in ("apiVersion", "kind", "seconds", "rules", "others")} == {
        "apiVersion": "hostfw.io/v1",
        "kind": "Counters",
        "seconds": None,
        "rules": [
            {
                "kind": "GlobalNetworkPolicy",
                "tier": "default",
                "policy": "web",
                "direction": "ingress",
                "rule": 0,
                "action": "Allow",
                "reason": "rule",
                "staged": False,
                "origin": "etc/web.yaml:9",
                "counter": name,
                "packets": 5,
                "bytes": 0,
                "ip": {"packets": 0, "bytes": 0},
                "ip6": {"packets": 5, "bytes": 0},
            }
        ],
        "others": [],
    }
    assert document["generation"] == json.loads(host.hostfwctl("status", "-o", "json").out)["generation"]
    (reason,) = (each for each in document["reasons"] if each["counter"] == "failsafe/in/tcp/22")
    assert {key: reason[key] for key in ("reason", "direction", "action", "tier", "failsafe", "place")} == {
        "reason": "failsafe",
        "direction": "ingress",
        "action": "Allow",
        "tier": "",
        "failsafe": "tcp 22",
        "place": "",
    }


def test_a_rate_is_of_its_interval(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what came before is in the sum alone."""
    name = counter(host, "gnp/default/web/in")
    host.kernel.count(V4, name, 100)

    def sleep(seconds: float) -> None:
        host.clock.wait(seconds)
        host.kernel.count(V4, name, 10)
        host.kernel.count(V6, name, 2)

    monkeypatch.setattr("hostfw.cli.verbs.traffic.counters.sleep", sleep)
    monkeypatch.setattr("hostfw.cli.verbs.traffic.counters.clock", host.clock)

    document = json.loads(host.hostfwctl("counters", "--rate", "5s", "-o", "json").out)
    table = host.hostfwctl("counters", "--rate", "4s").out.splitlines()

    assert document["seconds"] == 5
    assert document["rules"][0]["packets"] == 112
    assert document["rules"][0]["perSecond"] == {"packets": 2.4, "bytes": 0}
    assert table[0].split()[:4] == ["PACKETS", "BYTES", "PACKETS/S", "BYTES/S"]
    assert table[1].split()[:4] == ["124", "0", "3.0", "0.0"]


@pytest.mark.parametrize("name", ["web", "default/web"])
def test_a_policy_is_shown_alone(host: Machine, name: str) -> None:
    """By its name, with the tier or without."""
    lines = host.hostfwctl("counters", "--policy", name).out.splitlines()

    assert [line.split()[3] for line in lines[1:]] == ["default/web"]


def test_an_unknown_policy_is_an_error(host: Machine) -> None:
    """It may exist and select nothing here."""
    assert host.hostfwctl("counters", "--policy", "wbe") == (
        1,
        "",
        'hostfwctl: no policy "wbe" is in force on this host\n',
    )


def test_nothing_in_force_has_no_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the status of `status`."""
    assert machine(tmp_path, monkeypatch).hostfwctl("counters") == (
        4,
        "",
        "hostfwctl: nothing is in force\n  hint: `hostfwctl apply` puts the configuration into force\n",
    )


def test_without_a_record_of_what_is_in_force_counters_have_their_own_names(host: Machine) -> None:
    """None is left out."""
    for path in (host.directory / "var").iterdir():
        path.rename(host.directory / path.name)
    name = counter(host, "gnp/default/web/in")

    _, out, err = host.hostfwctl("counters")

    assert f"      0       0   -        {name}" in out
    assert err == "warning: the active generation is not on record: counters are not attributed to rules\n"


@pytest.mark.parametrize("wildcard", [False, True])
def test_every_counter_of_a_ruleset_is_accounted_for(wildcard: bool) -> None:
    """By a rule or a reason, whatever the classes of policy; and one that is not ours to explain is not left out."""
    planned = plan(wildcard=wildcard)
    kernel = FakeKernel()
    assert kernel.commit(render(compile_plan(planned))).ok
    values = values_of(kernel.read_tables())

    found = counters_of(planned, values)

    assert [each for each in found if isinstance(each, OtherCounter)] == []
    assert sorted(each.name for each in found) == sorted({name for _, name in values})
    assert counters_of(planned, {(V4, "mystery"): Value(1, 1)}) == (OtherCounter("mystery"),)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [((5, 50), (8, 90), (3, 40)), ((0, 0), (0, 0), (0, 0)), ((9, 90), (2, 20), (2, 20))],
    ids=["more", "nothing", "begun anew"],
)
def test_what_came_since(before: tuple[int, int], after: tuple[int, int], expected: tuple[int, int]) -> None:
    """A counter that went back has begun anew, and all that it has came since."""
    assert Value(*after).since(Value(*before)) == Value(*expected)
