"""The picture of a terminal in README and on the site shows what hostfwctl prints."""

import re
from pathlib import Path

import pytest

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import BoundAddress, HostServices, Service
from hostfw.model.values import FAMILIES, TCP
from tests.golden.test_golden import ROOT, compare
from tests.unit.builders.policy_builders import nets
from tests.unit.cli_runs import machine
from tools.picture import picture

PICTURE = ROOT / "docs/terminal.svg"
COLUMNS = 112
_CHANGING = re.compile(r", \d+ ms|(?<=generation )[0-9a-f]{12}")
"""The duration, which differs from run to run, and the digest of the ruleset, which differs with any rule."""
HOST = HostFacts("web-1", (Interface("eth0", 2, addresses=nets("203.0.113.10"), default_route=True),))
POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'web'
  types: [Ingress, Egress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [80, 443]}}
    - {action: Allow, protocol: TCP, source: {nets: [10.20.0.0/16]}, destination: {ports: [5432]}}
  egress:
    - {action: Allow}
"""
MISTAKE = POLICY.replace("destination: {ports: [80, 443]}", "destination: {port: [80, 443]}")
TYPED = (
    ("validate", "-f", "draft.yaml"),
    ("explain", "198.51.100.9", "host:5432", "--in", "eth0"),
    ("exposure",),
    ("apply", "--confirm-within", "2m"),
)
"""The command lines: `draft.yaml` has a mistake, and the last applies a policy that lets in one network more."""


def test_the_picture_is_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, update_golden: bool) -> None:
    """Output of the commands that it shows, with colours, on a host with a web server and a database."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.chdir(tmp_path)
    host = machine(Path(), monkeypatch)
    host.facts = HOST
    everywhere = tuple(BoundAddress(family, None) for family in FAMILIES)
    listening = ((22, "sshd"), (443, "nginx"), (5432, "postgres"))
    host.services = HostServices(tuple(Service(TCP.number, port, everywhere, name, "") for port, name in listening))
    host.write(web=POLICY)
    assert host.hostfwctl("apply").status == 0
    (tmp_path / "draft.yaml").write_text(MISTAKE)
    host.write(web=POLICY.replace("10.20.0.0/16", "10.20.0.0/16, 10.30.0.0/16"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines: list[str] = []
    for words in TYPED:
        _, out, err = host.hostfwctl("--color=always", *words)
        typed = f"\x1b[32mweb-1:~#\x1b[0m \x1b[1mhostfwctl {' '.join(words)}\x1b[0m"
        printed = _CHANGING.sub(lambda found: "" if "ms" in found[0] else "0123456789ab", f"{out}{err}")
        lines += (typed, *printed.rstrip().splitlines(), "")

    compare(PICTURE, picture("hostfwctl at work on a host", lines[:-1], COLUMNS), update_golden=update_golden)
