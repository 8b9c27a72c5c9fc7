"""Configurations of any size, alike from run to run: policies as an operations team would write them."""

from pathlib import Path

_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: host1-eth0
  labels: {role: web}
spec:
  node: host1
  interfaceName: eth0
  expectedIPs: [192.0.2.10, "2001:db8::10"]
"""

_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: service-{number}
  labels:
    team: team-{team}
spec:
  order: {number}
  selector: role == 'web'
  types: [Ingress, Egress]
  ingress:
    - action: Deny
      protocol: TCP
      source:
        nets: [10.{high}.{low}.7/32]
      destination:
        ports: [{port}]
    - action: Allow
      protocol: TCP
      source:
        nets: [10.{high}.{low}.0/24, 10.{high}.{next}.0/25]
      destination:
        ports: [{port}, "{first}:{last}"]
    - action: Allow
      protocol: UDP
      source:
        nets: ["2001:db8:{number:x}::/48"]
      destination:
        ports: [{port}]
  egress:
    - action: Allow
      protocol: TCP
      destination:
        nets: [172.16.{low}.0/24]
        ports: [{port}]
---
"""

POLICIES_A_FILE = 10


def policies(count: int) -> list[str]:
    """The texts of files that hold this many policies of four rules in all."""
    texts = [_policy(number) for number in range(count)]
    return ["".join(texts[start : start + POLICIES_A_FILE]) for start in range(0, count, POLICIES_A_FILE)]


def write(directory: Path, count: int) -> None:
    """Write a configuration of one HostEndpoint and this many policies."""
    (directory / "policies").mkdir(parents=True)
    (directory / "hostfw.yaml").write_text("node: host1\n")
    (directory / "endpoints.yaml").write_text(_ENDPOINT)
    for number, text in enumerate(policies(count)):
        (directory / "policies" / f"{number:05}.yaml").write_text(text)


def _policy(number: int) -> str:
    high, low = divmod(number, 250)
    return _POLICY.format(
        number=number,
        team=number % 17,
        high=high,
        low=low,
        next=low + 1,
        port=1024 + number % 40000,
        first=50000 + number % 1000 * 10,
        last=50004 + number % 1000 * 10,
    )
