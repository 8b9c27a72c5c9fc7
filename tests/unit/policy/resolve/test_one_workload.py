"""One workload that comes or goes: what is planned and compiled for it, counted, and that nothing else is."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.compile.targets import Targets
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.workloads import EndpointPort, WorkloadEndpoint
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import TCP, Cidr, Family
from hostfw.policy.resolve.plan import ResolveCache, resolve

MANY = 40
_SETTINGS = 'node: host1\nworkloads: {interfaces: ["veth*"]}\n'
_NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: shop}}\n"
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: p{number}, namespace: shop}}
spec:
  selector: app == 'a{number}'
  types: [Ingress, Egress]
  ingress: [{{action: Allow, protocol: TCP, source: {{selector: app == 'a{next}'}}, destination: {{ports: [80]}}}}]
  egress: [{{action: Allow, protocol: TCP, destination: {{selector: app == 'a{previous}'}}}}]
---
"""
_ASKING = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: asks, namespace: shop}}
spec: {{selector: all(), ingress: [{{action: Allow, protocol: TCP, source: {{{source}}}}}]}}
---
"""


def _candidate(count: int, *more: str) -> Candidate:
    policies = "".join(
        _POLICY.format(number=number, next=(number + 1) % count, previous=(number - 1) % count)
        for number in range(count)
    )
    sources = (Source("namespace.yaml", _NAMESPACE), Source("policies.yaml", policies + "".join(more)))
    found = check_candidate(Configuration(Source("hostfw.yaml", _SETTINGS), sources))
    assert found.is_valid, found.problems
    return found


def _workload(number: int, app: str, ports: tuple[EndpointPort, ...] = ()) -> WorkloadEndpoint:
    metadata = Metadata(f"w{number}", labels=(("app", app),), namespace="shop")
    address = Cidr(Family.V4, (10 << 24) + number + 1, 32)
    return WorkloadEndpoint(metadata, f"veth{number}", (address,), "host1", ports=ports)


def _facts(workloads: list[WorkloadEndpoint]) -> HostFacts:
    here = sorted(workloads, key=lambda one: one.metadata.full_name)
    interfaces = (Interface(one.interface_name, place) for place, one in enumerate(here, 10))
    return HostFacts("host1", (Interface("lo", 1, kind="loopback"), *interfaces), workloads=tuple(here))


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """The calls of a function from now on."""
    module, _, function = name.rpartition(".")
    calls: list[object] = []
    monkeypatch.setattr(name, partial(_noted, calls, getattr(import_module(module), function)))
    return calls


def _noted(calls: list[object], real: Callable[..., object], *arguments: object, **options: object) -> object:
    calls.append(arguments)
    return real(*arguments, **options)


def test_only_policies_that_name_a_workload_are_planned_again_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own is not planned any more, and those of both neighbours are, in both directions."""
    workloads = [_workload(number, f"a{number}") for number in range(MANY)]
    candidate, cache = _candidate(MANY), GenerationCache()
    build(candidate, _facts(workloads), cache)
    planned = _counted(monkeypatch, "hostfw.policy.resolve.directions._plan_policy")
    parsed = _counted(monkeypatch, "hostfw.policy.resolve.address_book.parse")
    programs = _counted(monkeypatch, "hostfw.compile.plan_programs._enforced")

    gone = build(candidate, _facts([one for one in workloads if one.interface_name != "veth7"]), cache)

    assert isinstance(gone, Generation)
    assert 0 < len(planned) <= 4
    assert parsed == []
    # Of both neighbours, by the way that packets go: forwarded, from the host and to it.
    assert 0 < len(programs) <= 8


_PORT = EndpointPort("web", TCP, 8080)
_sources = st.sampled_from(
    ("selector: app == 'a1'", "selector: has(app)", "selector: app != 'a2'", "nets: [10.0.0.0/30]")
)
_here = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(("a0", "a1", "a2")), st.sampled_from(((), (_PORT,)))),
    max_size=6,
    unique_by=lambda one: one[0],
)


@pytest.mark.timeout(900)
@settings(max_examples=max(settings().max_examples // 4, 3))
@given(source=_sources, named=st.booleans(), rounds=st.lists(_here, min_size=2, max_size=5))
def test_a_plan_with_a_memory_is_that_without(
    source: str, named: bool, rounds: list[list[tuple[int, str, tuple[EndpointPort, ...]]]]
) -> None:
    """Whatever workloads come, go, and change their labels and ports."""
    asking = _ASKING.format(source=source)
    if named:
        asking = asking.replace("}}]}", "}, destination: {ports: [web]}}]}")
    candidate = _candidate(3, asking)
    cache, built = ResolveCache(), GenerationCache()
    for here in rounds:
        facts = _facts([_workload(*one) for one in here])
        fresh = resolve(candidate.resources, candidate.settings, facts)
        assert resolve(candidate.resources, candidate.settings, facts, cache) == fresh
        again, anew = build(candidate, facts, built), build(candidate, facts)
        assert isinstance(again, Generation)
        assert isinstance(anew, Generation)
        assert (again.id, again.script, again.ruleset, again.warnings) == (
            anew.id,
            anew.script,
            anew.ruleset,
            anew.warnings,
        )


def test_workloads_that_meet_the_same_are_asked_about_once_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: of forty with two labels no more is looked for than of four."""
    asked: list[object] = []
    real: Callable[..., object] = Targets.verdict

    def counted(*given: object, **more: object) -> object:
        asked.append(given)
        return real(*given, **more)

    monkeypatch.setattr(Targets, "verdict", counted)
    numbers: list[int] = []
    for count in (4, MANY):
        build(_candidate(4), _facts([_workload(number, f"a{number % 2}") for number in range(count)]))
        numbers.append(len(asked))
        asked.clear()

    few, many = numbers
    assert 0 < many <= few
