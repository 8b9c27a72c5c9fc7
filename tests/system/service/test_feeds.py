"""A list that keeps itself on a whole host: the timer downloads it, a neighbour on it is denied, and it stays so."""

import json
import sys
from pathlib import Path

from hostfw.journal.message_ids import MessageId
from lab.hosts.host import Host
from lab.namespace import process, run
from tests.system.street import (
    HOST6,
    OPEN,
    PEER,
    PEER6,
    POLICY,
    Street,
    configure,
    connects,
    entries,
    eventually,
    reload,
)

PORT = 8000
FEED = f"""\
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: listed}}
spec:
  order: 1
  selector: role == 'web'
  ingress:
    - {{action: Deny, source: {{selector: list == 'drop'}}}}
  egress:
    - {{action: Allow, protocol: TCP, destination: {{nets: [{PEER}/32], ports: [{PORT}]}}}}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {{name: drop, labels: {{list: drop}}}}
spec: {{url: "http://{PEER}:{PORT}/drop.txt"}}
"""
_AT_ONCE = "[Timer]\nRandomizedDelaySec=0\n"


def test_the_timer_keeps_a_list_and_a_dead_server_takes_nothing_away(
    host: Host, street: Street, tmp_path: Path
) -> None:
    """The neighbour is denied as soon as it is listed, without its server, and after a reboot, by either family."""
    configure(host, POLICY + FEED)
    reload(host)
    host.write("/etc/systemd/system/hostfw-feed@drop.timer.d/at-once.conf", _AT_ONCE)
    host.run(["systemctl", "daemon-reload"])
    assert connects(street.peer, OPEN), "nothing is listed before the first download"
    (tmp_path / "drop.txt").write_text(f"# a list\n{PEER}\n{PEER6}\n192.0.2.0/24\n")
    serve = [sys.executable, "-m", "http.server", "--directory", str(tmp_path), "--bind", PEER, str(PORT)]
    with process(street.peer, serve):
        assert eventually(lambda: connects_to_itself(street), 10, 0.2) is not None
        host.run(["systemctl", "enable", "--now", "--quiet", "hostfw-feed@drop.timer"])
        denied = eventually(lambda: not connects(street.peer, OPEN), 90, 0.2)
    assert denied is not None, host.journal("-u", "hostfw-feed@drop", "-n", "30")
    assert [message for _, message in entries(host, MessageId.FEED_UPDATED)] == ["Feed drop was updated: 3 prefixes"]
    assert host.run(["stat", "-c", "%U %a", "/var/lib/hostfw/feeds/drop.txt"]).stdout == "root 600\n"

    gone = host.run(["systemctl", "start", "hostfw-feed@drop.service"], check=False)

    assert gone.returncode != 0
    assert 'Feed "drop" could not be updated' in host.run(["hostfwctl", "status"]).stdout
    assert entries(host, MessageId.FEED_NOT_UPDATED)
    assert not connects(street.peer, OPEN)
    host.reboot()
    assert not connects(street.peer, OPEN)
    assert "192.0.2.0/24" in host.run(["hostfwctl", "set", "list", "drop"]).stdout


NAMES = """\
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: listed}
spec:
  order: 1
  selector: role == 'web'
  ingress:
    - {action: Deny, source: {selector: list == 'names'}}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: names, labels: {list: names}}
spec: {hostnames: [scanner.example.org]}
"""
_BAD_ANSWERS: tuple[tuple[list[str], str], ...] = (
    (["127.0.0.1", "192.0.2.9"], "which is an address of this host alone"),
    (["0.0.0.0"], "which is nobody's address"),
    ([f"198.18.{n >> 8}.{n & 255}" for n in range(1000)], "the resolver gives 1000 addresses, more than 256"),
    ([], "its last addresses stay"),
)


def test_addresses_of_names_stay_whatever_a_resolver_says_and_without_a_network(
    host: Host, street: Street, tmp_path: Path
) -> None:
    """One that lies, has a time to live of 0, a thousand addresses or none; and a boot whose cable is cut."""
    configure(host, POLICY + NAMES)
    reload(host)
    host.write("/etc/resolv.conf", f"nameserver {PEER}\noptions timeout:1 attempts:1\n")
    told = tmp_path / "answers.json"
    told.write_text(json.dumps([PEER, PEER6]))
    update = ["hostfwctl", "feed", "update", "names"]
    with process(street.peer, [sys.executable, str(Path(__file__).parents[1] / "resolver.py"), PEER, str(told)]):
        assert eventually(lambda: connects(street.peer, 53, PEER), 10, 0.2) is not None
        assert connects(street.peer, OPEN)
        host.run(update)
        assert not connects(street.peer, OPEN)
        assert not connects(street.peer, OPEN, HOST6)
        told.write_text(json.dumps(["198.51.100.1"]))
        host.run(update)
        assert not connects(street.peer, OPEN), "an address of an answer with a time to live of 0"
        said = {}
        for answer, why in _BAD_ANSWERS:
            told.write_text(json.dumps(answer))
            said[why] = host.run(update, check=False)
    assert {why: (done.returncode, why in done.stderr) for why, done in said.items()} == dict.fromkeys(said, (1, True))
    assert 'Feed "names" could not be updated' in host.run(["hostfwctl", "status"]).stdout

    host.power_off()
    host.start(wait=False)
    run(street.wire.namespace, ["ip", "link", "set", street.wire.bridge, "down"])
    host.wait_ready()
    known = host.run(["hostfwctl", "set", "list", "names"]).stdout
    assert PEER in known
    assert "198.51.100.1" in known
    assert host.run(update, check=False).returncode == 1
    run(street.wire.namespace, ["ip", "link", "set", street.wire.bridge, "up"])
    assert not connects(street.peer, OPEN)


def connects_to_itself(street: Street) -> bool:
    """True once the neighbour's own server answers."""
    return connects(street.peer, PORT, PEER)
