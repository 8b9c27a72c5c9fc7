"""The policies of the tests that are not about policy: one port of the host is open, or everything is."""

ETH0 = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: host, interfaceName: eth0}
---
"""
"""The HostEndpoint of eth0 alone, without labels, as the first document of a file."""

OPEN = f"""\
{ETH0}\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: open}}
spec:
  types: [Ingress, Egress]
  ingress: [{{action: Allow}}]
  egress: [{{action: Allow}}]
"""
"""A policy that lets everything in and out on eth0."""


def two_endpoints(second: str) -> str:
    """The HostEndpoints `uplink` on eth0 and `lan` on a second interface, both with the label role, as documents."""
    return "".join(
        f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: {name}, labels: {{role: web}}}}
spec: {{interfaceName: {interface}, node: host}}
---
"""
        for name, interface in (("uplink", "eth0"), ("lan", second))
    )


def web_policy(port: int) -> str:
    """The HostEndpoint `uplink` on eth0, and a policy `web` that lets one TCP port in and nothing else."""
    return f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: uplink, labels: {{role: web}}}}
spec: {{node: host, interfaceName: eth0}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - {{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}
"""
