"""Resources to manifests: what a person reads in `hostfwctl get -o yaml`."""

import json

import pytest

from hostfw.manifest.encode import manifest
from tests.unit.builders.policy_texts import CALICO, HOSTFW, resources
from tests.unit.builders.policy_texts import manifest as text_of

FULL = [
    (
        "GlobalNetworkPolicy",
        CALICO,
        {
            "tier": "platform",
            "order": 10,
            "selector": "role == 'web'",
            "types": ["Ingress", "Egress"],
            "ingress": [
                {
                    "action": "Allow",
                    "ipVersion": 4,
                    "protocol": "TCP",
                    "source": {"nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/16"], "selector": "has(a)"},
                    "destination": {
                        "notSelector": "has(b)",
                        "ports": [80, "8000:8080", "http"],
                        "notPorts": ["8001:8002"],
                    },
                    "metadata": {"annotations": {"ticket": "7"}},
                },
                {
                    "action": "Deny",
                    "protocol": 1,
                    "notProtocol": "UDP",
                    "icmp": {"type": 8, "code": 0},
                    "notICMP": {"type": 0},
                },
                {"action": "Deny", "source": {"nets": ["local", "10.0.0.0/8"], "notNets": ["local"]}},
                {"action": "Allow", "ipsec": False, "source": {"macs": ["02:00:00:00:00:01"]}},
                {"action": "Allow", "limitPerSource": {"newConnections": "6/minute"}},
                {"action": "Allow", "limitPerSource": {"newConnections": "6/minute", "maxConnections": 20}},
                {"action": "Allow", "limitPerSource": {"maxConnections": 20}},
            ],
            "egress": [
                {"action": "Log"},
                {"action": "Allow", "protocol": ["ESP", "UDP", 112], "source": {"nets": ["fd00::/8", "10.0.0.0/8"]}},
            ],
            "applyOnForward": True,
        },
    ),
    (
        "HostEndpoint",
        CALICO,
        {
            "node": "web1",
            "interfaceName": "*",
            "expectedIPs": ["192.0.2.1", "2001:db8::1"],
            "profiles": ["b", "a"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}, {"name": "x", "protocol": 17, "port": 1}],
        },
    ),
    (
        "GlobalNetworkPolicy",
        CALICO,
        {"types": ["Egress"], "egress": [{"action": "Allow"}], "applyOnForward": True, "doNotTrack": True},
    ),
    ("GlobalNetworkPolicy", CALICO, {"types": ["Ingress"], "applyOnForward": True, "preDNAT": True}),
    (
        "StagedGlobalNetworkPolicy",
        CALICO,
        {"stagedAction": "Learn", "tier": "security", "types": ["Ingress"], "ingress": [{"action": "Pass"}]},
    ),
    ("StagedGlobalNetworkPolicy", CALICO, {"stagedAction": "Delete", "tier": "security"}),
    ("HostEndpoint", CALICO, {"node": "web1", "interfaceGroup": "uplinks"}),
    ("HostEndpoint", CALICO, {"interfaceName": "eth0"}),
    ("GlobalNetworkSet", CALICO, {"nets": ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]}),
    ("NetworkSet", CALICO, {"nets": ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]}),
    ("Tier", CALICO, {"order": 0.5, "defaultAction": "Pass"}),
    ("Tier", CALICO, {"order": 0}),
    ("Profile", CALICO, {"labelsToApply": {"a": "b"}, "ingress": [{"action": "Allow"}], "egress": [{"action": "Log"}]}),
    ("NftRules", HOSTFW, {"hook": "input", "rules": ["counter"]}),
    ("NftRules", HOSTFW, {"hook": "output", "order": 0.5, "ipVersion": 6, "rules": ["meta skuid 0 accept", "counter"]}),
    (
        "InterfaceGroup",
        HOSTFW,
        {
            "match": [
                {"name": "eth*", "kind": "bond", "linkGroup": 0, "master": "br0"},
                {"linkGroup": "dmz", "addressIn": ["10.0.0.0/8"], "defaultRoute": False},
            ],
            "except": [{"name": "lo"}],
        },
    ),
]


_NAMESPACE = {"NetworkSet": {"namespace": "shop"}}


@pytest.mark.parametrize(("kind", "version", "spec"), FULL)
def test_a_manifest_says_what_was_written(kind: str, version: str, spec: dict[str, object]) -> None:
    """In the order of Calico's documentation, as plain data."""
    document = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "case", **_NAMESPACE.get(kind, {}), "labels": {"a": "b"}, "annotations": {"note": "x: y"}},
        "spec": spec,
    }
    (resource,) = resources(json.dumps(document)).all()

    assert json.dumps(manifest(resource)) == json.dumps(document)


DEFAULTS = [
    ("GlobalNetworkPolicy", {"types": ["Ingress"]}),
    ("StagedGlobalNetworkPolicy", {"types": ["Ingress"]}),
    ("GlobalNetworkSet", {}),
    ("Tier", {}),
    ("Profile", {}),
]


@pytest.mark.parametrize(("kind", "spec"), DEFAULTS)
def test_defaults_are_left_out_but_for_types(kind: str, spec: dict[str, object]) -> None:
    """Fields that the author left out are absent, except the directions of a policy."""
    (resource,) = resources(text_of(kind)).all()

    assert manifest(resource) == {"apiVersion": CALICO, "kind": kind, "metadata": {"name": "case"}, "spec": spec}
