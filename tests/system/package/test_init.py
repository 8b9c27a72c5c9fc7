"""`hostfwctl init` on hosts that have another firewall, or libvirt: what was reachable stays so, and it is named."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release, root_image
from lab.hosts.package import install_package
from lab.namespace import LabError
from tests.system.street import CLOSED, OPEN, PEER, Street, connects, eventually, listen, start_service

FIREWALLS = ("firewalld", "ufw")
LIBVIRT = ("libvirt-daemon-system", "libvirt-clients", "dnsmasq-base", "iptables", "nftables")
GUEST, GATEWAY = "192.168.122.50", "192.168.122.1"


@contextmanager
def host_with(release: Release, street: Street, package: Path, extra: tuple[str, ...]) -> Iterator[Host]:
    """A host that listens at two ports, with hostfw installed, not configured, and its service running."""
    try:
        root_image(release, extra)
    except LabError as reason:
        pytest.skip(str(reason))
    with debian(release, "web", [street.uplink()], extra=extra) as host:
        host.run(["systemctl", "disable", "--now", "firewalld", "ufw"], check=False)
        listen(host)
        host.run(["systemctl", "start", f"listen-stream-{OPEN}.socket", f"listen-stream-{CLOSED}.socket"])
        install_package(host, package)
        yield host


def _begin(host: Host, named: str, step: str) -> str:
    """Have `init` propose and write a configuration, which names the other one; gives the text."""
    proposed = host.run(["hostfwctl", "init"]).stdout
    assert host.run(["test", "-e", "/etc/hostfw/start.yaml"], check=False).returncode != 0
    comment = " ".join(proposed.partition("apiVersion")[0].replace("\n#", " ").split())
    assert re.search(rf"{named} \([a-z0-9_, ]*\) denies packets as well", comment)
    assert step in comment
    assert "hostfwctl import" in comment
    written = host.run(["hostfwctl", "init", "--write"])
    assert re.search(rf"{named} \([a-z0-9_, ]*\) denies packets as well", written.stderr)
    assert step in written.stderr
    assert host.read("/etc/hostfw/start.yaml") == proposed
    return proposed


def _put_into_force(host: Host) -> None:
    """As `init` says it."""
    host.run(["hostfwctl", "apply", "--confirm-within", "2m"])
    host.run(["hostfwctl", "confirm", "--console"])
    start_service(host)


def _others(host: Host) -> str:
    return host.run(["hostfwctl", "doctor"], check=False).stdout


def test_beside_ufw(release: Release, street: Street, package: Path) -> None:
    """Ports that ufw lets in stay reachable; without ufw the host is hostfw's, and what listened is let in."""
    with host_with(release, street, package, FIREWALLS) as host:
        host.run(["ufw", "allow", f"{OPEN}/tcp"])
        host.run(["ufw", "--force", "enable"])
        assert connects(street.peer, OPEN)
        assert not connects(street.peer, CLOSED)

        _begin(host, "ufw", "`ufw disable` leaves the host to hostfw")
        _put_into_force(host)

        assert connects(street.peer, OPEN)
        assert not connects(street.peer, CLOSED)
        host.run(["ufw", "disable"])
        assert "ufw" not in _others(host)
        assert connects(street.peer, OPEN)
        assert connects(street.peer, CLOSED), "it listened when `init` looked"


def test_beside_firewalld(release: Release, street: Street, package: Path) -> None:
    """Its rules stay as they are, and what they let in is reachable before and after it is stopped."""
    with host_with(release, street, package, FIREWALLS) as host:
        host.run(["systemctl", "start", "firewalld"])
        host.run(["firewall-cmd", f"--add-port={OPEN}/tcp"])
        assert eventually(lambda: connects(street.peer, OPEN), 20) is not None
        assert not connects(street.peer, CLOSED)
        theirs = host.run(["nft", "list", "table", "inet", "firewalld"]).stdout

        _begin(host, "firewalld", "`systemctl disable --now firewalld`")
        _put_into_force(host)

        assert connects(street.peer, OPEN)
        assert not connects(street.peer, CLOSED)
        assert host.run(["nft", "list", "table", "inet", "firewalld"]).stdout == theirs
        host.run(["systemctl", "disable", "--now", "firewalld"])
        assert "firewalld" not in _others(host)
        assert connects(street.peer, OPEN)


def test_what_another_firewall_keeps_closed_stays_closed_by_import(
    release: Release, street: Street, package: Path
) -> None:
    """The rules of ufw as policy, which the proposal names as the way: closed, also when ufw is off."""
    with host_with(release, street, package, FIREWALLS) as host:
        host.run(["ufw", "allow", f"{OPEN}/tcp"])
        host.run(["ufw", "--force", "enable"])
        imported = host.run(["hostfwctl", "import", "ufw"], check=False).stdout
        host.write("/etc/hostfw/imported.yaml", imported)

        _put_into_force(host)

        host.run(["ufw", "disable"])
        assert connects(street.peer, OPEN)
        assert not connects(street.peer, CLOSED)


def test_beside_libvirt(release: Release, street: Street, package: Path) -> None:
    """Its bridge gets a HostEndpoint, and a guest gets an address and names from the host, and out, as before."""
    with host_with(release, street, package, LIBVIRT) as host:
        started = host.run(["sh", "-c", _NETWORK], check=False, timeout_s=120)
        if started.returncode != 0:
            pytest.skip(f"libvirt has no network here: {started.stderr}")
        host.run(["sh", "-c", _GUEST])
        before = _reached(host, street)
        assert before == {"dhcp": True, "names": True, "out": True, "from outside": True}

        proposed = _begin(host, "libvirt", "policy cannot open what libvirt closes")
        assert "interfaceName: virbr0" in proposed
        _put_into_force(host)

        assert _reached(host, street) == before


_NETWORK = """
set -eu
systemctl start libvirtd || systemctl start virtnetworkd
virsh --connect qemu:///system net-start default || virsh --connect qemu:///system net-list | grep -q default
ip link show virbr0
"""
_GUEST = f"""
set -eu
ip netns add guest
ip link add vnet0 type veth peer name eth0 netns guest
ip link set vnet0 master virbr0 up
ip -n guest link set lo up
ip -n guest address add {GUEST}/24 dev eth0
ip -n guest link set eth0 up
ip -n guest route add default via {GATEWAY}
"""
_ASK_DHCP = """
import socket, struct, sys
mac = bytes.fromhex(open('/sys/class/net/eth0/address').read().strip().replace(':', ''))
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
one.bind(('', 68))
one.settimeout(1)
head = struct.pack('!BBBBIHH4s4s4s4s16s64s128s', 1, 1, 6, 0, 77, 0, 0x8000, *[bytes(4)] * 4, mac, b'', b'')
for _ in range(20):
    # A port of the bridge forwards nothing in its first seconds.
    one.sendto(head + bytes.fromhex('63825363350101ff'), ('255.255.255.255', 67))
    try:
        sys.exit(one.recv(2000)[0] != 2)
    except TimeoutError:
        pass
sys.exit(1)
"""
_ASK_NAMES = f"""
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(5)
one.sendto(bytes.fromhex('0007010000010000000000000377656200000100 01'.replace(' ', '')), ('{GATEWAY}', 53))
assert one.recv(2000)[:2] == bytes([0, 7])
"""


def _reached(host: Host, street: Street) -> dict[str, bool]:
    """The things that a guest reaches (DHCP and names of the host, the neighbour), and whether the host is reached."""
    inside = ["ip", "netns", "exec", "guest"]
    return {
        "dhcp": host.run([*inside, "python3", "-c", _ASK_DHCP], check=False).returncode == 0,
        "names": host.run([*inside, "python3", "-c", _ASK_NAMES], check=False).returncode == 0,
        "out": host.run([*inside, "ping", "-c", "1", "-W", "3", PEER], check=False).returncode == 0,
        "from outside": connects(street.peer, OPEN),
    }
