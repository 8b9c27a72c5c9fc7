"""The time of a check, which grows with a configuration and not with its square."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.governance import NOTHING_GOVERNED
from hostfw.model.sources import Configuration, Source
from hostfw.policy.check.references import check
from hostfw.policy.kept import recorded
from tests.unit.builders.policy_texts import HOSTFW, decoded, manifest, policy
from tests.unit.timing import processor_s

ANY = manifest("HostEndpoint", "{interfaceName: '*'}", "any")
PATTERN = "{{match: [{{name: 'w{}x*'}}]}}"
SSH = "protocol: TCP, destination: {ports: [22]}"


def _net(number: int) -> str:
    return f"10.{number // 250}.{number % 250}.0/24"


def _passes(count: int) -> list[str]:
    """Policies that pass everything on as many endpoints, behind which nothing follows."""
    endpoints = [manifest("HostEndpoint", f"{{interfaceName: e{n}}}", f"e{n}") for n in range(count)]
    return endpoints + [policy(f"{{order: {n}, ingress: [{{action: Pass}}]}}", f"p{n}") for n in range(count)]


def _opened_and_denied(count: int) -> list[str]:
    """Policies that open ssh to everybody, and as many that deny it to some."""
    opening = (policy(f"{{order: {n}, ingress: [{{action: Allow, {SSH}}}]}}", f"a{n}") for n in range(count))
    deny = f"{{action: Deny, source: {{nets: [10.0.0.0/8]}}, {SSH}}}"
    return [ANY, *opening, *(policy(f"{{order: {n + 0.5}, ingress: [{deny}]}}", f"d{n}") for n in range(count))]


def _allowed_then_denied(count: int) -> list[str]:
    """One policy that allows ssh to as many networks as it then denies it to."""
    allow = [f"{{action: Allow, source: {{nets: [{_net(n)}]}}, {SSH}}}" for n in range(count // 4)]
    deny = [f"{{action: Deny, source: {{nets: [{_net(n + 9000)}]}}, {SSH}}}" for n in range(count // 4)]
    return [ANY, policy(f"{{ingress: [{', '.join((*allow, *deny))}]}}")]


def _selectors_of_sets(count: int) -> list[str]:
    """Policies with a selector each, which selects all sets but one."""
    labels = "labels: {{a: x, b: y{}}}"
    sets = (manifest("GlobalNetworkSet", f"{{nets: [{_net(n)}]}}", f"s{n}", labels.format(n)) for n in range(count))
    rule = "{{action: Deny, source: {{selector: \"a == 'x' && b != 'y{}'\"}}, {}}}"
    return [ANY, *sets, *(policy(f"{{order: {n}, ingress: [{rule.format(n, SSH)}]}}", f"p{n}") for n in range(count))]


@pytest.mark.parametrize("written", [_passes, _opened_and_denied, _allowed_then_denied, _selectors_of_sets])
def test_a_check_takes_no_time_for_each_pair(written: Callable[[int], list[str]]) -> None:
    """Four times the policies take about four times as long; each with each would take sixteen times."""
    small, large = (decoded("---\n".join(written(count))) for count in (400, 1600))
    assert small.problems == large.problems == ()

    taken = [processor_s(lambda one=one: check(one.resources, one.settings)) for one in (small, large)]  # type: ignore[misc]

    assert 0 < taken[1] < 7 * taken[0] + 0.05


def _ports(count: int) -> list[str]:
    """As many ports as there are."""
    return [f"tcp:{n + 1}" for n in range(count)]


def _nets(count: int) -> list[str]:
    """One port, open to as many hosts as there are."""
    return [f"tcp:10.{n // 250}.{n % 250}.1/32:22" for n in range(count)]


@pytest.mark.parametrize(
    "rule",
    [
        "{{action: Deny, source: {{nets: [{net}]}}}}",
        "{{action: Deny, protocol: TCP, source: {{nets: [{net}]}}, destination: {{ports: [{port}]}}}}",
        "{{action: Allow, protocol: TCP, source: {{nets: [{net}]}}, destination: {{ports: [{port}]}}}}",
        "{{action: Deny, protocol: TCP, source: {{nets: [192.168.0.0/16]}}, destination: {{ports: [{beside}]}}}}",
    ],
)
@pytest.mark.parametrize("failsafes", [_ports, _nets])
def test_failsafe_ports_take_no_time_for_each_rule(failsafes: Callable[[int], list[str]], rule: str) -> None:
    """Four times the rules and the failsafe ports take about four times as long, not sixteen."""
    taken: list[float] = []
    for count in (150, 600):
        rules = (rule.format(net=_net(n), port=n + 1, beside=n + 30000) for n in range(count))
        settings = Source("hostfw.yaml", f"failsafe: {{inbound: [{', '.join(failsafes(count))}]}}")
        text = "---\n".join((ANY, policy(f"{{ingress: [{', '.join(rules)}]}}")))
        candidate = check_candidate(Configuration(settings, (Source("1.yaml", text),)))
        assert candidate.is_valid
        taken.append(processor_s(lambda one=candidate: check(one.resources, one.settings)))  # type: ignore[misc]

    assert 0 < taken[1] < 7 * taken[0] + 0.05


def test_interfaces_that_groups_name_by_patterns_take_no_time_for_each_pair() -> None:
    """A thousand groups of a pattern each on a host of as many interfaces."""
    groups = (manifest("InterfaceGroup", PATTERN.format(n), f"g{n}", version=HOSTFW) for n in range(1000))
    endpoints = (manifest("HostEndpoint", f"{{interfaceGroup: g{n}}}", f"e{n}") for n in range(1000))
    candidate = check_candidate(Configuration(None, (Source("1.yaml", "---\n".join((*groups, *endpoints))),)))
    facts = HostFacts("host", tuple(Interface(f"w{n}x0", n + 2) for n in range(1000)))

    generation = build(candidate, facts)

    assert isinstance(generation, Generation)
    assert len(generation.plan.bindings) == 1000
    assert processor_s(lambda: build(candidate, facts)) < 0.7


def test_recorded_interfaces_take_no_time_for_each_pair() -> None:
    """Each of two thousand is looked up, not looked for among all."""
    endpoints = (manifest("HostEndpoint", f"{{interfaceName: w{n}}}", f"e{n}") for n in range(2000))
    candidate = check_candidate(Configuration(None, (Source("1.yaml", "---\n".join(endpoints)),)))
    facts = HostFacts("host", tuple(Interface(f"w{n}", n + 2) for n in range(2000)))
    generation = build(candidate, facts)
    assert isinstance(generation, Generation)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = recorded(generation.plan, candidate.resources, facts, NOTHING_GOVERNED, now)

    assert len(record.interfaces) == 2000
    assert processor_s(lambda: build(candidate, facts, governance=record)) < 0.3
