"""Order, batches, deadlines and reports of a rollout, as the Ansible collection reckons them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/rollout.py"
_SPEC = spec_from_file_location("ansible_rollout", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
rollout = module_from_spec(_SPEC)
_SPEC.loader.exec_module(rollout)

_DEFAULT = [1, "10%", "50%", "100%"]


@pytest.mark.parametrize(
    ("serial", "hosts", "most", "expected"),
    [
        (_DEFAULT, 3, 100, [1, 1, 1]),
        (_DEFAULT, 200, 100, [1, 20, 100, 79]),
        (_DEFAULT, 2000, 100, [1, 100, 100, *[100] * 17, 99]),
        ([1, 5], 12, 100, [1, 5, 5, 1]),
        (2, 5, 100, [2, 2, 1]),
        ("30%", 10, 2, [2, 1, 2, 1, 2, 1, 1]),
        (["1%"], 3, 100, [1, 1, 1]),
        (_DEFAULT, 0, 100, []),
    ],
)
def test_batches_are_those_of_serial_and_none_is_above_the_most(
    serial: object, hosts: int, most: int, expected: Sequence[int]
) -> None:
    """Every host is in one batch, and the last step is repeated until none is left."""
    found = rollout.batches(serial, hosts, most)

    assert sum(found) == hosts
    assert max(found, default=0) <= most
    assert found == expected


@pytest.mark.parametrize("wrong", ["ten", "-1", "5%%", ""])
def test_what_is_no_share_is_refused(wrong: str) -> None:
    """It is named."""
    with pytest.raises(rollout.RolloutError, match="neither a number of hosts nor a percentage"):
        rollout.share(wrong, 10)


@pytest.mark.parametrize(
    ("batch", "forks", "expected"), [(1, 5, 120), (5, 5, 120), (6, 5, 135), (100, 5, 405), (1000, 5, 3105), (3, 0, 150)]
)
def test_the_deadline_grows_with_the_waves_of_a_batch(batch: int, forks: int, expected: int) -> None:
    """The user says the time of one wave; each further one adds to it."""
    assert rollout.deadline_s(batch, forks, 120, 15) == expected


def test_every_batch_of_two_thousand_hosts_can_be_confirmed_with_the_default_forks() -> None:
    """With the default sizes and times, as the role has them; all at once does not fit, and is refused."""
    text = (_PATH.parents[2] / "roles/hostfw/defaults/main.yml").read_text()
    within, wave, at_most = (
        int(text.partition(f"hostfw_confirm_{name}: ")[2].split()[0]) for name in ("within", "wave", "at_most")
    )

    found = [rollout.deadline_s(size, 5, within, wave) for size in rollout.batches(_DEFAULT, 2000, 100)]

    assert (min(found), max(found)) == (within, 405)
    assert max(found) <= at_most
    assert rollout.deadline_s(2000, 5, within, wave) > at_most


@pytest.mark.parametrize(
    ("why", "variables"),
    [
        ("an option", {"ansible_ssh_common_args": "-o ControlMaster=no -J admin@gate:2222"}),
        ("its long form", {"ansible_ssh_common_args": "-o ProxyJump=gate"}),
        ("its address", {"ansible_ssh_extra_args": "-o 'ProxyJump admin@192.0.2.1'"}),
        ("a way of two", {"ansible_ssh_common_args": "-J other.example,gate"}),
        ("a command", {"ansible_ssh_args": '-o ProxyCommand="ssh -q -l admin -W %h:%p gate"'}),
        ("an address in the command", {"ansible_ssh_args": '-o ProxyCommand="ssh -W [%h]:%p -p 22 root@192.0.2.1"'}),
        ("the inventory", {"hostfw_jump_hosts": ["gate"]}),
    ],
)
def test_a_jump_host_of_the_inventory_is_found_however_it_is_said(why: str, variables: Mapping[str, object]) -> None:
    """By its name or by its address."""
    hosts = {"gate": {"ansible_host": "192.0.2.1"}, "inside": variables, "beside": {"ansible_host": "192.0.2.3"}}

    assert rollout.jump_hosts(list(hosts), hosts) == {"gate": ["inside"]}, why


def test_jump_hosts_come_last_and_the_outer_one_after_the_inner() -> None:
    """The others keep their order; a circle is no endless way."""
    jump = {"outer": ["inner", "b"], "inner": ["a"]}

    assert rollout.in_order(["outer", "b", "inner", "a"], jump) == ["b", "a", "inner", "outer"]
    assert sorted(rollout.in_order(["x", "y"], {"x": ["y"], "y": ["x"]})) == ["x", "y"]


def _host(name: str, **variables: object) -> Mapping[str, object]:
    return {"inventory_hostname": name, **variables}


def test_a_host_without_hostfw_is_reported_as_one() -> None:
    """As `--check` before a first rollout finds it, and not as one whose files say something else."""
    info = {"agrees": False, "installed": False, "configuration": "", "generation": ""}
    line = rollout.report([_host("a", hostfw_reported=info)], [])
    assert line == f"{'a':<24} hostfw is not installed\n"


def test_a_report_says_what_is_known_of_every_host() -> None:
    """Those that were lost, those that another run has changed, and those that were left out are lines too."""
    info = {"agrees": True, "in_force": True, "configuration": "c" * 64, "generation": "g1"}
    applied = {"configuration": "c" * 64, "inspection": {"result": "applied"}}
    hosts = [
        _host("b", hostfw_reported={"unreachable": True}),
        _host("a", hostfw_reported=info, hostfw_applied=applied, hostfw_moved={"files": []}),
        _host("c", hostfw_reported=info, hostfw_applied=applied | {"configuration": "d"}, hostfw_moved={"files": []}),
    ]

    lines = rollout.report(hosts, ["dead"]).splitlines()

    assert [line.split()[0] for line in lines] == ["a", "b", "c", "dead"]
    assert lines[0].endswith("generation g1           as its files say")
    assert "could not be reached" in lines[1]
    assert "changed by something else meanwhile" in lines[2]
    assert rollout.failures(hosts, []) == (
        "could not be reached for the report: b\n"
        "changed by something else meanwhile, and not what this run put there: c"
    )


def test_a_host_without_rules_is_reported_as_one() -> None:
    """It never had any, or it went back to none: nothing else has changed it then."""
    info = {"agrees": True, "in_force": False, "configuration": "e" * 64, "generation": ""}
    forth = {"hostfw_applied": {"configuration": "c", "inspection": {}}, "hostfw_moved": {"files": ["web.yaml"]}}
    hosts = [
        _host("a", hostfw_reported=info),
        _host("b", hostfw_reported=info, hostfw_bare_again=True, **forth),
        _host("c", hostfw_reported=info | {"in_force": True}, hostfw_bare_again=True, **forth),
    ]

    lines = rollout.report(hosts, []).splitlines()

    assert lines[:2] == [f"{name:<24} no rules of hostfw are in force" for name in "ab"]
    assert "changed by something else meanwhile" in lines[2]
    assert rollout.failures(hosts, []).endswith("not what this run put there: c")


def test_failures_are_told_once_each_with_their_hosts() -> None:
    """A hundred hosts that were held up by one are no hundred messages."""
    hosts = [_host(name, hostfw_rollout_failure="not kept, because of a", hostfw_reported={}) for name in "bc"]
    hosts += [_host("a", hostfw_rollout_failure="refused", hostfw_rollout_not_back="no way", hostfw_reported={})]

    assert rollout.failures(hosts, ["a", "b", "c"]).splitlines() == [
        "stopped by a, b, c:",
        "refused",
        "not kept, because of a",
        "a did not go back: no way",
    ]
    assert rollout.failures([_host("a", hostfw_reported={"agrees": True})], []) == ""
    assert rollout.failures([_host("a")], ["a"]).splitlines()[1] == "Ansible could not reach what it needed for: a"


@pytest.mark.parametrize(
    ("settings", "ports", "inbound"),
    [
        ({"node": "a"}, [22], None),
        ({"node": "a"}, [], None),
        ({"node": "a"}, [22, 2222], ["tcp:22", "tcp:2222", "udp:68", "udp:546"]),
        ({"failsafe": {"outbound": []}}, [2222], ["tcp:22", "tcp:2222", "udp:68", "udp:546"]),
        ({"failsafe": {"inbound": []}}, [2222], []),
        ({"failsafe": "none"}, [2222], None),
        ({"compatibility": "calico"}, [2222], None),
    ],
)
def test_the_port_of_sshd_is_a_failsafe_port_unless_the_settings_say_which(
    settings: Mapping[str, object], ports: Sequence[int], inbound: object
) -> None:
    """22 stays, since hostfw has it by itself, and what somebody wrote is kept."""
    failsafe = rollout.with_ssh(settings, ports).get("failsafe")

    assert (failsafe.get("inbound") if isinstance(failsafe, dict) else None) == inbound
    assert {**rollout.with_ssh(settings, ports), "failsafe": None} == {**settings, "failsafe": None}


def test_a_host_that_is_lost_is_told_from_one_that_refuses() -> None:
    """A lock of another run ends the rollout whatever may be out of reach; a host without Python is out of reach."""
    hosts = [
        {"inventory_hostname": "fine", "hostfw_reached": {"staging": ""}},
        {"inventory_hostname": "locked", "hostfw_reached": {"failed": True, "refused": True, "msg": "another run"}},
        {"inventory_hostname": "dead", "hostfw_reached": {"unreachable": True, "msg": "timed out"}},
        {"inventory_hostname": "bare", "hostfw_reached": {"failed": True, "msg": "no python"}},
        {"inventory_hostname": "gone", "hostfw_reached": {"unreachable": True, "msg": "timed out"}},
    ]

    assert rollout.seen(hosts) == {
        "reached": ["fine", "locked"],
        "lost": ["dead", "bare", "gone"],
        "refused": ["locked: another run"],
        "why": ["dead, gone: timed out", "bare: no python"],
    }


def test_a_host_keeps_what_it_could_keep_at_its_latest_attempt() -> None:
    """Words about an earlier attempt, or about one that failed, do not count."""
    variables = {
        "kept": {"hostfw_applied": {"attempt": "b"}, "hostfw_could_keep": "b"},
        "earlier": {"hostfw_applied": {"attempt": "b"}, "hostfw_could_keep": "a"},
        "failed": {"hostfw_applied": {"failed": True}, "hostfw_could_keep": "a"},
        "silent": {"hostfw_applied": {"attempt": "b"}},
        "untried": {},
    }

    assert rollout.behind(list(variables), variables) == ["earlier", "failed", "silent", "untried"]


def test_waiting_for_each_other_looks_once_at_each_host() -> None:
    """It is the same small work for each host, however many a batch has."""
    looks: Counter[str] = Counter()

    class Variables(dict[str, Mapping[str, object]]):
        def __getitem__(self, host: str) -> Mapping[str, object]:
            looks[host] += 1
            return {"hostfw_applied": {"attempt": "now"}, "hostfw_could_keep": "now"}

    hosts = [f"h{number}" for number in range(100)]

    assert rollout.behind(hosts, Variables()) == []
    assert looks == Counter(hosts)
