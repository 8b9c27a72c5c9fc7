"""A container on a bridge of the host, whose root sends whatever frames it likes at its end of the wire."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostfw.audit.packet_headers import headers
from hostfw.model.values import FAMILIES, Family
from lab.hostfwctl import hostfwctl, install
from lab.laboratory import laboratory
from lab.namespace import run, set_sysctl
from lab.topology import pair
from tests.attacks.probes import CLOSED, OPEN_TCP, OPEN_UDP, Probe, ethernet, icmp, packet, tcp, udp
from tests.attacks.target import Target, target, wire

BRIDGE = {Family.V4: "172.17.0.1", Family.V6: "fd17::1"}
BOX = {Family.V4: "172.17.0.2", Family.V6: "fd17::2"}
OTHER_BOX = {Family.V4: "172.17.0.3", Family.V6: "fd17::3"}
UPLINK = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
OUTSIDE = {Family.V4: "192.0.2.2", Family.V6: "2001:db8::2"}
FARTHER = {Family.V4: "203.0.113.9", Family.V6: "2001:db8:9::9"}
_HARDWARE = "02:17:00:00:00:01"
_TCP, _UDP = 6, 17
_ICMP = {Family.V4: 1, Family.V6: 58}
_ETHERTYPE = {Family.V4: 0x0800, Family.V6: 0x86DD}

POLICY = f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: uplink, labels: {{side: outside}}}}
spec: {{node: host, interfaceName: eth0}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: containers, labels: {{side: containers}}}}
spec: {{node: host, interfaceName: br0}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: uplink}}
spec:
  selector: side == 'outside'
  types: [Ingress]
  ingress:
    - {{action: Allow, protocol: TCP, destination: {{ports: [{OPEN_TCP}]}}}}
    - {{action: Allow, protocol: UDP, source: {{nets: [192.0.2.2/32]}}, destination: {{ports: [{OPEN_UDP}]}}}}
    - {{action: Allow, protocol: UDP, source: {{nets: ["2001:db8::2/128"]}}, destination: {{ports: [{OPEN_UDP}]}}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: containers}}
spec:
  selector: side == 'containers'
  types: [Ingress]
  applyOnForward: true
  ingress:
    - {{action: Allow, protocol: UDP, source: {{nets: [172.17.0.0/16]}},
       destination: {{nets: [172.17.0.1/32], ports: [{OPEN_UDP}]}}}}
    - {{action: Allow, protocol: UDP, source: {{nets: ["fd17::/64"]}},
       destination: {{nets: ["fd17::1/128"], ports: [{OPEN_UDP}]}}}}
    - {{action: Allow, protocol: TCP, source: {{nets: [172.17.0.0/16]}},
       destination: {{nets: [203.0.113.0/24], ports: [443]}}}}
    - {{action: Allow, protocol: TCP, source: {{nets: ["fd17::/64"]}},
       destination: {{nets: ["2001:db8:9::/64"], ports: [443]}}}}
"""
"""Policy of a container: it may use the host's resolver, and reach one network outside by https."""


@pytest.fixture(scope="module")
def bridged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The host between `peer` at eth0 and a container at br0, whose end of the wire is `box` (at `peer` as well)."""
    with laboratory(pair()) as lab:
        host, peer = lab["host"], lab["peer"]
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            set_sysctl(host, key, "1")
        steps = [
            f"link add br0 address {_HARDWARE} type bridge",
            f"link add box type veth peer name box netns {peer.path}",
            "link set box master br0 up",
            "link set br0 up",
            *(f"address add {BRIDGE[f]}/{16 if f is Family.V4 else 64} dev br0 nodad" for f in FAMILIES),
            *(f"route add {net} via {gateway}" for net, gateway in (("203.0.113.0/24", OUTSIDE[Family.V4]),)),
        ]
        run(host, ["ip", "-batch", "-"], text="\n".join(steps))
        run(host, ["ip", "-6", "route", "add", "2001:db8:9::/64", "via", OUTSIDE[Family.V6]])
        run(peer, ["ip", "link", "set", "box", "up"])
        installation = install(host, Path(tmp_path_factory.mktemp("bridged")) / "hostfw")
        (installation.config / "policy.yaml").write_text(POLICY)
        hostfwctl(installation, "apply")
        with target(lab) as made, wire(lab, "box") as box:
            made.wires["box"] = box
            yield made


@dataclass(slots=True)
class Tries:
    """The probes of a container, each a packet from an address to an address."""

    family: Family
    probes: list[Probe] = field(default_factory=list)

    def add(
        self, name: str, protocol: int, payload: bytes, source: str, to: str, *, passes: bool = False, tag: bytes = b""
    ) -> None:
        """One more, in a frame for the bridge."""
        family, hardware = self.family, bytes.fromhex(_HARDWARE.replace(":", ""))

        def frames(number: int) -> tuple[bytes, ...]:
            data = packet(family, number, protocol, payload, source=source, to=to)
            if tag:
                return (ethernet(tag + _ETHERTYPE[family].to_bytes(2, "big") + data, 0x8100, to=hardware),)
            return (ethernet(data, _ETHERTYPE[family], to=hardware),)

        self.probes.append(Probe(f"{name}: {protocol} from {source} to {to}", family, frames, passes))


def tries(family: Family) -> list[Probe]:
    """Attempts of a container."""
    made = Tries(family)
    box, bridge = BOX[family], BRIDGE[family]
    loopback, any_address = ("127.0.0.1", "0.0.0.0") if family is Family.V4 else ("::1", "::")
    made.add("its resolver", _UDP, udp(family, OPEN_UDP, source=box, to=bridge), box, bridge, passes=True)
    made.add(
        "what it may go to", _TCP, tcp(family, 443, source=box, to=FARTHER[family]), box, FARTHER[family], passes=True
    )
    # Policy allows all of the container's network, of which the address of the bridge is one as well.
    spoofed = [UPLINK[family], OUTSIDE[family], FARTHER[family], loopback, any_address]
    for source in spoofed:
        for to in (bridge, UPLINK[family]):
            made.add("a false source", _UDP, udp(family, OPEN_UDP, source=source, to=to), source, to)
            made.add("a false source", _TCP, tcp(family, OPEN_TCP, source=source, to=to), source, to)
        to = FARTHER[family]
        made.add("a false source, out", _TCP, tcp(family, 443, source=source, to=to), source, to)
    for source in (box, OTHER_BOX[family]):
        for port in (23, OPEN_TCP, 443, 2375, 6443, CLOSED):
            for to in (bridge, UPLINK[family]):
                made.add(f"port {port} of the host", _TCP, tcp(family, port, source=source, to=to), source, to)
        for port in (67, 123, 547, 5353, CLOSED):
            made.add(f"port {port} of the host", _UDP, udp(family, port, source=source, to=bridge), source, bridge)
        made.add(
            "the uplink's resolver",
            _UDP,
            udp(family, OPEN_UDP, source=source, to=UPLINK[family]),
            source,
            UPLINK[family],
        )
        for port in (22, 80, 8443):
            for to in (OUTSIDE[family], FARTHER[family]):
                made.add(f"port {port} outside", _TCP, tcp(family, port, source=source, to=to), source, to)
                made.add(f"port {port} outside", _UDP, udp(family, port, source=source, to=to), source, to)
        made.add(
            "a neighbour of the host",
            _TCP,
            tcp(family, 443, source=source, to=OUTSIDE[family]),
            source,
            OUTSIDE[family],
        )
        made.add("the host's loopback", _TCP, tcp(family, OPEN_TCP, source=source, to=loopback), source, loopback)
    for kind in (0, 3, 5, 8, 9, 13, 17) if family is Family.V4 else (1, 3, 128, 133, 134, 136, 137, 139):
        for to in (bridge, UPLINK[family], FARTHER[family]):
            made.add(f"ICMP {kind} from beyond", _ICMP[family], icmp(family, kind, source=box), box, to)
    for number in (2, 4, 41, 47, 50, 51, 89, 112, 132, 253):
        if number != 51 or family is Family.V4:
            for to in (bridge, FARTHER[family]):
                made.add("another protocol", number, tcp(family, 443, source=box, to=to), box, to)
    for vlan in (0, 1, 7):
        tag = vlan.to_bytes(2, "big")
        made.add(f"in VLAN {vlan}", _TCP, tcp(family, OPEN_TCP, source=box, to=bridge), box, bridge, tag=tag)
        to = FARTHER[family]
        made.add(f"in VLAN {vlan}, out", _TCP, tcp(family, 80, source=box, to=to), box, to, tag=tag)
    return made.probes


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_container_gets_no_farther_than_policy_lets_it(bridged: Target, family: Family) -> None:
    """Neither into the host, by whichever of its addresses, nor through it, under whosever address."""
    probes = tries(family)

    passed = bridged.judge(probes, "box")

    assert len(probes) > 90
    assert passed == {probe.name for probe in probes if probe.passes}
    assert {headers(data).source_text for data in bridged.past.values()} == {BOX[family]}
