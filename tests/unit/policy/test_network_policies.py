"""Policies of a namespace: which workloads they select, whom their rules mean, and their place among the others."""

from dataclasses import replace

import pytest

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.plan import Plan, PlannedRule
from hostfw.model.settings import Settings, Workloads
from hostfw.model.values import Direction
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_texts import manifest, mistakes, policy, resources

THEIRS = Settings(workloads=Workloads(("ve-*",)))
NAMES = ("shop-web", "shop-db", "bank-web")
HOST = HostFacts(
    "host", (Interface("eth0", 2, default_route=True), *(Interface(f"ve-{n}", 3 + i) for i, n in enumerate(NAMES)))
)
UPLINK = manifest("HostEndpoint", "{interfaceName: eth0, expectedIPs: [192.0.2.1]}", "uplink", "labels: {app: web}")
SET = manifest("NetworkSet", "{nets: [203.0.113.0/24]}", "partners", "namespace: shop, labels: {app: web}")
BANK = manifest("Namespace", "{}", "bank", "labels: {kind: money}", version="v1")


def wep(number: int, name: str) -> str:
    """A workload: `shop-web` is `web` of the namespace `shop`."""
    namespace, app = name.split("-")
    spec = f"{{interfaceName: ve-{name}, ipNetworks: [10.0.0.{number}]}}"
    return manifest("WorkloadEndpoint", spec, app, f"namespace: {namespace}, labels: {{app: {app}}}")


WORKLOADS = tuple(wep(number, name) for number, name in enumerate(NAMES, start=1))


def np(spec: str, name: str = "case", namespace: str = "shop", kind: str = "NetworkPolicy") -> str:
    """A NetworkPolicy; the value of `spec` begins at 4:7."""
    return manifest(kind, spec, name, f"namespace: {namespace}")


def planned(*texts: str) -> Plan:
    """The plan of a host with three workloads and an uplink."""
    plan, _ = resolve(resources(UPLINK, SET, BANK, *WORKLOADS, *texts), THEIRS, HOST)
    return plan


def selected(plan: Plan) -> list[str]:
    """The endpoints that any policy selects for ingress."""
    return [one.name for one in plan.endpoints if one.ingress.tiers]


def first_rule(plan: Plan) -> PlannedRule:
    """The first rule that is planned for any endpoint."""
    return next(rule for one in plan.endpoints for tier in one.ingress.tiers for p in tier.policies for rule in p.rules)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", ["shop/db", "shop/web"]),
        ("selector: all(), ", ["shop/db", "shop/web"]),
        ("selector: app == 'web', ", ["shop/web"]),
        ("selector: app == 'web' || app == 'db', ", ["shop/db", "shop/web"]),
        ("selector: \"projectcalico.org/namespace == 'bank'\", ", []),
    ],
)
def test_a_policy_selects_the_workloads_of_its_namespace_alone(selector: str, expected: list[str]) -> None:
    """Whatever its selector says, and no HostEndpoint."""
    assert selected(planned(np(f"{{{selector}types: [Ingress]}}"))) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("selector: app == 'web'", ["10.0.0.1/32", "203.0.113.0/24"]),
        ("selector: app == 'web' || app == 'db'", ["10.0.0.1/32", "10.0.0.2/32", "203.0.113.0/24"]),
        ("namespaceSelector: kind == 'money'", ["10.0.0.3/32"]),
        ("namespaceSelector: all(), selector: app == 'web'", ["10.0.0.1/32", "10.0.0.3/32", "203.0.113.0/24"]),
        ("namespaceSelector: global(), selector: app == 'web'", ["192.0.2.1/32"]),
        ("notSelector: app == 'db'", ["10.0.0.1/32", "10.0.0.2/32", "203.0.113.0/24"]),
        ("namespaceSelector: all()", ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "203.0.113.0/24"]),
    ],
)
def test_rules_mean_the_own_namespace_unless_they_say_others(source: str, expected: list[str]) -> None:
    """As in Calico: a selector alone looks in the namespace of the policy."""
    rule = first_rule(planned(np(f"{{ingress: [{{action: Allow, source: {{{source}}}}}]}}")))

    assert rule.source.address_set is not None
    # Neighbouring addresses come as one prefix.
    assert sorted(str(host) for cidr in rule.source.address_set.cidrs for host in _parts(str(cidr))) == expected


def _parts(text: str) -> list[str]:
    from ipaddress import ip_network

    net = ip_network(text)
    return [f"{one}/32" for one in net] if net.prefixlen >= 30 else [text]


@pytest.mark.parametrize("side", ["{}", "{selector: ''}", "{namespaceSelector: ''}"])
def test_a_side_without_a_selector_is_anybody(side: str) -> None:
    """Not only those of the namespace."""
    rule = first_rule(planned(np(f"{{ingress: [{{action: Allow, source: {side}}}]}}")))

    assert rule.source.address_set is None


def test_policies_are_in_one_order_whatever_their_kind() -> None:
    """By tier and order, then by name, namespace and kind; each under the name that it alone has."""
    plan = planned(
        np("{order: 10, ingress: [{action: Allow}]}", "b"),
        np("{order: 5, ingress: [{action: Allow}]}", "z"),
        np("{order: 10, ingress: [{action: Deny}]}", "a", kind="StagedNetworkPolicy"),
        policy("{order: 10, ingress: [{action: Allow}], selector: has(app)}", "a"),
        np("{order: 1, ingress: [{action: Allow}]}", "first", "bank"),
    )

    met = plan.endpoint("shop/db").ingress.tiers[0].policies
    assert [(one.name, one.kind, one.staged) for one in met] == [
        ("shop/z", "NetworkPolicy", False),
        ("a", "GlobalNetworkPolicy", False),
        ("shop/a", "StagedNetworkPolicy", True),
        ("shop/b", "NetworkPolicy", False),
    ]
    assert [rule.identity.policy for one in met for rule in one.rules] == ["shop/z", "a", "shop/a", "shop/b"]


def test_a_direction_without_rules_is_denied_to_the_workload() -> None:
    """And one that no policy of the workload has is its profiles'."""
    plan = planned(np("{types: [Egress]}"))

    web = plan.endpoint("shop/web")
    assert [(tier.name, tier.policies[0].name) for tier in web.direction(Direction.EGRESS).tiers] == [
        ("default", "shop/case")
    ]
    assert web.direction(Direction.INGRESS).tiers == ()


def test_two_namespaces_may_have_policies_of_one_name() -> None:
    """The name is unique within a namespace."""
    plan = planned(np("{ingress: [{action: Allow}]}"), np("{ingress: [{action: Deny}]}", namespace="bank"))

    assert [plan.endpoint(name).ingress.tiers[0].policies[0].name for name in ("bank/web", "shop/web")] == [
        "bank/case",
        "shop/case",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{applyOnForward: true}", "applyOnForward is refused: a policy of a namespace selects its workloads alone"),
        ("{doNotTrack: true}", "doNotTrack is refused"),
        ("{preDNAT: true}", "preDNAT is refused"),
        ("{namespaceSelector: all()}", "write a GlobalNetworkPolicy for those of other namespaces"),
        ("{stagedAction: Set}", "write kind: StagedNetworkPolicy"),
        ("{selector: 'a = 1'}", 'a single "="'),
        ("{ingress: [{action: Allow, source: {selector: 'a == b'}}]}", "where a value should be"),
        ("{serviceAccountSelector: all()}", "serviceAccountSelector is refused"),
    ],
)
def test_what_a_policy_of_a_namespace_cannot_say(spec: str, message: str) -> None:
    """At the place where it says so."""
    (found,) = mistakes(np(spec))

    assert message in found
    assert found.startswith("4:")


def test_what_expires_allows_nothing_once_it_has() -> None:
    """A policy of a namespace as any other."""
    from datetime import UTC, datetime

    text = np("{ingress: [{action: Allow}]}").replace(
        "namespace: shop", 'namespace: shop, annotations: {hostfw.io/expires: "2030-01-01T00:00:00Z"}'
    )
    then = replace(HOST, now=datetime(2031, 1, 1, tzinfo=UTC))

    plan, _ = resolve(resources(UPLINK, *WORKLOADS, text), THEIRS, then)

    assert [(one.kind, one.name) for one in plan.expired] == [("NetworkPolicy", "shop/case")]
    assert selected(plan) == []
