"""The audit with real packets: `hostfwctl drops` tells what `explain` does, `hostfwctl counters` counts them all."""

import json
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from time import monotonic, sleep

import pytest

from hostfw.build.generation import Generation
from hostfw.explain.verdict import explain
from hostfw.host.nftables.nflog import NflogReader
from hostfw.journal.message_ids import MessageId
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.packets.packet import Packet
from hostfw.model.values import FAMILIES, ICMP, TCP, UDP, Action, Family, Protocol, parse_address
from lab.hostfwctl import Installation, environment, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import inside, open_socket, process
from lab.packets.packet_records import generation_of
from lab.packets.probe import DENY_PATIENCE_S, Flow, Sent, probe
from lab.service import Entry, service

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: outside, labels: {side: outside}}
spec: {node: host, interfaceName: wan0}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: inside, labels: {side: inside}}
spec: {node: host, interfaceName: lan0}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: a-tier-with-a-name-longer-than-a-prefix-has-room-for}
spec: {order: 10}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: a-tier-with-a-name-longer-than-a-prefix-has-room-for.and-a-policy-whose-name-is-as-long-as-that}
spec:
  tier: a-tier-with-a-name-longer-than-a-prefix-has-room-for
  selector: all()
  types: [Ingress, Egress]
  ingress:
    - {action: Deny, protocol: UDP, destination: {ports: [7000]}}
    - {action: Pass}
  egress:
    - {action: Deny, protocol: TCP, destination: {ports: [7001]}}
    - {action: Pass}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: default.local}
spec:
  order: 5
  selector: side == 'outside'
  ingress:
    - {action: Log, protocol: TCP}
    - {action: Deny, protocol: TCP, destination: {ports: [8080]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default.local}
spec:
  order: 10
  selector: side == 'outside'
  types: [Ingress, Egress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [8080]}}
    - {action: Log, protocol: UDP}
    - {action: Deny, protocol: UDP, destination: {ports: [53]}}
    - {action: Deny, protocol: ICMP}
    - {action: Deny, protocol: ICMPv6}
  egress:
    - {action: Deny, protocol: UDP, destination: {ports: [53]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default.forwarded}
spec:
  order: 20
  selector: all()
  applyOnForward: true
  types: [Ingress, Egress]
  ingress:
    - {action: Deny, protocol: TCP, destination: {ports: [9000]}}
    - {action: Allow, protocol: UDP, destination: {ports: [9001]}}
  egress:
    - {action: Deny, protocol: UDP, destination: {ports: [9001]}}
    - {action: Allow, protocol: TCP, destination: {ports: [9000]}}
"""
"""Every way to be denied or logged: by rule, by the end of a tier, in, out, through, staged; names long and short."""

LONG = "a-tier-with-a-name-longer-than-a-prefix-has-room-for.and-a-policy-whose-name-is-as-long-as-that"

CONVERSATIONS: tuple[tuple[str, str, Protocol, int | None], ...] = (
    ("outer", "host", UDP, 7000),
    ("outer", "host", TCP, 8080),
    ("outer", "host", UDP, 53),
    ("outer", "host", UDP, 161),
    ("outer", "host", TCP, 443),
    ("outer", "host", ICMP, None),
    ("inner", "host", TCP, 9000),
    ("host", "outer", TCP, 7001),
    ("host", "outer", UDP, 53),
    ("host", "outer", TCP, 443),
    ("inner", "outer", TCP, 9000),
    ("outer", "inner", TCP, 9000),
    ("inner", "outer", UDP, 9001),
    ("outer", "inner", UDP, 9001),
)
EARLY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: outside}
spec: {node: host, interfaceName: wan0, profiles: [office]}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: office}
spec:
  ingress:
    - {action: Deny, protocol: UDP, destination: {ports: [7102]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default.untracked}
spec:
  selector: all()
  doNotTrack: true
  applyOnForward: true
  types: [Ingress, Egress]
  ingress:
    - {action: Deny, protocol: UDP, destination: {ports: [7100]}}
  egress:
    - {action: Deny, protocol: TCP, destination: {ports: [7103]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default.before-dnat}
spec:
  selector: all()
  preDNAT: true
  applyOnForward: true
  types: [Ingress]
  ingress:
    - {action: Deny, protocol: TCP, destination: {ports: [7101]}}
"""
"""A policy that denies before and after everything else."""

EARLY_CONVERSATIONS: tuple[tuple[str, str, Protocol, int | None], ...] = (
    ("outer", "host", UDP, 7100),
    ("outer", "inner", UDP, 7100),
    ("outer", "host", TCP, 7101),
    ("outer", "inner", TCP, 7101),
    ("outer", "host", UDP, 7102),
    ("outer", "host", ICMP, None),
    ("host", "outer", TCP, 7103),
    ("host", "outer", UDP, 53000),
    ("inner", "host", TCP, 7104),
)

LINE = next(number for number, line in enumerate(POLICY.splitlines(), 1) if "7000" in line)
"""The line of the rule that denies UDP 7000."""

INTERFACES = {"outer": "wan0", "inner": "lan0", "host": None}

VARYING = frozenset(f"HOSTFW_{name}" for name in ("COUNT", "FIRST", "LAST", "LENGTH", "TCP_FLAGS", "FRAGMENT"))
"""The fields of one packet that no other of its kind need have."""

Event = frozenset[tuple[str, str]]


@pytest.fixture
def router(routed_lab: Lab, tmp_path: Path) -> Installation:
    """The host between `inner` and `outer` with POLICY in force."""
    installation = install(routed_lab["host"], tmp_path / "hostfw")
    (installation.config / "policies").mkdir()
    put_into_force(installation, POLICY)
    return installation


def put_into_force(installation: Installation, policy: str) -> None:
    """Write the policies down and apply them."""
    (installation.config / "policies" / "all.yaml").write_text(policy)
    hostfwctl(installation, "apply")


@contextmanager
def drops(router: Installation, *arguments: str) -> Iterator["Popen[str]"]:
    """`hostfwctl drops` on the host, from when it reads the log."""
    command = (*router.arguments, "drops", "-o", "json", *arguments)
    with process(router.node, command, environment=environment()) as started:
        log = Path(f"/proc/{started.pid}/net/netfilter/nfnetlink_log")
        deadline = monotonic() + 20
        while not log.exists() or not log.read_text():
            assert started.poll() is None, started.communicate()
            assert monotonic() < deadline, "drops does not read the log"
            sleep(0.02)
        yield started


TOLD = [
    ("normal", POLICY, CONVERSATIONS, {"deny", "log", "would-deny", "would-log"}, {"rule", "end-of-tier"}),
    ("early", EARLY, EARLY_CONVERSATIONS, {"deny"}, {"rule", "no-profile-match", "unmanaged-interface"}),
]


@pytest.mark.parametrize(
    ("policy", "conversations", "actions", "reasons"), [case[1:] for case in TOLD], ids=[case[0] for case in TOLD]
)
def test_drops_tells_what_explain_does(
    routed_lab: Lab,
    router: Installation,
    policy: str,
    conversations: tuple[tuple[str, str, Protocol, int | None], ...],
    actions: set[str],
    reasons: set[str],
) -> None:
    """Each record of TCP, UDP and ICMP over both families, in, out and through, denied, logged and staged."""
    put_into_force(router, policy)
    flows = [Flow(*each, family) for each in conversations for family in FAMILIES]
    generation = generation_of(router)

    with drops(router, "--follow") as running:
        outcomes = probe(routed_lab, flows, DENY_PATIENCE_S)
        sleep(1)
        running.send_signal(signal.SIGINT)
        output, messages = running.communicate(timeout=30)

    seen = {_compared(json.loads(line)) for line in output.splitlines()}
    expected = {event for outcome in outcomes for event in _explained(generation, outcome.flow, outcome.sent)}
    assert sorted(map(sorted, seen - expected)) == []
    assert sorted(map(sorted, expected - seen)) == []
    assert {dict(event)["HOSTFW_ACTION"] for event in seen} == actions
    assert {dict(event)["HOSTFW_REASON"] for event in seen} == reasons
    assert "lost" not in messages
    assert running.returncode == 0


def _compared(fields: dict[str, str]) -> Event:
    ours = {name: value for name, value in fields.items() if name.startswith("HOSTFW_")}
    return frozenset((name, value) for name, value in ours.items() if name not in VARYING)


def _explained(generation: Generation, flow: Flow, sent: Sent) -> Iterator[Event]:
    """The events that the reference semantics have for a packet."""
    packet = _packet(flow, sent)
    for step in explain(generation.plan, packet).steps:
        is_logged = step.action in (Action.LOG, Action.DENY) or step.staged
        if step.verdict is StepVerdict.DENY or (step.rule and step.matched and is_logged):
            yield frozenset(_fields(step, packet, generation.id))


def _packet(flow: Flow, sent: Sent) -> Packet:
    source, destination = _address(sent.source), _address(sent.destination)
    is_icmp = flow.port is None
    return Packet(
        flow.family,
        sent.protocol,
        source,
        destination,
        source_port=None if is_icmp else sent.source_port,
        destination_port=sent.destination_port,
        icmp_type=(8 if flow.family is Family.V4 else 128) if is_icmp else None,
        icmp_code=0 if is_icmp else None,
        in_interface=INTERFACES[flow.source],
        out_interface=INTERFACES[flow.destination],
    )


def _address(text: str) -> int:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


def _fields(step: Step, packet: Packet, generation: str) -> Iterable[tuple[str, str]]:
    """The fields that a step of the explanation stands for, each by the journal's name for it."""
    action = "log" if step.action is Action.LOG else "deny"
    names = {6: "TCP", 17: "UDP", 1: "ICMP", 58: "ICMPv6"}
    inet = socket.AF_INET if packet.family is Family.V4 else socket.AF_INET6
    size = packet.family.bits // 8
    # Before a packet is routed nobody knows where it will leave.
    is_routed = step.policy_class in (PolicyClass.NORMAL, PolicyClass.FORWARD) or packet.in_interface is None
    found = {
        "ACTION": f"would-{action}" if step.staged else action,
        "DIRECTION": step.direction,
        "REASON": step.reason,
        "KIND": step.rule and step.rule.kind,
        "TIER": step.tier,
        "POLICY": step.policy,
        "RULE": step.rule and step.rule.index,
        "ORIGIN": step.rule and step.position.file_line,
        "ENDPOINT": step.endpoint,
        "INTERFACE": step.interface,
        "IN_INTERFACE": packet.in_interface,
        "OUT_INTERFACE": packet.out_interface if is_routed else None,
        "PROTOCOL": names[packet.protocol],
        "SRC_ADDR": socket.inet_ntop(inet, packet.source.to_bytes(size, "big")),
        "SRC_PORT": packet.source_port,
        "DST_ADDR": socket.inet_ntop(inet, packet.destination.to_bytes(size, "big")),
        "DST_PORT": packet.destination_port,
        "ICMP_TYPE": packet.icmp_type,
        "ICMP_CODE": packet.icmp_code,
        "GENERATION": generation,
    }
    return ((f"HOSTFW_{name}", str(value)) for name, value in found.items() if value not in (None, ""))


def send(lab: Lab, port: int, count: int, family: Family = Family.V4, source: str = "outer") -> None:
    """Send UDP of one source port to the host."""
    inet = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    with open_socket(lab[source], inet, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(b"x" * 10, (lab.topology.address(source, "host", family), port))


def test_drops_folds_and_filters(routed_lab: Lab, router: Installation) -> None:
    """Similar packets are one event with their number; what was not asked for is left out."""
    with drops(
        router, "--count", "1", "--dst", "192.0.2.0/24", "--reason", "rule", "--policy", "default.local"
    ) as running:
        send(routed_lab, 161, 5, Family.V6)
        send(routed_lab, 7000, 5)
        send(routed_lab, 53, 7)
        output, messages = running.communicate(timeout=30)

    (event,) = map(json.loads, output.splitlines())
    assert (event["HOSTFW_ACTION"], event["HOSTFW_COUNT"], event["HOSTFW_DST_PORT"]) == ("log", "7", "53")
    assert messages == "7 packets logged, 1 event\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "timeout(1)"])
def test_a_signal_ends_drops_with_what_was_seen(routed_lab: Lab, router: Installation, number: signal.Signals) -> None:
    """Nothing that waited for others like it is lost, and the status is that of success."""
    with drops(router, "--follow") as running:
        send(routed_lab, 7000, 3)
        sleep(0.4)
        running.send_signal(number)
        output, messages = running.communicate(timeout=30)

    assert [json.loads(line)["HOSTFW_COUNT"] for line in output.splitlines()] == ["3"]
    assert messages == "3 packets logged, 1 event\n"
    assert running.returncode == 0


def test_drops_learns_of_another_generation(routed_lab: Lab, router: Installation) -> None:
    """A record is put down to the file and line that are in force when it comes, even if they alone have changed."""
    file = router.config / "policies" / "all.yaml"
    with drops(router, "--follow") as running:
        send(routed_lab, 7000, 1)
        for changed in (f"# Moved.\n{POLICY}", POLICY.replace("ports: [7000]", "ports: [7000, 7002]")):
            sleep(1.2)
            file.write_text(changed)
            hostfwctl(router, "apply")
            send(routed_lab, 7000, 1)
        sleep(1.2)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=30)

    events = [json.loads(line) for line in output.splitlines()]
    first, second, third = (event["HOSTFW_GENERATION"] for event in events)
    assert first == second != third
    origins = [event["HOSTFW_ORIGIN"] for event in events]
    assert origins == [f"{file}:{number}" for number in (LINE, LINE + 1, LINE)]


def test_the_service_learns_that_rules_have_moved(routed_lab: Lab, router: Installation, tmp_path: Path) -> None:
    """Also where the ruleset is the very same; a configuration that is refused changes nothing of it."""
    file = router.config / "policies" / "all.yaml"
    with service(router, tmp_path / "log") as running:
        for number, changed in enumerate((POLICY, f"# Moved.\n{POLICY}", POLICY.replace("spec:", "spec: x"))):
            file.write_text(changed)
            hostfwctl(router, "reload", check=number < 2)
            sleep(0.5)
            send(routed_lab, 7000, 1)
            running.wait_for(lambda entries: len(denied(entries)) > number)  # noqa: B023
            sleep(1.1)
        entries = denied(running.entries())

    assert [entry["HOSTFW_ORIGIN"] for entry in entries] == [f"{file}:{line}" for line in (LINE, LINE + 1, LINE + 1)]
    assert len({entry["HOSTFW_GENERATION"] for entry in entries}) == 1


def denied(entries: list[Entry]) -> list[Entry]:
    """Those of denied packets."""
    return [entry for entry in entries if entry["MESSAGE_ID"] == MessageId.PACKET_DENIED]


def test_a_group_that_is_read_already_is_said(router: Installation) -> None:
    """And with which status."""
    with inside(router.node), NflogReader(100, 128):
        done = hostfwctl(router, "drops", "--for", "1s", check=False)

    assert done.returncode == 4
    assert "hostfwctl: NFLOG group 100 has a reader already\n" in done.stderr


def test_counters_are_the_packets_that_were_sent(routed_lab: Lab, router: Installation) -> None:
    """By rule and by reason, both families added up and apart, however few of them were logged."""
    send(routed_lab, 7000, 300)
    send(routed_lab, 7000, 40, Family.V6)
    send(routed_lab, 161, 25, Family.V6)

    document = json.loads(hostfwctl(router, "counters", "-o", "json").stdout)

    assert document["kind"] == "Counters"
    assert document["others"] == []
    (denied,) = (rule for rule in document["rules"] if rule["origin"].endswith(f"/policies/all.yaml:{LINE}"))
    assert (denied["rule"], denied["direction"], denied["action"]) == (0, "ingress", "Deny")
    assert (denied["packets"], denied["ip"]["packets"], denied["ip6"]["packets"]) == (340, 300, 40)
    assert (denied["bytes"], denied["ip"]["bytes"]) == (300 * 38 + 40 * 58, 300 * 38)
    (end,) = (
        r
        for r in document["reasons"]
        if (r["reason"], r["tier"], r["direction"]) == ("end-of-tier", "default", "ingress")
    )
    assert (end["packets"], end["ip6"]["packets"]) == (25, 25)
    assert {rule["packets"] for rule in document["rules"] if rule["action"] == "Deny" and rule is not denied} == {0}


def test_counters_have_rates(routed_lab: Lab, router: Installation) -> None:
    """Only packets of the interval count."""
    send(routed_lab, 7000, 100)
    command = (*router.arguments, "counters", "--rate", "2s", "-o", "json", "--policy", LONG)
    with process(router.node, command, environment=environment()) as running:
        sleep(1.2)
        send(routed_lab, 7000, 50)
        document = json.loads(running.communicate(timeout=30)[0])

    (rule,) = (each for each in document["rules"] if each["packets"])
    assert rule["packets"] == 150
    assert rule["perSecond"]["packets"] == pytest.approx(50 / document["seconds"], rel=0.01)
    assert document["reasons"] == []
