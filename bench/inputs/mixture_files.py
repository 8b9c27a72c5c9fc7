"""Mixtures of policies as files: what `bench.mixtures` has as plans, as people would write them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from bench.inputs.mixtures import INTERFACE, SHAPES, Criteria
from hostfw.model.plan import PlannedSide
from hostfw.model.values import Cidr, Family

POLICIES_A_FILE = 10
MORE = Criteria(source=PlannedSide(nets=(Cidr(Family.V4, 0x0AFA0300, 24),)))
"""A rule that no mixture has."""
_ENDPOINT = f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: host1-{INTERFACE}
  labels: {{role: web}}
spec:
  node: host1
  interfaceName: {INTERFACE}
  expectedIPs: [192.0.2.10, "2001:db8::a"]
  ports: [{{name: http, protocol: TCP, port: 8080}}]
"""


def write(directory: Path, weights: Mapping[str, int], count: int, seed: int = 0, family: Family = Family.V4) -> None:
    """Write a configuration of one HostEndpoint and so many policies of one rule each, drawn from shapes by weight."""
    random = Random(seed)
    (directory / "policies").mkdir(parents=True)
    (directory / "hostfw.yaml").write_text("node: host1\n")
    (directory / "endpoints.yaml").write_text(_ENDPOINT)
    names = random.choices(list(weights), list(weights.values()), k=count)
    texts = [policy(number, SHAPES[name](number, random, family)) for number, name in enumerate(names)]
    for number, start in enumerate(range(0, count, POLICIES_A_FILE)):
        text = "---\n".join(texts[start : start + POLICIES_A_FILE])
        (directory / "policies" / f"{number:05}.yaml").write_text(text)


def policy(number: int, criteria: Criteria, name: str = "") -> str:
    """One policy of one rule, at the place of its number, and the set that its rule selects."""
    sides = (("source", criteria.source), ("destination", criteria.destination))
    lines = [line for name, side in sides for line in _side(name, side, number)]
    nets = next((side.address_set for _, side in sides if side.address_set is not None), None)
    text = f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name or f"p{number:05}"}}}
spec:
  order: {number}
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - action: {criteria.action}
      protocol: TCP
{"".join(f"      {line}" + chr(10) for line in lines)}"""
    if nets is None:
        return text
    listed = ", ".join(f'"{cidr}"' for cidr in nets.cidrs)
    return f"""\
{text}---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: s{number:05}, labels: {{set: "{number}"}}}}
spec: {{nets: [{listed}]}}
"""


def _side(name: str, side: PlannedSide, number: int) -> Iterator[str]:
    if side == PlannedSide():
        return
    yield f"{name}:"
    for field, nets in (("nets", side.nets), ("notNets", side.not_nets)):
        if nets:
            yield f"  {field}: [" + ", ".join(f'"{cidr}"' for cidr in nets) + "]"
    if side.address_set is not None:
        yield f"  selector: set == '{number}'"
    ports = ["http"] if side.port_sets else [f'"{one.first}:{one.last}"' for one in side.ports or ()]
    if ports:
        yield f"  ports: [{', '.join(ports)}]"
    if side.not_ports:
        yield f"  notPorts: [{', '.join(str(one.first) for one in side.not_ports)}]"
