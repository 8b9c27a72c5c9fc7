"""A fleet's bundle on a whole host: the timer pulls it, it is tried, and what is no good is rolled back by itself."""

import json
import subprocess
import sys
from pathlib import Path

from hostfw.journal.message_ids import MessageId
from hostfw.model.api_versions import CALICO_V3
from lab.hosts.host import Host
from lab.namespace import process
from tests.system.street import CLOSED, OPEN, PEER, POLICY, Street, configure, connects, entries, eventually, reload

PORT = 8000
URL = f"http://{PEER}:{PORT}/web.hostfw"
REACHES_SERVER = f"""\
---
apiVersion: {CALICO_V3}
kind: GlobalNetworkPolicy
metadata: {{name: fleet}}
spec:
  selector: role == 'web'
  egress:
    - {{action: Allow, protocol: TCP, destination: {{nets: [{PEER}/32], ports: [{PORT}]}}}}
"""
_WELL = "[Service]\nExecStart=/usr/bin/sleep infinity\n"
_AT_ONCE = "[Timer]\nOnBootSec=\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=1s\nRandomizedDelaySec=0\n"


def _publish(folder: Path, number: int, *ports: int) -> None:
    """Put a bundle of one policy, that lets these TCP ports in, where the neighbour serves it."""
    key, policies, bundle = folder / "key", folder / f"policies-{number}", folder / "next.hostfw"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ops", "-f", str(key)], check=True)
    policies.mkdir()
    (policies / "web.yaml").write_text(
        f"apiVersion: {CALICO_V3}\nkind: GlobalNetworkPolicy\nmetadata: {{name: of-the-fleet}}\n"
        "spec:\n  selector: role == 'web'\n"
        f"  ingress: [{{action: Allow, protocol: TCP, destination: {{ports: {list(ports)}}}}}]\n"
    )
    argv = [sys.executable, "-m", "hostfw.cli", "bundle", policies, "-o", bundle, "--key", key, "--number", str(number)]
    subprocess.run([str(word) for word in argv], check=True)
    served = folder / "served"
    served.mkdir(exist_ok=True)
    bundle.rename(served / "web.hostfw")


def _record(host: Host) -> dict[str, object]:
    """The record of the last pull; nothing before the first has ended."""
    written = host.run(["cat", "/var/lib/hostfw/bundles/status.json"], check=False)
    return dict(json.loads(written.stdout)) if written.returncode == 0 else {}


def _pulled(host: Host) -> int:
    """Pull once more, as the timer does, and say with what exit status the unit ended."""
    return host.run(["systemctl", "start", "hostfw-pull.service"], check=False).returncode


def test_the_timer_pulls_a_bundle_and_takes_back_what_is_no_good(host: Host, street: Street, tmp_path: Path) -> None:
    """In force by itself; rolled back where the host is not well; kept without a server and across a reboot."""
    configure(host, POLICY + REACHES_SERVER)
    reload(host)
    _publish(tmp_path, 1, CLOSED)
    host.write("/etc/hostfw/allowed_signers", f'ops namespaces="hostfw" {(tmp_path / "key.pub").read_text()}')
    host.write("/etc/systemd/system/shop.service", _WELL)
    host.write("/etc/default/hostfw-pull", f"HOSTFW_PULL=\"{URL} --confirm-by 'systemctl is-active --quiet shop'\"\n")
    host.write("/etc/systemd/system/hostfw-pull.timer.d/at-once.conf", _AT_ONCE)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "start", "shop"])
    assert not connects(street.peer, CLOSED)

    served = [sys.executable, "-m", "http.server", "--directory", str(tmp_path / "served"), "--bind", PEER, str(PORT)]
    with process(street.peer, served):
        assert eventually(lambda: connects(street.peer, PORT, PEER), 10, 0.2) is not None
        host.run(["systemctl", "enable", "--now", "--quiet", "hostfw-pull.timer"])
        taken = eventually(lambda: connects(street.peer, CLOSED), 90, 0.2)
        assert taken is not None, host.journal("-u", "hostfw-pull", "-n", "30")
        assert eventually(lambda: _record(host).get("state") == "applied", 60, 0.2) is not None
        assert connects(street.peer, OPEN), "the host's own policies stay"

        host.run(["systemctl", "stop", "shop"])
        _publish(tmp_path, 2, 6666)
        assert _pulled(host) != 0
        assert (_record(host)["state"], _record(host)["inForce"]) == ("failed", 1)
        assert connects(street.peer, CLOSED), "the last bundle is in force again"
        host.run(["systemctl", "start", "shop"])
        _publish(tmp_path, 3, CLOSED, 7777)
        assert _pulled(host) == 0
        assert (_record(host)["state"], _record(host)["inForce"]) == ("applied", 3)

    assert [_pulled(host) != 0 for _ in range(2)] == [True, True]
    assert (_record(host)["state"], _record(host)["inForce"]) == ("unreached", 3)
    assert len(entries(host, MessageId.BUNDLE_TAKEN)) == 2
    told = [message for _, message in entries(host, MessageId.BUNDLE_NOT_TAKEN)]
    assert [message.partition(" (")[0] for message in told] == ["bundle 2 was not taken", "no bundle was taken"]
    host.reboot()
    assert connects(street.peer, CLOSED)
    assert "drift" not in host.run(["hostfwctl", "status"]).stdout
