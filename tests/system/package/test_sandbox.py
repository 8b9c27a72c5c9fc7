"""The sandbox of the service: what it keeps the daemon from, and what the daemon must be able to do in it."""

import re
from pathlib import Path

from lab.hosts.host import Host
from tests.system.street import CLOSED, OPEN, POLICY, Street, configure, connects, eventually

CAP_NET_ADMIN = 1 << 12
_TRIAL_S = 6


def status(host: Host) -> dict[str, str]:
    """The kernel's status of the daemon."""
    text = host.read(f"/proc/{host.pid_of('hostfw')}/status")
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def test_the_daemon_may_do_one_thing(host: Host) -> None:
    """It has one capability, cannot gain others, and its system calls are filtered."""
    found = status(host)

    assert [int(found[each], 16) for each in ("CapEff", "CapPrm", "CapBnd")] == [CAP_NET_ADMIN] * 3
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_the_daemon_may_write_its_own_directories_only(host: Host) -> None:
    """In the file system as it sees it."""
    places = ("/etc/hostfw", "/usr/share/hostfw", "/root", "/var/lib", "/var/lib/hostfw", "/run/hostfw")
    script = 'for place; do touch "$place/.tried" 2>/dev/null && rm "$place/.tried" && echo "$place"; done; true'
    enter = ["nsenter", "--target", str(host.pid_of("hostfw")), "--mount", "sh", "-c", script, "sh", *places]

    assert host.run(enter).stdout.split() == ["/var/lib/hostfw", "/run/hostfw"]


def test_the_way_back_outlives_the_service(host: Host, street: Street) -> None:
    """An unconfirmed change is rolled back by a timer of systemd, although the service was stopped."""
    configure(host, POLICY.replace(str(OPEN), str(CLOSED)))

    host.run(["hostfwctl", "apply", "--confirm-within", f"{_TRIAL_S}s", "--accept-lockout"])
    timers = host.run(["systemctl", "list-units", "--no-legend", "--plain", "hostfw-rollback-*.timer"]).stdout
    host.run(["systemctl", "stop", "hostfw"])

    assert len(timers.splitlines()) == 1
    assert connects(street.peer, CLOSED)
    assert eventually(lambda: not connects(street.peer, CLOSED), _TRIAL_S + 10, 0.2) is not None
    assert connects(street.peer, OPEN)


def test_a_restart_of_the_service_is_no_boot(host: Host, street: Street) -> None:
    """A trial goes on while the daemon is replaced, and can be confirmed after that."""
    configure(host, POLICY.replace(str(OPEN), str(CLOSED)))
    host.run(["hostfwctl", "apply", "--confirm-within", "60s", "--accept-lockout"])

    host.run(["systemctl", "restart", "hostfw"])

    assert connects(street.peer, CLOSED)
    assert "is rolled back in" in host.run(["hostfwctl", "status"]).stdout
    host.run(["hostfwctl", "confirm", "--console"])
    assert "is rolled back in" not in host.run(["hostfwctl", "status"]).stdout
    assert connects(street.peer, CLOSED)


def test_a_reload_sees_the_name_that_the_host_has_now(host: Host, street: Street) -> None:
    """A name in a namespace of its own would be that of the moment when the service started."""
    host.write("/etc/hostfw/hostfw.yaml", "")
    host.run(["hostnamectl", "set-hostname", "web"])

    host.run(["systemctl", "reload", "hostfw"])

    assert re.search(r"^Node: +web$", host.run(["hostfwctl", "status"]).stdout, re.MULTILINE)
    assert connects(street.peer, OPEN)


def test_figures_can_be_written_where_node_exporter_reads_them(host: Host) -> None:
    """Readable for everyone, in the directory that Debian's package makes."""
    folder = Path("/var/lib/prometheus/node-exporter")
    host.run(["mkdir", "-p", str(folder)])
    host.write(
        "/etc/hostfw/hostfw.yaml", f"node: web\nmetrics: {{textfile: {folder}/hostfw.prom, intervalSeconds: 5}}\n"
    )

    host.run(["systemctl", "restart", "hostfw"])
    host.run(["systemctl", "reload", "hostfw"])

    made = ["stat", "--format=%a", str(folder / "hostfw.prom")]
    assert eventually(lambda: host.run(made, check=False).stdout == "644\n", 15, 0.2) is not None
