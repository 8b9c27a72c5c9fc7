"""Cyclonus' oracle with packets between ports of bridges: nine pods on one bridge, and on two.

On one bridge each pod finds the others as neighbours. On two those of the other bridge are behind the host, its router.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import check_candidate
from hostfw.engine.context import Directories
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.host.store.configuration.files import read_configuration
from hostfw.manifest.encode import manifest
from hostfw.model.values import Mac
from lab.laboratory import laboratory
from lab.namespace import inside, run, set_sysctl
from lab.topology import Link, Node, Topology, assigned
from tests.conformance.cyclonus import Json, cyclonus_cases, resources
from tests.kernel.policy.test_cyclonus import NAMES, PLACES, PODS, Cluster, apply, expected_flows, reached

_GATEWAY = "169.254.1.1"
_EVERY = 8
"""Of the steps with nine pods every so manieth is taken, in turn on one bridge and on two."""
_LEAST_STEPS = 30


def _steps(bridges: int) -> list[tuple[str, Json]]:
    """Steps, each with the title of its case; other ones for each number of bridges."""
    steps = [
        (f"case {case['ID']}, {case['Description']}", step)
        for case in cyclonus_cases()
        for step in case["Steps"]
        if len(step["Pods"]) == PODS
    ]
    return steps[bridges - 1 :: _EVERY]


@pytest.fixture(name="cluster", params=[1, 2])
def _cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, Cluster]]:
    """The oracle's pods at the addresses that they have there, as ports of so many bridges in turn."""
    bridges = int(request.param)
    addresses = [pod["IP"] for pod in _steps(bridges)[0][1]["Pods"]]
    on = [f"br{number % bridges}" for number in range(PODS)]
    links = (
        *(Link(f"br{number}", kind="bridge", addresses=assigned(f"{_GATEWAY}/32")) for number in range(bridges)),
        *(Link(name, name, master=bridge) for (_, name), bridge in zip(PLACES, on, strict=True)),
    )
    of_pods = (
        Node(name, (Link("host0", interface, addresses=assigned(f"{address}/32")),))
        for name, (_, interface), address in zip(NAMES, PLACES, addresses, strict=True)
    )
    directories = Directories(tmp_path / "etc", tmp_path / "state", tmp_path / "run")
    for directory in (directories.config, directories.state, directories.run):
        directory.mkdir()
    (directories.config / "hostfw.yaml").write_text('node: host\nworkloads: {bridges: ["br*"]}\n')
    with ExitStack() as stack:
        lab = stack.enter_context(laboratory(Topology((Node("host", links, forwards=True), *of_pods))))
        for family in ("iptables", "ip6tables"):
            set_sysctl(lab["host"], f"net.bridge.bridge-nf-call-{family}", "0")
        for name, bridge, address in zip(NAMES, on, addresses, strict=True):
            run(lab["host"], ["ip", "route", "add", address, "dev", bridge])
            near = [other for other, where in zip(addresses, on, strict=True) if (where, other) != (bridge, address)]
            for other in (_GATEWAY, *(one for one in near if on[addresses.index(one)] == bridge)):
                run(lab[name], ["ip", "route", "add", other, "dev", "host0"])
            run(lab[name], ["ip", "route", "add", "default", "via", _GATEWAY])
        with inside(lab["host"]):
            worker = stack.enter_context(NftablesWorker())
        yield bridges, Cluster(lab, directories, worker)


@pytest.mark.timeout(900)
def test_every_pod_behind_a_bridge_reaches_what_the_oracle_says(cluster: tuple[int, Cluster]) -> None:
    """From every pod to every other, on both ports, over TCP, UDP and SCTP."""
    bridges, of = cluster
    steps = _steps(bridges)
    macs = [json.loads(run(of.lab[name], ["ip", "-j", "link", "show", "host0"]).stdout)[0]["address"] for name in NAMES]
    for title, step in steps:
        _roll_out(of, step, macs)
        expected = dict(expected_flows(NAMES, step))
        seen = reached(of.lab, expected)
        wrong = [f"{flow}: {seen[flow]}" for flow, allowed in expected.items() if seen[flow] is not allowed]
        assert not wrong, "\n".join((title, *wrong[:20]))
        assert len(expected) == PODS * (PODS - 1) * 6
    assert len(steps) >= _LEAST_STEPS


def _roll_out(cluster: Cluster, step: Json, macs: list[str]) -> None:
    """Have the host enforce the policies of a step."""
    found = resources(step, PLACES)
    by_port = {interface: mac for (_, interface), mac in zip(PLACES, macs, strict=True)}
    workloads = tuple(
        replace(one, mac=Mac(int(by_port[one.interface_name].replace(":", ""), 16))) for one in found.workloads
    )
    documents = map(manifest, replace(found, workloads=workloads).all())
    (cluster.directories.config / "resources.yaml").write_text(yaml.safe_dump_all(documents))
    candidate = check_candidate(*read_configuration(cluster.directories.config))
    with inside(cluster.lab["host"]):
        apply(cluster.directories, cluster.worker, candidate)
