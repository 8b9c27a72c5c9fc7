"""Cyclonus' oracle with packets: nine pods around one host, with the policies as the oracle has them.

TCP and UDP go by real connections there and back. Of SCTP, which not every kernel speaks, it is the first packet that
is sent and received by raw sockets.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.host.store.configuration.files import read_configuration
from hostfw.manifest.encode import manifest
from hostfw.model.packets.packet import Packet
from hostfw.model.values import PROTOCOLS, SCTP, Family
from lab.laboratory import Lab, laboratory
from lab.namespace import inside, open_socket, run
from lab.packets.probe import ALLOW_PATIENCE_S, Flow, Verdict, probe
from lab.topology import Link, Node, Topology, assigned
from tests.conformance.cyclonus import Json, cyclonus_cases, pods, resources
from tests.kernel.packets.frames import datagrams

PODS = 9
EVERY = 12
"""Of the steps with nine pods every so manieth is taken."""
LEAST_STEPS = 20
_DENY_PATIENCE_S = 0.4
_SETTLE_S = 0.1
_IP_HEADER_BYTES = 20
_SETTINGS = 'node: host\nworkloads: {interfaces: ["ve-*"]}\n'


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nine pods around one host, whose directories and nft worker these are."""

    lab: Lab
    directories: Directories
    worker: NftablesWorker


PLACES = [("host", f"ve-{number}") for number in range(PODS)]
"""The node and the interface of each pod."""
NAMES = [f"pod-{number}" for number in range(PODS)]
_GATEWAY = "169.254.1.1"


def _steps() -> list[tuple[str, Json]]:
    """Steps, each with the title of its case."""
    steps = [
        (f"case {case['ID']}, {case['Description']}", step)
        for case in cyclonus_cases()
        for step in case["Steps"]
        if len(step["Pods"]) == PODS
    ]
    return steps[::EVERY]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The oracle's pods at the addresses that they have there, each by a route of its own as Calico has it."""
    _, step = _steps()[0]
    links = tuple(Link(name, name, addresses=assigned(f"{_GATEWAY}/32")) for _, name in PLACES)
    pods_of = (
        Node(name, (Link("host0", interface, addresses=assigned(f"{pod['IP']}/32")),))
        for name, (_, interface), pod in zip(NAMES, PLACES, step["Pods"], strict=True)
    )
    directories = Directories(tmp_path / "etc", tmp_path / "state", tmp_path / "run")
    for directory in (directories.config, directories.state, directories.run):
        directory.mkdir()
    (directories.config / "hostfw.yaml").write_text(_SETTINGS)
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(Topology((Node("host", links, forwards=True), *pods_of))))
        for name, (_, interface), pod in zip(NAMES, PLACES, step["Pods"], strict=True):
            run(lab["host"], ["ip", "route", "add", pod["IP"], "dev", interface])
            run(lab[name], ["ip", "route", "add", _GATEWAY, "dev", "host0"])
            run(lab[name], ["ip", "route", "add", "default", "via", _GATEWAY])
        with inside(lab["host"]):
            worker = stack.enter_context(NftablesWorker())
        yield Cluster(lab, directories, worker)


def test_every_pod_reaches_what_the_oracle_says(cluster: Cluster) -> None:
    """From every pod to every other, on both ports, over TCP, UDP and SCTP."""
    steps = _steps()
    for title, step in steps:
        assert [f"{pod['IP']}/32" for pod in step["Pods"]] == _addresses(cluster.lab)
        _roll_out(cluster, step)
        expected = dict(expected_flows(NAMES, step))
        seen = reached(cluster.lab, expected)
        wrong = [f"{flow}: {seen[flow]}" for flow, allowed in expected.items() if seen[flow] is not allowed]
        assert not wrong, "\n".join((title, *wrong[:20]))
        assert len(expected) == PODS * (PODS - 1) * 6
    assert len(steps) >= LEAST_STEPS


def _addresses(lab: Lab) -> list[str]:
    return [str(address) for name in NAMES for address in lab.topology.node(name).addresses(Family.V4)]


def _roll_out(cluster: Cluster, step: Json) -> None:
    """Have the host enforce the policies of a step."""
    documents = map(manifest, resources(step, PLACES).all())
    (cluster.directories.config / "resources.yaml").write_text(yaml.safe_dump_all(documents))
    candidate = check_candidate(*read_configuration(cluster.directories.config))
    with inside(cluster.lab["host"]):
        apply(cluster.directories, cluster.worker, candidate)


def apply(directories: Directories, worker: NftablesWorker, candidate: Candidate) -> None:
    """Have the host enforce a candidate, by a worker that lives on."""
    with pytest.MonkeyPatch.context() as patched:
        # The engine would start a worker for each step.
        patched.setattr(worker, "close", lambda: None)
        applied = Engine(directories, Host(nftables=lambda _keep_open: worker)).apply(candidate, accept_loss=True)
    assert isinstance(applied, Applied), applied


def expected_flows(nodes: Sequence[str], step: Json) -> Iterator[tuple[Flow, bool]]:
    """Every flow between two pods, and whether both the one's egress and the other's ingress let it pass."""
    node_of = dict(zip(pods(step), nodes, strict=True))
    for source, targets in step["Verdicts"].items():
        for target, by_port in targets.items():
            for protocol_and_port, verdict in by_port.items():
                # What a pod says to itself never leaves it.
                if source != target:
                    protocol, port = protocol_and_port.split("/")
                    flow = Flow(node_of[source], node_of[target], PROTOCOLS[protocol], int(port), Family.V4)
                    yield flow, verdict == "AA"


def reached(lab: Lab, expected: dict[Flow, bool]) -> dict[Flow, bool]:
    """The flows that came through: expected ones are awaited with patience, apart from the others."""
    seen: dict[Flow, bool] = {}
    for wanted, patience_s in ((True, ALLOW_PATIENCE_S), (False, _DENY_PATIENCE_S)):
        flows = [flow for flow, allowed in expected.items() if allowed is wanted and flow.protocol != SCTP]
        seen |= {outcome.flow: outcome.verdict is Verdict.ALLOWED for outcome in probe(lab, flows, patience_s)}
    associations = [flow for flow in expected if flow.protocol == SCTP]
    arrived = _arrived(lab, associations)
    return seen | {flow: flow in arrived for flow in associations}


def _arrived(lab: Lab, flows: Sequence[Flow]) -> set[Flow]:
    """The SCTP associations whose first packets arrived, told apart by source port."""
    numbered = dict(zip(count(10_000), flows, strict=False))
    arrived: set[Flow] = set()
    with ExitStack() as stack:
        raw = {
            name: stack.enter_context(open_socket(lab[name], socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP))
            for name in NAMES
        }
        for number, flow in numbered.items():
            _send(raw[flow.source], lab, flow, number)
        time.sleep(_SETTLE_S)
        for name, receiver in raw.items():
            receiver.setblocking(False)
            for source_port, port in _received(receiver):
                flow = numbered[source_port]
                assert (flow.destination, flow.port) == (name, port)
                arrived.add(flow)
    return arrived


def _send(sender: socket.socket, lab: Lab, flow: Flow, source_port: int) -> None:
    source = lab.topology.address(flow.destination, flow.source, Family.V4)
    destination = lab.topology.address(flow.source, flow.destination, Family.V4)
    packet = Packet(
        Family.V4,
        SCTP.number,
        int(IPv4Address(source)),
        int(IPv4Address(destination)),
        source_port,
        flow.port,
        out_interface="host0",
    )
    (datagram,) = datagrams(packet, 1)
    sender.sendto(datagram[_IP_HEADER_BYTES:], (destination, 0))


def _received(receiver: socket.socket) -> Iterator[tuple[int, int]]:
    """The ports of the packets that have come."""
    while True:
        try:
            packet = receiver.recv(2048)[_IP_HEADER_BYTES:]
        except BlockingIOError:
            return
        yield int.from_bytes(packet[:2], "big"), int.from_bytes(packet[2:4], "big")
