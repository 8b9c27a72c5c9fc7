"""ClusterNetworkPolicies: what they are converted to. Mistakes in them are in tests/data/mistakes."""

import pytest
import yaml

from hostfw.manifest.encode import manifest
from hostfw.model.problems import Severity
from hostfw.model.resources import ClusterNetworkPolicy
from hostfw.model.settings import Settings
from hostfw.model.values import Action, Direction, PortRange
from hostfw.policy.check.references import check
from hostfw.policy.order import every_policy_in_order, every_tier, tiers_in_order
from tests.unit.builders.policy_texts import manifest as text_of
from tests.unit.builders.policy_texts import mistakes, resources

POD = "has(projectcalico.org/orchestrator)"
RULE = "ingress: [{action: Deny, from: [{namespaces: {}}]}]"
PORT_8 = "{tcp: {destinationPort: {number: 8}}}"
HEAD = "tier: Admin, priority: 5, subject: {namespaces: {}}"


def cnp(spec: str, name: str = "guard") -> str:
    """A ClusterNetworkPolicy; the value of `spec` begins at 4:7."""
    return text_of("ClusterNetworkPolicy", spec, name, version="policy.networking.k8s.io/v1alpha2")


def policy_of(spec: str) -> ClusterNetworkPolicy:
    """The one policy of a manifest."""
    (found,) = resources(cnp(spec)).cluster_policies
    return found


@pytest.mark.parametrize(
    ("tier", "expected"),
    [("Admin", ("kcnp.kube-admin.guard", "kube-admin")), ("Baseline", ("kcnp.kube-baseline.guard", "kube-baseline"))],
)
def test_a_policy_is_called_and_placed_as_calico_does(tier: str, expected: tuple[str, str]) -> None:
    """Its priority is the order in its tier, which exists without being declared."""
    policy = policy_of(f"{{tier: {tier}, priority: 7, subject: {{namespaces: {{}}}}, {RULE}}}").policy

    assert (policy.metadata.full_name, policy.tier) == expected
    assert policy.order == 7.0


def test_the_tiers_are_before_and_after_all_others_of_kubernetes() -> None:
    """And are there once a policy is in them; what no rule of theirs decides goes on to the next tier."""
    found = resources(
        cnp(f"{{tier: Baseline, priority: 0, subject: {{namespaces: {{}}}}, {RULE}}}", "late")
        + "---\n"
        + cnp(f"{{{HEAD}, {RULE}}}", "early")
        + "---\n"
        + text_of("NetworkPolicy", "{}", "own", "namespace: shop", "networking.k8s.io/v1")
    )

    assert not [problem for problem in check(found, Settings()) if problem.severity is Severity.ERROR]
    tiers = tiers_in_order(every_tier(found))
    assert [(name, tier.default_action) for name, tier in tiers.items()] == [
        ("kube-admin", Action.PASS),
        ("default", Action.DENY),
        ("kube-baseline", Action.PASS),
    ]
    assert [policy.spec.metadata.name for policy in every_policy_in_order(found, tiers)] == [
        "kcnp.kube-admin.early",
        "knp.default.own",
        "kcnp.kube-baseline.late",
    ]


@pytest.mark.parametrize(
    ("rules", "types"),
    [
        ("ingress: [{action: Pass, from: [{namespaces: {}}]}]", "ingress"),
        ("egress: [{action: Accept, to: [{networks: [10.0.0.0/8]}]}]", "egress"),
        (
            "ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{action: Deny, to: [{namespaces: {}}]}]",
            "ingress egress",
        ),
    ],
)
def test_a_policy_exists_in_the_directions_of_its_rules(rules: str, types: str) -> None:
    """One without rules in a direction does not affect it."""
    assert " ".join(policy_of(f"{{{HEAD}, {rules}}}").policy.types) == types


@pytest.mark.parametrize(
    ("subject", "selector"),
    [
        ("namespaces: {}", POD),
        ("namespaces: {matchLabels: {a: x}}", f'{POD} && pcns.a == "x"'),
        ("pods: {podSelector: {}}", POD),
        (
            "pods: {namespaceSelector: {matchLabels: {a: x}}, podSelector: {matchLabels: {b: y}}}",
            f'{POD} && b == "y" && pcns.a == "x"',
        ),
    ],
)
def test_pods_are_workloads_by_their_labels_and_those_of_their_namespaces(subject: str, selector: str) -> None:
    """As a subject and as a peer alike, and never a HostEndpoint or a set."""
    rules = f"ingress: [{{action: Deny, from: [{{{subject}}}]}}], egress: [{{action: Pass, to: [{{{subject}}}]}}]"
    policy = policy_of(f"{{tier: Admin, priority: 1, subject: {{{subject}}}, {rules}}}").policy

    (incoming,), (outgoing,) = policy.ingress, policy.egress
    found = policy.selector, incoming.source.selector, outgoing.destination.selector
    assert [one.text for one in found if one is not None] == [selector] * 3
    assert (incoming.action, outgoing.action) == (Action.DENY, Action.PASS)


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        ("[{tcp: {destinationPort: {number: 80}}}]", [("TCP", (PortRange(80, 80),))]),
        ("[{udp: {destinationPort: {range: {start: 5, end: 9}}}}]", [("UDP", (PortRange(5, 9),))]),
        (
            f"[{PORT_8}, {{destinationNamedPort: web}}, {{sctp: {{destinationPort: {{number: 9}}}}}}]",
            [("TCP", (PortRange(8, 8), "web")), ("UDP", ("web",)), ("SCTP", ("web", PortRange(9, 9)))],
        ),
        ("[{destinationNamedPort: web}]", [("TCP", ("web",)), ("UDP", ("web",)), ("SCTP", ("web",))]),
    ],
)
def test_a_rule_becomes_one_for_each_peer_and_protocol(protocols: str, expected: list[tuple[str, object]]) -> None:
    """Ports are those of the destination in both directions; each rule stands where its peer does."""
    side = "[{namespaces: {}}, {pods: {podSelector: {}}}]"
    rules = f"egress: [{{name: out, action: Accept, to: {side}, protocols: {protocols}}}]"

    found = policy_of(f"{{{HEAD}, {rules}}}").policy.rules(Direction.EGRESS)

    assert [(r.protocol.name if r.protocol else "", r.destination.ports) for r in found] == expected * 2
    assert len({rule.position for rule in found}) == 2
    assert {dict(rule.annotations)["policy.networking.k8s.io/rule-name"] for rule in found} == {"out"}


def test_every_list_has_a_limit() -> None:
    """Of 25 items, as in the CRD."""
    rules = ", ".join(["{action: Deny, from: [{namespaces: {}}]}"] * 26)

    (problem,) = mistakes(cnp(f"{{{HEAD}, ingress: [{rules}]}}"))

    assert "ingress has 26 items" in problem


def test_a_policy_is_written_back_as_it_was() -> None:
    """In the form of Kubernetes, with selectors that select everything and the priority 0."""
    spec = {
        "tier": "Baseline",
        "priority": 0,
        "subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}},
        "ingress": [{"name": "n", "action": "Accept", "from": [{"namespaces": {}}]}],
        "egress": [
            {
                "action": "Pass",
                "to": [{"networks": ["10.0.0.0/8"]}],
                "protocols": [
                    {"tcp": {"destinationPort": {"number": 1}}},
                    {"udp": {"destinationPort": {"range": {"start": 1, "end": 2}}}},
                ],
            }
        ],
    }
    document = manifest(policy_of(yaml.safe_dump(spec, default_flow_style=True, width=10_000).strip()))

    assert document["spec"] == spec
    assert (document["kind"], document["apiVersion"]) == (
        "ClusterNetworkPolicy",
        "policy.networking.k8s.io/v1alpha2",
    )
