"""The program that crowdsec's custom bouncer starts: its decisions close and open, by real packets.

The lines are those that crowdsec-custom-bouncer 0.0.15 writes with `feed_via_stdin: true`.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import process
from tests.kernel.conftest import Hostfwctl
from tests.kernel.sets.test_external_sets import admitted

PROGRAM = Path(__file__).parents[3] / "units/crowdsec-bouncer"
POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {interfaceName: eth0}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: crowdsec, labels: {list: crowdsec}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: all()
  ingress:
  - {action: Deny, source: {selector: list == 'crowdsec'}}
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
"""
_PATIENCE_S = 60.0


def line(action: str, value: str, duration: str, *, scope: str = "Ip", kind: str = "ban") -> str:
    """A decision as the bouncer writes it."""
    known = {"duration": duration, "id": 1, "origin": "cscli", "scenario": "manual", "scope": scope, "type": kind}
    return f"{json.dumps({**known, 'value': value, 'action': action})}\n"


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < deadline
        sleep(0.2)


def test_decisions_of_crowdsec_close_and_open(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both families, for their time; what is not an address, a ban or a decision is left out; the rest counts."""
    (installation.config / "policy.yaml").write_text(POLICY)
    hostfwctl("apply")
    program = tmp_path / "hostfwctl"
    program.write_text(f'#!/bin/sh\nexec {" ".join(installation.arguments)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{environment()['PATH']}")
    with process(
        lab["host"], [sys.executable, str(PROGRAM)], environment=environment(), stdin=subprocess.PIPE
    ) as started:
        assert started.stdin is not None
        for text in (
            line("add", "192.0.2.2", "1m27.636450773s"),
            "no decision\n",
            line("add", "FR", "1h", scope="Country"),
            line("add", "2001:db8::9", "1h", kind="captcha"),
            line("add", "2001:db8::/64", "3h59m55.6s", scope="Range"),
        ):
            started.stdin.write(text)
        started.stdin.flush()
        until(lambda: admitted(lab, 80) == (False, False))

        listed = json.loads(hostfwctl("set", "list", "crowdsec", "-o", "json").stdout)
        left = {one["member"]: one["leftSeconds"] for one in listed["members"]}
        assert set(left) == {"192.0.2.2", "2001:db8::/64"}
        assert 60 < left["192.0.2.2"] <= 120
        assert 14_000 < left["2001:db8::/64"] <= 14_400

        started.stdin.write(line("del", "192.0.2.2", "-924.005713ms"))
        started.stdin.flush()
        until(lambda: admitted(lab, 80) == (True, False))
        _, messages = started.communicate("", 20)
    assert started.returncode == 0
    assert "'FR' is neither an address nor a prefix" in messages
    assert "no decision" in messages
