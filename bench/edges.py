"""Edges of the compiler's work: two counts of a configuration doubled together, for every pair of counts.

    python3 -m bench.edges [SIZE] [WORD ...]

What is linear takes about twice as long, and what multiplies two counts four times. A line is told for each pair of
which some stage grows more than that and takes a while: processor time of the stage at SIZE (default: 300) and at twice
that. With words, only pairs of kinds whose names contain one of them.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from time import process_time

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import build
from hostfw.build.refused import Refused
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Cidr, parse_cidr

SIZE = 300
_GROWN = 3.0
"""Times the work at twice the counts, from which on it is told; two times is linear."""
_NOTICED_S = 0.03
"""Processor time at SIZE below which nothing is told: it says little."""


def _policy(name: str, rule: str, *, selector: str = "has(role)", spec: str = "", meta: str = "") -> str:
    return f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name}{meta}}}
spec:
  selector: {selector}
  {spec}
  ingress: [{rule}]
---
"""


def _v3(kind: str, name: str, spec: str, labels: str = "") -> str:
    metadata = f"{{name: {name}, labels: {{{labels}}}}}"
    return f"apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n---\n"


def _net(n: int) -> str:
    return f"10.{n // 250}.{n % 250}.0/24"


KINDS: Mapping[str, Callable[[int], str]] = {
    "policies of a port": lambda n: _policy(
        f"port-{n}", f"{{action: Allow, protocol: TCP, destination: {{ports: [{2000 + n}]}}}}"
    ),
    "policies that deny a net": lambda n: _policy(f"deny-{n}", f"{{action: Deny, source: {{nets: [{_net(n)}]}}}}"),
    "policies of a net and a port": lambda n: _policy(
        f"both-{n}",
        f"{{action: Allow, protocol: TCP, source: {{nets: [{_net(n)}]}}, destination: {{ports: [{2000 + n}]}}}}",
    ),
    "policies that spare a net": lambda n: _policy(
        f"spare-{n}", f"{{action: Deny, protocol: TCP, source: {{notNets: [{_net(n)}]}}, destination: {{ports: [22]}}}}"
    ),
    "policies of a selector": lambda n: _policy(f"sel-{n}", f"{{action: Allow, source: {{selector: app == 'a{n}'}}}}"),
    "policies that deny a selector": lambda n: _policy(
        f"dsel-{n}", f"{{action: Deny, source: {{selector: app == 'a{n}'}}}}"
    ),
    "policies of all but a selector": lambda n: _policy(
        f"nsel-{n}", f"{{action: Allow, source: {{notSelector: app == 'a{n}'}}}}"
    ),
    "policies of a named port": lambda n: _policy(
        f"named-{n}", f"{{action: Allow, protocol: TCP, destination: {{ports: [p{n}]}}}}"
    ),
    "policies for an endpoint each": lambda n: _policy(
        f"own-{n}", "{action: Allow, protocol: TCP}", selector=f"name == 'e{n}'"
    ),
    "policies of a selector of an endpoint": lambda n: _policy(
        f"end-{n}", f"{{action: Allow, source: {{selector: name == 'e{n}'}}}}"
    ),
    "policies with a tier each": lambda n: (
        f"apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: t{n}}}\nspec: {{order: {n}}}\n---\n"
        + _policy(f"t{n}.pass", f"{{action: Pass, source: {{nets: [{_net(n)}]}}}}", spec=f"tier: t{n}")
    ),
    "policies before failsafes": lambda n: _policy(
        f"early-{n}",
        f"{{action: Deny, source: {{nets: [{_net(n)}]}}}}",
        meta=', annotations: {hostfw.io/before-failsafes: "true"}',
    ),
    "preDNAT policies": lambda n: _policy(
        f"dnat-{n}", f"{{action: Allow, source: {{nets: [{_net(n)}]}}}}", spec="preDNAT: true\n  applyOnForward: true"
    ),
    "doNotTrack policies": lambda n: _policy(
        f"raw-{n}",
        f"{{action: Allow, protocol: UDP, source: {{nets: [{_net(n)}]}}}}",
        spec="doNotTrack: true\n  applyOnForward: true",
    ),
    "forward policies": lambda n: _policy(
        f"fwd-{n}", f"{{action: Deny, source: {{nets: [{_net(n)}]}}}}", spec="applyOnForward: true"
    ),
    "policies with a limit": lambda n: _policy(
        f"limit-{n}",
        f"{{action: Allow, protocol: TCP, destination: {{ports: [{2000 + n}]}}, "
        "limitPerSource: {newConnections: 10/minute}}",
    ),
    "policies of ranges of ports": lambda n: _policy(
        f"range-{n}",
        f"{{action: Allow, protocol: TCP, source: {{nets: [{_net(n)}]}}, "
        f"destination: {{ports: ['{n + 1}:{n + 900}']}}}}",
    ),
    "sets": lambda n: _v3(
        "GlobalNetworkSet", f"set-{n}", f"{{nets: [198.{18 + n // 250}.{n % 250}.0/24]}}", f"app: a{n}"
    ),
    "sets of one label": lambda n: _v3(
        "GlobalNetworkSet", f"one-{n}", f"{{nets: [172.{16 + n // 250}.{n % 250}.0/24]}}", "app: a1"
    ),
    "sets of loopback": lambda n: _v3(
        "GlobalNetworkSet", f"lo-{n}", f"{{nets: [127.{n // 250}.{n % 250}.0/24]}}", f"app: a{n}"
    ),
    "endpoints": lambda n: _v3("HostEndpoint", f"e{n}", f"{{node: h, interfaceName: eth{n}}}", f"role: w, name: e{n}"),
    "endpoints by address": lambda n: _v3(
        "HostEndpoint", f"a{n}", f"{{node: h, expectedIPs: [192.168.{n // 250}.{n % 250}]}}", f"role: w, name: a{n}"
    ),
    "endpoints with a named port": lambda n: _v3(
        "HostEndpoint",
        f"p{n}",
        f"{{node: h, interfaceName: eth{n}, ports: [{{name: p{n}, protocol: TCP, port: {3000 + n}}}]}}",
        "role: w",
    ),
    "endpoints with a profile each": lambda n: (
        _v3("HostEndpoint", f"r{n}", f"{{node: h, interfaceName: eth{n}, profiles: [pr{n}]}}")
        + _v3("Profile", f"pr{n}", f"{{ingress: [{{action: Allow, source: {{nets: [{_net(n)}]}}}}]}}")
    ),
    "endpoints of other nodes": lambda n: _v3(
        "HostEndpoint",
        f"o{n}",
        f"{{node: o{n}, interfaceName: eth0, expectedIPs: [203.0.{n // 250}.{n % 250}]}}",
        f"app: a{n}",
    ),
    "staged policies": lambda n: _policy(f"st-{n}", f"{{action: Deny, source: {{nets: [{_net(n)}]}}}}").replace(
        "kind: Global", "kind: StagedGlobal"
    ),
}
"""A text for each number, by what it adds to a configuration."""
SETTINGS: Mapping[str, Callable[[int], str]] = {
    "failsafe ports": lambda n: f"{{protocol: tcp, port: {4000 + n}}}",
    "failsafe nets": lambda n: f"{{protocol: tcp, port: 22, net: {_net(n)}}}",
}
"""Entries of `failsafe.inbound`, likewise."""
FACTS = "interfaces"
RULES: Mapping[str, Callable[[int], str]] = {
    "rules of a policy": lambda n: (
        f"{{action: Allow, protocol: TCP, source: {{nets: [{_net(n)}]}}, destination: {{ports: [{2000 + n}]}}}}"
    ),
    "denials of a policy": lambda n: f"{{action: Deny, source: {{nets: [{_net(n)}]}}}}",
    "selectors of a policy": lambda n: f"{{action: Allow, source: {{selector: app == 'a{n}'}}}}",
    "denials of a policy before failsafes": lambda n: f"{{action: Deny, source: {{nets: [{_net(n)}]}}}}",
}
"""Rules of one policy, likewise."""
EVERY = (*KINDS, *SETTINGS, FACTS, *RULES)


def configuration(counts: Mapping[str, int]) -> tuple[Configuration, HostFacts]:
    """A configuration with so much of each kind, and its host."""
    texts = (
        [_v3("HostEndpoint", "first", "{node: h, interfaceName: eth0}", "role: w, name: first")]
        if not any(counts.get(kind, 0) for kind in KINDS if kind.startswith("endpoints"))
        else []
    )
    texts += [make(n) for kind, make in KINDS.items() for n in range(counts.get(kind, 0))]
    for kind, make in RULES.items():
        if counts.get(kind, 0):
            rules = ", ".join(make(n) for n in range(counts[kind]))
            early = ', annotations: {hostfw.io/before-failsafes: "true"}' if "failsafes" in kind else ""
            texts.append(_policy(kind.replace(" ", "-"), rules, meta=early))
    failsafes = [make(n) for kind, make in SETTINGS.items() for n in range(counts.get(kind, 0))]
    inbound = "".join(f"\n  - {one}" for one in ("{protocol: tcp, port: 22}", *failsafes))
    settings = Source("/e/hostfw.yaml", f"node: h\nfailsafe:\n  inbound:{inbound}\n")
    files = tuple(Source(f"/e/{number:05}.yaml", text) for number, text in enumerate(texts))
    interfaces = tuple(
        Interface(f"eth{n}", n + 2, addresses=_addresses(f"192.168.{n // 250}.{n % 250}/32"))
        for n in range(max(counts.get(FACTS, 0), counts.get("endpoints", 0), 1))
    )
    return Configuration(settings, files), HostFacts("h", interfaces)


def _addresses(text: str) -> tuple[Cidr, ...]:
    found = parse_cidr(text)
    return () if found is None else (found,)


def stages(counts: Mapping[str, int]) -> dict[str, float]:
    """The processor time of each stage for a configuration."""
    of, facts = configuration(counts)
    gc.collect()
    gc.disable()  # As `hostfwctl` and the service do.
    try:
        began = process_time()
        unchecked = check_candidate(of, warnings=False)
        decoded = process_time()
        candidate = check_candidate(of)
        checked = process_time()
        if not candidate.is_valid:
            raise ValueError(str(candidate.problems[0]))
        built = build(candidate, facts)
        end = process_time()
    finally:
        gc.enable()
    if isinstance(built, Refused):
        raise TypeError(str(built.problems[0]))
    # What is checked takes the time to decode as well.
    del unchecked
    return {"decode": decoded - began, "lint": checked - decoded - (decoded - began), "build": end - checked}


def lines(size: int = SIZE, words: Sequence[str] = ()) -> Iterator[str]:
    """A line for each pair of counts that some stage multiplies."""
    for one, other in combinations(EVERY, 2):
        if words and not any(word in kind for kind in (one, other) for word in words):
            continue
        try:
            few, many = (stages({one: count, other: count}) for count in (size, 2 * size))
        except (ValueError, TypeError) as refused:
            yield f"{one} x {other}: {refused}"
            continue
        for stage, took in few.items():
            if took > _NOTICED_S and many[stage] > _GROWN * took:
                yield f"{stage:7}{took:7.2f} s {many[stage]:7.2f} s  {many[stage] / took:4.1f} times  {one} x {other}"


def main() -> None:
    """Measure every pair, or those that are named."""
    sizes = [int(one) for one in sys.argv[1:] if one.isdigit()]
    words = [one for one in sys.argv[1:] if not one.isdigit()]
    for line in lines(sizes[0] if sizes else SIZE, words):
        print(line, flush=True)


if __name__ == "__main__":
    main()
