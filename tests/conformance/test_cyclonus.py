"""Cyclonus' oracle: every verdict that it has is ours.

Each pod is behind an interface of its own of one node, so that all are judged by one Plan.
"""

from collections.abc import Iterator

from hostfw.explain.verdict import explain
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import Plan
from hostfw.model.settings import Failsafe, Settings, Workloads
from hostfw.model.values import PROTOCOLS, Family, parse_address
from hostfw.policy.resolve.plan import resolve
from tests.conformance.cyclonus import Json, cyclonus_cases, pods, resources

NODE = "node"
ELSEWHERE = "up"
"""An interface that nothing governs: what comes in or goes out there meets the policy of one pod alone."""


def test_every_verdict_of_the_oracle_is_ours() -> None:
    """In and out, over TCP, UDP and SCTP, on two ports."""
    compared, cases = 0, cyclonus_cases()
    for case in cases:
        for step in case["Steps"]:
            plan = _plan(step)
            wrong = [difference for difference in _differences(plan, step) if difference]
            assert not wrong, f"case {case['ID']}, {case['Description']}: {wrong[:5]}"
            compared += sum(len(by_port) for targets in step["Verdicts"].values() for by_port in targets.values())
    assert (len(cases), compared) == (230, 123_669)


def _differences(plan: Plan, step: Json) -> Iterator[str]:
    """For each pair, protocol and port: nothing, or what we say and what the oracle does (ingress, then egress)."""
    addresses = {name: _address(pod["IP"]) for name, pod in zip(pods(step), step["Pods"], strict=True)}
    interfaces = {pod: f"if{number}" for number, pod in enumerate(addresses)}
    for source, targets in step["Verdicts"].items():
        for target, by_port in targets.items():
            for protocol_and_port, expected in by_port.items():
                protocol, port = protocol_and_port.split("/")
                ends = (addresses[source], addresses[target], 40000, int(port))
                number = PROTOCOLS[protocol].number
                way_in, way_out = interfaces[source], interfaces[target]
                into, out, both = (
                    Packet(Family.V4, number, *ends, in_interface=first, out_interface=last)
                    for first, last in ((ELSEWHERE, way_out), (way_in, ELSEWHERE), (way_in, way_out))
                )
                ours = "".join("A" if explain(plan, packet).allowed else "B" for packet in (into, out))
                passes = explain(plan, both).allowed
                agreed = ours == expected and passes is (expected == "AA")
                yield "" if agreed else f"{source} to {target} {protocol_and_port}: {ours} {passes}, not {expected}"


def _plan(step: Json) -> Plan:
    interfaces = [f"if{number}" for number, _ in enumerate(step["Pods"])]
    facts = HostFacts(NODE, tuple(Interface(name, number) for number, name in enumerate(interfaces, 1)))
    places = [(NODE, name) for name in interfaces]
    settings = Settings(failsafe=Failsafe((), ()), workloads=Workloads(("if*",)))
    plan, problems = resolve(resources(step, places), settings, facts)
    assert problems == ()
    return plan


def _address(text: str) -> int:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]
