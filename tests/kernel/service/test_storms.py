"""Everything at once: interfaces that come and go, a Feed that changes, reloads, and a ruleset that is flushed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import process, run
from lab.service import Service, service
from tests.kernel.conftest import Hostfwctl
from tests.kernel.packets.connections import admits
from tests.kernel.web_policy import two_endpoints

_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress:
  - {{action: Deny, source: {{selector: has(bad)}}}}
  - {{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {{name: bad, labels: {{bad: ""}}}}
spec: {{path: bad.txt, maxShrink: 100%}}
"""
_FLAPS = """
while true; do
    ip link add flap0 type veth peer name other0
    sleep 0.02
    ip link delete flap0
done
"""
_ROUNDS = 8
_PATIENCE_S = 30


def _configure(installation: Installation, number: int) -> None:
    """A port, and a Feed that is edited in place, of addresses of 10.0.0.0/8."""
    (installation.config / "policy.yaml").write_text(two_endpoints("flap0") + _POLICY.format(port=80 + number))
    listed = "".join(f"10.{number}.{n >> 8}.{n & 255}\n" for n in range(0, 2 * (4200 + 10 * number), 2))
    new = installation.config / ".new"
    new.write_text(listed)
    new.replace(installation.config / "bad.txt")


@pytest.fixture(name="running")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    _configure(installation, 0)
    with service(installation, tmp_path / "log") as running:
        yield running


@pytest.mark.timeout(300)
def test_among_storms_every_answer_is_true_and_all_is_whole_soon_after(
    lab: Lab, installation: Installation, running: Service, hostfwctl: Hostfwctl
) -> None:
    """The rules, the elements of the Feed, the interface that is there in the end, and what status says."""
    host = lab["host"]
    with process(host, ["sh", "-c", _FLAPS], environment=environment()) as storm:
        for number in range(1, _ROUNDS + 1):
            _configure(installation, number)
            reloaded = hostfwctl("reload", check=False)
            assert reloaded.returncode == 0, reloaded.stderr
            assert [admits(lab, 80 + at) for at in (number - 1, number)] == [False, True], reloaded.stderr
        run(host, ["nft", "flush", "ruleset"])
        storm.kill()
        storm.wait()
    run(host, ["ip", "link", "delete", "flap0"], check=False)
    run(host, ["ip", "link", "add", "flap0", "type", "veth", "peer", "name", "other0"])

    deadline = monotonic() + _PATIENCE_S
    while _wrong(hostfwctl) or "flap0" not in run(host, ["nft", "list", "table", "ip", "hostfw"]).stdout:
        assert monotonic() < deadline, (_wrong(hostfwctl)[-3:], running.log.read_text()[-3000:])
        sleep(0.2)
    listed = run(host, ["nft", "list", "table", "ip", "hostfw"]).stdout
    assert len(set(re.findall(rf"\b10\.{_ROUNDS}\.\d+\.\d+\b", listed))) == 4200 + 10 * _ROUNDS
    assert not re.search(rf"\b10\.{_ROUNDS - 1}\.\d+\.\d+\b", listed)
    assert (admits(lab, 80 + _ROUNDS), admits(lab, 443)) == (True, False)
    assert running.process.poll() is None


def _wrong(hostfwctl: Hostfwctl) -> list[object]:
    """The findings of status."""
    found = json.loads(hostfwctl("status", "-o", "json", check=False).stdout)
    service = found["service"] or {"trouble": "no service"}
    return [*found["drift"], *filter(None, (service["trouble"], *found["warnings"]))]
