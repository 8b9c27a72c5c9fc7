"""A host in memory on which verbs have much to print: long names, many ports, IPv6 addresses, wide characters."""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hostfw.audit.packet_event import EventAction
from hostfw.bundle.manifest import Wave
from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.journal.packet_entry import fields
from hostfw.manifest.files.facts_file import facts_document
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import BoundAddress, HostServices, PublishedPort, Service
from hostfw.model.values import TCP, UDP, Family, parse_address
from tests.unit.builders.bundle_builders import bundle, signer
from tests.unit.builders.event_builders import event
from tests.unit.builders.policy_builders import nets
from tests.unit.cli_runs import Machine, machine

LONG = "-".join(["policy-for-the-people-of-the-branch-office-in-reykjavik-and-their-machines"] * 4)[:253]
"""A name as long as a name may be."""

_WEB_PORTS = ", ".join(str(port) for port in range(8000, 8040))
_OFFICES = ", ".join(f"2001:db8:{number:x}:ffff:ffff:ffff:ffff:{number:x}/128" for number in range(1, 20))

_ENDPOINTS = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink-of-the-provider-with-the-long-name, labels: {role: web, site: reykjavik-data-centre-two}}
spec: {node: web1, interfaceName: enp130s0f0np0, expectedIPs: [192.0.2.1, "2001:db8:1234:5678:9abc:def0:1234:5678"]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: lan, labels: {role: lan}}
spec: {node: web1, interfaceGroup: containers}
---
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: containers}
spec: {match: [{name: br-*}, {name: veth*, kind: veth}, {name: docker0}]}
"""

_SETS = f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: offices, labels: {{from: offices, country: iceland}}}}
spec: {{nets: [{_OFFICES}]}}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {{name: operations-and-monitoring}}
spec: {{order: 100}}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {{name: everybody}}
spec: {{labelsToApply: {{staff: "yes"}}}}
"""

_POLICIES = f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  order: 10
  selector: role == 'web' && site in {{'reykjavik-data-centre-one', 'reykjavik-data-centre-two', 'akureyri'}}
  ingress:
    - action: Allow
      protocol: TCP
      source: {{selector: from == 'offices'}}
      destination: {{ports: [80, 443, {_WEB_PORTS}]}}
    - {{action: Deny, protocol: TCP, destination: {{ports: [25]}}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {LONG}}}
spec:
  tier: operations-and-monitoring
  order: 20
  selector: all()
  ingress:
    - action: Allow
      protocol: UDP
      source: {{nets: [{_OFFICES}]}}
      destination: {{ports: [161]}}
    - {{action: Pass}}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {{name: no-telnet-from-anywhere-any-more}}
spec:
  selector: all()
  types: [Ingress]
  ingress:
    - {{action: Deny, protocol: TCP, destination: {{ports: [23]}}}}
"""

_BROKEN = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: 防火墙-für-alle}
spec:
  selector: role == 'web' && site in {'reykjavik-data-centre-one', 'reykjavik-data-centre-two', 'akureyri'
  ingres: []
"""

FACTS = HostFacts(
    "web1",
    (
        Interface(
            "enp130s0f0np0",
            2,
            ("uplink-of-the-provider",),
            addresses=nets("192.0.2.1", "198.51.100.254", "2001:db8:1234:5678:9abc:def0:1234:5678"),
            default_route=True,
        ),
        Interface("br-0123456789ab", 3, kind="bridge", addresses=nets("172.18.0.1", "fd00:dead:beef:1234::1")),
        Interface("veth9d8f7e6a5b4", 4, kind="veth", master="br-0123456789ab"),
        Interface("lo", 1, kind="loopback", addresses=nets("127.0.0.1", "::1")),
    ),
    kernel="6.1.0",
    nft="1.0.6",
)

_FINDINGS = (
    Finding(
        Check.BLOCK,
        "the host is blocked since 2030-01-01 12:00:00 CET: nothing passes but the ssh sessions that began before that",
        "`hostfwctl unblock` lets policy decide again",
    ),
    Finding(
        Check.OTHER_TABLE,
        "fail2ban denies packets as well, in table inet f2b-table, by 17 rules in 3 chains that policy does not know",
        "`nft list table inet f2b-table` shows them",
        Weight.NOTE,
    ),
)


def _services() -> HostServices:
    any_v4, any_v6 = BoundAddress(Family.V4, None), BoundAddress(Family.V6, None)
    long_v6 = parse_address("2001:db8:1234:5678:9abc:def0:1234:5678")
    assert long_v6 is not None
    return HostServices(
        (
            Service(TCP.number, 443, (any_v4, any_v6), "nginx", "nginx-of-the-branch-office.service"),
            Service(TCP.number, 5432, (BoundAddress(*long_v6),), "postgres", "postgresql@15-main.service"),
            Service(UDP.number, 161, (any_v4, any_v6), "snmpd", "snmpd.service"),
        ),
        (PublishedPort(Family.V4, TCP.number, 8080, nets("172.18.0.2")[0].address, 80, "docker-bridge-nat"),),
    )


class Journal:
    """A journal in memory that holds the same entries for whoever opens it."""

    def __init__(self, entries: Iterable[dict[str, str]]) -> None:
        self.there = tuple(entries)

    def entries(self) -> deque[dict[str, str]]:
        """Give what there is."""
        return deque(self.there)

    def open(self, *_: object) -> "Journal":
        """Open it, from whenever on."""
        return self


def _denied() -> tuple[dict[str, str], ...]:
    long_v6, peer = parse_address("2001:db8:1234:5678:9abc:def0:1234:5678"), parse_address("2001:db8:ffff:1:2:3:4:5")
    assert long_v6 is not None
    assert peer is not None
    first = event()
    six = replace(first.packet, family=Family.V6, source=peer[1], destination=long_v6[1], destination_port=65535)
    return (
        fields(first),
        fields(replace(first, packet=six, policy=LONG, tier="operations-and-monitoring", count=12345, rule=117)),
    )


_POLICY_TEST = """\
apiVersion: hostfw.io/v1
kind: PolicyTest
metadata: {name: database}
spec:
  connections:
    - {from: role == 'application', to: role == 'database', ports: [tcp/5432], allowed: true}
    - {from: 203.0.113.0/24, to: role == 'database', ports: [tcp/5432], allowed: false}
"""
_DATABASE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: database-of-the-application-and-of-nobody-else}
spec:
  selector: role == 'database'
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, source: {selector: role == 'application'}, destination: {ports: [PORT]}}]
"""


def _fleets() -> None:
    """Two hosts as `hostfwctl fleet` reads them, before and after a change, and a test of them."""
    Path("test.yaml").write_text(_POLICY_TEST)
    for folder, port in ((Path("before"), "5432"), (Path("fleet"), "5433")):
        (folder / "shared").mkdir(parents=True)
        (folder / "shared/database.yaml").write_text(_DATABASE.replace("PORT", port))
        endpoints = []
        for number, role in enumerate(("application", "database"), 1):
            name = f"{role}1.north.example.net"
            endpoints.append(
                "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\n"
                f"metadata: {{name: {name}, labels: {{role: {role}}}}}\n"
                f"spec: {{node: {name}, interfaceName: '*', expectedIPs: [192.0.2.{number}, '2001:db8::{number}']}}\n"
            )
            host = folder / "hosts" / name
            host.mkdir(parents=True)
            interface = Interface("eth0", 2, addresses=nets(f"192.0.2.{number}", f"2001:db8::{number}"))
            (host / "facts.json").write_text(json.dumps(facts_document(HostFacts(name, (interface,)))))
        (folder / "shared/endpoints.yaml").write_text("---\n".join(endpoints))


def _bundles() -> None:
    """A directory to make a bundle of, a key, and a bundle that is not for this host yet."""
    Path("policies").mkdir()
    Path("policies/database.yaml").write_text(_DATABASE.replace("PORT", "5432"))
    Path("key").symlink_to(signer().key)
    Path("signers").symlink_to(signer().allowed)
    waves = (Wave(86_400, "all"),)
    Path("web.hostfw").write_bytes(bundle(8, {"database.yaml": _DATABASE.encode()}, waves=waves))


_IPTABLES = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "ssh from everywhere, as somebody wrote at length" -j ACCEPT
-A INPUT -p tcp -m recent --update --seconds 60 --hitcount 4 --name addresses-of-the-last-minute --rsource -j DROP
-A INPUT -p tcp -m string --string "GET /index.html" --algo bm -j DROP
COMMIT
"""


_VERSIONS = {"hostfw": "0.1.0", "nft": "1.1.3", "kernel": "6.12.48+deb13-amd64", "python": "3.13.5"}


def terminal_host(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Put a configuration into force on a host in memory, twice, and let packets come."""
    monkeypatch.chdir(directory)
    made = machine(Path(), monkeypatch)
    made.facts = FACTS
    made.services = _services()
    made.write(endpoints=_ENDPOINTS, sets=_SETS)
    assert made.hostfwctl("apply").status == 0
    made.write(policies=_POLICIES)
    made.clock.wait(timedelta(hours=3).total_seconds())
    applied = made.hostfwctl("apply", "--accept-lockout")
    assert applied.status == 0, applied
    for number, counter in enumerate(made.kernel.read_tables().ip.counters):
        made.kernel.count(Family.V4, counter.name, 10**number % 99_999_999_999)
    Path("rules.v4").write_text(_IPTABLES)
    broken = Path("broken")
    broken.mkdir()
    (broken / "broken.yaml").write_text(_BROKEN)
    _fleets()
    _bundles()
    denied = _denied()
    would = replace(event(), action=EventAction.WOULD_DENY, tier="default", policy="no-telnet-from-anywhere-any-more")
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.open_history", Journal(denied).open)
    monkeypatch.setattr("hostfw.cli.verbs.traffic.staged.open_history", Journal([fields(would)]).open)
    monkeypatch.setattr("hostfw.cli.verbs.host.doctor.examine", lambda _: _FINDINGS)
    monkeypatch.setattr("hostfw.cli.verbs.host.version.versions", lambda: dict(_VERSIONS))
    assert event().first == datetime(2030, 1, 1, 12, 0, 0, 123456, UTC)
    return made
