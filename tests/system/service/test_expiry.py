"""Everything that ends on a whole host: with the service, without it, after it was killed, and over a reboot."""

from time import monotonic, sleep

from hostfw.journal.message_ids import MessageId
from lab.hosts.host import Host
from tests.system.street import CLOSED, HOST6, OPEN, PEER, Street, connects, entries, eventually

LATE_S = 5.0
"""Longest time that anything may outlive its own."""
FEEDS = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bans, labels: {list: bans}}
spec: {external: true}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: guests, labels: {list: guests}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: lists}
spec:
  order: 1
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - {action: Deny, source: {selector: list == 'bans'}, protocol: TCP, destination: {ports: [5555]}}
    - {action: Allow, source: {selector: list == 'guests'}, protocol: TCP, destination: {ports: [4444]}}
"""


def outlived(street: Street, ends_at: float, port: int = CLOSED) -> float:
    """The seconds for which a port stayed open beyond a moment (monotonic); it must have been open before."""
    closed = eventually(lambda: not connects(street.peer, port, timeout_s=0.5), ends_at - monotonic() + 20, 0.2)
    assert closed is not None, "it stays open"
    return monotonic() - ends_at


def test_a_rule_for_a_time_ends_in_time(host: Host, street: Street) -> None:
    """While the service runs, where it is killed, and without it as soon as anything of ours looks."""
    for act in ("true", "systemctl kill --signal=KILL hostfw"):
        host.run(["hostfwctl", "allow", f"tcp/{CLOSED}", "for", "6s"])
        ends_at = monotonic() + 6
        assert connects(street.peer, CLOSED)
        host.run(act.split())
        assert outlived(street, ends_at) < LATE_S

    host.run(["systemctl", "start", "hostfw"])
    host.run(["hostfwctl", "allow", f"tcp/{CLOSED}", "for", "6s"])
    ends_at = monotonic() + 6
    host.run(["systemctl", "stop", "hostfw"])
    sleep(max(ends_at + LATE_S - monotonic(), 0))
    host.run(["hostfwctl", "status"], check=False)
    assert not connects(street.peer, CLOSED)


def test_members_of_sets_end_in_time_whoever_runs(host: Host, street: Street) -> None:
    """The kernel keeps their time."""
    host.write("/etc/hostfw/lists.yaml", FEEDS)
    host.run(["hostfwctl", "apply"])
    for act in ("start", "stop"):
        host.run(["systemctl", act, "hostfw"])
        host.run(["hostfwctl", "set", "add", "guests", PEER, "for", "6s"])
        ends_at = monotonic() + 6
        assert connects(street.peer, CLOSED)
        assert outlived(street, ends_at) < LATE_S
    assert [message for _, message in entries(host, MessageId.MEMBERS_CHANGED)][-1].startswith(
        f"{PEER} put into guests for 6 s"
    )


def test_a_boot_honours_what_ended_and_what_did_not(host: Host, street: Street) -> None:
    """From the first packet on, although the service never starts."""
    host.write("/etc/hostfw/lists.yaml", FEEDS)
    host.run(["hostfwctl", "apply"])
    host.run(["hostfwctl", "allow", f"tcp/{CLOSED}", "for", "20s"])
    host.run(["hostfwctl", "set", "add", "guests", PEER, "for", "20s"])
    host.run(["hostfwctl", "set", "add", "bans", PEER, "for", "1h"])
    began = monotonic()
    assert connects(street.peer, CLOSED)
    assert not connects(street.peer, OPEN)
    assert connects(street.peer, OPEN, HOST6)
    host.run(["systemctl", "mask", "hostfw"])
    host.cut_power()
    host.run(["rm", "-f", f"/var/tmp/knocked-{CLOSED}", f"/var/tmp/knocked-{OPEN}"])
    sleep(max(began + 21 - monotonic(), 0))

    with street.knocking(host, OPEN) as bans, street.knocking(host, CLOSED) as guests:
        host.start()
        assert eventually(lambda: connects(street.peer, OPEN, HOST6), 10) is not None

    assert bans.of("tcp 10.77.0.2") == ()
    assert bans.of("tcp fd77::2")
    assert guests.through == ()
    listed = host.run(["hostfwctl", "set", "list", "bans"]).stdout
    assert PEER in listed
    assert "59 min" in listed or "58 min" in listed
    assert PEER not in host.run(["hostfwctl", "set", "list", "guests"]).stdout
    # What has not ended comes back with the service, and ends with it.
    host.run(["systemctl", "unmask", "hostfw"])
    host.run(["systemctl", "start", "hostfw"])
    assert not connects(street.peer, CLOSED)
    assert not connects(street.peer, OPEN)
