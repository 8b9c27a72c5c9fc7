"""Changes that leave the host's interfaces without policy are refused on every way, unless that is meant."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import load_generation
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Configuration
from tests.unit.builders.policy_builders import nets
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

BRIDGED = HostFacts(
    "web1",
    (
        Interface("br1", 5, kind="bridge", addresses=nets("192.0.2.1"), default_route=True),
        Interface("eth0", 2, master="br1"),
        Interface("lo", 1, kind="loopback", addresses=nets("127.0.0.1")),
    ),
)
ROUTER = HostFacts(
    "web1",
    (
        Interface("eth0", 2, addresses=nets("192.0.2.1"), default_route=True),
        Interface("lan0", 3, addresses=nets("10.0.0.1")),
        Interface("lo", 1, kind="loopback", addresses=nets("127.0.0.1")),
    ),
)
ON_BRIDGE = UPLINK.replace("eth0", "br1")
BOTH = f"{UPLINK}---\n{UPLINK.replace('uplink', 'lan').replace('eth0', 'lan0')}"
GROUP = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: ports}
spec: {match: [{master: br1}]}
---
"""
OF_GROUP = GROUP + UPLINK.replace("interfaceName: eth0", "interfaceGroup: ports")
MEANT = "add --accept-loss to `hostfwctl {}`"


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


def applied(host: Machine, facts: HostFacts, uplink: str) -> None:
    """A host of these facts with an accepted configuration."""
    host.facts = facts
    host.write(hostfw="node: web1\nfailsafe: {inbound: [{protocol: tcp, port: 22}]}\n", web=WEB, uplink=uplink)
    assert host.hostfwctl("apply").status == 0


LOSSES: list[tuple[str, HostFacts, str, str, str]] = [
    ("a port of the bridge that was governed", BRIDGED, ON_BRIDGE, UPLINK, "br1"),
    ("a group of such ports", BRIDGED, ON_BRIDGE, OF_GROUP, "br1"),
    ("an interface that is not there", ROUTER, UPLINK, UPLINK.replace("eth0", "eth7"), "eth0"),
    ("lo alone", ROUTER, UPLINK, UPLINK.replace("eth0", "lo"), "eth0"),
    ("a name in place of all", ROUTER, UPLINK.replace("eth0", '"*"'), UPLINK.replace("eth0", "eth7"), "eth0, lan0"),
    ("an address that the host does not have", ROUTER, UPLINK,
     UPLINK.replace("interfaceName: eth0", "expectedIPs: [192.0.2.77]"), "eth0"),
    ("the way to everybody", ROUTER, BOTH, BOTH.replace("eth0", "eth7"), "eth0"),
]  # fmt: skip


@pytest.mark.parametrize("verb", [("apply",), ("reload",), ("apply", "--confirm-within", "90s")])
@pytest.mark.parametrize(("name", "facts", "before", "after", "lost"), LOSSES, ids=[case[0] for case in LOSSES])
def test_endpoints_that_govern_nothing_any_more_are_refused(
    host: Machine, name: str, facts: HostFacts, before: str, after: str, lost: str, verb: tuple[str, ...]
) -> None:
    """With the interfaces that nothing would govern, what that means, and the word that says it is meant."""
    applied(host, facts, before)
    held = host.kernel.read_tables()
    host.write(uplink=after)

    refused = host.hostfwctl(*verb)

    assert refused.status == 1, name
    assert f"this would leave {lost} without a HostEndpoint: new connections to " in refused.err
    assert "are denied except failsafe tcp 22, and everything from and through " in " ".join(refused.err.split())
    assert MEANT.format(verb[0]) in " ".join(refused.err.split())
    assert host.kernel.read_tables() == held
    assert host.hostfwctl(*verb, "--accept-loss").status == 0


@pytest.mark.parametrize(
    ("name", "facts", "before", "after"),
    [
        ("the same again", ROUTER, UPLINK, UPLINK),
        ("another interface on the way to everybody", ROUTER, BOTH, UPLINK),
        ("all in place of a name", ROUTER, UPLINK, UPLINK.replace("eth0", '"*"')),
        ("nothing was governed", ROUTER, UPLINK.replace("eth0", "eth7"), UPLINK.replace("eth0", "eth8")),
        ("a port as well as its bridge", BRIDGED, ON_BRIDGE, f"{ON_BRIDGE}---\n{OF_GROUP.replace('uplink', 'port')}"),
    ],
)
def test_what_leaves_nothing_bare_needs_no_word(
    host: Machine, name: str, facts: HostFacts, before: str, after: str
) -> None:
    """As long as the way to everybody stays governed, or none was."""
    applied(host, facts, before)
    host.write(uplink=after)

    done = host.hostfwctl("apply")
    assert done.status == 0, (name, done.err)


NAMES_WORKLOADS = "node: web1\nworkloads: {{interfaces: {}}}\n"


@pytest.mark.parametrize(
    ("before", "after", "uplink", "lost"),
    [
        ("[ve-*, tap0]", "[tap0]", UPLINK, "ve-*"),
        ("[ve-*, tap0]", "[ve-*]", UPLINK, "tap0"),
        ("[ve-*, tap0]", "[]", UPLINK, "tap0, ve-*"),
        ("[ve-*]", "['ve-a*']", UPLINK, "ve-*"),
        ("[ve-*]", "['v*']", UPLINK, ""),
        ("[tap0]", "['tap*']", UPLINK, ""),
        ("[tap0]", "[]", BOTH.replace("lan0", "tap0"), ""),
        ("[ve-*]", "[]", UPLINK.replace("eth0", '"*"'), ""),
    ],
)
def test_interfaces_of_workloads_that_are_to_come_are_not_let_go(
    host: Machine, before: str, after: str, uplink: str, lost: str
) -> None:
    """None is there now, and the next container would be nobody's."""
    host.facts = replace(ROUTER, interfaces=ROUTER.interfaces[::2])
    host.write(hostfw=NAMES_WORKLOADS.format(before), web=WEB, uplink=UPLINK)
    assert host.hostfwctl("apply").status == 0
    host.write(hostfw=NAMES_WORKLOADS.format(after), uplink=uplink)

    done = host.hostfwctl("apply")

    if not lost:
        assert done.status == 0, done.err
        return
    assert done.status == 1
    assert f"the setting workloads would no longer name {lost}, nor would a HostEndpoint" in done.err
    assert host.hostfwctl("apply", "--accept-loss").status == 0


def test_an_interface_that_is_away_is_no_loss(host: Machine) -> None:
    """The same configuration on a host whose interface is gone for a while: nobody took policy away."""
    applied(host, ROUTER, UPLINK)
    host.facts = replace(ROUTER, interfaces=ROUTER.interfaces[1:])

    assert host.hostfwctl("reload").status == 0


def test_a_first_apply_that_governs_nothing_says_what_that_means(host: Machine) -> None:
    """Once for all interfaces, as a warning: a host without policy denies what comes in."""
    host.facts = BRIDGED
    host.write(hostfw="node: web1\n", web=WEB, uplink=UPLINK)

    done = host.hostfwctl("apply")

    assert done.status == 0
    assert (
        "warning: no HostEndpoint governs an interface of this host, so that no policy applies to br1: new connections "
        "to it are denied except failsafe tcp 22" in done.err
    )
    assert "and everything from and through it passes" in done.err
    assert done.err.count("no HostEndpoint governs an interface") == 1


@pytest.fixture(name="went")
def _went(host: Machine) -> Machine:
    """A host on which generation 1 governs a port alone, and generation 2, in force, the bridge."""
    host.facts = BRIDGED
    host.write(hostfw="node: web1\n", web=WEB, uplink=UPLINK)
    assert host.hostfwctl("apply").status == 0
    host.write(uplink=ON_BRIDGE)
    return host


def test_the_way_back_is_asked_as_well(went: Machine) -> None:
    """`rollback --to` a generation that would leave bare what is governed now."""
    assert went.hostfwctl("apply").status == 0
    held = went.kernel.read_tables()

    refused = went.hostfwctl("rollback", "--to", "1")

    assert refused.status == 1
    assert "this would leave br1 without a HostEndpoint" in refused.err
    assert "add --accept-loss to `hostfwctl rollback --to 1`" in refused.err
    assert went.kernel.read_tables() == held
    assert went.hostfwctl("rollback", "--to", "1", "--accept-loss").status == 0


def _unobserved(*_: object, **__: object) -> Candidate:
    raise HostError("netlink: no buffer space")


def _refused_now(configuration: Configuration, **_: object) -> Candidate:
    """A refusal by an upgraded release that refuses more than before."""
    return replace(check_candidate(configuration), problems=(Problem(Position("web.yaml", 1, 1), "is refused now"),))


@pytest.mark.parametrize("fault", [_unobserved, _refused_now])
def test_a_script_that_no_plan_judges_is_asked_as_well(
    went: Machine, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Candidate]
) -> None:
    """`rollback --to` a generation whose script alone is left, and which leaves bare what is governed now."""
    assert went.hostfwctl("apply").status == 0
    held, sent = went.kernel.read_tables(), len(went.kernel.committed)
    first, _ = load_generation(went.directory / "var", 1)
    assert first is not None
    monkeypatch.setattr("hostfw.engine.trial.rollback.check_candidate", fault)

    refused = went.hostfwctl("rollback", "--to", "1")

    assert refused.status == 1
    assert "no longer build on this host" in refused.err
    assert "add --accept-loss to `hostfwctl rollback --to 1`" in refused.err
    assert (went.kernel.read_tables(), len(went.kernel.committed)) == (held, sent)
    assert went.hostfwctl("rollback", "--to", "1", "--accept-loss").status == 0
    assert went.kernel.committed[-1] == first.script


def test_what_is_on_trial_is_not_rolled_back_into_the_open_by_hand(went: Machine) -> None:
    """Nothing is lost by waiting: the deadline rolls it back whatever is lost."""
    assert went.hostfwctl("apply", "--confirm-within", "90s").status == 0
    token = next(iter(went.timers.values()))[1][-1]
    held = went.kernel.read_tables()

    refused = went.hostfwctl("rollback")

    assert refused.status == 1
    assert "this would leave br1 without a HostEndpoint" in refused.err
    assert "add --accept-loss to `hostfwctl rollback`" in refused.err
    assert went.kernel.read_tables() == held
    assert "pending" in went.hostfwctl("status", "-o", "json").out
    went.clock.wait(91)
    assert went.hostfwctl("rollback", token).status == 0
    assert went.kernel.read_tables() != held


def test_that_it_is_meant_is_said(went: Machine) -> None:
    """The trial is over then."""
    assert went.hostfwctl("apply", "--confirm-within", "90s").status == 0

    assert went.hostfwctl("rollback", "--accept-loss").status == 0
    assert "there is nothing to roll back" in went.hostfwctl("rollback").err


def test_back_to_nothing_is_never_silent(host: Machine) -> None:
    """The first trial of a host, rolled back by hand."""
    host.facts = ROUTER
    host.write(hostfw="node: web1\n", web=WEB, uplink=UPLINK)
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0

    done = host.hostfwctl("rollback")

    assert done.status == 0
    assert "no rules of hostfw are in force, and every packet passes" in done.err


GUESTS = HostFacts(
    "web1",
    (
        Interface("cali1", 11, kind="veth"),
        Interface("cali2", 12, kind="veth"),
        Interface("docker0", 9, kind="bridge"),
        Interface("eth0", 2, addresses=nets("192.0.2.1"), default_route=True),
        Interface("eth1", 3),
        Interface("eth2", 4, up=False),
        Interface("lo", 1, kind="loopback"),
        Interface("veth3", 13, kind="veth", master="docker0"),
    ),
)
FAILSAFE = "new connections to {} are denied except failsafe tcp 22"
UNGOVERNED = (
    f"hostfw: warning: eth1 has no HostEndpoint: {FAILSAFE.format('it')}",
    f"hostfw: warning: interfaces of kind bridge have no HostEndpoint: {FAILSAFE.format('them')}",
    f"hostfw: warning: interfaces of kind veth have no HostEndpoint: {FAILSAFE.format('them')}",
)
PORT = (
    'warning: HostEndpoint "uplink" is for eth0, which is a port of the bridge br1: packets come in and go out on br1'
)


def told(host: Machine, verb: str) -> list[str]:
    """The warnings of a verb, a line each."""
    done = host.hostfwctl(verb)
    return [line for line in (*done.out.splitlines(), *done.err.splitlines()) if "warning: " in line]


@pytest.mark.parametrize("verb", ["validate", "diff", "apply"])
def test_interfaces_without_an_endpoint_are_told(host: Machine, verb: str) -> None:
    """Each device once, guests kind by kind; neither `lo`, nor what is down, nor a port of what is told."""
    host.facts = GUESTS
    host.write(hostfw="node: web1\nfailsafe: {inbound: [{protocol: tcp, port: 22}]}\n", web=WEB, uplink=UPLINK)

    assert told(host, verb) == list(UNGOVERNED)
    assert "(cali1, cali2)" in " ".join(host.hostfwctl("validate").out.split())
    host.write(uplink=UPLINK.replace("eth0", '"*"'))
    assert told(host, verb) == []


BAN = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: guesser, annotations: {hostfw.io/before-failsafes: "true"}}
spec: {selector: all(), types: [Ingress], ingress: [{action: Deny, source: {nets: [203.0.113.9/32]}}]}
"""


@pytest.mark.parametrize(
    ("failsafe", "said"),
    [("{protocol: tcp, port: 22}", True), ("{protocol: tcp, net: 10.0.0.0/8, port: 22}", False), ("", False)],
)
def test_a_ban_that_leaves_failsafes_open_somewhere_says_so(host: Machine, failsafe: str, said: bool) -> None:
    """No policy counts on an interface without a HostEndpoint, a ban no more than any other."""
    host.facts = replace(GUESTS, interfaces=tuple(one for one in GUESTS.interfaces if one.name in ("eth0", "eth1")))
    host.write(hostfw=f"node: web1\nfailsafe: {{inbound: [{failsafe}]}}\n", web=WEB, uplink=UPLINK, ban=BAN)

    found = told(host, "validate")

    expected = (
        "hostfw: warning: on interfaces without a HostEndpoint failsafe tcp 22 is open to those as well whom guesser "
        "denies before failsafes"
    )
    assert [line for line in found if "before failsafes" in line] == [expected] * said
    host.write(uplink=UPLINK.replace("eth0", '"*"'))
    assert told(host, "validate") == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("failsafe: none", ["eth1 has no HostEndpoint: new connections to it are denied"]),
        ("unmanagedInterfaces: {ingress: allow}", []),
        (
            "failsafe: none\nunmanagedInterfaces: {egress: deny}",
            [
                "eth1 has no HostEndpoint: new connections to it are denied, and new connections from it are denied",
            ],
        ),
    ],
    ids=["no failsafes", "open on purpose", "closed outward"],
)
def test_the_consequence_is_what_the_settings_make_it(host: Machine, settings: str, said: list[str]) -> None:
    """In the words of what a packet meets."""
    host.facts = replace(GUESTS, interfaces=tuple(one for one in GUESTS.interfaces if one.name in ("eth0", "eth1")))
    host.write(hostfw=f"node: web1\n{settings}\n", web=WEB, uplink=UPLINK)

    assert told(host, "validate") == [f"hostfw: warning: {line}" for line in said]


@pytest.mark.parametrize("verb", ["validate", "diff", "apply"])
def test_a_port_and_a_wrong_node_are_told(host: Machine, verb: str) -> None:
    """With the name of the master, and the node that the endpoints are of."""
    host.facts = BRIDGED
    host.write(hostfw="node: web1\n", web=WEB, uplink=UPLINK.replace("web1", "web2"))
    assert any('no HostEndpoint is of this node, "web1", so no policy' in line for line in told(host, verb))

    host.write(uplink=UPLINK)
    assert any(line.endswith(PORT) for line in told(host, verb))


def test_a_reload_by_a_timer_tells_of_guests_once(host: Machine) -> None:
    """Whatever they are called by now."""
    host.facts = GUESTS
    host.write(hostfw="node: web1\nfailsafe: {inbound: [{protocol: tcp, port: 22}]}\n", web=WEB, uplink=UPLINK)
    assert host.hostfwctl("apply").status == 0
    host.facts = replace(GUESTS, interfaces=(*GUESTS.interfaces, Interface("cali7", 21, kind="veth")))

    assert told(host, "reload") == []


def test_diff_says_that_apply_would_be_refused(host: Machine) -> None:
    """Beforehand, with the option that accepts it."""
    applied(host, ROUTER, UPLINK)
    host.write(uplink=UPLINK.replace("eth0", "eth7"))

    done = host.hostfwctl("diff")

    assert done.status == 1
    assert "warning: `apply` is refused, as this would leave eth0 without a HostEndpoint" in done.err
    assert "--accept-loss" in done.err


def test_everything_that_would_go_is_listed_on_demand(host: Machine) -> None:
    """A refusal names the first few; -v has the rest, as `diff` does."""
    applied(host, ROUTER, UPLINK)
    many = "---\n".join(WEB.replace("name: web", f"name: web{number}") for number in range(9))
    host.write(web=many)
    assert host.hostfwctl("apply").status == 0
    host.write(web="")

    said = {verb: host.hostfwctl(*verb).err for verb in (("apply",), ("apply", "-v"), ("diff", "-v"))}

    assert "web4 and 4 more" in " ".join(said["apply",].split())
    assert "web8" not in said["apply",]
    assert all(f"and GlobalNetworkPolicy/web{number}" in said["apply", "-v"] for number in range(5, 9))
    assert "and GlobalNetworkPolicy/web8" in said["diff", "-v"]
