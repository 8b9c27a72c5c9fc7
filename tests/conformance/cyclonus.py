"""Cyclonus' oracle: 230 cases of Kubernetes NetworkPolicy with the verdict of every pod to every pod, in our words.

A pod is a HostEndpoint with its labels and its namespace's; a NetworkPolicy is a GlobalNetworkPolicy whose selectors
say namespace and pod. What no policy selects is allowed, by a profile.
"""

import gzip
import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.kinds.workloads import EndpointPort
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, HostEndpoint, Resources, Rule
from hostfw.model.values import PROTOCOLS, SCTP, TCP, UDP, Action, Direction, PortRange, parse_cidr

Json = Any
"""The content of Kubernetes' own JSON."""

ALLOW_THE_REST = "projectcalico-default-allow"
NAMESPACE = "namespace"
NAMESPACE_LABEL = "of-namespace."
SERVED = tuple(product((80, 81), (TCP, UDP, SCTP)))

_DATA = Path(os.environ.get("HOSTFW_CONFORMANCE", Path(__file__).parents[2].parent / "shared/conformance"))
_CASES = _DATA / "cyclonus.json.gz"


def cyclonus_cases() -> Json:
    """The cases, each with its steps; skips the test where they are not there."""
    if not _CASES.exists():
        pytest.skip(f"{_CASES} is not there (HOSTFW_CONFORMANCE names its folder)")
    with gzip.open(_CASES) as file:
        return json.load(file)


def pods(step: Json) -> list[str]:
    """The pods of a step as its verdicts name them, in order."""
    return [f"{pod['NS']}/{pod['Name']}" for pod in step["Pods"]]


def resources(step: Json, places: list[tuple[str, str]]) -> Resources:
    """The resources of a step; `places` are the node and the interface of each of its pods."""
    endpoints = tuple(
        _endpoint(number, pod, step["Namespaces"], *place)
        for number, (pod, place) in enumerate(zip(step["Pods"], places, strict=True))
    )
    policies = tuple(_policy(number, policy) for number, policy in enumerate(step["Policies"]))
    return Resources(policies=policies, endpoints=endpoints)


def _endpoint(number: int, pod: Json, namespaces: Json, node: str, interface: str) -> HostEndpoint:
    labels = {
        **pod["Labels"],
        NAMESPACE: pod["NS"],
        **{f"{NAMESPACE_LABEL}{key}": value for key, value in namespaces[pod["NS"]].items()},
    }
    address = parse_cidr(f"{pod['IP']}/32")
    assert address is not None
    return HostEndpoint(
        Metadata(f"pod-{number}", tuple(sorted(labels.items()))),
        node=node,
        interface_name=interface,
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
    where = here if namespaces is None else _selector(namespaces, NAMESPACE_LABEL)
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
