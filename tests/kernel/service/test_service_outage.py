"""The service while those that it tells do not listen: it guards, answers and ends all the same."""

import fcntl
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from socket import AF_UNIX, socket
from subprocess import CompletedProcess

from hostfw.control.socket import socket_path
from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import process, run
from lab.service import command, start

Hostfwctl = Callable[..., CompletedProcess[str]]

_SET_PIPE_SIZE = 1031
_PATIENCE_S = 30
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: uplink, labels: {{role: web}}}}
spec: {{interfaceName: eth0, node: host}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: has(role)
  ingress:
  - {{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}
"""


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_a_standard_error_that_nobody_reads_stops_nothing(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """A flushed ruleset is restored, status says what is the matter, and the service ends when it is told to."""
    policy = installation.config / "policy.yaml"
    policy.write_text(_POLICY.format(port=80))
    with ExitStack() as ends:
        daemon = start(installation)
        ends.callback(daemon.wait)
        ends.callback(daemon.kill)
        assert daemon.stderr is not None
        ends.callback(daemon.stderr.close)
        fcntl.fcntl(daemon.stderr, _SET_PIPE_SIZE, 4096)
        _wait((installation.run / "control.sock").exists)
        for number in range(12):
            policy.write_text(_POLICY.format(port=80 + number % 2))
            hostfwctl("reload")
        before = _rules(lab)

        run(lab["host"], ["nft", "flush", "ruleset"])

        _wait(lambda: _rules(lab) == before)
        _wait(lambda: "the journal takes no entries" in _trouble(hostfwctl))
        assert "the journal takes no entries" in hostfwctl("doctor", check=False).stdout
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(15) == 0
    assert _rules(lab) == before


def _rules(lab: Lab) -> list[str]:
    return sorted(run(lab["host"], ["nft", "-s", "list", "ruleset"]).stdout.splitlines())


def _trouble(hostfwctl: Hostfwctl) -> str:
    trouble: str = json.loads(hostfwctl("status", "-o", "json").stdout)["service"]["trouble"]
    return trouble


def test_words_that_nobody_reads_do_not_keep_the_process_from_ending(lab: Lab, installation: Installation) -> None:
    """Another daemon listens already, and standard error is full."""
    fill = (
        "import fcntl, os, sys; fcntl.fcntl(2, 1031, 4096); os.write(2, bytes(4096)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    daemon_command = [sys.executable, "-c", fill, *command(installation)]
    with socket(AF_UNIX) as another:
        another.bind(str(socket_path(installation.run)))
        another.listen()
        with process(lab["host"], daemon_command, environment=environment()) as daemon:
            assert daemon.wait(_PATIENCE_S) == 1
