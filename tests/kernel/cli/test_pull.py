"""Bundles pulled from a real web server by real processes: into force, rolled back, killed in the middle."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from subprocess import CompletedProcess
from time import monotonic, sleep

import pytest

from lab.hostfwctl import Installation, environment, hostfwctl
from lab.laboratory import Lab
from lab.namespace import process, run
from tests.kernel.packets.connections import admits
from tests.kernel.web_policy import web_policy
from tests.unit.builders.bundle_builders import bundle, signer

PORT = 8000
URL = f"http://192.0.2.2:{PORT}/web.hostfw"
KILLS = (5, 60)
"""Numbers of kills, normally and under soak."""

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Street:
    """A host, and a neighbour who serves a folder."""

    lab: Lab
    installation: Installation
    served: Path

    def publish(self, number: int, port: int, egress: str = "") -> None:
        """Serve a bundle that lets a port in, and everything out but what is said."""
        aside = self.served / "aside"
        policy = web_policy(port).replace("[Ingress]", "[Ingress, Egress]") + f"  egress: [{egress}{{action: Allow}}]\n"
        aside.write_bytes(bundle(number, {"web.yaml": policy.encode()}))
        # Web servers tell files apart by the second.
        os.utime(aside, (1_800_000_000 + next(_SECONDS),) * 2)
        aside.replace(self.served / "web.hostfw")

    def pull(self, *options: str) -> "CompletedProcess[str]":
        """Pull on the host."""
        return hostfwctl(self.installation, *_WORDS, *options, check=False)

    def record(self) -> dict[str, object]:
        """The status record."""
        found: dict[str, object] = json.loads((self.installation.state / "bundles/status.json").read_text())
        return found

    def linked(self) -> str:
        """The number of the bundle that the configuration directory leads to."""
        return (self.installation.config / "bundle").readlink().name


_SECONDS = count()
_WORDS = ("pull", URL, f"--signers={signer().allowed}")


@pytest.fixture(name="street")
def _street(lab: Lab, installation: Installation, tmp_path: Path) -> Iterator[Street]:
    served = tmp_path / "served"
    served.mkdir()
    serve = (sys.executable, "-m", "http.server", "--directory", str(served), "--bind", "192.0.2.2", str(PORT))
    with process(lab["peer"], serve):
        ends = monotonic() + 20
        probe = f"import socket; socket.create_connection(('192.0.2.2', {PORT}), 1)"
        while run(lab["peer"], (sys.executable, "-c", probe), check=False).returncode:
            assert monotonic() < ends
            sleep(0.1)
        yield Street(lab, installation, served)


def test_a_bundle_comes_into_force_and_nothing_is_sent_twice(street: Street) -> None:
    """The kernel, the record and the directory say the same."""
    street.publish(7, 8081)
    done = street.pull()
    assert (done.returncode, done.stderr) == (0, "bundle 7 is in force, signed by ops\n")
    assert (admits(street.lab, 8081), admits(street.lab, 8082)) == (True, False)
    assert street.linked() == "7"
    assert "no change: " in hostfwctl(street.installation, "reload").stderr

    fetched = street.installation.state / "bundles/next.hostfw"
    before = fetched.stat().st_ino
    assert street.pull().returncode == 0
    assert (street.record()["state"], fetched.stat().st_ino) == ("current", before)

    street.publish(8, 8082)
    assert street.pull("--confirm-by", "test $HOSTFW_BUNDLE = 8").returncode == 0
    assert (admits(street.lab, 8081), admits(street.lab, 8082)) == (False, True)
    street.publish(7, 8081)
    older = street.pull()
    assert older.returncode == 3
    assert "bundle 7 is older than bundle 8" in older.stderr
    assert admits(street.lab, 8082)


def test_separate_endpoints_come_from_the_directory_beside_the_bundle(street: Street, tmp_path: Path) -> None:
    """A host has those that its rules ask for, over a real server; a file that was changed there is refused."""
    policies = tmp_path / "policies"
    policies.mkdir()
    endpoint, policy = web_policy(8081).split("---\n")
    policy = policy.replace("[Ingress]", "[Ingress, Egress]") + "  egress: [{action: Allow}]\n"
    (policies / "web.yaml").write_text(policy.replace("Allow, ", "Allow, source: {selector: role == 'peer'}, "))
    (policies / "endpoints.yaml").write_text(f"{endpoint}{_peer('peer', 2)}{_peer('other', 3)}")
    key, archive = signer().key, street.served / "web.hostfw"

    def publish(number: int) -> None:
        words = ("-o", str(archive), f"--key={key}", f"--number={number}", "--separate-endpoints")
        hostfwctl(street.installation, "bundle", str(policies), *words)
        os.utime(archive, (1_800_000_000 + next(_SECONDS),) * 2)

    publish(7)
    assert street.pull().returncode == 0, street.record()
    assert (street.record()["allEndpoints"], admits(street.lab, 8081), admits(street.lab, 8082)) == (False, True, False)
    others = street.installation.config / "bundle/endpoints-others.yaml"
    assert ("peer-all" in others.read_text(), "other-all" in others.read_text()) == (True, False)
    assert "no change: " in hostfwctl(street.installation, "reload").stderr

    (policies / "more.yaml").write_text(_peer("peer", 4).replace("name: peer-all", "name: peer-more"))
    publish(8)
    for path in (street.served / "web.hostfw.d").iterdir():
        path.write_bytes(path.read_bytes().replace(b"192.0.2.4", b"192.0.2.5"))
    done = street.pull()
    assert (done.returncode, street.record()["state"], street.linked()) == (3, "refused", "7")
    assert "is not what was signed" in done.stderr
    assert admits(street.lab, 8081)


def _peer(name: str, at: int) -> str:
    return (
        f"---\n{{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {{name: {name}-all,\n"
        f" labels: {{role: {name}}}}}, spec: {{node: {name}, interfaceName: '*', expectedIPs: [192.0.2.{at}]}}}}\n"
    )


def test_a_bundle_that_closes_the_way_to_its_server_is_rolled_back(street: Street) -> None:
    """Found by a new connection, while the one before would still pass."""
    street.publish(7, 8081)
    assert street.pull().returncode == 0
    street.publish(8, 8082, egress=f"{{action: Deny, protocol: TCP, destination: {{ports: [{PORT}]}}}}, ")

    done = street.pull("--confirm-within", "6s", "--accept-loss")

    assert done.returncode == 5
    assert "the source of bundles cannot be reached any more" in done.stderr
    assert "it was rolled back: generation" in done.stderr
    assert (admits(street.lab, 8081), admits(street.lab, 8082), street.linked()) == (True, False, "7")
    assert (street.record()["state"], street.record()["failed"]) == ("failed", 8)
    street.publish(9, 8083)
    assert street.pull().returncode == 0, "the next one still comes"
    assert admits(street.lab, 8083)


def test_a_pull_that_is_killed_leaves_one_bundle_or_the_other(street: Street, soak: bool) -> None:
    """At any moment; what is in force has a bundle, and the next pull finishes what was begun."""
    random = Random(7)
    street.publish(1, 8081)
    assert street.pull().returncode == 0
    took_s = 1.0
    for number in range(2, 2 + KILLS[soak]):
        old, new = (8082, 8081) if number % 2 else (8081, 8082)
        street.publish(number, new)
        command = (*street.installation.arguments, *_WORDS, "--confirm-within", "5s")
        with process(street.installation.node, command, environment=environment()) as pulling:
            sleep(random.uniform(0.2, 1.3) * took_s)
            os.killpg(pulling.pid, signal.SIGKILL)

        assert admits(street.lab, old) != admits(street.lab, new), number
        assert street.linked() in (str(number - 1), str(number))
        assert (street.installation.config / "bundle/web.yaml").read_text()
        ends = monotonic() + 60
        while street.pull().returncode or street.linked() != str(number):
            assert monotonic() < ends, street.record()
            sleep(0.3)
        began = monotonic()
        assert street.pull().returncode == 0
        took_s = max(took_s, monotonic() - began)
        assert (admits(street.lab, new), admits(street.lab, old)) == (True, False)
        assert "no change: " in hostfwctl(street.installation, "reload").stderr


def test_two_pulls_at_once_are_one(street: Street) -> None:
    """The second ends with a sentence, and the first goes on."""
    street.publish(7, 8081)
    command = (*street.installation.arguments, *_WORDS, "--confirm-by", "sleep 4")
    with process(street.installation.node, command, environment=environment()) as first:
        ends = monotonic() + 30
        while not (street.installation.state / "bundles/state.json").exists():
            assert monotonic() < ends
            sleep(0.05)
        second = street.pull()
        assert second.returncode == 1
        assert "another process is pulling a bundle" in second.stderr
        assert first.wait(60) == 0
    assert street.linked() == "7"
