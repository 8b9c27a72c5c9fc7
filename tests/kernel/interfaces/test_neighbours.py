"""Messages of neighbours, from real daemons: they move no interface into another policy.

An advertisement in raw bytes, radvd, and a DHCP server that nobody asked for (dnsmasq, with dhclient on the host). Each
gives the host an address of 10/8 or fd00::/8, or a default route, which is what the group `internal` asks for.
"""

import os
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from time import monotonic, sleep

import pytest

from hostfw.host.network.dhcp.dhcp_leases import EndlessLease, endless_leases
from hostfw.host.network.interfaces.links import observe
from hostfw.model.host.facts import Interface
from hostfw.model.values import UDP, Family, Learned
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, open_socket, process, run, set_sysctl
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe
from lab.service import service
from tests.kernel.packets.frames import checksum

Hostfwctl = Callable[..., CompletedProcess[str]]

_PATIENCE_S = 20.0
_POLICY = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {{name: internal}}
spec:
  match:
  - {{addressIn: [10.0.0.0/8, "fd00::/8"], learned: [{learned}]}}
  - {{defaultRoute: true, learned: [{learned}]}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: internal, labels: {{zone: internal}}}}
spec: {{node: host, interfaceGroup: internal}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: others, labels: {{zone: untrusted}}}}
spec: {{node: host, interfaceName: '*'}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: internal}}
spec: {{selector: zone == 'internal', ingress: [{{action: Allow}}]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: untrusted}}
spec: {{selector: zone == 'untrusted', types: [Ingress, Egress], egress: [{{action: Allow}}]}}
"""
_FLOW = (Flow("peer", "host", UDP, 9999, Family.V4),)


def _ipv6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def advertise(peer: Namespace, *, router_lifetime_s: int = 1800, valid_s: int = 3600) -> None:
    """Send one router advertisement of fd66::/64 from fe80::bad, by the RFC's own layout (RFC 4861, 4.2 and 4.6.2)."""
    source, everyone = _ipv6("fe80::bad"), _ipv6("ff02::1")
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, valid_s, valid_s, 0, _ipv6("fd66::"))
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, router_lifetime_s, 0, 0) + prefix
    total = checksum(source + everyone + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6) + body)
    body = body[:2] + struct.pack("!H", total) + body[4:]
    frame = bytes.fromhex("333300000001 0200000000aa 86dd")
    frame += struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 255) + source + everyone + body
    with open_socket(peer, socket.AF_PACKET, socket.SOCK_RAW) as link, inside(peer):
        link.bind(("eth0", 0))
        link.send(frame)


@contextmanager
def raw(lab: Lab, _: Path) -> Iterator[None]:
    """One forged advertisement."""
    advertise(lab["peer"])
    yield


@contextmanager
def raw_for_ever(lab: Lab, _: Path) -> Iterator[None]:
    """One whose prefix never ends: the kernel reports the address all the same."""
    advertise(lab["peer"], valid_s=2**32 - 1)
    yield


@contextmanager
def radvd(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """A real router."""
    configuration = tmp_path / "radvd.conf"
    configuration.write_text(
        "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix fd66::/64 { }; };\n"
    )
    os.chmod(tmp_path, 0o755)  # noqa: PTH101 - radvd looks as another user
    set_sysctl(lab["peer"], "net.ipv6.conf.all.forwarding", "1")
    arguments = ["--nodaemon", "--logmethod", "stderr", "--config", str(configuration)]
    with process(lab["peer"], [_tool("radvd"), *arguments, "--pidfile", str(tmp_path / "radvd.pid")]):
        yield


@contextmanager
def dhcp(lab: Lab, tmp_path: Path, lease: str = "1h") -> Iterator[None]:
    """A DHCP server and the client that Debian's ifupdown runs, with its own script, in a mount namespace."""
    dnsmasq, dhclient = _tool("dnsmasq"), _tool("dhclient")
    run(lab["peer"], ["ip", "address", "add", "10.66.0.1/24", "dev", "eth0"])
    server = [dnsmasq, "--no-daemon", "--port=0", "--conf-file=/dev/null", "--user=root", "--bind-interfaces"]
    server += [f"--dhcp-range=10.66.0.50,10.66.0.99,{lease}", "--interface=eth0", "--dhcp-authoritative"]
    server += [f"--dhcp-leasefile={tmp_path / 'dnsmasq.leases'}"]
    for name in ("resolv.conf", "dhclient.conf"):
        (tmp_path / name).touch()
    (tmp_path / "leases").mkdir()
    hidden = "mount --bind $1/resolv.conf /etc/resolv.conf && mount --bind $1/leases /var/lib/dhcp && shift && exec $@"
    client = [dhclient, "-d", "-4", "-cf", str(tmp_path / "dhclient.conf"), "-pf", str(tmp_path / "dhclient.pid")]
    client += ["-lf", "/var/lib/dhcp/dhclient.eth0.leases", "eth0"]
    isolated = ["unshare", "--mount", "sh", "-c", hidden, "sh", str(tmp_path), *client]
    with process(lab["peer"], server), process(lab["host"], isolated):
        yield


@contextmanager
def dhcp_for_ever(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """A lease without an end, which makes an address that looks like an administrator's."""
    with dhcp(lab, tmp_path, "infinite"):
        yield


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack by a neighbour, and how the host learns of it."""

    name: str
    begin: Callable[[Lab, Path], AbstractContextManager[None]]
    way: Learned


ATTACKS = (
    Attack("raw", raw, Learned.RA),
    Attack("raw for ever", raw_for_ever, Learned.RA),
    Attack("radvd", radvd, Learned.RA),
    Attack("dhcp", dhcp, Learned.DHCP),
    Attack("dhcp for ever", dhcp_for_ever, Learned.DHCP),
)
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


def _eth0(host: Namespace, leases: Path) -> Interface:
    """The observation of eth0, as in the mount namespace of its DHCP client."""
    with inside(host), pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostfw.host.network.interfaces.links.endless_leases", lambda: _leases_in(leases))
        # The administrator's addresses are as new as the lease here, and the file is to tell them apart.
        patch.setattr("hostfw.host.network.interfaces.links.SETTLED_S", 0.0)
        found = observe("host", nft="").interface("eth0")
    assert found is not None
    return found


def _leases_in(folder: Path) -> frozenset[EndlessLease]:
    none = folder / "none"
    return endless_leases(none, folder, none)


def _until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < deadline, "it did not come about"
        sleep(0.1)


@pytest.fixture(autouse=True)
def _takes_advertisements(host: Namespace) -> None:
    for key in ("accept_ra", "autoconf"):
        set_sysctl(host, f"net.ipv6.conf.eth0.{key}", "1")


@each_attack
def test_what_a_neighbour_gives_is_observed_as_such(lab: Lab, tmp_path: Path, attack: Attack) -> None:
    """Its address and its default route, with the way; the administrator's own stay what they are."""
    with attack.begin(lab, tmp_path):
        _until(lambda: _eth0(lab["host"], tmp_path / "leases").default_route_learned == (attack.way,))
        eth0 = _eth0(lab["host"], tmp_path / "leases")

    assert {how for _, how in eth0.learned} == {attack.way}
    assert {str(cidr) for cidr in eth0.addresses_of(())} >= {"192.0.2.1/32", "2001:db8::1/128"}
    assert not any(str(cidr).startswith(("10.66.", "fd66:")) for cidr in eth0.addresses_of(()))


@each_attack
@pytest.mark.parametrize("believed", [False, True], ids=["not believed", "believed"])
def test_a_neighbour_moves_an_interface_only_where_it_is_believed(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path, attack: Attack, *, believed: bool
) -> None:
    """Packets that the others' policy drops go on being dropped, while the service follows every event.

    The service does not see the lease file of a client in a mount namespace: that the client runs is what speaks
    against the lease for ever here, as it does where the file is not yet written.
    """
    policy = installation.config / "policy.yaml"
    policy.write_text(_POLICY.format(learned=attack.way if believed else ""))
    leases = tmp_path / "leases"
    with service(installation, tmp_path / "log"):
        assert probe(lab, _FLOW, DENY_PATIENCE_S)[0].verdict is Verdict.DROPPED
        with attack.begin(lab, tmp_path):
            _until(lambda: bool(_eth0(lab["host"], leases).default_route))
            if believed:
                _until(lambda: probe(lab, _FLOW, ALLOW_PATIENCE_S)[0].verdict is Verdict.ALLOWED)
            else:
                sleep(1)
                assert probe(lab, _FLOW, DENY_PATIENCE_S)[0].verdict is Verdict.DROPPED
                said = hostfwctl("interfaces").stderr
                assert "a neighbour may say that" in said
                assert f"add learned: [{attack.way}]" in said


def test_an_administrators_address_beside_a_client_counts_once_no_lease_can_be_behind_it(
    lab: Lab, installation: Installation, tmp_path: Path
) -> None:
    """The service looks again by itself; nothing else happens to the interface."""
    (installation.config / "policy.yaml").write_text(_POLICY.format(learned=""))
    shutil.copy("/bin/sleep", tmp_path / "dhclient")
    with service(installation, tmp_path / "log"), process(lab["host"], [str(tmp_path / "dhclient"), "1000"]):
        run(lab["host"], ["ip", "address", "add", "10.66.0.9/24", "dev", "eth0"])
        sleep(1)
        assert probe(lab, _FLOW, DENY_PATIENCE_S)[0].verdict is Verdict.DROPPED
        _until(lambda: probe(lab, _FLOW, ALLOW_PATIENCE_S)[0].verdict is Verdict.ALLOWED)


def test_an_advertisement_that_ends_everything_takes_nothing_away(
    lab: Lab, installation: Installation, tmp_path: Path
) -> None:
    """Lifetime 0 for the router and its prefix: an interface that is in by what an administrator set stays in."""
    run(lab["host"], ["ip", "address", "add", "fd66::5/64", "dev", "eth0", "nodad"])
    run(lab["host"], ["ip", "route", "add", "default", "via", "2001:db8::2"])
    (installation.config / "policy.yaml").write_text(_POLICY.format(learned=""))
    with service(installation, tmp_path / "log"):
        assert probe(lab, _FLOW, ALLOW_PATIENCE_S)[0].verdict is Verdict.ALLOWED
        advertise(lab["peer"])
        advertise(lab["peer"], router_lifetime_s=0, valid_s=0)
        sleep(1)
        assert probe(lab, _FLOW, ALLOW_PATIENCE_S)[0].verdict is Verdict.ALLOWED


def test_temporary_addresses_of_an_advertised_prefix_are_a_neighbour_s_as_well(lab: Lab, tmp_path: Path) -> None:
    """Those that the kernel makes for privacy (RFC 8981), also where the prefix itself never ends."""
    set_sysctl(lab["host"], "net.ipv6.conf.eth0.use_tempaddr", "2")
    advertise(lab["peer"], valid_s=2**32 - 1)
    _until(lambda: len(_eth0(lab["host"], tmp_path).learned) == 2)
    eth0 = _eth0(lab["host"], tmp_path)

    assert "temporary" in run(lab["host"], ["ip", "-6", "address", "show", "dev", "eth0"]).stdout
    assert {how for _, how in eth0.learned} == {Learned.RA}
    assert not any(str(cidr).startswith("fd66:") for cidr in eth0.addresses_of(()))


def test_a_neighbour_that_claims_an_address_takes_no_interface_out_of_its_group(
    lab: Lab, installation: Installation, tmp_path: Path
) -> None:
    """It answers the duplicate address detection of what the administrator sets: that stays the administrator's."""
    set_sysctl(lab["host"], "net.ipv6.conf.eth0.accept_dad", "1")
    run(lab["peer"], ["ip", "address", "add", "fd67::5/64", "dev", "eth0", "nodad"])
    run(lab["host"], ["ip", "address", "add", "fd67::5/64", "dev", "eth0"])
    _until(lambda: "dadfailed" in run(lab["host"], ["ip", "-6", "address", "show", "dev", "eth0"]).stdout)
    (installation.config / "policy.yaml").write_text(_POLICY.format(learned=""))

    with service(installation, tmp_path / "log"):
        assert probe(lab, _FLOW, ALLOW_PATIENCE_S)[0].verdict is Verdict.ALLOWED
