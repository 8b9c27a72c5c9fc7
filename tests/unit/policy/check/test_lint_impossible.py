"""Rules that ask for what excludes itself: which are told, and the neighbouring ones that are not."""

import pytest

from hostfw.policy.check.references import check
from tests.unit.builders.policy_texts import decoded, manifest, policy, said

WEB = manifest("HostEndpoint", "{interfaceName: eth0, profiles: [projectcalico-default-allow]}", "web")
NOTHING = "no packet matches this rule: "
OF_TWO_VERSIONS = "its protocol, ipVersion and prefixes are of different IP versions"
OF_THE_OTHER = "protocol {} is that of IPv{}, and its prefixes are of the other IP version"

CRITERIA = [
    ("protocol: TCP, notProtocol: TCP", f"{NOTHING}notProtocol excludes TCP, which protocol asks for"),
    ("protocol: 6, notProtocol: TCP", f"{NOTHING}notProtocol excludes 6, which protocol asks for"),
    ("protocol: TCP, notProtocol: UDP", "notProtocol excludes nothing, because the rule is for TCP"),
    ("protocol: [TCP, UDP], notProtocol: TCP", "notProtocol excludes TCP, which protocol lists"),
    ("protocol: [17, TCP], notProtocol: UDP", "notProtocol excludes 17, which protocol lists"),
    ("protocol: [TCP, UDP], notProtocol: SCTP", "notProtocol excludes nothing, because the rule is for TCP, UDP"),
    ("notProtocol: TCP", ""),
    ("protocol: ICMP, icmp: {type: 8}, notICMP: {type: 8}", f"{NOTHING}notICMP excludes the type that icmp asks for"),
    (
        "protocol: ICMP, icmp: {type: 3, code: 4}, notICMP: {type: 3}",
        f"{NOTHING}notICMP excludes the type that icmp asks for",
    ),
    ("protocol: ICMP, icmp: {type: 3}, notICMP: {type: 3, code: 4}", ""),
    ("protocol: ICMP, icmp: {type: 3}, notICMP: {type: 8}", ""),
    ("protocol: ICMPv6, source: {nets: [10.0.0.0/8]}", NOTHING + OF_TWO_VERSIONS),
    ("protocol: ICMP, destination: {notNets: ['fd00::/8']}", NOTHING + OF_TWO_VERSIONS),
    ("protocol: IGMP, source: {nets: ['fd00::/8']}", NOTHING + OF_TWO_VERSIONS),
    ("protocol: ICMPv6, source: {nets: ['fd00::/8']}", ""),
    ("protocol: 1, source: {nets: ['fd00::/8']}", NOTHING + OF_THE_OTHER.format(1, 4)),
    ("protocol: '58', destination: {notNets: [10.0.0.0/8]}", NOTHING + OF_THE_OTHER.format(58, 6)),
    ("protocol: 1, source: {nets: [10.0.0.0/8]}", ""),
    ("protocol: [1, TCP], source: {nets: ['fd00::/8']}", ""),
    ("protocol: TCP, notICMP: {type: 8}", "notICMP excludes nothing, because the rule is for TCP"),
    ("protocol: [TCP, ICMP], notICMP: {type: 8}", ""),
    ("notICMP: {type: 8}", ""),
    (
        "source: {nets: [10.0.0.0/8], notNets: [10.0.0.0/8]}",
        f"{NOTHING}notNets of its source excludes every address of nets",
    ),
    (
        "destination: {nets: [10.0.0.0/8], notNets: [10.0.0.0/9, 10.128.0.0/9]}",
        f"{NOTHING}notNets of its destination excludes every address of nets",
    ),
    ("source: {nets: [10.0.0.0/8], notNets: [10.0.0.0/9]}", ""),
    (
        "protocol: TCP, destination: {ports: ['1000:2000'], notPorts: ['1500:3000', '1:1499']}",
        f"{NOTHING}notPorts of its destination excludes every port of ports",
    ),
    ("protocol: TCP, destination: {ports: ['1000:2000'], notPorts: ['1501:3000', '1:1499']}", ""),
    ("protocol: TCP, destination: {ports: [1000, 2000], notPorts: [1000]}", ""),
    ("protocol: TCP, destination: {notPorts: ['1:65535']}", ""),
    ("protocol: ICMP, icmp: {}", "icmp is empty, so it restricts nothing"),
    ("notICMP: {}", "notICMP is empty, so it restricts nothing"),
]


@pytest.mark.parametrize(("criteria", "expected"), CRITERIA)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_criteria_that_exclude_each_other_are_told(criteria: str, expected: str, direction: str) -> None:
    """As a warning with a position, since Calico accepts them."""
    result = decoded(policy(f"{{{direction}: [{{action: Allow, {criteria}}}]}}"), WEB)
    told = [said(problem) for problem in (*result.problems, *check(result.resources, result.settings))]

    about = [line for line in told if any(word in line for word in ("this rule", "notICMP", "icmp", "notProtocol"))]
    assert [line.partition("warning: ")[2].partition("; hint")[0] for line in about] == ([expected] if expected else [])


def test_local_among_nets_and_among_notnets_is_nobody() -> None:
    """Other prefixes of nets may be left; without one no packet matches."""
    for nets, expected in (("local", 1), ("local, 10.0.0.0/8", 0)):
        rule = f"action: Deny, source: {{nets: [{nets}], notNets: [local]}}"
        result = decoded(policy(f"{{ingress: [{{{rule}}}]}}"), WEB)
        told = [said(problem) for problem in (*result.problems, *check(result.resources, result.settings))]
        assert len([line for line in told if "notNets of its source excludes local" in line]) == expected, told
