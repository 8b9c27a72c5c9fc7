"""Exposure equals packets: whoever is said to reach a service connects to it, and nobody else does."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random
from typing import cast

import pytest

from hostfw.model.values import TCP
from lab.hostfwctl import hostfwctl, install
from lab.laboratory import laboratory
from lab.namespace import run
from lab.packets.probe import Sent, Verdict, probe
from lab.stories.flows import Story, stories
from lab.stories.story import in_force
from tests.kernel.cli.exposed_hosts import (
    PORTS,
    disagreements,
    knocks,
    listening,
    own_all_addresses,
    random_host,
    topology,
)

HOSTS = 4
"""Random hosts in a batch."""
BATCHES = 50
PATIENCE_S = 1.0


@pytest.mark.parametrize("batch", [pytest.param(n, marks=[pytest.mark.soak] if n else []) for n in range(BATCHES)])
def test_neighbours_connect_to_what_they_are_said_to_reach(batch: int, tmp_path: Path) -> None:
    """On random hosts, from addresses in and out of each set: services of the host and published ports alike."""
    wrong: list[str] = []
    verdicts = {True: 0, False: 0}
    with (
        laboratory(topology()) as lab,
        listening(lab, "container", [("172.17.0.2", port) for port in (*PORTS, 8000, 9000)]),
    ):
        own_all_addresses(lab)
        for seed in range(batch * HOSTS, (batch + 1) * HOSTS):
            drawn = random_host(seed)
            installation = install(lab["host"], tmp_path / str(seed))
            (installation.config / "policy.yaml").write_text(drawn.manifests)
            (installation.config / "hostfw.yaml").write_text(drawn.settings)
            run(lab["host"], ["nft", "-f", "-"], text=drawn.published)
            with listening(lab, "host", drawn.listeners):
                hostfwctl(installation, "apply")
                tried = list(knocks(installation, Random(seed)))
                for knock in tried:
                    verdicts[knock.expected] += 1
                wrong += [f"host {seed}: {found}" for found in disagreements(lab, tried)]
            run(lab["host"], ["nft", "delete", "table", "ip", "engine"])
            hostfwctl(installation, "disable", "--remove-rules")

    assert wrong == []
    assert min(verdicts.values()) >= HOSTS, "both verdicts are tried"


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_the_flows_of_the_examples_are_as_exposed(story: Story, tmp_path: Path) -> None:
    """A neighbour connects to a port that the host listens on if and only if its address is exposed to it."""
    mine = (each.flow for each in story.flows if each.flow.destination == story.host != each.flow.source)
    flows = [flow for flow in mine if flow.protocol == TCP]
    with in_force(story, tmp_path) as (lab, installation):
        with listening(lab, story.host, [("::", port) for port in sorted({flow.port or 0 for flow in flows})]):
            document = json.loads(hostfwctl(installation, "exposure", "-o", "json").stdout)
        outcomes = probe(lab, flows, PATIENCE_S)

    exposed = [_is_exposed(document, outcome.sent) for outcome in outcomes]
    assert [str(outcome.flow) for outcome in outcomes if outcome.verdict is Verdict.ALLOWED] == [
        str(outcome.flow) for outcome, is_exposed in zip(outcomes, exposed, strict=True) if is_exposed
    ]


def _is_exposed(document: dict[str, list[dict[str, object]]], sent: Sent) -> bool:
    """True if a table has the source of a packet among those that reach its destination, on any interface."""
    source = ip_address(sent.source)
    decisions = [
        decision
        for item in document["items"]
        if item["port"] == sent.destination_port
        for place in cast("list[dict[str, object]]", item["reached"])
        if place["address"] == sent.destination
        for decision in cast("list[dict[str, object]]", place["decisions"])
    ]
    return any(
        decision["allowed"] and source in ip_network(net)
        for decision in decisions
        for net in cast("list[str]", decision["sources"])
    )
