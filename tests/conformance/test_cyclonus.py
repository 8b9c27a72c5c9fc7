"""Cyclonus' oracle: 230 cases of Kubernetes NetworkPolicy with the verdict of every pod to every pod.

A pod is a HostEndpoint on an interface of its own, with its labels and its namespace's; a NetworkPolicy is a
GlobalNetworkPolicy whose selectors say namespace and pod. What no policy selects is allowed, by a profile.
"""

import gzip
import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hostfw.model.facts import HostFacts, Interface
from hostfw.model.packet import Packet
from hostfw.model.plan import Plan
from hostfw.model.resources import (
    EndpointPort,
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    Metadata,
    Resources,
    Rule,
    SelectorText,
)
from hostfw.model.settings import Failsafe, Settings
from hostfw.model.values import (
    PROTOCOLS,
    SCTP,
    TCP,
    UDP,
    Action,
    Direction,
    Family,
    PortRange,
    parse_address,
    parse_cidr,
)
from hostfw.policy.explain import explain
from hostfw.policy.resolve import resolve

Json = Any
"""What Kubernetes' own JSON holds."""

DATA = Path(os.environ.get("HOSTFW_CONFORMANCE", Path(__file__).parents[2].parent / "shared/conformance"))
CASES = DATA / "cyclonus.json.gz"

NODE = "node"
ALLOW_THE_REST = "projectcalico-default-allow"
NAMESPACE = "namespace"
NAMESPACE_LABEL = "of-namespace"
SERVED = tuple(product((80, 81), (TCP, UDP, SCTP)))


def test_every_verdict_of_the_oracle_is_ours() -> None:
    """In and out, over TCP, UDP and SCTP, on two ports."""
    if not CASES.exists():
        pytest.skip(f"{CASES} is not there (HOSTFW_CONFORMANCE names its folder)")
    with gzip.open(CASES) as file:
        cases = json.load(file)

    compared = 0
    for case in cases:
        for step in case["Steps"]:
            plan = _plan(step)
            wrong = [difference for difference in _differences(plan, step) if difference]
            assert not wrong, f"case {case['ID']}, {case['Description']}: {wrong[:5]}"
            compared += sum(len(by_port) for targets in step["Verdicts"].values() for by_port in targets.values())
    assert compared == 123_669


def _differences(plan: Plan, step: Json) -> Iterator[str]:
    """For each pair, protocol and port: nothing, or what we say and what the oracle does (ingress, then egress)."""
    addresses = {f"{pod['NS']}/{pod['Name']}": _address(pod["IP"]) for pod in step["Pods"]}
    interfaces = {pod: f"if{number}" for number, pod in enumerate(addresses)}
    for source, targets in step["Verdicts"].items():
        for target, by_port in targets.items():
            for protocol_and_port, expected in by_port.items():
                protocol, port = protocol_and_port.split("/")
                ends = (addresses[source], addresses[target], 40000, int(port))
                number = PROTOCOLS[protocol].number
                into = Packet(Family.V4, number, *ends, in_interface=interfaces[target])
                out = Packet(Family.V4, number, *ends, out_interface=interfaces[source])
                ours = "".join("A" if explain(plan, packet).allowed else "B" for packet in (into, out))
                yield "" if ours == expected else f"{source} to {target} {protocol_and_port}: {ours}, not {expected}"


def _plan(step: Json) -> Plan:
    pods = step["Pods"]
    endpoints = tuple(_endpoint(number, pod, step["Namespaces"]) for number, pod in enumerate(pods))
    policies = tuple(_policy(number, policy) for number, policy in enumerate(step["Policies"]))
    facts = HostFacts(NODE, tuple(Interface(f"if{number}", number + 1) for number in range(len(pods))))
    plan, problems = resolve(
        Resources(policies=policies, endpoints=endpoints), Settings(failsafe=Failsafe((), ())), facts
    )
    assert problems == ()
    return plan


def _endpoint(number: int, pod: Json, namespaces: Json) -> HostEndpoint:
    labels = {
        **pod["Labels"],
        NAMESPACE: pod["NS"],
        **{f"{NAMESPACE_LABEL}/{key}": value for key, value in namespaces[pod["NS"]].items()},
    }
    address = parse_cidr(f"{pod['IP']}/32")
    assert address is not None
    return HostEndpoint(
        Metadata(f"pod-{number}", tuple(sorted(labels.items()))),
        node=NODE,
        interface_name=f"if{number}",
        expected_ips=(address,),
        profiles=(ALLOW_THE_REST,),
        ports=tuple(EndpointPort(f"serve-{port}-{protocol.name.lower()}", protocol, port) for port, protocol in SERVED),
    )


def _policy(number: int, policy: Json) -> GlobalNetworkPolicy:
    spec, namespace = policy["spec"], policy["metadata"].get("namespace") or "default"
    here = _equals(NAMESPACE, namespace)
    return GlobalNetworkPolicy(
        Metadata(f"{policy['metadata']['name']}-{number}"),
        selector=SelectorText(_both(here, _selector(spec["podSelector"], ""))),
        types=tuple(Direction(name.lower()) for name in spec["policyTypes"]),
        ingress=tuple(_rules(spec.get("ingress") or (), "from", here)),
        egress=tuple(_rules(spec.get("egress") or (), "to", here)),
    )


def _rules(rules: Json, peers: str, here: str) -> Iterator[Rule]:
    for rule in rules:
        sides = [_peer(peer, here) for peer in rule.get(peers) or ()] or [EntityRule()]
        ports = rule.get("ports") or [None]
        for side, port in product(sides, ports):
            ours = () if port is None or "port" not in port else (_port(port),)
            protocol = None if port is None else PROTOCOLS[port.get("protocol", "TCP")]
            if peers == "from":
                yield Rule(Action.ALLOW, protocol=protocol, source=side, destination=EntityRule(ports=ours))
            else:
                to = EntityRule(nets=side.nets, not_nets=side.not_nets, selector=side.selector, ports=ours)
                yield Rule(Action.ALLOW, protocol=protocol, destination=to)


def _port(port: Json) -> PortRange | str:
    first = port["port"]
    return first if isinstance(first, str) else PortRange(first, port.get("endPort", first))


def _peer(peer: Json, here: str) -> EntityRule:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        nets, not_nets = (
            [parse_cidr(text) for text in texts] for texts in ([block["cidr"]], block.get("except") or ())
        )
        return EntityRule(nets=tuple(filter(None, nets)), not_nets=tuple(filter(None, not_nets)))
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    where = here if namespaces is None else _selector(namespaces, f"{NAMESPACE_LABEL}/")
    return EntityRule(selector=SelectorText(_both(where, _selector(pods or {}, ""))))


def _selector(selector: Json, prefix: str) -> str:
    terms = [_equals(prefix + key, value) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        values = ", ".join(f"'{value}'" for value in expression["values"])
        word = {"In": "in", "NotIn": "not in"}[expression["operator"]]
        terms.append(f"{prefix}{expression['key']} {word} {{{values}}}")
    return " && ".join(terms) or "all()"


def _equals(label: str, value: str) -> str:
    return f"{label} == '{value}'"


def _both(one: str, other: str) -> str:
    return f"({one}) && ({other})"


def _address(text: str) -> int:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]
