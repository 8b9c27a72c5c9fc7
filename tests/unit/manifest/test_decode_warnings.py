"""Values that decode and are hardly meant: items that are in a list already, and addresses that nothing can have."""

import pytest

from hostfw.manifest.decode import decode
from hostfw.model.problems import Severity
from hostfw.model.sources import Configuration, Source

CALICO = "apiVersion: projectcalico.org/v3\n"
ENDPOINT = f"{CALICO}kind: HostEndpoint\nmetadata: {{name: a}}\nspec: {{node: a, %s}}\n"
WORKLOAD = f"{CALICO}kind: WorkloadEndpoint\nmetadata: {{name: a, namespace: b}}\nspec: {{interfaceName: ve0, %s}}\n"
RULE = f"{CALICO}kind: GlobalNetworkPolicy\nmetadata: {{name: a}}\nspec: {{ingress: [{{action: Allow, %s}}]}}\n"
GROUP = "apiVersion: hostfw.io/v1\nkind: InterfaceGroup\nmetadata: {name: a}\nspec: {%s}\n"
FEED = "apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {name: a}\nspec: {%s}\n"
NETWORK_POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: b}\nspec: {%s}\n"
)
PORT = "{name: web, protocol: TCP, port: 80}"

REPEATED = [
    ("profiles", ENDPOINT, "interfaceName: eth0, profiles: [one, two, ^one]"),
    ("ports", ENDPOINT, f"interfaceName: eth0, ports: [{PORT}, ^{PORT}]"),
    ("expectedIPs", ENDPOINT, "expectedIPs: ['fd00::1', ^'fd00:0::1']"),
    ("profiles", WORKLOAD, "ipNetworks: [10.0.0.1], profiles: [one, ^one]"),
    ("ports", WORKLOAD, f"ipNetworks: [10.0.0.1], ports: [{PORT}, ^{PORT}]"),
    ("ipNetworks", WORKLOAD, "ipNetworks: [10.0.0.1, ^10.0.0.1/32]"),
    ("nets", RULE, "source: {nets: [10.0.0.0/8, ^10.0.0.0/08]}"),
    ("notNets", RULE, "source: {notNets: [10.0.0.0/8, ^10.0.0.0/8]}"),
    ("ports", RULE, "protocol: TCP, source: {ports: [80, ^'80']}"),
    ("notPorts", RULE, "protocol: TCP, source: {notPorts: ['1:9', ^'1:9']}"),
    ("macs", RULE, "source: {macs: ['02:00:00:00:00:0a', ^'02:00:00:00:00:0A']}"),
    ("match", GROUP, "match: [{name: eth0}, {kind: veth}, ^{name: eth0}]"),
    ("except", GROUP, "match: [{kind: veth}], except: [{name: a}, ^{name: a}]"),
    ("addressIn", GROUP, "match: [{addressIn: [10.0.0.0/8, ^10.0.0.0/8]}]"),
    ("hostnames", FEED, "hostnames: [a.example, ^A.example.]"),
    ("policyTypes", NETWORK_POLICY, "podSelector: {}, policyTypes: [Ingress, ^Ingress]"),
    ("ports", NETWORK_POLICY, "podSelector: {}, ingress: [{ports: [{port: 80}, ^{port: 80, protocol: TCP}]}]"),
    (
        "except",
        NETWORK_POLICY,
        "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, ^10.1.0.0/16]}}]}]",
    ),
    ("values", NETWORK_POLICY, "podSelector: {matchExpressions: [{key: a, operator: In, values: [b, ^b]}]}"),
]


@pytest.mark.parametrize(("what", "document", "spec"), REPEATED, ids=[f"{c[0]}-{c[2]}" for c in REPEATED])
def test_an_item_that_is_in_a_list_already_is_told(what: str, document: str, spec: str) -> None:
    """Calico takes most such lists; somebody who writes an item twice means another one; `^` is where it is told."""
    place = (document % spec).splitlines()[3].index("^") + 1

    assert warnings(document % spec.replace("^", "")) == [f"4:{place}: this item of {what} is in the list already"]


NOT_REPEATED = [
    (
        ENDPOINT,
        "interfaceName: eth0, ports: [{name: web, protocol: TCP, port: 80}, {name: web, protocol: UDP, port: 80}]",
    ),
    (
        ENDPOINT,
        "interfaceName: eth0, ports: [{name: web, protocol: TCP, port: 80}, {name: web, protocol: TCP, port: 81}]",
    ),
    (GROUP, "match: [{name: eth0}, {name: eth0, kind: veth}]"),
    (RULE, "source: {nets: [10.0.0.0/8, 10.0.0.0/9]}, destination: {nets: [10.0.0.0/8]}"),
]


@pytest.mark.parametrize(("document", "spec"), NOT_REPEATED, ids=[c[1] for c in NOT_REPEATED])
def test_items_that_differ_in_anything_are_not_told(document: str, spec: str) -> None:
    """A name of a port may stand for several, as in Calico."""
    assert warnings(document % spec) == []


UNUSABLE = [
    ("0.0.0.0", "which no interface has"),
    ("0.1.2.3", "which no interface has"),
    ("'::'", "which no interface has"),
    ("224.0.0.251", "a multicast address, which no interface has"),
    ("'ff02::fb'", "a multicast address, which no interface has"),
    ("255.255.255.255", "a broadcast address, which no interface has"),
    ("127.0.0.53", "which only lo has"),
    ("'::1'", "which only lo has"),
]


@pytest.mark.parametrize(("address", "why"), UNUSABLE, ids=[c[0] for c in UNUSABLE])
def test_an_address_that_the_interface_cannot_have_is_told(address: str, why: str) -> None:
    """Rules would find the endpoint by an address of nobody, or of every host."""
    assert warnings(ENDPOINT % f"interfaceName: eth0, expectedIPs: [10.0.0.1, {address}]") == [
        f"4:62: expectedIPs has {address.strip(chr(39))}, {why}"
    ]
    if "lo" not in why:
        assert warnings(WORKLOAD % f"ipNetworks: [{address}]") == [
            f"4:41: ipNetworks has {address.strip(chr(39))}, {why}"
        ]


@pytest.mark.parametrize("interface", ["lo", "'*'"])
def test_lo_may_have_its_own_addresses(interface: str) -> None:
    """That is how traffic of the host with itself is governed."""
    assert warnings(ENDPOINT % f"interfaceName: {interface}, expectedIPs: [127.0.0.1, '::1']") == []


GROUP_ADDRESSES = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"]


@pytest.mark.parametrize("mac", GROUP_ADDRESSES)
def test_an_ethernet_address_of_a_group_is_told(mac: str) -> None:
    """A frame comes from one card."""
    assert warnings(RULE % f"source: {{macs: ['{mac}']}}") == [
        f"4:50: macs has {mac}, a group address, which no sender has"
    ]


EXCLUDED = [
    ("{name: eth0}", "{name: eth0}", True),
    ("{name: eth0}", "{name: 'eth*'}", True),
    ("{kind: veth}", "{name: '*'}", True),
    ("{name: eth0, kind: veth}", "{kind: veth}", True),
    ("{addressIn: [10.0.0.0/8]}", "{addressIn: [10.0.0.0/8, 192.0.2.0/24]}", True),
    ("{linkGroup: 5}", "{linkGroup: 5}", True),
    ("{name: eth0}", "{name: eth0, kind: veth}", False),
    ("{name: 'eth*'}", "{name: 'eth?'}", False),
    ("{name: eth0}", "{name: wg0}", False),
    ("{kind: veth}", "{addressIn: [10.0.0.0/8]}", False),
    ("{addressIn: [10.0.0.0/8, 192.0.2.0/24]}", "{addressIn: [10.0.0.0/8]}", False),
    ("{defaultRoute: true}", "{defaultRoute: true, learned: [dhcp]}", False),
]


@pytest.mark.parametrize(("match", "excluding", "told"), EXCLUDED)
def test_an_entry_that_except_excludes_as_a_whole_is_told(match: str, excluding: str, *, told: bool) -> None:
    """The group would not have one interface of that entry."""
    message = "4:16: this entry of match adds no interface: the entry of except on line 4 excludes them all"

    assert warnings(GROUP % f"match: [{match}], except: [{excluding}]") == ([message] if told else [])


def warnings(text: str) -> list[str]:
    """The place and message of each problem; every one is a warning with a next step."""
    problems = decode(Configuration(resources=(Source("a.yaml", text),))).problems
    assert all(one.severity is Severity.WARNING and one.hint for one in problems), problems
    return [f"{one.position.line}:{one.position.column}: {one.message}" for one in problems]
