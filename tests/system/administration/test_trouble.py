"""Failures of a host: the rules stay in force, the service comes back, and the journal has the cause."""

import pytest

from lab.hosts.host import Host
from tests.system.street import CLOSED, OPEN, POLICY, Street, configure, connects, eventually, reload, rules

BACK_S = 10
"""Time until the service is ready again; systemd waits a second before it starts it."""

_WATCHDOG = "[Service]\nWatchdogSec=2s\n"

# A disk of 256 KiB for the state alone, with 4 KiB left.
_FULL_DISK = """
set -e
systemctl stop hostfw
cp -a /var/lib/hostfw /root/state
mount -t tmpfs -o size=256k,mode=0700 tmpfs /var/lib/hostfw
cp -a /root/state/. /var/lib/hostfw
systemctl start hostfw
head -c 1M /dev/zero >/var/lib/hostfw/ballast 2>/dev/null || true
truncate -s -4096 /var/lib/hostfw/ballast
"""

UNREADABLE = [
    ("a file that nobody may read", "chmod 000 /etc/hostfw/policy.yaml", "policy.yaml"),
    ("a file that all may write", "chmod 666 /etc/hostfw/policy.yaml", "policy.yaml"),
    ("a file of somebody else", "chown nobody /etc/hostfw/policy.yaml", "policy.yaml"),
    ("a folder that nobody may enter", "mkdir /etc/hostfw/more; chmod 000 /etc/hostfw/more", "more"),
    ("a link that leads nowhere", "ln -s /nowhere /etc/hostfw/more.yaml", "more.yaml"),
    ("bytes that are no text", "head -c 999 /dev/urandom >/etc/hostfw/more.yaml", "more.yaml"),
    ("a pipe", "mkfifo /etc/hostfw/more.yaml", "more.yaml"),
]


def test_a_killed_daemon_comes_back(host: Host, street: Street) -> None:
    """Kill -9 again and again: nothing gets in, the rules are the same, and a new daemon takes over."""
    before = rules(host)

    with street.knocking(host) as knocks:
        for _ in range(3):
            daemon = host.pid_of("hostfw")
            host.run(["systemctl", "kill", "--signal=KILL", "hostfw"])
            assert eventually(lambda: _is_ready(host, daemon), BACK_S) is not None  # noqa: B023

    assert knocks.through == ()
    assert rules(host) == before
    assert "status=9/KILL" in host.journal("--boot", "-u", "hostfw")
    reload(host)


@pytest.mark.alike
def test_a_daemon_killed_during_a_reload_leaves_one_policy_or_the_other(host: Host, street: Street) -> None:
    """The reload fails, all that is denied by both stays denied, and the next reload brings the new policy."""
    configure(host, POLICY.replace(str(OPEN), "6666"))

    with street.knocking(host) as knocks:
        for pause in ("0.05", "0.15", "0.25", "0.35"):
            daemon = host.pid_of("hostfw")
            script = f"systemctl --no-block reload hostfw; sleep {pause}; systemctl kill --signal=KILL hostfw"
            host.run(["sh", "-c", script])
            assert eventually(lambda: _is_ready(host, daemon), BACK_S) is not None  # noqa: B023
        reload(host)

    assert knocks.through == ()
    assert not connects(street.peer, OPEN, timeout_s=0.3)


def test_a_hung_daemon_is_replaced(host: Host, street: Street) -> None:
    """A daemon that answers no more is ended by systemd's watchdog; what is in force stays so meanwhile."""
    host.write("/etc/systemd/system/hostfw.service.d/soon.conf", _WATCHDOG)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "restart", "hostfw"])
    daemon, before = host.pid_of("hostfw"), rules(host)

    with street.knocking(host) as knocks:
        host.run(["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "hostfw"])
        assert connects(street.peer, OPEN)
        assert eventually(lambda: _is_ready(host, daemon), 30) is not None

    assert knocks.through == ()
    assert rules(host) == before
    assert "Watchdog timeout" in host.journal("--boot", "-u", "hostfw")
    reload(host)


@pytest.mark.alike
def test_the_watchdog_leaves_a_working_daemon_alone(host: Host) -> None:
    """Idle or busy, the daemon says often enough that it is well."""
    host.write("/etc/systemd/system/hostfw.service.d/soon.conf", _WATCHDOG)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "restart", "hostfw"])
    daemon = host.pid_of("hostfw")

    for number in range(8):
        configure(host, POLICY.replace("6666", str(7000 + number)))
        reload(host)
    host.run(["sleep", "5"])

    assert (host.pid_of("hostfw"), host.property_of("hostfw", "NRestarts")) == (daemon, "0")


def test_a_full_disk_leaves_what_is_in_force(host: Host, street: Street) -> None:
    """A reload that cannot be written down says so and counts until the next boot; with room again the next lasts."""
    host.run(["sh", "-c", _FULL_DISK])
    daemon, before = host.pid_of("hostfw"), rules(host)
    big = POLICY + "".join(f"    - {{action: Deny, protocol: TCP, source: {{ports: [{n}]}}}}\n" for n in range(1, 1000))

    with street.knocking(host) as knocks:
        configure(host, big)
        assert host.run(["systemctl", "reload", "hostfw"], check=False).returncode == 1
        assert rules(host) != before
        assert connects(street.peer, OPEN)
        assert "the disk is full" in host.journal("--boot", "-u", "hostfw")
        host.run(["rm", "/var/lib/hostfw/ballast"])
        configure(host, POLICY.replace(str(OPEN), "6666"))
        reload(host)

    assert knocks.through == ()
    assert not connects(street.peer, OPEN, timeout_s=0.3)
    assert host.pid_of("hostfw") == daemon


@pytest.mark.alike
def test_what_was_accepted_outlives_a_full_disk(host: Host, street: Street) -> None:
    """After a reload that could not be written down, a daemon that starts anew enforces something that was accepted."""
    host.run(["sh", "-c", _FULL_DISK])
    configure(host, POLICY.replace(str(OPEN), f"{OPEN}, 6666"))
    host.run(["systemctl", "reload", "hostfw"], check=False)

    with street.knocking(host) as knocks:
        daemon = host.pid_of("hostfw")
        host.run(["systemctl", "kill", "--signal=KILL", "hostfw"])
        assert eventually(lambda: _is_ready(host, daemon), BACK_S) is not None
        assert connects(street.peer, OPEN)

    assert knocks.through == ()


@pytest.mark.alike
@pytest.mark.parametrize(("spoil", "named"), [case[1:] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE])
def test_a_file_that_cannot_be_read_is_refused(host: Host, street: Street, spoil: str, named: str) -> None:
    """The reload fails and names the file; the daemon goes on with what it has, and starts anew with it."""
    before = rules(host)
    host.run(["sh", "-c", spoil])

    reloaded = host.run(["systemctl", "reload", "hostfw"], check=False)

    assert reloaded.returncode == 1
    assert f"/etc/hostfw/{named}" in host.property_of("hostfw", "StatusText")
    host.run(["systemctl", "restart", "hostfw"])
    assert rules(host) == before
    assert connects(street.peer, OPEN)


def test_an_unreadable_state_leaves_the_rules(host: Host, street: Street) -> None:
    """A daemon that cannot read what was accepted keeps what is in force, says so, and takes the next reload."""
    before = rules(host)
    host.run(["sh", "-c", "find /var/lib/hostfw -name generation.json -exec sh -c 'echo [ >$1' sh {} ';'"])

    with street.knocking(host) as knocks:
        host.run(["systemctl", "restart", "hostfw"])
        assert connects(street.peer, OPEN)
        assert rules(host) == before
        assert "generation.json" in host.journal("--boot", "-u", "hostfw")
        configure(host, POLICY.replace(str(OPEN), str(CLOSED + 1)))
        reload(host)

    assert knocks.through == ()


@pytest.mark.alike
def test_without_python_the_rules_stay_and_with_it_the_service_is_back(host: Host, street: Street) -> None:
    """An upgrade that breaks Python ends the daemon and nothing else; systemd goes on trying."""
    before = rules(host)

    with street.knocking(host) as knocks:
        daemon = host.pid_of("hostfw")
        host.run(["sh", "-c", "mkdir /root/away; mv /usr/bin/python3* /root/away"])
        host.run(["systemctl", "kill", "--signal=KILL", "hostfw"])
        host.run(["sleep", "4"])
        assert rules(host) == before
        assert connects(street.peer, OPEN)
        host.run(["sh", "-c", "mv /root/away/* /usr/bin"])
        assert eventually(lambda: _is_ready(host, daemon), BACK_S) is not None

    assert knocks.through == ()


@pytest.mark.alike
def test_a_lost_run_directory_is_made_good(host: Host, street: Street) -> None:
    """Somebody empties /run/hostfw: the rules stay, and a restart is all it takes."""
    before = rules(host)

    host.run(["sh", "-c", "rm -rf /run/hostfw/*"])
    host.run(["systemctl", "restart", "hostfw"])
    reload(host)

    assert rules(host) == before
    assert connects(street.peer, OPEN)


@pytest.mark.alike
def test_a_journal_that_is_down_stops_nobody(host: Host, street: Street) -> None:
    """While journald is gone policy is enforced and changed as ever, and the watchdog has nothing to complain of."""
    host.write("/etc/systemd/system/hostfw.service.d/soon.conf", _WATCHDOG)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "restart", "hostfw"])
    daemon = host.pid_of("hostfw")

    with street.knocking(host) as knocks:
        host.run(["systemctl", "kill", "--signal=STOP", "systemd-journald"])
        host.run(["sleep", "4"])
        assert connects(street.peer, OPEN)
        host.run(["systemctl", "kill", "--signal=CONT", "systemd-journald"])

    assert knocks.through == ()
    assert host.pid_of("hostfw") == daemon
    reload(host)


def _is_ready(host: Host, before: int) -> bool:
    """True if another daemon than the one of before is ready."""
    return host.property_of("hostfw", "SubState") == "running" and host.pid_of("hostfw") not in (0, before)
