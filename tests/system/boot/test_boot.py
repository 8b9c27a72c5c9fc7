"""Power-on: whatever the state of the disk, no denied packet gets in between the first one and the last."""

import pytest

from lab.hosts.host import Host
from tests.system.street import CLOSED, HOST, HOST6, OPEN, Street, connects, eventually, was_reached

SPOILT = [
    ("nothing", "", OPEN),
    ("the configuration, broken since", "echo 'kind: [' >>/etc/hostfw/policy.yaml", OPEN),
    ("the configuration, gone", "rm -r /etc/hostfw; mkdir /etc/hostfw", OPEN),
    ("python3, missing", "for file in /usr/bin/python3*; do mv $file /root; done", OPEN),
    ("the state, gone", "find /var/lib/hostfw -mindepth 1 -delete", 22),
    ("the state, all of it empty files", "find /var/lib/hostfw -type f -exec truncate -s 0 {} +", 22),
    ("the last good script, cut in half", "truncate -s 2000 /var/lib/hostfw/last-good.nft", 22),
    ("the daemon, masked", "systemctl mask hostfw", OPEN),
]


@pytest.mark.parametrize(("spoil", "opened"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_no_denied_packet_gets_in_during_a_boot(
    off_host: Host, street: Street, spoil: str, opened: int, soak: bool
) -> None:
    """A neighbour knocks from before power-on until after the boot, and meets nobody but at an open port."""
    host = off_host
    host.run(["sh", "-c", spoil])
    assert not was_reached(host)

    for _ in range(20 if soak else 1):
        with street.knocking(host) as knocks:
            host.start()
            assert eventually(lambda: connects(street.peer, opened), 10) is not None
            assert eventually(lambda: connects(street.peer, opened, HOST6), 10) is not None

        assert knocks.sent > 100
        assert knocks.through == ()
        assert not was_reached(host)
        host.cut_power()


def test_knocking_gets_through_without_protection(off_host: Host, street: Street) -> None:
    """The same neighbour gets through within the same boot where nothing protects the host: it would be noticed."""
    host = off_host
    host.run(["systemctl", "mask", "hostfw-boot", "hostfw"])

    with street.knocking(host) as knocks:
        host.start()
        assert eventually(lambda: connects(street.peer, OPEN), 10) is not None
        assert eventually(lambda: connects(street.peer, OPEN, HOST6), 10) is not None

    assert knocks.of(f"tcp {HOST}")
    assert knocks.of(f"tcp {HOST6}")
    assert was_reached(host)


def test_the_boot_unit_ends_before_the_network_begins(host: Host) -> None:
    """hostfw-boot is over before network-pre.target is reached, and that before networkd starts."""
    moments = [
        int(host.property_of(unit, name))
        for unit, name in (
            ("hostfw-boot.service", "ActiveEnterTimestampMonotonic"),
            ("network-pre.target", "ActiveEnterTimestampMonotonic"),
            ("systemd-networkd.service", "ExecMainStartTimestampMonotonic"),
        )
    ]

    assert 0 < moments[0] <= moments[1] <= moments[2]


def test_a_cut_of_power_leaves_what_was_accepted(host: Host, street: Street) -> None:
    """Switched off as it is, with a reload under way, the host comes up with the old policy or the new one."""
    host.write("/etc/hostfw/more.yaml", _MORE)
    with host.process(["hostfwctl", "reload"]):
        host.cut_power()

    with street.knocking(host) as knocks:
        host.start()
        assert eventually(lambda: connects(street.peer, OPEN), 10) is not None

    assert knocks.through == ()


def test_a_host_that_nobody_configured_is_left_alone(bare_host: Host, street: Street) -> None:
    """Nothing of ours is loaded on a host without a configuration, not even at boot."""
    assert connects(street.peer, CLOSED)
    assert bare_host.run(["nft", "list", "tables"]).stdout == ""


_MORE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: more}
spec:
  order: 5
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [6666]}}
"""
