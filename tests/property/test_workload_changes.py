"""Workloads and policies that change one after the other: what is remembered gives what a fresh build gives."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.compile.layout.costs import DEFAULT_COSTS
from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Cidr, Family, Mac

_SETTINGS = 'node: host1\nworkloads: {bridges: ["br*"], interfaces: ["ve*"]}\n'
_APPS, _NAMESPACES, _PROFILES = ("a", "b", "c", "d"), ("shop", "bank"), ("known", "open")
_PLACES = 9
_STEPS = 40
_PROFILE = """\
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {{name: known}}
spec: {{labelsToApply: {{tier: {tier}}}, ingress: [{{action: {action}}}]}}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {{name: open}}
spec: {{ingress: [{{action: Allow}}], egress: [{{action: Allow}}]}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{zone: {zone}}}}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: outside, labels: {{app: a}}}}
spec: {{node: host1, interfaceName: eth0, expectedIPs: [192.0.2.1]}}
---
"""
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: p{number}}}
spec:
  selector: {selector}
  order: {order}
  {special}
  types: [{types}]
  ingress: [{{action: Allow, protocol: TCP, source: {{selector: "{peer}"}}, destination: {{ports: [{port}]}}}}]
---
"""


def _policies(draw: random.Random) -> Iterator[str]:
    tier, zone = draw.choice(("x", "y")), draw.choice(("in", "out"))
    yield _PROFILE.format(tier=tier, action=draw.choice(("Allow", "Deny")), zone=zone)
    for number in range(draw.randrange(7)):
        selectors = (f"app == '{draw.choice(_APPS)}'", "tier == 'x'", "pcns.zone == 'in'", "has(app)", "all()")
        special = draw.choice(("", "", "applyOnForward: true", "preDNAT: true\n  applyOnForward: true"))
        yield _POLICY.format(
            number=number,
            selector=draw.choice(selectors),
            order=draw.randrange(3),
            special=special,
            types="Ingress",
            peer=draw.choice(selectors),
            port=draw.choice(("80", "http", "443")),
        )


def _candidate(draw: random.Random) -> Candidate:
    source = Source("policies.yaml", "".join(_policies(draw)))
    found = check_candidate(Configuration(Source("hostfw.yaml", _SETTINGS), (source,)))
    assert found.is_valid, found.problems
    return found


def _workload(draw: random.Random, number: int) -> WorkloadEndpoint:
    """A workload of a number; now and then one that has what another has, or what none may have."""
    label, namespace = draw.choice(_APPS), draw.choice(_NAMESPACES)
    place = number if draw.random() < 0.9 else draw.randrange(_PLACES)
    addresses = [Cidr(Family.V4, (10 << 24) + place + 2, 32), Cidr(Family.V6, (0xFD << 120) + place + 2, 128)]
    if draw.random() < 0.1:
        addresses.append(Cidr(Family.V4, 10 << 24, 24))
    if draw.random() < 0.1:
        addresses.append(addresses[0])
    return WorkloadEndpoint(
        Metadata(f"w{place if draw.random() < 0.1 else number}", labels=(("app", label),), namespace=namespace),
        f"{'ve' if number % 3 else 'vnet'}{place}",
        tuple(addresses),
        "host1",
        mac=None if draw.random() < 0.05 else Mac((2 << 40) + place),
        orchestrator=draw.choice(("", "docker")),
        profiles=draw.choice(((), (), ("known",), ("known", "open"), ("missing",))),
    )


def _facts(workloads: list[WorkloadEndpoint], bridges: dict[int, str | None], own: str) -> HostFacts:
    ports = [
        Interface(f"{kind}{number}", 20 + 2 * number + (kind == "ve"), kind="veth", master=bridges.get(number))
        for number in range(_PLACES)
        for kind in ("ve", "vnet")
    ]
    filtered = BridgeFacts(calls_ipv4=True, calls_ipv6=True)
    made = [Interface(f"br{number}", 2 + number, kind="bridge", bridge=filtered) for number in range(2)]
    outside = Interface("eth0", 10, addresses=(Cidr(Family.V4, int.from_bytes(bytes(map(int, own.split(".")))), 32),))
    interfaces = sorted((Interface("lo", 1, kind="loopback"), outside, *made, *ports), key=lambda one: one.name)
    in_order = sorted(workloads, key=lambda one: (one.metadata.full_name, one.metadata.position))
    return HostFacts("host1", tuple(interfaces), workloads=tuple(in_order), bridge_netfilter=True)


def _steps(draw: random.Random) -> Iterator[tuple[Candidate, HostFacts]]:
    """A configuration and a host, of which one thing or two change from step to step."""
    candidate, workloads = _candidate(draw), {number: _workload(draw, number) for number in range(4)}
    bridges: dict[int, str | None] = {number: draw.choice(("br0", "br1", None)) for number in range(_PLACES)}
    own = "192.0.2.1"

    def policy() -> None:
        nonlocal candidate
        candidate = _candidate(draw)

    def comes() -> None:
        number = draw.randrange(_PLACES)
        workloads[number] = _workload(draw, number)

    def goes() -> None:
        workloads.pop(draw.randrange(_PLACES), None)

    def label() -> None:
        for number, one in list(workloads.items())[:1]:
            metadata = replace(one.metadata, labels=(("app", draw.choice(_APPS)),))
            workloads[number] = replace(one, metadata=metadata)

    def moves() -> None:
        bridges[draw.randrange(_PLACES)] = draw.choice(("br0", "br1", None))

    def address() -> None:
        nonlocal own
        own = draw.choice(("192.0.2.1", "10.0.0.3"))

    def read_again() -> None:
        for number, one in workloads.items():
            workloads[number] = replace(one)

    changes: tuple[Callable[[], None], ...] = (policy, comes, comes, goes, label, label, moves, address, read_again)
    for _ in range(_STEPS):
        yield candidate, _facts(list(workloads.values()), bridges, own)
        for change in draw.sample(changes, draw.choice((1, 1, 2))):
            change()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_remembered_gives_what_a_fresh_build_gives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the plan, its problems, and of the ruleset every name and every byte."""
    few = replace(DEFAULT_COSTS, dispatched_together=2, linear_interfaces=1)
    monkeypatch.setattr("hostfw.compile.ruleset.compile_plan.__defaults__", (few, None))
    cache = GenerationCache()
    built = 0
    for candidate, facts in _steps(random.Random(seed)):
        fresh, again = build(candidate, facts), build(candidate, facts, cache)
        assert again == fresh
        if isinstance(fresh, Generation) and isinstance(again, Generation):
            built += 1
            assert again.ruleset == fresh.ruleset
            assert again.id == fresh.id
            assert again.warnings == fresh.warnings
    assert built > _STEPS // 2


def test_what_has_gone_is_forgotten() -> None:
    """After many changes as much is remembered as after few."""
    draw = random.Random(1)
    cache, kept = GenerationCache(), []
    candidate = _candidate(draw)
    for step in range(30):
        workloads = [_workload(random.Random(step), number) for number in range(_PLACES)]
        build(candidate, _facts(workloads, dict.fromkeys(range(0, _PLACES, 3), "br0"), "192.0.2.1"), cache)
        resolving = cache.resolve
        assert resolving.book is not None
        last = resolving.directions.values()
        directed = sum(len(one._selected) + len(one._directed) for one in last)
        kept.append(
            (
                len(resolving.claims.known),
                len(resolving.endpoints) <= _PLACES,
                len(resolving.book.written.entries) <= _PLACES + 1,
                directed <= 4 * (_PLACES + 1),
            )
        )
    assert set(kept) == {(_PLACES, True, True, True)}
