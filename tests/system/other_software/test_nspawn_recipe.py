"""The recipe of nspawn machines in a zone on a whole host: leases, names, policy by label, and a published port."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.hosts.host import Host
from lab.hosts.image import Release
from lab.namespace import Namespace, process, run
from tests.system.engines import MACHINES
from tests.system.recipes import (
    OFFICE,
    STRANGER,
    answering,
    explained,
    follow,
    foreign_rules,
    knocking_from,
    opens,
    standing,
    workloads,
)
from tests.system.street import HOST, Street, connects, eventually

_NAME_SERVER, _ZONE = "198.51.100.53", "192.168.80.0/24"
_NAMES = ("web", "db", "blog")
_WAIT_ONLINE = "/usr/lib/systemd/systemd-networkd-wait-online"
# As much of a machine as it takes: it asks for a lease, answers http, and ends when it is told to (SIGRTMIN+3).
_ROOT = r"""
set -eu
for name in web db blog; do
    root=/var/lib/machines/$name
    for folder in bin usr/bin sbin etc proc sys dev run tmp root; do mkdir -p $root/$folder; done
    cp /bin/busybox $root/bin/busybox
    cp /bin/busybox $root/usr/bin/busybox
    echo ID=box >$root/etc/os-release
    echo hello >$root/index.html
    cat >$root/lease <<'END'
#!/bin/busybox sh
b=/bin/busybox
case $1 in
bound|renew)
    $b ip address replace $ip/$mask dev $interface
    $b ip route replace default via ${router%% *}
    echo "nameserver $dns" >/etc/resolv.conf
esac
END
    cat >$root/sbin/init <<'END'
#!/bin/busybox sh
b=/bin/busybox
trap exit 37
$b ip link set host0 up
$b udhcpc -i host0 -s /lease -b -t 60 -T 1
$b httpd -p 80 -h /
while true; do $b sleep 9999 & wait; done
END
    chmod +x $root/lease $root/sbin/init
done
"""


@pytest.fixture(name="nspawn")
def _nspawn(release: Release, street: Street, package: Path) -> Iterator[Host]:
    run(street.peer, ["ip", "address", "add", f"{_NAME_SERVER}/32", "dev", "lo"])
    run(street.peer, ["ip", "route", "add", _ZONE, "via", HOST])
    with standing(release, street, package, MACHINES) as host:
        host.run(["sh", "-c", _ROOT])
        # A restart of systemd-networkd would take away the routes of this host, which are not its own.
        host.write("/etc/systemd/networkd.conf.d/routes.conf", "[Network]\nManageForeignRoutes=no\n")
        yield host


@contextmanager
def _resolver(peer: Namespace, folder: Path) -> Iterator[None]:
    """A name server at the neighbour, with one answer for every name."""
    (folder / "answer").write_text(json.dumps([STRANGER]))
    script = str(Path(__file__).parents[1] / "resolver.py")
    with process(peer, [sys.executable, script, _NAME_SERVER, str(folder / "answer")]):
        yield


def _leader(host: Host, machine: str) -> int:
    return int(host.run(["machinectl", "show", "--value", "--property=Leader", machine]).stdout)


def _addresses(host: Host) -> dict[str, str]:
    """The addresses by which policy knows the machines."""
    items = json.loads(host.run(["hostfwctl", "workloads", "-o", "json"]).stdout)["items"]
    return {one["name"]: one["ipNetworks"][0].partition("/")[0] for one in items if one["ipNetworks"]}


def _in(host: Host, machine: str, *command: str) -> "tuple[int, str]":
    """Run a command of busybox in a machine."""
    enter = ["nsenter", "--target", str(_leader(host, machine)), "--all", "--root", "/bin/busybox"]
    done = host.run([*enter, *command], check=False)
    return done.returncode, done.stdout


def _reaches(host: Host, machine: str, address: str, port: int) -> bool:
    return _in(host, machine, "nc", "-w", "2", address, str(port))[0] == 0


def _all_have_addresses(host: Host) -> bool:
    return _addresses(host).keys() == set(_NAMES)


@pytest.mark.alike
def test_the_recipe_of_nspawn_machines_in_a_zone(nspawn: Host, street: Street, tmp_path: Path) -> None:
    """They get leases and names, packets go as its table says, and no denied one passes while machines come and go."""
    host = nspawn
    with answering(street.peer, (STRANGER, 443), (OFFICE, 443)), _resolver(street.peer, tmp_path):
        follow(host, "nspawn-host")
        assert eventually(lambda: _all_have_addresses(host), 20, 0.3) is not None, host.journal("-n", "40")
        assert workloads(host) == {"shop/web": "governed", "shop/db": "governed", "default/blog": "governed"}
        assert eventually(lambda: opens(street, STRANGER, 8080), 15, 0.3) is not None
        of = _addresses(host)
        for machine, address in of.items():
            assert f"{address}/24" in _in(host, machine, "ip", "address", "show", "host0")[1]

        sent = [
            ("web", of["db"], 80, True),
            ("web", STRANGER, 443, True),
            ("web", OFFICE, 443, False),
            ("web", HOST, 22, False),
            ("web", of["blog"], 80, False),
            ("db", STRANGER, 443, False),
            ("db", of["web"], 80, False),
            ("blog", of["web"], 80, False),
            ("blog", of["db"], 80, False),
            ("blog", STRANGER, 443, False),
        ]
        assert [_reaches(host, one, to, port) for one, to, port, _ in sent] == [way[-1] for way in sent]
        assert [explained(host, of[one], f"{to}:{port}") for one, to, port, _ in sent] == [way[-1] for way in sent]
        assert STRANGER in _in(host, "web", "nslookup", "shop.example")[1]
        assert STRANGER not in _in(host, "db", "nslookup", "shop.example")[1]
        assert explained(host, STRANGER, f"{HOST}:8080", "--in", "eth0")
        assert not connects(street.peer, 80, of["db"])
        assert not connects(street.peer, 22, of["web"])

        with (
            street.knocking(host, 5432) as outside,
            knocking_from(host, _leader(host, "blog"), 80, of["web"], of["db"]) as inside,
            knocking_from(host, _leader(host, "blog"), 443, STRANGER) as out,
        ):
            host.run(["systemctl", "restart", "hostfw-workloads@machines"])
            assert eventually(lambda: _all_have_addresses(host), 20, 0.3) is not None
            host.run(["machinectl", "terminate", "web"])
            # That of Debian 12 forgets its leases.
            host.run(["systemctl", "restart", "systemd-networkd"])
            # Until its DHCP server is there again.
            host.run([_WAIT_ONLINE, "--interface=vz-shop", "--timeout=30"])
            assert eventually(lambda: _is_gone(host, "web"), 15, 0.2) is not None
            host.run(["machinectl", "start", "web"])
            host.run(["systemctl", "restart", "systemd-machined"])
            assert eventually(lambda: _all_have_addresses(host), 20, 0.3) is not None
            opened = eventually(lambda: opens(street, STRANGER, 8080), 30, 0.3)
            assert opened is not None, host.journal("-n", "60")
        assert (outside.through, inside, out) == ((), [], [])
        assert outside.sent > 100

        theirs = foreign_rules(host)
        assert "masquerade" in theirs
        host.run(["systemctl", "restart", "hostfw"])
        host.run(["hostfwctl", "apply"])
        assert foreign_rules(host) == theirs
        host.run(["hostfwctl", "disable", "--remove-rules"])
        assert foreign_rules(host) == theirs
        assert _reaches(host, "blog", STRANGER, 443)


def _is_gone(host: Host, machine: str) -> bool:
    is_known = host.run(["machinectl", "show", machine], check=False).returncode == 0
    return not is_known and host.property_of(f"systemd-nspawn@{machine}", "ActiveState") in ("inactive", "failed")
