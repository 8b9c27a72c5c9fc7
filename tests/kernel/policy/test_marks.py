"""Marks of packets, which any program may set or clear: no verdict of ours hangs on one."""

import json
import re
import socket
from contextlib import closing, suppress

import pytest

from hostfw.model.values import Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run
from tests.kernel.conftest import Hostfwctl
from tests.kernel.packets.connections import admits

_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {interfaceName: eth0, node: host}
---
"""
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name}}}
spec: {{selector: role == 'web', {spec}}}
---
"""
_WEB = "types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]"
_EARLY = "applyOnForward: true, ingress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}]"
_EGRESS = (
    "types: [Egress], egress: "
    "[{action: Deny, protocol: TCP, destination: {nets: [192.0.2.2/32], ports: [7777]}}, {action: Allow}]"
)
WRITERS = {
    "nobody": "",
    "all bits set behind mangle": "chain c { type filter hook prerouting priority -140; meta mark set 0xffffffff; }",
    "all bits set after raw": "chain c { type filter hook prerouting priority -299; meta mark set 0xffffffff; }",
    "all bits cleared": "chain c { type filter hook prerouting priority -140; meta mark set 0; }",
    "a mark of the connection": "chain c { type filter hook prerouting priority -140; meta mark set ct mark; }",
    "all bits set and not tracked": (
        "chain c { type filter hook prerouting priority -299; tcp dport 443 notrack meta mark set 0xffffffff; }"
    ),
}


def _load(node: Namespace, *chains: str, family: str = "ip") -> None:
    body = "\n".join(chains).replace("; ", ";\n").replace("{ ", "{\n").replace(" }", "\n}")
    run(node, ["nft", "-f", "-"], text=f"table {family} theirs {{\n{body}\n}}\n" if body else "")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("early", ["preDNAT: true", "doNotTrack: true"])
def test_a_mark_neither_grants_nor_takes_what_is_allowed_early(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, early: str, writer: str
) -> None:
    """8080 by policy before the filters, 80 by normal policy, and 443 by nothing."""
    answers = "types: [Ingress, Egress], egress: [{action: Allow, protocol: TCP, source: {ports: [8080]}}]"
    spec = f"{early}, {_EARLY}" + (f", {answers}" if "doNotTrack" in early else "")
    (installation.config / "policy.yaml").write_text(
        _ENDPOINT + _POLICY.format(name="early", spec=spec) + _POLICY.format(name="web", spec=_WEB)
    )
    hostfwctl("apply")

    _load(lab["host"], WRITERS[writer])

    assert [admits(lab, port) for port in (8080, 80, 443)] == [True, True, False]


@pytest.mark.parametrize(
    "writer",
    [
        "",
        "chain c { type filter hook output priority 10; meta mark set 0x1; }",
        "chain c { type route hook output priority 10; meta mark set ct mark; }",
        "chain c { type filter hook postrouting priority -160; meta mark set 0; }",
        "chain c { type filter hook postrouting priority -160; meta mark set 0xffffffff; }",
    ],
)
def test_what_is_translated_meets_its_egress_policy_whatever_its_mark(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, writer: str
) -> None:
    """Port 7777 of the neighbour is denied, directly and behind another address; 7778 is not."""
    (installation.config / "policy.yaml").write_text(_ENDPOINT + _POLICY.format(name="web", spec=_EGRESS))
    hostfwctl("apply")
    nat = "chain n { type nat hook output priority -100; ip daddr 192.0.2.99 dnat to 192.0.2.2; }"

    _load(lab["host"], nat, *([writer] if writer else []))

    assert [_sends(lab, "192.0.2.2", port) for port in (7777, 7778)] == [False, True]
    assert [_sends(lab, "192.0.2.99", port) for port in (7777, 7778)] == [False, True]


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("settings", ["", "denyAction: reject\n"])
@pytest.mark.parametrize("family", Family)
def test_what_is_translated_meets_its_egress_policy_in_every_way(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family, settings: str, protocol: str
) -> None:
    """With either family and protocol, and where a denial tells the sender, which postrouting cannot."""
    (installation.config / "hostfw.yaml").write_text(f"node: host\n{settings}")
    peer, other, table = _ADDRESSES[family]
    net = f"{peer}/{family.bits}"
    denial = f"{{action: Deny, protocol: {protocol}, destination: {{nets: ['{net}'], ports: [7777]}}}}"
    spec = f"types: [Egress], egress: [{denial}, {{action: Allow}}]"
    (installation.config / "policy.yaml").write_text(_ENDPOINT + _POLICY.format(name="web", spec=spec))
    hostfwctl("apply")
    nat = f"chain n {{ type nat hook output priority -100; {table} daddr {other} dnat to {peer}; }}"

    _load(lab["host"], nat, family=table)

    run(lab["peer"], ["nft", "-f", "-"], text=_ARRIVALS)

    for address in (peer, other):
        for port in (7777, 7778):
            _try_to_send(lab, address, port, protocol)

    assert _arrived(lab) == {7777: 0, 7778: 2}


_ADDRESSES = {
    Family.V4: ("192.0.2.2", "192.0.2.99", "ip"),
    Family.V6: ("2001:db8::2", "2001:db8::99", "ip6"),
}
"""The neighbour, an address that is translated to it, and the word of nft for the family."""
_ARRIVALS = """\
table inet seen {
	chain c {
		type filter hook prerouting priority mangle;
		ct state new th dport 7777 counter
		ct state new th dport 7778 counter
	}
}
"""


def _try_to_send(lab: Lab, address: str, port: int, protocol: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with inside(lab["host"]), closing(socket.socket(family, kind)) as client, suppress(OSError):
        client.settimeout(0.3)
        client.connect((address, port))
        client.send(b"x")


def _arrived(lab: Lab) -> dict[int, int]:
    """The new connections that the neighbour has seen, by port."""
    listed = run(lab["peer"], ["nft", "list", "table", "inet", "seen"]).stdout
    return {int(port): int(packets) for port, packets in re.findall(r"dport (\d+) counter packets (\d+)", listed)}


def _sends(lab: Lab, address: str, port: int) -> bool:
    """True if a new connection of the host gets out, to a port on which nobody listens."""
    with inside(lab["host"]), closing(socket.socket()) as client:
        client.settimeout(0.3)
        try:
            client.connect((address, port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return True


def test_the_doctor_names_who_sets_whole_marks(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """A note: nothing of ours depends on it. Who sets bits under a mask is not named."""
    (installation.config / "policy.yaml").write_text(_ENDPOINT + _POLICY.format(name="web", spec=_WEB))
    hostfwctl("apply")
    _load(
        lab["host"],
        "chain whole { type filter hook prerouting priority -140; tcp dport 8080 meta mark set ct mark; }",
        "chain shifted { type filter hook prerouting priority -139; meta mark set ct mark and 0xff; }",
        "chain some { type filter hook prerouting priority -138; meta mark set meta mark and 0xffff or 0x10000; }",
        "chain reads { type filter hook prerouting priority -137; meta mark 0x1 ct mark set meta mark; }",
    )

    told = hostfwctl("doctor", check=False).stdout

    assert "the table ip theirs sets the whole mark of packets" in told
    assert "in whole (prerouting, -140), shifted (prerouting, -139): no verdict" in told


def _mixed(number: int) -> str:
    """A rule of one of four shapes, which no cut makes short."""
    port = f"destination: {{ports: [{5000 + number}]}}"
    return (
        f"{{action: Allow, protocol: TCP, {port}}}",
        f"{{action: Deny, protocol: TCP, source: {{nets: [10.{number}.0.0/16]}}}}",
        f"{{action: Allow, protocol: TCP, source: {{nets: [192.0.2.0/24, 10.{number % 9}.1.0/24]}}, {port}}}",
        f"{{action: Deny, source: {{nets: [172.16.{number % 8}.0/24]}}, protocol: TCP, {port}}}",
    )[number % 4]


@pytest.mark.parametrize("mark", ["0x00000000", "0x0000ffff", "0x00010000", "0xffffffff"])
def test_a_mark_is_what_it_was_behind_rules_that_are_found_by_rank(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, mark: str
) -> None:
    """Verdicts are the order's whatever the mark, and the mark is another program's still; nothing has drifted."""
    rules = [_mixed(number) for number in range(200)]
    rules[100] = "{action: Deny, protocol: TCP, source: {nets: [192.0.2.0/24]}}"
    spec = f"types: [Ingress], ingress: [{', '.join(rules)}]"
    (installation.config / "policy.yaml").write_text(_ENDPOINT + _POLICY.format(name="mixed", spec=spec))
    hostfwctl("apply")
    assert "/ranks." in run(lab["host"], ["nft", "list", "table", "ip", "hostfw"]).stdout
    kept = "tcp dport 5002 meta mark"
    _load(
        lab["host"],
        f"chain writer {{ type filter hook prerouting priority -140; meta mark set {mark}; }}",
        f"chain kept {{ type filter hook input priority 10; {kept} {mark} counter; {kept} != {mark} counter drop; }}",
    )

    assert [admits(lab, port) for port in (5000, 5002, 5104, 5106)] == [True, True, False, False]
    assert json.loads(hostfwctl("apply", "-o", "json").stdout)["result"] == "unchanged"
