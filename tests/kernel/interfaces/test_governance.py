"""Governance stays: real packets before and after a fact of the host has changed under the service."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from time import monotonic

import pytest

from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import run
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe
from lab.service import Service, service

_POLICY = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {{name: uplinks}}
spec: {{match: [{{defaultRoute: true}}]}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: uplink, labels: {{role: web}}}}
spec: {{node: host, {claim}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: role == 'web'
  applyOnForward: true
  ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [80]}}}}]
  egress: [{{action: Allow, protocol: TCP, destination: {{ports: [443]}}}}]
"""
_ADDRESSES = (
    "address add 192.0.2.1/24 dev {dev}",
    "address add 2001:db8::1/64 dev {dev} nodad",
    "route replace default via 192.0.2.2",
    "route replace default via 2001:db8::2",
)
_RENAME = ("link set wan0 down", "link set wan0 name ens3", "link set ens3 up")
_ENSLAVE = (
    "address flush dev wan0",
    "link add br1 type bridge",
    "link set br1 up",
    "link set wan0 master br1",
)

CHANGES: list[tuple[str, str, tuple[str, ...], str]] = [
    ("a new name", "interfaceName: wan0", (*_RENAME, *(a.format(dev="ens3") for a in _ADDRESSES[1:])), "ens3"),
    ("a port of a bridge", "interfaceName: wan0", (*_ENSLAVE, *(a.format(dev="br1") for a in _ADDRESSES)), "br1"),
    (
        "no default route",
        "interfaceGroup: uplinks",
        ("route del default", "-6 route del default", "route add 198.51.100.0/24 via 192.0.2.2"),
        "wan0",
    ),
    (
        "no lease",
        'expectedIPs: [192.0.2.1, "2001:db8::1"]',
        (
            "address del 192.0.2.1/24 dev wan0",
            "address add 192.0.2.9/24 dev wan0",
            "address del 2001:db8::1/64 dev wan0",
        ),
        "wan0",
    ),
]


def passes(lab: Lab, source: str, destination: str, port: int, address: str | None = None) -> bool:
    """True if a new connection over IPv4 gets through."""
    flow = Flow(source, destination, TCP, port, Family.V4, address)
    patience_s = ALLOW_PATIENCE_S if port in (80, 443) else DENY_PATIENCE_S
    return probe(lab, (flow,), patience_s)[0].verdict is Verdict.ALLOWED


def holds(lab: Lab, address: str | None = None) -> dict[str, bool]:
    """The packets that pass, allowed and denied ones, in each direction and through the host."""
    return {
        "in 80": passes(lab, "outer", "host", 80, address),
        "in 81": passes(lab, "outer", "host", 81, address),
        "out 443": passes(lab, "host", "outer", 443),
        "out 25": passes(lab, "host", "outer", 25),
        "through 25": passes(lab, "inner", "outer", 25),
    }


EXPECTED = {"in 80": True, "in 81": False, "out 443": True, "out 25": False, "through 25": False}


@pytest.fixture(name="place")
def _place(routed_lab: Lab, tmp_path: Path) -> tuple[Lab, Installation]:
    return routed_lab, install(routed_lab["host"], tmp_path / "hostfw")


def told(kind: str) -> Callable[[list[dict[str, str]]], object]:
    """A check that entries contain some words."""
    return lambda entries: any(kind in entry.get("MESSAGE", "") for entry in entries)


@pytest.mark.parametrize(("name", "claim", "commands", "kept"), CHANGES, ids=[case[0] for case in CHANGES])
def test_nothing_passes_that_did_not_and_nothing_is_closed(
    place: tuple[Lab, Installation], tmp_path: Path, name: str, claim: str, commands: tuple[str, ...], kept: str
) -> None:
    """The journal, status and doctor say which interface keeps what; a service that starts again, or a reload, too."""
    lab, host = place
    (host.config / "policy.yaml").write_text(_POLICY.format(claim=claim))
    hostfwctl(host, "apply")
    assert holds(lab) == EXPECTED, name
    address = "192.0.2.9" if name == "no lease" else None
    with service(host, tmp_path / "log") as running:
        for command in commands:
            run(lab["host"], ["ip", *command.split()])
        running.wait_for(told(f"no HostEndpoint claims interface {kept}"))
        settled(running, host, kept)
        assert holds(lab, address) == EXPECTED, name
        status = json.loads(hostfwctl(host, "status", "-o", "json").stdout)
        assert [(k["interface"], k["endpoint"]) for k in status["keptInterfaces"]] == [(kept, "uplink")]
        assert f"no HostEndpoint claims {kept}" in hostfwctl(host, "doctor", check=False).stdout
    with service(host, tmp_path / "second log"):
        hostfwctl(host, "reload")
        assert holds(lab, address) == EXPECTED, name


@pytest.mark.parametrize(
    ("claim", "commands", "interface", "said"),
    [
        ("interfaceName: wan0", (*_ENSLAVE, *(a.format(dev="br1") for a in _ADDRESSES)), "br1", "became a port of it"),
        (
            "interfaceGroup: uplinks",
            ("route add default via 10.0.0.2 metric 5",),
            "lan0",
            "HostEndpoint uplink governs (interfaceGroup uplinks)",
        ),
    ],
    ids=["a port of a bridge", "a member of a group"],
)
def test_status_says_what_passes_where_no_service_follows(
    place: tuple[Lab, Installation], claim: str, commands: tuple[str, ...], interface: str, said: str
) -> None:
    """Of an interface that no rule in force is for, as `doctor` does, until somebody has it governed."""
    lab, host = place
    (host.config / "policy.yaml").write_text(_POLICY.format(claim=claim))
    hostfwctl(host, "apply")
    assert "Ungoverned" not in hostfwctl(host, "status").stdout
    for command in commands:
        run(lab["host"], ["ip", *command.split()])
    if interface == "br1":
        assert passes(lab, "host", "outer", 25)

    shown = " ".join(hostfwctl(host, "status").stdout.split())
    document = json.loads(hostfwctl(host, "status", "-o", "json").stdout)

    assert f"Ungoverned: no rule in force is for {interface} yet, which HostEndpoint uplink governs" in shown
    assert "everything from and through it passes" in shown
    assert said in shown
    assert [(i["interface"], i["endpoint"]) for i in document["ungovernedInterfaces"]] == [(interface, "uplink")]
    assert f"no rule in force is for {interface} yet" in hostfwctl(host, "doctor", check=False).stdout
    hostfwctl(host, "reload")
    assert not passes(lab, "host", "outer", 25)
    assert "Ungoverned" not in hostfwctl(host, "status").stdout
    assert json.loads(hostfwctl(host, "status", "-o", "json").stdout)["ungovernedInterfaces"] == []


def settled(running: Service, host: Installation, kept: str) -> None:
    """Wait until the service has put what it announced into force, and recorded it."""

    def recorded(_: object) -> bool:
        status = json.loads(hostfwctl(host, "status", "-o", "json").stdout)
        return [item["interface"] for item in status["keptInterfaces"]] == [kept]

    running.wait_for(recorded)


def test_a_host_that_is_renamed_keeps_its_policy(place: tuple[Lab, Installation], tmp_path: Path) -> None:
    """At once, at the next link event and after a restart; `apply` takes the name once HostEndpoints have it."""
    lab, host = place
    policy = host.config / "policy.yaml"
    policy.write_text(_POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply")
    with service(host, tmp_path / "log") as running:
        run(lab["host"], ["hostname", "host.example.com"])
        running.wait_for(told("this host is called host.example.com now"))
        run(lab["host"], ["ip", "link", "add", "extra", "type", "bridge"])
        assert holds(lab) == EXPECTED
    with service(host, tmp_path / "second log") as running:
        running.wait_for(told("this host is called host.example.com now"))
        assert holds(lab) == EXPECTED
        assert "host.example.com" in hostfwctl(host, "status").stdout
        policy.write_text(policy.read_text().replace("node: host,", "node: host.example.com,"))
        hostfwctl(host, "apply")
        status = json.loads(hostfwctl(host, "status", "-o", "json").stdout)
        assert (status["node"], status["hostName"]) == ("host.example.com", "host.example.com")
        assert holds(lab) == EXPECTED


def test_an_empty_directory_opens_nothing(place: tuple[Lab, Installation]) -> None:
    """A failed mount is refused by name, until somebody accepts it."""
    lab, host = place
    policy = host.config / "policy.yaml"
    policy.write_text(_POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply")
    policy.unlink()

    refused = hostfwctl(host, "reload", check=False)

    assert refused.returncode == 1
    assert "HostEndpoint/uplink" in refused.stderr
    assert holds(lab) == EXPECTED
    hostfwctl(host, "apply", "--accept-loss")
    assert passes(lab, "inner", "outer", 25)


def test_what_is_kept_is_let_go_on_purpose(place: tuple[Lab, Installation]) -> None:
    """With the flag that says that a loss is meant, and with nothing else."""
    lab, host = place
    endpoint = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: inside}\n"
    policy = f"{_POLICY.format(claim='interfaceName: wan0')}{endpoint}spec: {{interfaceName: lan0}}\n"
    (host.config / "policy.yaml").write_text(policy)
    hostfwctl(host, "apply")
    for command in (*_RENAME, *(a.format(dev="ens3") for a in _ADDRESSES[1:])):
        run(lab["host"], ["ip", *command.split()])
    hostfwctl(host, "reload")
    assert not passes(lab, "host", "outer", 25)

    hostfwctl(host, "apply", "--accept-loss")

    assert passes(lab, "host", "outer", 25)


_OF_PORTS = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: ports}
spec: {match: [{master: br1}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {node: host, interfaceGroup: ports}
"""


@pytest.mark.parametrize("verb", [("apply",), ("reload",), ("apply", "--confirm-within", "60s")])
@pytest.mark.parametrize("served", [True, False], ids=["service", "alone"])
def test_endpoints_of_ports_alone_open_nothing(
    place: tuple[Lab, Installation], tmp_path: Path, verb: tuple[str, ...], *, served: bool
) -> None:
    """A bridge that is governed, and a configuration that names its port instead: refused, with the bridge's name."""
    lab, host = place
    for command in (*_ENSLAVE, *(a.format(dev="br1") for a in _ADDRESSES)):
        run(lab["host"], ["ip", *command.split()])
    policy = _POLICY.format(claim="interfaceName: br1")
    (host.config / "policy.yaml").write_text(policy)
    hostfwctl(host, "apply")
    assert holds(lab) == EXPECTED
    _, _, rules = policy.split("---\n")
    for change in (policy.replace("interfaceName: br1", "interfaceName: wan0"), f"{_OF_PORTS}---\n{rules}"):
        (host.config / "policy.yaml").write_text(change)

        with service(host, tmp_path / "log") if served else nullcontext():
            refused = hostfwctl(host, *verb, check=False)

        assert refused.returncode == 1
        assert "this would leave br1 without a HostEndpoint: new connections to it are denied" in refused.stderr
        assert holds(lab) == EXPECTED
    hostfwctl(host, "apply", "--accept-loss")
    assert passes(lab, "host", "outer", 25)


def test_the_way_back_opens_nothing_unsaid(place: tuple[Lab, Installation]) -> None:
    """To a generation that governs nothing: by number, and by hand from a trial. The deadline goes it all the same."""
    lab, host = place
    policy = host.config / "policy.yaml"
    policy.write_text(_POLICY.format(claim="interfaceName: wan9"))
    hostfwctl(host, "apply")
    assert passes(lab, "host", "outer", 25)
    policy.write_text(_POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply", "--confirm-within", "5m")
    refused = hostfwctl(host, "rollback", check=False)
    assert "this would leave wan0 without a HostEndpoint" in refused.stderr
    assert not passes(lab, "host", "outer", 25)
    hostfwctl(host, "apply", "--confirm-within", "2s")
    deadline = monotonic() + 20
    while not passes(lab, "host", "outer", 25):
        assert monotonic() < deadline
    hostfwctl(host, "apply")

    refused = hostfwctl(host, "rollback", "--to", "1", check=False)

    assert "this would leave wan0 without a HostEndpoint" in refused.stderr
    assert holds(lab) == EXPECTED
    hostfwctl(host, "rollback", "--to", "1", "--accept-loss")
    assert passes(lab, "host", "outer", 25)


_BOOT = Path(__file__).parents[3] / "units" / "hostfw-boot"
_FOREIGN = ("link add ens9 type veth", "link set ens9 up")


def boot(host: Installation, *commands: str) -> str:
    """Do what a boot does to hostfw, on links that changed while the host was off; gives the line for the journal.

    The service does not run yet.
    """
    run(host.node, ["nft", "flush ruleset"])
    run(host.node, ["ip", "-batch", "-"], text="\n".join(commands) + "\n")
    return boot_script(host)


def boot_script(host: Installation, *words: str) -> str:
    """Run what the boot runs, and a rule of udev; /sys shows the network namespace that it is mounted in."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOSTFW_STATE": str(host.state)}
    environment["HOSTFW_FAILSAFE"] = "/dev/null"
    script = 'mount -t sysfs sysfs /sys && exec sh "$0" "$@"'
    done = run(host.node, ["unshare", "--mount", "sh", "-c", script, str(_BOOT), *words], environment=environment)
    return done.stderr


@pytest.mark.parametrize("claim", ["interfaceName: wan0", "interfaceGroup: uplinks"])
def test_an_interface_with_another_name_is_governed_from_the_first_packet_of_a_boot(
    place: tuple[Lab, Installation], tmp_path: Path, claim: str
) -> None:
    """In every direction, before the service has started and while it starts; an interface of nobody's stays so."""
    lab, host = place
    (host.config / "hostfw.yaml").write_text("unmanagedInterfaces: {ingress: allow, egress: allow}\n")
    (host.config / "policy.yaml").write_text(_POLICY.format(claim=claim))
    hostfwctl(host, "apply")
    before = holds(lab)

    said = boot(host, *_FOREIGN, *_RENAME, *(each.format(dev="ens3") for each in _ADDRESSES[1:]))

    assert before == EXPECTED
    assert holds(lab) == EXPECTED
    assert "ens3 has the policy of wan0" in said
    sets = run(host.node, ["nft", "list", "set", "ip", "hostfw", "links/uplink"]).stdout
    assert "ens3" in sets
    assert "ens9" not in sets
    with service(host, tmp_path / "journal") as running:
        assert holds(lab) == EXPECTED
        if "Name" in claim:
            running.wait_for(told("no HostEndpoint claims interface ens3"))
            assert holds(lab) == EXPECTED
    assert holds(lab) == EXPECTED


def test_a_device_that_is_found_after_the_rules_of_a_boot_is_governed(
    place: tuple[Lab, Installation], tmp_path: Path
) -> None:
    """Under another name, before the service runs; what udev tells of later changes nothing."""
    lab, host = place
    (host.config / "policy.yaml").write_text(_POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply")
    away = lab["inner"].path

    early = boot(host, f"link set wan0 netns {away}") + boot_script(host, "link")
    run(lab["inner"], ["ip", "link", "set", "wan0", "name", "ens3", "netns", host.node.path])
    in_between = passes_out(lab, host)
    found = boot_script(host, "link")

    assert "has the policy of" not in early
    assert in_between
    assert "ens3 has the policy of wan0" in found
    assert holds(lab) == EXPECTED
    boot_script(host, "link")
    assert holds(lab) == EXPECTED
    with service(host, tmp_path / "journal") as running:
        running.wait_for(told("no HostEndpoint claims interface ens3"))
        assert holds(lab) == EXPECTED


def passes_out(lab: Lab, host: Installation) -> bool:
    """Configure the device that was found, and tell if it lets out what policy denies: so it would without the rule."""
    commands = ("link set ens3 up", *(each.format(dev="ens3") for each in _ADDRESSES))
    run(host.node, ["ip", "-batch", "-"], text="\n".join(commands) + "\n")
    return passes(lab, "host", "outer", 25)


def test_another_device_is_not_taken_for_one_that_was_governed(place: tuple[Lab, Installation]) -> None:
    """Neither one with another hardware address, nor two that have the same."""
    lab, host = place
    (host.config / "policy.yaml").write_text(_POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply")
    mac = json.loads(run(host.node, ["ip", "-j", "link", "show", "wan0"]).stdout)[0]["address"]

    other = boot(host, *_RENAME, "link set ens3 address 02:00:00:00:00:77")
    twins = boot(host, f"link set ens3 address {mac}", f"link add ens9 address {mac} type veth")

    assert "has the policy of" not in other + twins
    assert not holds(lab)["in 80"]
