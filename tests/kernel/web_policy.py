"""The policy of the tests that are not about policy: one port of the host is open."""


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
