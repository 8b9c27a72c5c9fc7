"""The number of sets and maps: a transaction's cost grows with its square, so it is bounded whatever is configured."""

import re
from collections.abc import Callable
from random import Random

import pytest

from bench.inputs.configurations import policies
from hostfw.build.candidate import check_candidate
from hostfw.compile.ruleset import compile_plan
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.sources import Configuration, Source
from hostfw.nft.object_text import render
from hostfw.nft.objects import Ruleset
from hostfw.policy.resolve.plan import resolve

pytestmark = pytest.mark.slow

SETS = 512
"""Sets and maps of one table: at 500 a transaction spends 4 ms on them, at 8,000 a second (nft 1.0.6, kernel 6.18)."""

POLICIES = 10_000
NORMAL_POLICIES = 600

_ANONYMOUS = re.compile(r"(?:[sd]addr|[sd]port|iifname|oifname|type|code|state|protocol|vmap)(?: !=)? \{")
FACTS = HostFacts("host1", (Interface("lo", 1, kind="loopback"), Interface("eth0", 2)))

ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: host1-eth0, labels: {role: web}}
spec:
  node: host1
  interfaceName: eth0
---
"""

POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: policy-%d}
spec:
  order: %d
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - %s
---
"""


def _bench(count: int) -> str:
    """As the bench writes them: two nets and a port of its own each."""
    return "".join(policies(count))


def _six_nets(count: int) -> str:
    """Six nets a policy, more than are written out inline, and one port for all."""
    return _each(count, lambda number: _rule(_nets(number, 6), "[443]"))


def _six_nets_and_ports(count: int) -> str:
    """Six nets and a port of its own a policy."""
    return _each(count, lambda number: _rule(_nets(number, 6), f"[{1024 + number}]"))


def _six_nets_of_many_lengths(count: int) -> str:
    """Six nets a policy, each of another length."""
    lengths = (32, 30, 28, 26, 25, 24)
    return _each(
        count,
        lambda number: _rule([f"10.{number >> 8}.{number & 255}.0/{length}" for length in lengths], "[443]"),
    )


def _wide_and_narrow(count: int) -> str:
    """Six nets and six ranges of ports a policy that overlap with those of its neighbours."""
    random = Random(1)

    def rule(number: int) -> str:
        starts = sorted(random.sample(range(1024, 60_000), 6))
        return _rule(_nets(number, 6), "[" + ", ".join(f'"{start}:{start + 50}"' for start in starts) + "]")

    return _each(count, rule)


def _source_and_destination(count: int) -> str:
    """Six nets on either side."""
    return _each(
        count,
        lambda number: _rule(_nets(number, 6), "[443]", f"nets: [{', '.join(_nets(number + 20_000, 6))}]"),
    )


def _selectors(count: int) -> str:
    """A selector a policy that stands for a network set of its own."""
    sets = "".join(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\n"
        f"metadata: {{name: set-{number}, labels: {{name: set-{number}}}}}\n"
        f"spec: {{nets: [{', '.join(_nets(number, 6))}]}}\n---\n"
        for number in range(count)
    )
    return sets + _each(
        count,
        lambda number: (
            "{action: Allow, protocol: TCP, "
            f"source: {{selector: name == 'set-{number}'}}, destination: {{ports: [443]}}}}"
        ),
    )


def _named_ports(count: int) -> str:
    """A named port a policy, of six other hosts, and six nets."""
    hosts = "".join(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\n"
        f"metadata: {{name: other-{number}}}\n"
        f"spec: {{node: other-{number}, interfaceName: eth0, "
        f"expectedIPs: [{', '.join(net.removesuffix('/32') for net in _nets(number, 6))}], "
        f"ports: [{{name: port-{number}, protocol: TCP, port: {1024 + number}}}]}}\n---\n"
        for number in range(count)
    )
    return hosts + _each(count, lambda number: _rule(_nets(number, 6), f"[port-{number}]"))


SHAPES = (
    _bench,
    _six_nets_of_many_lengths,
    _six_nets,
    _six_nets_and_ports,
    _wide_and_narrow,
    _source_and_destination,
    _selectors,
    _named_ports,
)


def _title(shape: Callable[[int], str]) -> str:
    return shape.__name__.strip("_").replace("_", " ")


@pytest.mark.parametrize("shape", SHAPES, ids=_title)
def test_sets_stay_few_and_none_is_anonymous(shape: Callable[[int], str], soak: bool) -> None:
    """In each of the tables, whatever policies look like."""
    ruleset = _compiled(shape(POLICIES if soak else NORMAL_POLICIES))

    assert _most_sets(ruleset) < SETS
    assert not _ANONYMOUS.search(render(ruleset))


def _most_sets(ruleset: Ruleset) -> int:
    return max(len(table.sets) + len(table.maps) for table in ruleset.tables)


def _compiled(text: str) -> Ruleset:
    candidate = check_candidate(
        Configuration(Source("hostfw.yaml", "node: host1\n"), (Source("all.yaml", ENDPOINT + text),))
    )
    assert candidate.is_valid, candidate.problems[:3]
    plan, _ = resolve(candidate.resources, candidate.settings, FACTS)
    return compile_plan(plan)


def _each(count: int, rule: Callable[[int], str]) -> str:
    return "".join(POLICY % (number, number, rule(number)) for number in range(count))


def _nets(number: int, count: int) -> list[str]:
    """Nets of /32 that no other number has, and not side by side."""
    return [f"10.{number >> 8 & 255}.{number & 255}.{2 * place + number % 2}/32" for place in range(count)]


def _rule(nets: list[str], ports: str, destination: str = "") -> str:
    side = ", ".join(part for part in (destination, f"ports: {ports}") if part)
    return f"{{action: Allow, protocol: TCP, source: {{nets: [{', '.join(nets)}]}}, destination: {{{side}}}}}"
