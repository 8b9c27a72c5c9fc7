"""Warnings: what each one says, and the neighbouring cases in which nothing is said."""

import pytest

from hostfw.model.problems import errors
from hostfw.policy.check.references import check
from tests.unit.builders.policy_texts import CALICO, decoded, manifest, policy, said
from tests.unit.timing import processor_s

WEB = manifest(
    "HostEndpoint",
    "{node: a, interfaceName: eth0, expectedIPs: [192.0.2.1], profiles: [projectcalico-default-allow]}",
    "web",
    "labels: {role: web}",
)
DB = manifest(
    "HostEndpoint",
    "{node: b, interfaceName: eth0, profiles: [projectcalico-default-allow]}",
    "db",
    "labels: {role: db}",
)
NO_FAILSAFE = "failsafe: none"

IGNORED = "4:35 warning: the {} rules of this policy are ignored, because types leaves {} out; hint: add {} to types"

STAGED = "StagedGlobalNetworkPolicy"

HIDDEN = [
    ("{types: [Egress], ingress: [{action: Allow}]}", [IGNORED.format("ingress", "Ingress", "Ingress")]),
    ("{types: [Ingress], egress: [{action: Allow}]}", [IGNORED.format("egress", "Egress", "Egress")]),
    ("{types: [Ingress, Egress], egress: [{action: Allow}]}", []),
    ("{types: [Egress], ingress: []}", []),
]


@pytest.mark.parametrize(("spec", "expected"), HIDDEN)
def test_rules_that_types_hide_are_told(spec: str, expected: list[str]) -> None:
    """At the first of them."""
    assert [told.removesuffix(", or remove the rules") for told in _warnings(policy(spec), WEB)] == expected


def test_policies_of_one_order_that_meet_on_an_endpoint_are_told_once() -> None:
    """At the first of them by name, for both directions together."""
    both = "types: [Ingress, Egress]"

    warnings = _warnings(
        policy(f"{{order: 5, {both}}}", "c"),
        policy(f"{{order: 5.0, {both}, selector: role == 'web'}}", "a"),
        policy(f"{{order: 5, {both}, selector: role == 'db'}}", "b"),
        WEB,
        DB,
        path=True,
    )

    assert warnings == [
        (
            '2.yaml:1:1 warning: policies a, b, c of tier "default" have the same order 5, so names decide'
            "; hint: give each an order of its own"
        )
    ]


INCOMPARABLE = [
    ("{order: 5, selector: role == 'web'}", "{order: 5, selector: role == 'db'}"),
    ("{order: 5, types: [Ingress]}", "{order: 5, types: [Egress]}"),
    ("{order: 5}", "{order: 6}"),
    ("{order: 5}", "{order: 5, tier: other}"),
    ("{}", "{}"),
    ("{order: 5}", "{order: 5, applyOnForward: true, doNotTrack: true}"),
    ("{order: 5, applyOnForward: true, preDNAT: true}", "{order: 5, applyOnForward: true, doNotTrack: true}"),
]


@pytest.mark.parametrize(("one", "other"), INCOMPARABLE)
def test_policies_that_never_meet_may_have_one_order(one: str, other: str) -> None:
    """By their endpoints, direction, tier or class; and no order is not the same order."""
    assert _warnings(policy(one, "a"), policy(other, "b"), WEB, DB, manifest("Tier", name="other")) == []


LOGGING = [
    (["{ingress: [{action: Log}]}"], True),
    (["{ingress: [{action: Log}, {action: Log}]}", "{selector: role == 'db'}"], True),
    (["{ingress: [{action: Log}, {action: Pass}]}"], False),
    (["{ingress: []}"], False),
    (["{ingress: [{action: Log}]}", "{selector: has(role)}"], False),
    (["{ingress: [{action: Log}]}", "{egress: [{action: Allow}]}"], True),
    (["{tier: passing, ingress: [{action: Log}]}"], False),
    (["{applyOnForward: true, doNotTrack: true, ingress: [{action: Log}]}"], False),
    (["{ingress: [{action: Log}]}", "{applyOnForward: true, preDNAT: true, ingress: [{action: Deny}]}"], True),
]


@pytest.mark.parametrize(("specs", "expected"), LOGGING)
def test_a_policy_that_only_logs_is_told_where_nothing_else_of_its_tier_decides(
    specs: list[str], expected: bool
) -> None:
    """For then the end of the tier drops what it has logged."""
    policies = [policy(spec, f"p{number}") for number, spec in enumerate(specs)]

    warnings = _warnings(*policies, WEB, DB, manifest("Tier", "{defaultAction: Pass}", "passing"))

    assert warnings == [
        (
            '1:1 warning: this policy only logs ingress, and the end of tier "default" then drops it'
            "; hint: end it with a rule that has action: Pass or Allow"
        )
    ] * int(expected)


def test_a_policy_that_selects_no_endpoint_is_told() -> None:
    """At its selector."""
    assert _warnings(policy("{selector: role == 'wbe'}"), policy("{selector: has(role)}", "b"), WEB) == [
        (
            "4:18 warning: the selector \"role == 'wbe'\" selects no HostEndpoint"
            "; hint: compare it with the labels of the HostEndpoints and their profiles"
        )
    ]


def test_labels_that_profiles_apply_count() -> None:
    """As they do in effect."""
    profile = manifest("Profile", "{labelsToApply: {zone: dmz}}", "dmz")
    endpoint = manifest("HostEndpoint", "{node: a, interfaceName: '*', profiles: [dmz, missing]}")

    assert _warnings(policy("{selector: zone == 'dmz'}"), profile, endpoint, unknown=1) == []


def test_policies_without_any_endpoint_are_told_once() -> None:
    """Instead of once for each of them."""
    assert _warnings(policy("{selector: has(a)}", "b"), policy(name="a"), path=True) == [
        (
            "1.yaml:1:1 warning: there is no HostEndpoint, so no policy applies to anything"
            "; hint: write a HostEndpoint, with interfaceName: '*' for every one"
        )
    ]


NOTHING = "selects no HostEndpoint and no set, so it matches"
NUMBER = "write its number, or give a HostEndpoint a port of that name"
NO_ADDRESS = "has no addresses, so it matches"
LABELS = "; hint: compare it with their labels"
ADDRESSES = "; hint: list them: expectedIPs of a HostEndpoint, nets of a GlobalNetworkSet or NetworkSet"

WITH_PORT, NO_MATCH = "no HostEndpoint with a port named", "so the name matches no packet"
LIST_THEM = "list its expectedIPs, or say learnAddresses: true"
DNS_PORT = "ports: [{name: dns, protocol: UDP, port: 53}]"
EXCLUDES_ALL = "no packet matches this rule: notSelector excludes all that selector selects"
SIDES = [
    ("source: {selector: role == 'web'}", []),
    ("source: {selector: kind == 'office'}", []),
    (
        "source: {selector: kind == 'office', notSelector: has(kind)}",
        [f"4:84 warning: {EXCLUDES_ALL}; hint: remove one of the two, or the rule"],
    ),
    ("source: {selector: all(), notSelector: kind == 'office'}", []),
    (
        "source: {selector: kind == 'empty', notSelector: has(kind)}",
        [f"4:53 warning: what the selector \"kind == 'empty'\" selects {NO_ADDRESS} no packet{ADDRESSES}"],
    ),
    ("source: {selector: has(x)}", [f'4:53 warning: the selector "has(x)" {NOTHING} no packet{LABELS}']),
    ("source: {notSelector: has(x)}", [f'4:56 warning: the selector "has(x)" {NOTHING} every packet{LABELS}']),
    (
        "destination: {selector: role == 'db'}",
        [f"4:58 warning: what the selector \"role == 'db'\" selects {NO_ADDRESS} no packet{ADDRESSES}"],
    ),
    (
        "destination: {notSelector: kind == 'empty'}",
        [f"4:61 warning: what the selector \"kind == 'empty'\" selects {NO_ADDRESS} every packet{ADDRESSES}"],
    ),
    (
        "destination: {ports: [http]}",
        [f'4:18 warning: no HostEndpoint has a port named "http", so the name matches no packet; hint: {NUMBER}'],
    ),
    (
        "source: {notPorts: [http]}",
        [f'4:18 warning: no HostEndpoint has a port named "http", so the name matches every packet; hint: {NUMBER}'],
    ),
    ("source: {ports: [ssh]}", [f'4:18 warning: {WITH_PORT} "ssh" has addresses, {NO_MATCH}; hint: {LIST_THEM}']),
    ("source: {ports: [dns]}", []),
    (
        "source: {selector: role == 'web', ports: [dns]}",
        [f'4:18 warning: {WITH_PORT} "dns" is among those that the selector selects, {NO_MATCH}{LABELS}'],
    ),
]


@pytest.mark.parametrize(("side", "expected"), SIDES)
def test_what_a_side_of_a_rule_cannot_match_is_told(side: str, expected: list[str]) -> None:
    """Selectors of nothing, of what has no addresses, and port names that nobody has."""
    warnings = _warnings(
        policy(f"{{ingress: [{{action: Allow, {side}}}]}}"),
        WEB,
        DB,
        manifest("GlobalNetworkSet", "{nets: [10.0.0.0/8]}", "office", "labels: {kind: office}"),
        manifest("GlobalNetworkSet", "{}", "empty", "labels: {kind: empty}"),
        manifest("HostEndpoint", "{node: c, interfaceName: x, ports: [{name: ssh, protocol: TCP, port: 22}]}", "c"),
        manifest("HostEndpoint", f"{{node: d, interfaceName: x, expectedIPs: [192.0.2.4], {DNS_PORT}}}", "d"),
    )

    assert warnings == expected


BEYOND = (
    "a negation in namespaceSelector holds for what is in no namespace, so the rule matches HostEndpoints, "
    "GlobalNetworkSets and Feeds as well; hint: write all() && before it for namespaces alone"
)
NAMESPACES = [
    ("namespaceSelector: projectcalico.org/name != 'bank'", [f"4:62 warning: {BEYOND}"]),
    ("selector: kind == 'office', namespaceSelector: projectcalico.org/name != 'bank'", [f"4:53 warning: {BEYOND}"]),
    ("selector: kind == 'shop', namespaceSelector: projectcalico.org/name != 'bank'", []),
    ("namespaceSelector: all() && projectcalico.org/name != 'bank'", []),
    ("namespaceSelector: '!all()'", []),
    ("namespaceSelector: projectcalico.org/name == 'shop'", []),
]


@pytest.mark.parametrize(("side", "expected"), NAMESPACES)
def test_a_negation_that_reaches_what_is_in_no_namespace_is_told(side: str, expected: list[str]) -> None:
    """It does in Calico, and few expect it; `all()` and `global()` say what they mean."""
    warnings = _warnings(
        policy(f"{{ingress: [{{action: Allow, source: {{{side}}}}}]}}"),
        WEB,
        manifest("GlobalNetworkSet", "{nets: [10.0.0.0/8]}", "office", "labels: {kind: office}"),
        manifest("NetworkSet", "{nets: [192.0.2.0/24]}", "shop", "namespace: shop, labels: {kind: shop}"),
    )

    assert warnings == expected


def test_rules_of_profiles_are_looked_at_as_well() -> None:
    """They match by the same address book."""
    profile = manifest("Profile", "{egress: [{action: Allow, destination: {selector: has(x)}}]}")

    assert _warnings(profile) == [f'4:57 warning: the selector "has(x)" {NOTHING} no packet{LABELS}']


ALLOWED = "no later tier has an applyOnForward policy for it; hint: end the last tier of forwarded traffic with Deny"
FORWARD = "applyOnForward: true, ingress: [{action: Pass}]"

FORWARDS = [
    ([f"{{{FORWARD}}}"], [f"4:40 warning: forwarded traffic that this Pass lets by is allowed: {ALLOWED}"]),
    ([f"{{tier: first, {FORWARD}}}", "{applyOnForward: true, ingress: [{action: Deny}]}"], []),
    (
        [f"{{tier: first, {FORWARD}}}", "{applyOnForward: true, selector: role == 'db', ingress: [{action: Deny}]}"],
        [f"4:53 warning: forwarded traffic that this Pass lets by is allowed: {ALLOWED}"],
    ),
    (
        [f"{{tier: first, {FORWARD}}}", "{applyOnForward: true, egress: [{action: Deny}]}"],
        [f"4:53 warning: forwarded traffic that this Pass lets by is allowed: {ALLOWED}"],
    ),
    (["{ingress: [{action: Pass}]}"], []),
    ([f"{{doNotTrack: true, {FORWARD}}}"], []),
    (["{applyOnForward: true, ingress: [{action: Deny}]}"], []),
    (["{tier: passing, applyOnForward: true, ingress: [{action: Deny}]}"], []),
    (
        ["{tier: passing, applyOnForward: true, ingress: [{action: Allow, protocol: TCP}]}"],
        [f"1:1 warning: forwarded traffic that defaultAction: Pass lets by for ingress is allowed: {ALLOWED}"],
    ),
]


@pytest.mark.parametrize(("specs", "expected"), FORWARDS)
def test_forwarded_traffic_that_passes_the_last_tier_is_told(specs: list[str], expected: list[str]) -> None:
    """For on the forward path, unlike the local one, it is allowed."""
    policies = [policy(spec, f"p{number}") for number, spec in enumerate(specs)]
    tiers = (manifest("Tier", "{order: 1}", "first"), manifest("Tier", "{order: 2, defaultAction: Pass}", "passing"))

    assert _warnings(*tiers, *policies, WEB, DB) == expected


HINT = (
    "; hint: in hostfw.yaml, take {0} out of failsafe.{2}, or name the net to which {1} open, as in tcp:10.0.0.0/8:22; "
    'a policy that denies somebody comes before failsafes with hostfw.io/before-failsafes: "true"'
)
SSH = (
    "4:18 warning: tcp 22 (inbound) stays open as a failsafe port: the rules of policy case do not close it"
    f"{HINT.format('it', 'it stays', 'inbound')}"
)
DENIED = SSH
TO_SSH = "protocol: TCP, destination: {ports: [22]}"
LIMIT = "limitPerSource: {newConnections: 6/minute}"
OFFICE = "failsafe: {inbound: ['tcp:10.0.0.0/8:22']}"

FAILSAFES = [
    ("", "{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8]}, destination: {ports: ['20:23']}}", [SSH]),
    ("", "{action: Allow, protocol: TCP, source: {notNets: [10.0.0.0/8]}, destination: {ports: [22]}}", [SSH]),
    ("", "{action: Allow, protocol: TCP, source: {selector: role == 'web'}, destination: {ports: [22]}}", [SSH]),
    ("", f"{{action: Allow, protocol: TCP, destination: {{ports: [22]}}, {LIMIT}}}", [SSH]),
    ("", f"{{action: Allow, protocol: TCP, destination: {{ports: [23]}}, {LIMIT}}}", []),
    (OFFICE, f"{{action: Allow, protocol: TCP, destination: {{ports: [22]}}, {LIMIT}}}", []),
    (
        OFFICE,
        f"{{action: Allow, protocol: TCP, source: {{nets: [10.1.0.0/16]}}, destination: {{ports: [22]}}, {LIMIT}}}",
        [SSH.replace("tcp 22", "tcp 10.0.0.0/8 22")],
    ),
    ("", "{action: Deny, protocol: 6, destination: {ports: [22]}}", [DENIED]),
    ("", "{action: Deny, protocol: TCP, source: {nets: [203.0.113.0/24]}}", [DENIED]),
    ("", "{action: Deny}", []),
    ("", "{action: Deny, protocol: TCP}", []),
    ("", "{action: Deny, protocol: ICMP, source: {nets: [203.0.113.0/24]}}", []),
    ("", "{action: Allow, protocol: TCP, destination: {ports: [22]}}", []),
    ("", "{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8]}, destination: {ports: [23]}}", []),
    ("", "{action: Allow, protocol: TCP, source: {nets: [0.0.0.0/0]}, destination: {ports: [22]}}", []),
    ("", "{action: Allow, source: {nets: [10.0.0.0/8]}}", []),
    ("", "{action: Deny, notProtocol: TCP, source: {nets: [10.0.0.0/8]}, protocol: TCP}", [DENIED]),
    ("", "{action: Log, protocol: TCP, destination: {ports: [22]}}, {action: Pass}", []),
    (OFFICE, "{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8]}, destination: {ports: [22]}}", []),
    (OFFICE, "{action: Allow, protocol: TCP, source: {selector: kind == 'wide'}, destination: {ports: [22]}}", []),
    (OFFICE, "{action: Deny, protocol: TCP, source: {nets: [203.0.113.0/24]}}", []),
    (
        OFFICE,
        "{action: Allow, protocol: TCP, source: {nets: [10.1.0.0/16]}, destination: {ports: [22]}}",
        [SSH.replace("tcp 22", "tcp 10.0.0.0/8 22")],
    ),
    (
        OFFICE,
        "{action: Allow, protocol: TCP, source: {notNets: [10.9.0.0/16]}, destination: {ports: [22]}}",
        [SSH.replace("tcp 22", "tcp 10.0.0.0/8 22")],
    ),
    (NO_FAILSAFE, "{action: Deny, protocol: TCP, destination: {ports: [22]}}", []),
    (OFFICE, "{action: Deny, protocol: TCP, source: {notNets: [10.0.0.0/8]}, destination: {ports: [22]}}", []),
    (
        OFFICE,
        "{action: Deny, protocol: TCP, source: {notNets: [10.1.0.0/16]}, destination: {ports: [22]}}",
        [SSH.replace("tcp 22", "tcp 10.0.0.0/8 22")],
    ),
    (OFFICE, "{action: Deny, protocol: TCP, source: {nets: [10.1.0.0/16], notNets: [10.0.0.0/9]}}", []),
    ("", f"{{action: Allow, {TO_SSH}}}, {{action: Deny, source: {{nets: [203.0.113.0/24]}}, protocol: TCP}}", []),
    ("", f"{{action: Allow, source: {{nets: [10.0.0.0/8]}}, {TO_SSH}}}, {{action: Allow, {TO_SSH}}}", []),
    ("", "{action: Allow, protocol: TCP}, {action: Deny, source: {nets: [203.0.113.0/24]}, protocol: TCP}", []),
    (
        "",
        f"{{action: Allow, source: {{nets: [203.0.113.7/32]}}, protocol: UDP}}, {{action: Deny, {TO_SSH}}}",
        [SSH.replace("4:18", "4:84")],
    ),
    (
        OFFICE,
        f"{{action: Allow, source: {{nets: [10.0.0.0/8]}}, {TO_SSH}}}, {{action: Deny, {TO_SSH}}}",
        [],
    ),
    (
        "",
        "{action: Deny, source: {nets: [10.9.0.0/16]}, protocol: TCP}, {action: Allow}",
        [SSH],
    ),
]


@pytest.mark.parametrize(("settings", "rule", "expected"), FAILSAFES)
def test_a_failsafe_that_opens_what_a_rule_restricts_is_told(settings: str, rule: str, expected: list[str]) -> None:
    """The rule names the port, or denies some peers; a plain Deny of everything is left alone."""
    wide = manifest("GlobalNetworkSet", "{nets: [10.0.0.0/7]}", "wide", "labels: {kind: wide}")

    told = _warnings(policy(f"{{ingress: [{rule}]}}"), WEB, wide, settings=settings)
    assert [one for one in told if "no packet matches" not in one] == expected


def test_an_allow_before_the_normal_class_limits_nothing() -> None:
    """Packets that it does not match go on; a Deny there does restrict the port."""
    spec = "{{applyOnForward: true, preDNAT: true, ingress: [{{action: {}, protocol: TCP, {}}}]}}"
    narrow = "source: {nets: [10.0.0.0/8]}, destination: {ports: [22]}"

    assert _warnings(policy(spec.format("Allow", narrow)), WEB, settings="") == []
    assert len(_warnings(policy(spec.format("Deny", narrow)), WEB, settings="")) == 1


def test_failsafes_of_the_other_direction_are_told_by_their_own_key() -> None:
    """Several of them in one warning."""
    rule = "{action: Deny, destination: {nets: [203.0.113.0/24]}}"

    assert _warnings(policy(f"{{egress: [{rule}]}}"), WEB, settings="failsafe: {outbound: ['udp:53', 53]}") == [
        (
            "4:17 warning: udp 53, tcp 53 (outbound) stay open as failsafe ports: the rules of policy case do not "
            f"close them{HINT.format('them', 'they stay', 'outbound')}"
        )
    ]


def test_a_port_that_an_earlier_policy_opens_to_everybody_is_not_limited_by_a_later_one() -> None:
    """In the order of tiers and policies, on all the endpoints that the later one selects."""
    opening = policy("{order: 1, ingress: [{action: Allow, protocol: TCP, destination: {ports: [22]}}]}", "open")
    denying = "{{order: {}, ingress: [{{action: Deny, protocol: TCP, source: {{nets: [203.0.113.0/24]}}}}]}}"
    of_web = policy("{order: 1, selector: role == 'web', ingress: [{action: Allow, protocol: TCP}]}", "open")

    assert _warnings(opening, policy(denying.format(2), "deny"), WEB, settings="") == []
    assert len(_warnings(opening, policy(denying.format(0), "deny"), WEB, settings="")) == 1
    assert _warnings(of_web, policy(denying.format(2), "deny"), WEB, settings="") == []
    assert len(_warnings(of_web, policy(denying.format(2), "deny"), WEB, DB, settings="")) == 1


def test_a_deny_that_comes_before_failsafes_is_told_only_of_those_with_a_net() -> None:
    """The others it does close."""
    early = "annotations: {hostfw.io/before-failsafes: 'true'}"
    deny = "{ingress: [{action: Deny, source: {nets: [10.1.0.0/16]}}]}"

    assert _warnings(manifest("GlobalNetworkPolicy", deny, "case", early), WEB, settings="") == []
    (told,) = _warnings(manifest("GlobalNetworkPolicy", deny, "case", early), WEB, settings=OFFICE)
    assert "tcp 10.0.0.0/8 22 (inbound) stays open as a failsafe port" in told


def test_a_policy_that_selects_nothing_restricts_nothing() -> None:
    """So its rules are not held against the failsafes."""
    deny = "{selector: has(x), ingress: [{action: Deny, protocol: TCP, destination: {ports: [22]}}]}"

    assert len(_warnings(policy(deny), WEB, settings="")) == 1


def test_staged_policies_are_looked_at_as_well() -> None:
    """Their effects once enforced; and they have no order that others could share with them."""
    hidden = manifest(STAGED, "{order: 1, types: [Egress], ingress: [{action: Allow}]}", "a")
    unmatching = manifest(STAGED, "{ingress: [{action: Allow, source: {selector: has(x)}}]}", "b")
    unselecting = manifest(STAGED, "{selector: has(x)}", "c")
    same_order = policy("{order: 1, types: [Egress]}", "a")
    deleting = manifest(STAGED, "{stagedAction: Delete}", "d")

    warnings = _warnings(hidden, unmatching, unselecting, same_order, deleting, WEB, path=True)

    assert [told.partition(" warning: ")[0] for told in warnings] == ["1.yaml:4:45", "2.yaml:4:53", "3.yaml:4:18"]


def test_staged_policies_without_any_endpoint_are_told() -> None:
    """As others are."""
    assert len(_warnings(manifest(STAGED))) == 1


def test_a_pass_of_a_workload_is_followed_by_its_profile() -> None:
    """A workload without one is named with its namespace."""
    spec = "{node: a, interfaceName: veth0, ipNetworks: [10.0.0.2/32]%s}"
    name = "name: a-k8s-web-eth0, namespace: shop, labels: {app: web}"
    profile = manifest("Profile", "{ingress: [{action: Allow}]}", "kns.shop")
    passing = policy("{selector: app == 'web', ingress: [{action: Pass}]}")

    def told(profiles: str) -> list[str]:
        one = f"apiVersion: {CALICO}\nkind: WorkloadEndpoint\nmetadata: {{{name}}}\nspec: {spec % profiles}\n"
        return _warnings(one, profile, passing, settings=f"{NO_FAILSAFE}\nworkloads: {{interfaces: ['veth*']}}")

    assert told(", profiles: [kns.shop]") == []
    (alone,) = told("")
    assert "is the last one for ingress of shop/a-k8s-web-eth0, and no profile follows" in alone


def test_learned_addresses_are_not_missing() -> None:
    """With `learnAddresses` an endpoint has those of its interfaces, which only the host knows."""
    rule = "{ingress: [{action: Allow, source: {selector: role == 'db'}}]}"

    assert len(_warnings(policy(rule), WEB, DB)) == 1
    assert _warnings(policy(rule), WEB, DB, settings=f"{NO_FAILSAFE}\nlearnAddresses: true") == []
    nothing = "{ingress: [{action: Allow, source: {selector: role == 'none'}}]}"
    assert len(_warnings(policy(nothing), WEB, DB, settings=f"{NO_FAILSAFE}\nlearnAddresses: true")) == 1


def test_the_time_grows_with_the_number_of_policies() -> None:
    """Twice the policies and endpoints, about twice the time; quadratic work would take four times."""
    small, large = (_time_of_check(count) for count in (2_500, 5_000))

    assert 0 < large < 3.2 * small + 0.05


def _time_of_check(count: int) -> float:
    policies = [policy(f"{{order: {n % 50}, selector: has(g{n % 500}) || g == '{n}'}}", f"p{n}") for n in range(count)]
    endpoints = [
        manifest("HostEndpoint", f"{{node: n{n}, interfaceName: e}}", f"e{n}", f"labels: {{g{n % 500}: ''}}")
        for n in range(count // 5)
    ]
    result = decoded("---\n".join((*policies, *endpoints)))
    assert result.problems == ()
    return processor_s(lambda: check(result.resources, result.settings))


BARE = WEB.replace(", profiles: [projectcalico-default-allow]", "")
BEHIND_IT = "matches every packet before it; hint: move it further up"
PASSED = 'denied: tier "default" is the last one for ingress of web, and no profile follows'
UNREACHED = [
    (
        "a rule behind one that matches everything",
        ["{ingress: [{action: Log}, {action: Deny}, {action: Allow, protocol: TCP}]}"],
        [f"1:4:49 warning: no packet reaches this rule: the Deny at line 4 {BEHIND_IT}"],
    ),
    (
        "a policy behind one that decides about everything",
        ["{order: 1, ingress: [{action: Deny}]}", "{order: 2, ingress: [{action: Allow, protocol: TCP}]}"],
        ['2:1:1 warning: no ingress packet reaches this policy: policy "p0" (line 4) decides about all of them before'],
    ),
    (
        "a policy behind a tier that nothing passes",
        ["{tier: first, ingress: [{action: Allow, protocol: TCP}]}", "{ingress: [{action: Allow, protocol: UDP}]}"],
        ['2:1:1 warning: no ingress packet reaches this policy: tier "first", which nothing passes, decides about all'],
    ),
    ("what passes", ["{tier: first, ingress: [{action: Pass, protocol: TCP}]}", "{ingress: [{action: Allow}]}"], []),
    (
        "other endpoints",
        ["{order: 1, selector: has(cache), ingress: [{action: Deny}]}", "{order: 2, ingress: [{action: Allow}]}"],
        [],
    ),
    (
        "forwarded traffic, which the first does not see",
        ["{order: 1, ingress: [{action: Deny}]}", "{order: 2, applyOnForward: true, ingress: [{action: Deny}]}"],
        [],
    ),
    (
        "a Pass of everything in the last tier, without a profile",
        ["{order: 1, ingress: [{action: Deny, protocol: TCP}, {action: Pass}]}"],
        [
            f"1:4:59 warning: all that this Pass lets by is {PASSED}; hint: let it Allow, or put the policy",
        ],
    ),
    (
        "a Pass to a later tier",
        ["{tier: first, ingress: [{action: Pass}]}", "{ingress: [{action: Allow, protocol: TCP}]}"],
        [],
    ),
]


@pytest.mark.parametrize(("specs", "expected"), [case[1:] for case in UNREACHED], ids=[case[0] for case in UNREACHED])
def test_what_no_packet_reaches_is_told(specs: list[str], expected: list[str]) -> None:
    """Rules, policies, and the end of what a Pass leads to nowhere."""
    texts = [policy(spec, f"p{number}") for number, spec in enumerate(specs)]
    cache = manifest("HostEndpoint", "{node: b, interfaceName: eth0}", "cache", "labels: {cache: x}")
    beside = [cache] if "has(cache)" in specs[0] else []
    warnings = _warnings(*texts, BARE, manifest("Tier", "{order: 1}", "first"), *beside, path=True)
    told = [warning.replace(".yaml", "", 1) for warning in warnings]

    assert [warning[: len(wanted)] for warning, wanted in zip(told, expected, strict=True)] == expected


def test_what_could_not_be_read_whole_is_not_said_to_match_everything() -> None:
    """A criterion with a mistake in it is missing from the rule."""
    result = decoded(policy("{ingress: [{action: Deny, protocl: TCP}, {action: Allow}]}"), BARE)

    assert [said(problem) for problem in check(result.resources, result.settings, whole=False)] == []


def _warnings(*texts: str, settings: str = NO_FAILSAFE, path: bool = False, unknown: int = 0) -> list[str]:
    """The warnings about manifests that have no errors, but for some unknown names."""
    result = decoded(*texts, settings=settings)
    problems = check(result.resources, result.settings)
    assert result.problems == ()
    assert len(errors(problems)) == unknown
    return [said(problem, path=path) for problem in problems if problem not in errors(problems)]
