"""NetworkPolicies of Kubernetes: what they are converted to, and which are refused as Kubernetes refuses them."""

import pytest
import yaml

from hostfw.manifest.encode import manifest
from hostfw.model.resources import KubernetesNetworkPolicy, Rule
from hostfw.model.values import Direction, PortRange
from hostfw.policy.check.references import check
from tests.unit.builders.policy_texts import decoded, mistakes, resources
from tests.unit.builders.policy_texts import manifest as text_of

POD = "has(projectcalico.org/orchestrator)"
SHOP = 'projectcalico.org/namespace == "shop"'


def knp(spec: str, name: str = "web", namespace: str = "shop") -> str:
    """A NetworkPolicy of Kubernetes; the value of `spec` begins at 4:7."""
    return text_of("NetworkPolicy", spec, name, f"namespace: {namespace}", "networking.k8s.io/v1")


def policy_of(spec: str) -> KubernetesNetworkPolicy:
    """The one policy of a manifest."""
    (found,) = resources(knp(spec)).kubernetes_policies
    return found


def rules_of(spec: str, direction: Direction = Direction.INGRESS) -> tuple[Rule, ...]:
    """The rules that those of a direction are converted to."""
    return policy_of(spec).policy.rules(direction)


def selector_of(rule: Rule) -> str | None:
    """The selector of the side that a rule is about."""
    side = rule.source.selector or rule.destination.selector
    return None if side is None else side.text


def test_a_policy_is_called_and_placed_as_calico_does() -> None:
    """Under a name that people's own policies do not have, at order 1000 of the tier default."""
    policy = policy_of("{}").policy

    assert (policy.metadata.full_name, policy.order, policy.tier) == ("shop/knp.default.web", 1000.0, "default")


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ("{}", "ingress"),
        ("{ingress: [{}]}", "ingress"),
        ("{egress: []}", "ingress"),
        ("{egress: [{}]}", "ingress egress"),
        ("{policyTypes: [Egress]}", "egress"),
        ("{policyTypes: [Ingress], egress: [{}]}", "ingress"),
        ("{policyTypes: [Egress, Ingress]}", "egress ingress"),
    ],
)
def test_a_policy_restricts_the_directions_that_kubernetes_says(spec: str, types: str) -> None:
    """Ingress always, and Egress if it has rules for it, unless policyTypes says otherwise."""
    assert " ".join(policy_of(spec).policy.types) == types


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("{}", ""),
        ("{matchLabels: {b: x, a: y}}", ' && a == "y" && b == "x"'),
        ("{matchLabels: {a: ''}}", ' && a == ""'),
        ("{matchExpressions: [{key: a, operator: In, values: [x, y]}]}", ' && a in {"x", "y"}'),
        ("{matchExpressions: [{key: a, operator: NotIn, values: [x]}]}", ' && a not in {"x"}'),
        ("{matchExpressions: [{key: a, operator: Exists}]}", " && has(a)"),
        ("{matchExpressions: [{key: a, operator: DoesNotExist, values: []}]}", " && !has(a)"),
        (
            "{matchLabels: {k8s.io/a: x}, matchExpressions: [{key: b, operator: Exists}, {key: c, operator: Exists}]}",
            ' && k8s.io/a == "x" && has(b) && has(c)',
        ),
    ],
)
def test_label_selectors_mean_the_same(selector: str, expected: str) -> None:
    """For the pods of a policy, for peers, and behind the prefix of namespaces."""
    own = policy_of(f"{{podSelector: {selector}}}").policy.selector
    (peer,) = rules_of(f"{{ingress: [{{from: [{{podSelector: {selector}}}]}}]}}")
    (elsewhere,) = rules_of(f"{{ingress: [{{from: [{{namespaceSelector: {{}}, podSelector: {selector}}}]}}]}}")
    (within,) = rules_of(f"{{ingress: [{{from: [{{namespaceSelector: {selector}}}]}}]}}")

    assert own.text == selector_of(peer) == f"({POD}{expected}) && {SHOP}"
    assert selector_of(elsewhere) == f"{POD}{expected}"
    behind = expected
    for label in ("a", "b", "c", "k8s.io/a"):
        for form in (f" {label} ", f"({label})"):
            behind = behind.replace(form, form.replace(label, f"pcns.{label}"))
    assert selector_of(within) == f"{POD}{behind}"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{}", [("any", (), "any")]),
        ("{from: [], ports: []}", [("any", (), "any")]),
        ("{ports: [{}]}", [("TCP", (), "any")]),
        ("{ports: [{port: 80}, {port: 90, endPort: 99}]}", [("TCP", (PortRange(80, 80), PortRange(90, 99)), "any")]),
        ("{ports: [{port: 80}, {protocol: TCP}]}", [("TCP", (), "any")]),
        (
            "{ports: [{port: http}, {protocol: UDP, port: 53}, {port: 80}]}",
            [("TCP", ("http", PortRange(80, 80)), "any"), ("UDP", (PortRange(53, 53),), "any")],
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.1/8, except: [10.1.0.0/16]}}, {ipBlock: {cidr: 'fd00::/8'}}]}",
            [("any", (), "10.0.0.0/8 but 10.1.0.0/16"), ("any", (), "fd00::/8 but ")],
        ),
    ],
)
def test_a_rule_is_one_for_each_peer_and_protocol(rule: str, expected: list[tuple[object, ...]]) -> None:
    """Ports of one protocol are together, and a protocol without a port is all of them; the same both ways."""
    into = rules_of(f"{{ingress: [{rule}]}}")
    out = rules_of(f"{{egress: [{rule.replace('from:', 'to:')}]}}", Direction.EGRESS)

    for direction, rules in ((Direction.INGRESS, into), (Direction.EGRESS, out)):
        told = []
        for one in rules:
            side = one.source if direction is Direction.INGRESS else one.destination
            nets = f"{side.nets[0]} but {', '.join(map(str, side.not_nets))}" if side.nets else "any"
            told.append((str(one.protocol or "any"), one.destination.ports, nets))
        assert told == expected


def test_a_rule_stands_where_its_peer_does() -> None:
    """A line of the person's own file is shown by explain."""
    text = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  ingress:
    - from:
        - podSelector: {}
        - ipBlock: {cidr: 10.0.0.0/8}
    - ports: [{port: 80}]
"""
    (found,) = resources(text).kubernetes_policies

    assert [rule.position.line for rule in found.policy.ingress] == [7, 8, 9]
    assert found.metadata.full_name == "default/web"


def test_what_kubectl_prints_is_read_as_it_is() -> None:
    """Lists of any kinds, lists of the kind, and what a server adds."""
    server = "uid: a, resourceVersion: '1', generation: 2, creationTimestamp: '2030-01-01T00:00:00Z'"
    item = f"{{metadata: {{name: web, namespace: shop, {server}}}, spec: {{podSelector: {{}}}}, status: {{}}}}"
    full = item.replace("{metadata", "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata", 1)
    texts = (
        f"apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: ''}}\nitems: [{full}]\n",
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems: [{item}]\n",
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems: [{full}]\n",
    )

    for text in texts:
        assert [one.metadata.full_name for one in resources(text).kubernetes_policies] == ["shop/web"]


def test_policies_of_both_kinds_stand_side_by_side() -> None:
    """One name for each of them; but not the name that one of Kubernetes has among Calico's."""
    calico = text_of("NetworkPolicy", name="web", metadata="namespace: shop")
    taken = text_of("NetworkPolicy", name="knp.default.web", metadata="namespace: shop")
    found = decoded(knp("{}"), calico, taken)

    assert found.problems == ()
    assert len(found.resources.kubernetes_policies) == 1
    assert [p.message for p in check(found.resources, found.settings) if "called as well" in p.message] == [
        'NetworkPolicy "shop/knp.default.web" is what the one of Kubernetes at 1.yaml:1:1 is called as well'
    ]


PEERS = (
    "[{podSelector: {}, namespaceSelector: {matchLabels: {c: d}}}, "
    "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]"
)
PORTS = "[{protocol: UDP, port: 53}, {protocol: TCP, port: 1, endPort: 9}, {protocol: SCTP}]"
EGRESS = f"[{{to: {PEERS}, ports: {PORTS}}}]"
EXPRESSIONS = "[{key: a, operator: NotIn, values: [x]}, {key: b, operator: Exists}]"
SPECS = (
    "{podSelector: {}, policyTypes: [Ingress]}",
    f"{{podSelector: {{matchExpressions: {EXPRESSIONS}}}, policyTypes: [Egress]}}",
    f"{{podSelector: {{}}, policyTypes: [Ingress, Egress], ingress: [{{}}], egress: {EGRESS}}}",
)


@pytest.mark.parametrize("spec", SPECS)
def test_a_policy_is_written_as_it_was_read(spec: str) -> None:
    """In the form of Kubernetes."""
    written = manifest(policy_of(spec))

    assert written["spec"] == yaml.safe_load(spec)
    assert (written["apiVersion"], written["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")


PEER = "{{ingress: [{{from: [{}]}}]}}"
PORT = "{{ingress: [{{ports: [{}]}}]}}"
SELECTOR = "{{podSelector: {}}}"
REFUSED = [
    ("[]", "the spec of a NetworkPolicy of Kubernetes is a list"),
    ("{selector: all()}", 'unknown field "selector"'),
    ("{policyTypes: [ingress]}", 'an item of policyTypes is "ingress"'),
    ("{policyTypes: [Ingress, Egress, Egress]}", "policyTypes has 3 items"),
    ("{ingress: [{to: []}]}", "in ingress it is called from"),
    ("{egress: [{from: []}]}", "in egress it is called to"),
    (PEER.format("{}"), "an item of from is empty"),
    (PEER.format("{podSelector: null}"), "an item of from is empty"),
    (PEER.format("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}"), "ipBlock is given together with a selector"),
    (PEER.format("{ipBlock: {}}"), "cidr is missing"),
    (PEER.format("{ipBlock: {cidr: 10.0.0.1}}"), 'cidr is "10.0.0.1"'),
    (PEER.format("{ipBlock: {cidr: 10.0.0.0/33}}"), 'cidr is "10.0.0.0/33"'),
    (PEER.format("{ipBlock: {cidr: '::ffff:0:0/95'}}"), 'cidr has "::ffff:0:0/95", which no packet carries'),
    (PEER.format("{ipBlock: {cidr: '::ffff:10.0.0.1/8'}}"), 'cidr has "::ffff:10.0.0.1/8", which no packet carries'),
    (PEER.format("{ipBlock: {cidr: '::/0', except: ['::ffff:0:0/95']}}"), 'except has "::ffff:0:0/95"'),
    (PEER.format("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}"), "no smaller part of 10.0.0.0/8"),
    (PEER.format("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}"), "no smaller part of 10.0.0.0/8"),
    (PEER.format("{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/16']}}"), "no smaller part of 10.0.0.0/8"),
    (PORT.format("{protocol: tcp}"), 'protocol is "tcp"'),
    (PORT.format("{protocol: ICMP}"), 'protocol is "ICMP"'),
    (PORT.format("{port: 0}"), "port is 0"),
    (PORT.format("{port: 65536}"), "port is 65536"),
    (PORT.format("{port: '80'}"), 'port is the string "80"'),
    (PORT.format("{port: Http}"), 'port is the string "Http"'),
    (PORT.format("{endPort: 90}"), "endPort without port"),
    (PORT.format("{port: http, endPort: 90}"), "endPort with the name of a port"),
    (PORT.format("{port: 80, endPort: 79}"), "endPort is 79, less than port 80"),
    (SELECTOR.format("{matchLabels: {a: 1}}"), "the label a is the integer 1"),
    (SELECTOR.format("{matchLabels: {'a b': x}}"), 'matchLabels has the key "a b"'),
    (SELECTOR.format("{matchExpressions: [{key: a, operator: in, values: [x]}]}"), 'operator is "in"'),
    (SELECTOR.format("{matchExpressions: [{key: a}]}"), "operator is missing"),
    (SELECTOR.format("{matchExpressions: [{operator: Exists}]}"), "key is missing"),
    (SELECTOR.format("{matchExpressions: [{key: a, operator: In}]}"), "In without values"),
    (SELECTOR.format("{matchExpressions: [{key: a, operator: NotIn, values: []}]}"), "NotIn without values"),
    (SELECTOR.format("{matchExpressions: [{key: a, operator: Exists, values: [x]}]}"), "Exists with values"),
    (SELECTOR.format("{matchExpressions: [{key: a, operator: In, values: ['x y']}]}"), 'values has "x y"'),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED)
def test_what_kubernetes_refuses_is_refused(spec: str, message: str) -> None:
    """At its place in the file."""
    (found,) = mistakes(knp(spec))

    assert message in found
    assert found.startswith("4:")


def test_other_versions_of_the_kind_are_named() -> None:
    """Of NetworkPolicy there are two, and its names are the manifest's."""
    old = text_of("NetworkPolicy", version="extensions/v1beta1")
    ours = text_of("KubernetesNetworkPolicy", version="networking.k8s.io/v1")

    assert "expected one of projectcalico.org/v3, networking.k8s.io/v1" in mistakes(old)[0]
    assert 'kind "KubernetesNetworkPolicy" is refused: of it hostfw knows NetworkPolicy alone' in mistakes(ours)[0]
