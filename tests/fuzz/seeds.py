"""Texts that fuzzing begins with: the files of the examples and of the tests, and one of everything besides."""

import re
from pathlib import Path

from tests.unit.audit.test_headers import (
    HOP_BY_HOP,
    NULL_SCAN,
    PING,
    PING6,
    ROUTING,
    SCTP_INIT,
    SOLICITATION,
    SYN,
    UDP,
    fragment6,
    v4,
    v6,
)
from tests.unit.builders.policy_texts import CALICO, HOSTFW, manifest, policy, rule

ROOT = Path(__file__).parents[2]


def resource_seeds() -> tuple[str, ...]:
    """Files of resources: the examples, every mistake that has a message, and one of each kind."""
    files = _texts("examples/*/etc/**/*.yaml", "tests/golden/*/etc/**/*.yaml", "tests/data/twenty-mistakes/**/*.yaml")
    return (*files, *_mistakes(), SOME_RESOURCES)


def settings_seeds() -> tuple[str, ...]:
    """Settings files."""
    return (*_texts("examples/*/etc/hostfw.yaml"), *_mistakes("settings"), _SOME_SETTINGS)


def facts_seeds() -> tuple[str, ...]:
    """Facts files."""
    return (*_texts("examples/*/facts.json"), *_mistakes("facts"), _SOME_FACTS)


def selector_seeds() -> tuple[str, ...]:
    """Selectors: those of the files, every operator, and the deepest."""
    written = re.findall(r"[sS]elector: *(.+)$", "\n".join(resource_seeds()), re.MULTILINE)
    deep = "has(a)"
    for _ in range(31):
        deep = f"b == 'c' || has(d) && ({deep})"
    return (*sorted(set(written)), *_SELECTORS, deep, "(" * 64 + "all()" + ")" * 64)


def feed_seeds() -> tuple[str, ...]:
    """The files of Feeds."""
    return (
        *_texts("examples/*/etc/**/*.txt", "tests/golden/*/etc/**/*.txt"),
        _SOME_FEED,
        _SOME_FEED.replace("bad", "#"),
    )


def prefix_seeds() -> tuple[str, ...]:
    """Prefixes of log records."""
    return ("hostfw:DI|rule|default|allow-web|2", "hostfw:pE|rule||kns.web|0", "hostfw:DI|failsafe", "hostfw:LE|", "")


def record_seeds() -> tuple[str, ...]:
    """Log records: a prefix, and the packet behind it."""
    packets = (
        v4(6, SYN),
        v4(6, NULL_SCAN, options=bytes(40)),
        v4(17, UDP, position=0x2000),
        v4(17, UDP, position=0x20B9),
        v4(1, PING)[:25],
        v4(132, SCTP_INIT, length=9),
        v6(58, PING6),
        v6(0, HOP_BY_HOP.replace(HOP_BY_HOP[:1], b"\x3a", 1) + SOLICITATION),
        v6(44, fragment6(17, 1480, UDP, more=True)),
        v6(43, ROUTING + SYN),
        b"hostfw:DI|rule|default|web|1",
        b"",
    )
    prefixes = (
        "hostfw:DI|rule|default|web|1",
        "hostfw:DI|rule||office|0",
        "hostfw:dI|rule|default|web|1",
        "hostfw:DI|invalid",
    )
    texts = (packet.decode("latin-1") for packet in packets)
    return tuple(f"{prefixes[number % len(prefixes)]}\n{text}" for number, text in enumerate(texts))


def _texts(*patterns: str) -> tuple[str, ...]:
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return tuple(path.read_text() for path in found if path.is_file())


def _mistakes(*forms: str) -> tuple[str, ...]:
    """The wrong texts of the mistakes that have messages: `### form`, the text, and behind `> ` the message."""
    cases = [case for text in _texts("tests/data/mistakes/*.txt") for case in text.removeprefix("### ").split("\n### ")]
    found = [(case.partition("\n")[0], case.partition("\n")[2].split("\n> ")[0]) for case in cases]
    return tuple(
        _wrapped(form, text) for form, text in found if form in forms or (not forms and form not in _NO_RESOURCES)
    )


_NO_RESOURCES = ("facts", "settings")


def _wrapped(form: str, text: str) -> str:
    match form:
        case "facts" | "settings" | "file":
            return text
        case "rule":
            return rule(text)
        case "policy":
            return policy(text)
    return manifest(form, text, version=HOSTFW if form in ("Feed", "InterfaceGroup", "NftRules") else CALICO)


_SELECTORS = (
    "",
    "all()",
    "global()",
    "!has(role)",
    "!!( !a == 'b')",
    "role == 'web' && env != \"x\"",
    "a in {'b', 'c',} || a not in {} && a notin {'b'}",
    "a contains 'b' || (a starts with 'c' && a ends with 'd')",
    "has == 'in' && in in {'has'} && not not in {'in'}",
    "a startswith 'b' && a endswith \"it's\"",
)

SOME_RESOURCES = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h, labels: {role: web, a: b}}
spec:
  {node: web1, interfaceName: eth0, expectedIPs: [192.0.2.1], profiles: [p], ports: [{name: w, protocol: TCP, port: 1}]}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: p}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}], labelsToApply: {x: y}}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: t}
spec: {order: 10, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: s, labels: {a: b}}
spec: {nets: [10.0.0.0/8, fd00::/8, 192.0.2.7]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: t.g}
spec:
  tier: t
  order: 1
  selector: has(role) && !has(z)
  types: [Ingress, Egress]
  ingress:
  - action: Deny
    protocol: TCP
    source: {selector: a == 'b', notNets: [10.1.0.0/16]}
    destination: {ports: [22, '80:90', w]}
  - {action: Log, protocol: ICMP, icmp: {type: 8, code: 0}, ipVersion: 4}
  egress:
  - {action: Pass, notProtocol: 47, destination: {nets: ['::/0']}}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: f, labels: {a: b}}
spec: {path: feeds/f.txt, maxShrink: 20%}
"""

_SOME_FEED = """\
# Scanners, as of today.
192.0.2.7
192.0.2.0/24  # all of it
198.51.100.9/25\t
0.0.0.0/32
2001:db8::1
2001:db8::/32
::ffff:192.0.2.1/64
bad
"""

_SOME_SETTINGS = """\
apiVersion: hostfw.io/v1
kind: Settings
node: web1
failsafe:
  inbound: [{protocol: tcp, port: 22, net: 10.0.0.0/8}]
  outbound: []
unmanagedInterfaces: {ingress: allow, egress: deny}
logging: {group: 1, snaplenBytes: 100, ratePerSecond: 10, burstPackets: 5}
packetMarks: 0x30000000
learnAddresses: true
"""

_SOME_FACTS = """\
apiVersion: hostfw.io/v1
kind: HostFacts
node: web1
kernel: 6.1.0-18-amd64
nft: 1.0.6
linkGroups: {dmz: 7}
interfaces:
- {name: eth0, index: 2, altnames: [enp3s0], addresses: [192.0.2.10, "2001:db8::10"], defaultRoute: true, up: true}
- {name: vlan9, index: 3, kind: vlan, linkGroup: 7, master: br0, up: false}
"""
