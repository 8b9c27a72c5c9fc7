"""A fleet of three hosts in files, as `hostfwctl fleet` reads it, and connections that must be as a test says."""

import json
from pathlib import Path

ROLES = {"web1": "web", "app1": "application", "db1": "database"}
POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: database}}
spec:
  selector: role == 'database'
  types: [Ingress]
  ingress:
  - {{action: Allow, protocol: TCP, source: {{selector: role == 'application'}}, destination: {{ports: [{port}]}}}}
"""
OUT = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: out}
spec: {selector: all(), types: [Egress], egress: [{action: Allow}]}
"""
TEST = """\
apiVersion: hostfw.io/v1
kind: PolicyTest
metadata: {name: database}
spec:
  connections:
  - {from: role == 'application', to: role == 'database', ports: [tcp/5432], allowed: true}
  - {from: role != 'application', to: role == 'database', ports: [tcp/5432], allowed: false}
  - {from: 203.0.113.0/24, to: role == 'database', ports: [tcp/5432], allowed: false}
  - {from: 192.0.2.2, to: role == 'database', ports: [tcp/5432], allowed: true}
"""


def write_fleet(folder: Path, policy: str) -> Path:
    """Three hosts, of which the application alone reaches the database, with the policy of the database."""
    shared = folder / "shared"
    shared.mkdir(parents=True)
    (shared / "database.yaml").write_text(policy)
    (shared / "out.yaml").write_text(OUT)
    endpoints = []
    for number, (name, role) in enumerate(ROLES.items(), 1):
        addresses = [f"192.0.2.{number}", f"2001:db8::{number}"]
        endpoints.append(
            "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\n"
            f"metadata: {{name: {name}, labels: {{role: {role}}}}}\n"
            f"spec: {{node: {name}, interfaceName: '*', expectedIPs: {json.dumps(addresses)}}}\n"
        )
        host = folder / "hosts" / name
        (host / "etc").mkdir(parents=True)
        (host / "etc/hostfw.yaml").write_text(f"node: {name}\n")
        interface = {"name": "eth0", "index": 2, "addresses": addresses, "defaultRoute": True}
        facts = {"apiVersion": "hostfw.io/v1", "kind": "HostFacts", "node": name, "interfaces": [interface]}
        (host / "facts.json").write_text(json.dumps(facts))
    (shared / "endpoints.yaml").write_text("---\n".join(endpoints))
    return folder
