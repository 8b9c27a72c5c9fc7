"""Ordinary acts on a whole host: nothing that was denied passes, and nothing that was allowed closes without a word.

A host is renamed, cloned, loses its lease; its interface is renamed or put into a bridge; its configuration is emptied,
is another node's, or is one file. A neighbour knocks all the time at what is denied and at what is allowed, and so does
the host at the neighbour. One host serves for all, and each act is undone.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from time import monotonic

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.wire import neighbour, wire
from lab.load import crowding
from lab.namespace import Namespace, process
from tests.system.street import CLOSED, HOST, HOST6, PEER, PEER6, Knocking, Street, connects, eventually

SERVED, FAR, FAR_CLOSED = 5556, 8080, 2525
"""TCP ports: of the host, which policy lets in; of the neighbour, which it lets out to, and which it does not."""
LEASED_LATER = "10.77.0.50"
"""The address that the host is given in place of its own."""
SILENCE_S = 1.5
"""The time that nobody may be let in where an act does not touch the link: a lost SYN comes again after a second."""
MASTER_S = 0.1
"""The time that a bridge may be open to what the host sends after it got a governed port, until that is heard of."""
_KNOCKER = Path(__file__).parents[1] / "knocker.py"
_SERVE = """\
import socket, sys
with socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512) as server:
    print("serving", flush=True)
    while True:
        server.accept()[0].close()
"""
_UNIT = f"""\
[Service]
ExecStart=/usr/bin/python3 /root/serve.py {SERVED}
[Install]
WantedBy=multi-user.target
"""
_ADDRESSED = f"""\
[Network]
IPv6AcceptRA=no
DHCP={{dhcp}}
[Address]
Address={HOST6}/64
DuplicateAddressDetection=none
"""
_FIXED = f"[Address]\nAddress={HOST}/24\n"
_NETWORK = "/etc/systemd/network/10-eth0.network"
# Early, as udev renames an interface by a .link file; udev itself does not run in a container.
_RENAMED_AT_BOOT = """\
[Unit]
DefaultDependencies=no
Before=hostfw-boot.service network-pre.target systemd-networkd.service
[Service]
Type=oneshot
ExecStart=ip link set eth0 name wan0
[Install]
WantedBy=sysinit.target
"""
_AS_BEFORE = """\
rm -f /etc/hostfw/*.yaml
systemctl disable --quiet renamed
ip link show br0 >/dev/null 2>&1 && ip link delete br0
if ip link show wan0 >/dev/null 2>&1; then ip link set wan0 down; ip link set wan0 name eth0; ip link set eth0 up; fi
networkctl reload && networkctl reconfigure eth0
"""
POLICY = f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: role == 'web'
  ingress:
    - {{action: Allow, protocol: TCP, destination: {{ports: [PORTS, 22]}}}}
  egress:
    - {{action: Allow, protocol: TCP, destination: {{ports: [{FAR}]}}}}
"""


def endpoint(node: str, claim: str = "interfaceName: eth0") -> str:
    """The HostEndpoint of the host."""
    return f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: uplink, labels: {{role: web}}}}
spec: {{node: {node}, {claim}}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A host that runs, and the street that it is in."""

    host: Host
    street: Street

    def configure(self, claim: str = "interfaceName: eth0", ports: str = str(SERVED)) -> None:
        """Write the configuration; the host's own name is that of its node."""
        self.host.write("/etc/hostfw/endpoint.yaml", endpoint(self.host.name, claim))
        self.host.write("/etc/hostfw/policy.yaml", POLICY.replace("PORTS", ports))

    def ctl(self, *arguments: str) -> CompletedProcess[str]:
        """Run hostfwctl, whatever becomes of it."""
        return self.host.run(["hostfwctl", *arguments], check=False)

    def journal(self) -> str:
        """The entries of the service since the host was switched on."""
        return self.host.journal("--boot", "-u", "hostfw")

    def is_open(self, address: str = HOST) -> bool:
        """True if the neighbour is let in where it should be."""
        return connects(self.street.peer, SERVED, address, timeout_s=0.5)

    def kept(self) -> list[tuple[str, str]]:
        """The interfaces that keep a HostEndpoint which does not claim them, as status has them."""
        status = json.loads(self.ctl("status", "-o", "json").stdout)
        return [(one["interface"], one["endpoint"]) for one in status["keptInterfaces"]]


@pytest.fixture(scope="module")
def standing(release: Release, seed: Host) -> Iterator[Place]:
    """A host that lets its neighbour in at one port and goes out to one."""
    with wire() as laid, neighbour(laid, "peer", f"{PEER}/24", f"{PEER6}/64") as peer, _serving(peer):
        street = Street(laid, peer)
        with debian(release, "acts", [street.uplink()], like=seed, on=False) as host:
            host.write("/root/serve.py", _SERVE)
            host.write("/root/knocker.py", _KNOCKER.read_text())
            host.write("/etc/systemd/system/served.service", _UNIT)
            host.write("/etc/systemd/system/renamed.service", _RENAMED_AT_BOOT)
            host.write(_NETWORK, _network("eth0"))
            host.write("/etc/systemd/network/20-other.network", _network("wan0 br0"))
            host.run(["systemctl", "enable", "--quiet", "served"])
            host.run(["rm", "/etc/hostfw/hostfw.yaml"])
            found = Place(host, street)
            host.start()
            yield found


@pytest.fixture
def place(standing: Place) -> Place:
    """The host as it was before any act, whatever became of the one before."""
    standing.host.write(_NETWORK, _network("eth0"))
    standing.host.run(["sh", "-c", _AS_BEFORE])
    standing.host.run(["hostnamectl", "set-hostname", standing.host.name])
    standing.street.find(standing.host)
    standing.configure()
    done = standing.ctl("apply")
    assert done.returncode == 0, done.stderr
    assert eventually(standing.is_open, 20) is not None
    assert eventually(lambda: standing.kept() == [], 10) is not None
    return standing


@contextmanager
def watched(place: Place, *, steady: bool = False, inside: bool = True, moment_s: float = 0) -> Iterator[None]:
    """Knock for the length of the block: what is denied stays so, and with `steady` what is allowed stays so as well.

    `inside` is whether the host knocks too, which one that reboots cannot; for a moment it may get out, if so long.
    """
    host, street = place.host, place.street
    with ExitStack() as stack:
        denied = stack.enter_context(street.knocking(host, CLOSED))
        allowed = stack.enter_context(street.knocking(host, SERVED, every_s=0.02))
        out = stack.enter_context(_knocking_out(host)) if inside else None
        began = monotonic()
        yield
        ended = monotonic()
    assert denied.sent > 100
    assert denied.through == ()
    if out is not None:
        assert out.sent > 100
        span_s = out.through[-1][1] - out.through[0][1] if out.through else 0
        # A machine with more to do than it has processors for takes its time.
        allowed_s = moment_s * crowding()
        assert not out.through or span_s < allowed_s, out.through
    if steady:
        moments = [began, *(at for at in allowed.of("tcp") if began < at < ended), ended]
        longest_s = max(after - before for before, after in pairwise(moments))
        assert longest_s < SILENCE_S * crowding()


@contextmanager
def rebooted(place: Place) -> Iterator[None]:
    """Switch the host off and on again, and knock from its first moment on.

    Not before: a container's network answers once more while the kernel takes it down, when nothing runs there.
    """
    place.host.power_off()
    with watched(place, inside=False):
        place.host.start()
        yield


@contextmanager
def _knocking_out(host: Host) -> Iterator[Knocking]:
    """Knock from the host at a port of its neighbour that policy denies."""
    found = Knocking()
    argv = ["python3", "/root/knocker.py", str(FAR_CLOSED), PEER, PEER6]
    with host.process(argv, stdin=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "knocking\n"
        yield found
        told = json.loads(started.communicate("", 20)[0])
        found.sent, found.through = told["sent"], tuple((kind, at) for kind, at in told["through"])


@contextmanager
def _serving(peer: Namespace) -> Iterator[None]:
    with process(peer, [sys.executable, "-c", _SERVE, str(FAR)]) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "serving\n"
        yield


def _network(names: str, dhcp: str = "no") -> str:
    fixed = _FIXED if dhcp == "no" else ""
    return f"[Match]\nName={names}\n{_ADDRESSED.format(dhcp=dhcp)}{fixed}"


def goes_out(place: Place, port: int) -> bool:
    """True if the host gets a connection to its neighbour."""
    script = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5).close()"
    return place.host.run(["python3", "-c", script, PEER, str(port)], check=False).returncode == 0


def works(place: Place, address: str = HOST) -> None:
    """Both ways, what is allowed passes before long, and what is denied does not."""
    assert eventually(lambda: place.is_open(address), 15) is not None
    assert eventually(lambda: goes_out(place, FAR), 15) is not None
    assert not connects(place.street.peer, CLOSED, address, timeout_s=0.3)
    assert not goes_out(place, FAR_CLOSED)


def keeps(place: Place, interface: str) -> None:
    """Journal, status and doctor say that an interface keeps the HostEndpoint that it had, and what to do."""
    assert eventually(lambda: place.kept() == [(interface, "uplink")], 10) is not None
    assert f"no HostEndpoint claims interface {interface}" in place.journal()
    assert interface in place.ctl("status").stdout
    assert f"no HostEndpoint claims {interface}" in place.ctl("doctor").stdout


def test_the_host_is_renamed(place: Place) -> None:
    """At once and across a reboot: its policy is that of the node that it was accepted for."""
    host = place.host
    with watched(place, steady=True):
        host.run(["hostnamectl", "set-hostname", "other"])
        assert eventually(lambda: "this host is called other now" in place.journal(), 5) is not None
        works(place)
    with rebooted(place):
        works(place)
    assert eventually(lambda: "this host is called other now" in place.journal(), 10) is not None
    assert "other" in place.ctl("status").stdout
    assert "other" in place.ctl("doctor").stdout

    host.run(["hostnamectl", "set-hostname", host.name])
    assert place.ctl("reload").returncode == 0
    assert "other" not in place.ctl("status").stdout


def test_an_interface_is_renamed(place: Place) -> None:
    """Live, and then by the boot: it keeps its policy under its new name, and has it by the old one again."""
    host = place.host
    with watched(place):
        host.run(["ip", "-batch", "-"], text="link set eth0 down\nlink set eth0 name wan0\nlink set wan0 up\n")
        works(place)
    keeps(place, "wan0")
    with watched(place):
        host.run(["ip", "-batch", "-"], text="link set wan0 down\nlink set wan0 name eth0\nlink set eth0 up\n")
        works(place)
    assert eventually(lambda: place.kept() == [], 10) is not None

    host.run(["systemctl", "enable", "--quiet", "renamed"])
    with rebooted(place):
        works(place)
    assert host.run(["ip", "link", "show", "wan0"], check=False).returncode == 0
    keeps(place, "wan0")
    host.run(["systemctl", "disable", "--quiet", "renamed"])
    host.reboot()
    works(place)
    assert place.kept() == []


def test_an_interface_becomes_a_port(place: Place) -> None:
    """Of a bridge, which then has the addresses and the policy."""
    host = place.host
    with watched(place, moment_s=MASTER_S):
        commands = "link add br0 type bridge\naddress flush dev eth0\nlink set eth0 master br0\nlink set br0 up\n"
        host.run(["ip", "-batch", "-"], text=commands)
        works(place)
    keeps(place, "br0")

    host.run(["ip", "link", "delete", "br0"])
    host.run(["networkctl", "reconfigure", "eth0"])
    works(place)
    assert eventually(lambda: place.kept() == [], 10) is not None


def test_a_lease_is_lost(place: Place, tmp_path: Path) -> None:
    """A HostEndpoint that is bound by an address keeps its interface when the server gives it another one."""
    dnsmasq = shutil.which("dnsmasq")
    if dnsmasq is None:
        pytest.skip("needs dnsmasq-base: tools/bootstrap test")
    host, peer = place.host, place.street.peer

    def server(address: str) -> list[str]:
        common = ["--no-daemon", "--port=0", "--conf-file=/dev/null", "--user=root", "--bind-interfaces"]
        common += ["--interface=eth0", "--dhcp-authoritative", f"--dhcp-leasefile={tmp_path / 'leases'}"]
        return [dnsmasq, *common, f"--dhcp-range={address},{address},255.255.255.0,2m"]

    with process(peer, server(HOST)):
        host.write(_NETWORK, _network("eth0", "ipv4"))
        host.run(["networkctl", "reload"])
        host.run(["networkctl", "reconfigure", "eth0"])
        assert eventually(place.is_open, 20) is not None
        place.configure(f"expectedIPs: [{HOST}], learned: [dhcp]")
        assert place.ctl("apply").returncode == 0
        works(place)
    (tmp_path / "leases").unlink()
    with process(peer, server(LEASED_LATER)):
        with watched(place):
            # A client that renews does not hear a refusal, which is broadcast: it begins anew when its lease ends.
            host.run(["networkctl", "reconfigure", "eth0"])
            assert eventually(lambda: place.is_open(LEASED_LATER), 30) is not None
        works(place, LEASED_LATER)
        keeps(place, "eth0")
    host.write(_NETWORK, _network("eth0"))
    host.run(["networkctl", "reload"])
    host.run(["networkctl", "reconfigure", "eth0"])
    works(place)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("rm /etc/hostfw/*.yaml", ("HostEndpoint/uplink", "GlobalNetworkPolicy/web", "--accept-loss")),
        ("sed -i 's/node: [^,]*/node: elsewhere/' /etc/hostfw/endpoint.yaml", ("elsewhere", "eth0", "--accept-loss")),
    ],
    ids=["the directory is emptied", "it is another node's"],
)
def test_a_configuration_that_governs_nothing_is_refused(place: Place, spoil: str, words: tuple[str, ...]) -> None:
    """By `apply`, by `systemctl reload` and in the words of `diff`; what is in force stays."""
    with watched(place, steady=True):
        place.host.run(["sh", "-c", spoil])
        for verb in ("apply", "reload", "diff"):
            refused = place.ctl(verb)
            assert refused.returncode != 0, verb
            for word in words if verb != "diff" else words[:1]:
                assert word in f"{refused.stdout}{refused.stderr}", verb
        assert place.host.run(["systemctl", "reload", "hostfw"], check=False).returncode != 0
        works(place)


def test_one_file_is_applied(place: Place) -> None:
    """Refused with the names of what would go, until it is said that it comes in addition."""
    one = POLICY.replace("name: web", "name: more").replace("PORTS", "6666")
    place.host.write("/root/more.yaml", one)
    with watched(place, steady=True):
        refused = place.ctl("apply", "-f", "/root/more.yaml")
        assert refused.returncode == 1
        for word in ("HostEndpoint/uplink", "GlobalNetworkPolicy/web", "--add", "--replace"):
            assert word in refused.stderr
        works(place)
        added = place.ctl("apply", "--add", "-f", "/root/more.yaml")
        assert added.returncode == 0
        works(place)
    same = place.ctl("diff")
    assert same.returncode == 0, same.stdout
    assert "name: more" in place.host.read("/etc/hostfw/more.yaml")


def test_a_port_is_named(place: Place) -> None:
    """A name that no HostEndpoint has closes the port, and says so twice; one that the host has opens it."""
    with watched(place):
        place.configure(ports="served")
        closed = place.ctl("apply")
        assert "served" in closed.stderr
        assert f"closes tcp/{SERVED} served.service" in f"{closed.stdout}{closed.stderr}"
        assert not place.is_open()
        place.configure(
            f"interfaceName: eth0, expectedIPs: [{HOST}, '{HOST6}'], "
            f"ports: [{{name: served, protocol: TCP, port: {SERVED}}}]",
            ports="served",
        )
        opened = place.ctl("apply")
        assert opened.returncode == 0
        assert f"opens tcp/{SERVED} served.service" in f"{opened.stdout}{opened.stderr}"
        works(place)


def test_the_host_is_cloned(place: Place, release: Release) -> None:
    """A copy of its disk, of another name and machine-id, comes up with its policy and says whose it is."""
    place.host.power_off()
    with debian(release, "clone", [place.street.uplink()], like=place.host, on=False) as clone:
        clone.write(_NETWORK, _network("eth0"))
        there = Place(clone, place.street)
        with watched(there, inside=False):
            clone.start()
            works(there)
        assert eventually(lambda: f"this host is called {clone.name} now" in there.journal(), 10) is not None
        assert place.host.name in there.ctl("status").stdout
        assert there.ctl("reload").returncode == 0
        works(there)
        assert clone.name in there.ctl("doctor").stdout
    place.host.start()
    place.street.find(place.host)
    works(place)
