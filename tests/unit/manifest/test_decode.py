"""Manifests to resources: every field of every kind, defaults, positions and order."""

import pytest

from hostfw.manifest.decode import Decoded, decode
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.sets import GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import EndpointPort
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.problems import Severity
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, HostEndpoint, Profile, Resources, Rule, Tier
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.model.values import (
    ICMP,
    TCP,
    UDP,
    Action,
    Direction,
    Family,
    Icmp,
    PortRange,
    Protocol,
    StagedAction,
)
from tests.unit.builders.policy_builders import net, nets
from tests.unit.builders.policy_texts import HOSTFW, decoded, manifest, mistakes, policy, resources, rule

IN, OUT = Direction.INGRESS, Direction.EGRESS


def test_a_policy_decodes_with_every_field_and_position() -> None:
    """Positions: the document's first key, each rule's mapping, each selector's value, the tier's value."""
    text = """\
# Who may talk to the database.
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: platform.database
  labels: {team: "7", example.org/stage: prod}
  annotations: {note: "any text: at all"}
  uid: 5b0c
  resourceVersion: "12"
  creationTimestamp: null
  generateName: x-
  ownerReferences: []
  finalizers: [a]
  managedFields: [{manager: kubectl}]
spec:
  tier: platform
  order: -1.5
  selector: role == 'database'
  types:
    - Egress
    - Ingress
  performanceHints: [AssumeNeededOnEveryNode]
  applyOnForward: true
  doNotTrack: false
  preDNAT: no
  namespaceSelector: ""
  serviceAccountSelector:
  ingress:
    - action: Allow
      ipVersion: 4
      protocol: TCP
      source:
        nets: [10.0.0.0/8, 192.0.2.1/32]
        notNets: [10.9.0.0/16]
        selector: >-
          role in
          {'web'}
        notSelector: has(quarantined)
        ports: ["1024:65535"]
      destination:
        ports: [5432, "5433", 6000:6010, admin]
        notPorts: [6001]
        services:
      metadata:
        annotations: {ticket: OPS-1}
    -
      action: Deny
      protocol: ICMP
      icmp: {type: 8, code: 0}
      notICMP: {type: 3}
      notProtocol: 17
  egress: []
status: {anything: at all}
"""
    (found,) = resources(text).policies

    assert found == GlobalNetworkPolicy(
        metadata=Metadata(
            "platform.database",
            labels=(("example.org/stage", "prod"), ("team", "7")),
            annotations=(("note", "any text: at all"),),
            position=_at(2, 1),
        ),
        tier="platform",
        order=-1.5,
        selector=SelectorText("role == 'database'", _at(18, 13)),
        types=(OUT, IN),
        ingress=(
            Rule(
                action=Action.ALLOW,
                ip_version=Family.V4,
                protocol=TCP,
                source=EntityRule(
                    nets=nets("10.0.0.0/8", "192.0.2.1/32"),
                    not_nets=nets("10.9.0.0/16"),
                    selector=SelectorText("role in {'web'}", _at(35, 19)),
                    not_selector=SelectorText("has(quarantined)", _at(38, 22)),
                    ports=(PortRange(1024, 65535),),
                ),
                destination=EntityRule(
                    ports=(PortRange(5432, 5432), PortRange(5433, 5433), PortRange(6000, 6010), "admin"),
                    not_ports=(PortRange(6001, 6001),),
                ),
                annotations=(("ticket", "OPS-1"),),
                position=_at(29, 7),
            ),
            Rule(
                action=Action.DENY,
                protocol=ICMP,
                not_protocol=Protocol(17),
                icmp=Icmp(8, 0),
                not_icmp=Icmp(3),
                position=_at(47, 7),
            ),
        ),
        apply_on_forward=True,
        tier_position=_at(16, 9),
    )


def test_an_empty_policy_has_calicos_defaults() -> None:
    """Tier default, no order, every endpoint, ingress."""
    text = manifest("GlobalNetworkPolicy", "\n")

    assert resources(text).policies == (GlobalNetworkPolicy(Metadata("case", position=_at(1, 1))),)


TYPES = [
    ("{}", (IN,)),
    ("{ingress: [], egress: []}", (IN,)),
    ("{ingress: [{action: Log}]}", (IN,)),
    ("{egress: [{action: Log}]}", (OUT,)),
    ("{ingress: [{action: Log}], egress: [{action: Log}]}", (IN, OUT)),
    ("{types: [], egress: [{action: Log}]}", (OUT,)),
    ("{types: null, egress: [{action: Log}]}", (OUT,)),
    ("{types: [Ingress], egress: [{action: Log}]}", (IN,)),
    ("{types: [Egress, Ingress]}", (OUT, IN)),
]


@pytest.mark.parametrize(("spec", "types"), TYPES)
def test_types_default_to_the_directions_that_have_rules(spec: str, types: tuple[Direction, ...]) -> None:
    """And to ingress where there are none; what is given explicitly wins."""
    assert resources(policy(spec)).policies[0].types == types


CLASSES = [
    ("{applyOnForward: true, doNotTrack: true}", (True, False, (IN,))),
    ("{applyOnForward: true, doNotTrack: true, types: [Ingress, Egress]}", (True, False, (IN, OUT))),
    ("{applyOnForward: true, preDNAT: true}", (False, True, (IN,))),
    ("{applyOnForward: true, preDNAT: true, types: [Ingress], egress: []}", (False, True, (IN,))),
    ("{applyOnForward: true, preDNAT: false, doNotTrack: false, types: [Egress]}", (False, False, (OUT,))),
]


@pytest.mark.parametrize(("spec", "expected"), CLASSES)
def test_untracked_and_pre_dnat_policies_apply_on_forward(
    spec: str, expected: tuple[bool, bool, tuple[Direction, ...]]
) -> None:
    """And preDNAT ones are of ingress alone."""
    (found,) = resources(policy(spec)).policies

    assert (found.do_not_track, found.pre_dnat, found.types) == expected
    assert found.apply_on_forward


STAGED = [
    ("{}", StagedAction.SET, (IN,)),
    ("{stagedAction: ''}", StagedAction.SET, (IN,)),
    ("{stagedAction: Set, egress: [{action: Log}]}", StagedAction.SET, (OUT,)),
    ("{stagedAction: Learn, applyOnForward: true, preDNAT: true}", StagedAction.LEARN, (IN,)),
    ("{stagedAction: Ignore, types: [Egress, Ingress]}", StagedAction.IGNORE, (OUT, IN)),
    ("{stagedAction: Delete}", StagedAction.DELETE, ()),
    ("{stagedAction: Delete, selector: '', types: [], order: null, preDNAT: false}", StagedAction.DELETE, ()),
]


@pytest.mark.parametrize(("spec", "action", "types"), STAGED)
def test_a_staged_policy_is_a_policy_and_what_is_proposed(
    spec: str, action: StagedAction, types: tuple[Direction, ...]
) -> None:
    """A proposal to delete has no rules, so it exists in no direction."""
    found = resources(manifest("StagedGlobalNetworkPolicy", spec))

    (staged,) = found.staged_policies
    assert (staged.staged_action, staged.policy.types) == (action, types)
    assert (staged.metadata, staged.policy.metadata.position) == (staged.policy.metadata, _at(1, 1))
    assert found.policies == ()


def test_a_staged_policy_has_every_field_of_a_policy() -> None:
    """The two decode alike."""
    spec = "{tier: t, order: 1, selector: has(a), ingress: [{action: Deny}], egress: [{action: Log}], types: [Egress]}"

    (staged,) = resources(manifest("StagedGlobalNetworkPolicy", spec)).staged_policies
    (enforced,) = resources(manifest("GlobalNetworkPolicy", spec)).policies

    assert staged.policy == enforced


ORDERS = [("0", 0.0), ("-10", -10.0), ("1e3", 1000.0), ("1.25", 1.25), (".5", 0.5), ("+7", 7.0), ("null", None)]


@pytest.mark.parametrize(("order", "expected"), ORDERS)
def test_an_order_is_any_finite_number(order: str, expected: float | None) -> None:
    """Negative and fractional ones too."""
    assert resources(policy(f"{{order: {order}}}")).policies[0].order == expected


PROTOCOLS = [("TCP", TCP), ("6", Protocol(6)), ('"6"', Protocol(6)), ("UDP", UDP), ("255", Protocol(255))]


@pytest.mark.parametrize(("text", "expected"), PROTOCOLS)
def test_a_protocol_is_a_name_or_a_number(text: str, expected: Protocol) -> None:
    """With or without quotes; a number has no family of its own."""
    assert resources(rule(f"action: Allow, protocol: {text}")).policies[0].ingress[0].protocol == expected


def test_an_empty_icmp_match_restricts_nothing() -> None:
    """As in Calico; a warning says so."""
    result = decoded(rule("action: Allow, protocol: ICMP, icmp: {}, notICMP: {}"))
    (found,) = result.resources.policies[0].ingress

    assert [problem.severity for problem in result.problems] == [Severity.WARNING] * 2
    assert (found.icmp, found.not_icmp) == (None, None)


def test_an_empty_side_restricts_nothing() -> None:
    """Empty lists, empty selectors and null."""
    sides = "source: {nets: [], selector: '', notSelector: '', ports: []}, destination: null"

    (found,) = resources(rule(f"action: Allow, {sides}")).policies[0].ingress

    assert (found.source, found.destination) == (EntityRule(), EntityRule())


NAMESPACES = [
    ("namespaceSelector: global()", "!has(projectcalico.org/namespace)", 62),
    ("namespaceSelector: '  global() '", "!has(projectcalico.org/namespace)", 62),
    ("selector: '  ', namespaceSelector: global()", "!has(projectcalico.org/namespace)", 78),
    ("selector: a == 'b' || has(c), namespaceSelector: global()",
     "(a == 'b' || has(c)) && !has(projectcalico.org/namespace)", 53),
    ("selector: has(c), namespaceSelector: ''", "has(c)", 53),
    ("namespaceSelector: all()", "has(projectcalico.org/namespace)", 62),
    ("namespaceSelector: projectcalico.org/name == 'a'", 'pcns.projectcalico.org/name == "a"', 62),
    ("selector: has(c), namespaceSelector: \"has(x) || !(y in {'1'} && z contains '2')\"",
     '(has(c)) && (has(pcns.x) || !(pcns.y in {"1"} && pcns.z contains "2"))', 53),
    ("namespaceSelector: '!all()'", "!has(projectcalico.org/namespace)", 62),
    ("namespaceSelector: \"a not in {'b'} && c != 'd'\"",
     '(pcns.a not in {"b"} && pcns.c != "d")', 62),
]  # fmt: skip


@pytest.mark.parametrize(("side", "selector", "column"), NAMESPACES)
def test_a_namespace_selector_limits_to_what_is_in_those_namespaces(side: str, selector: str, column: int) -> None:
    """By the labels of the namespaces; global() to what is in none, and never to any address."""
    (found,) = resources(rule(f"action: Allow, source: {{{side}}}")).policies[0].ingress

    assert found.source.selector is not None
    assert (found.source.selector.text, found.source.selector.position) == (selector, _at(4, column))


def test_a_host_endpoint_decodes_with_every_field_and_position() -> None:
    """Ports of one name, addresses of both families, numbers for protocols."""
    text = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: web1.eth0, labels: {role: web}}
spec:
  node: web1.example.org
  interfaceName: eth0.100
  expectedIPs: [192.0.2.1, "2001:db8::1"]
  profiles: [knp.default.fun, projectcalico-default-allow]
  ports:
    - {name: http, protocol: TCP, port: 80}
    - {name: http, protocol: "17", port: 8080}
"""
    (found,) = resources(text).endpoints

    assert found == HostEndpoint(
        metadata=Metadata("web1.eth0", labels=(("role", "web"),), position=_at(1, 1)),
        node="web1.example.org",
        interface_name="eth0.100",
        expected_ips=nets("192.0.2.1", "2001:db8::1"),
        profiles=("knp.default.fun", "projectcalico-default-allow"),
        ports=(EndpointPort("http", TCP, 80), EndpointPort("http", Protocol(17), 8080)),
        profile_positions=(_at(8, 14), _at(8, 31)),
    )


def test_a_host_endpoint_may_name_an_interface_group_instead() -> None:
    """The extension; an empty interfaceName is none."""
    (found,) = resources(manifest("HostEndpoint", "{node: a, interfaceName: '', interfaceGroup: uplinks}")).endpoints

    assert (found.interface_name, found.interface_group) == (None, "uplinks")
    assert found.interface_group_position == _at(4, 52)


@pytest.mark.parametrize("node", ["", "node: null, ", "node: '*', "])
def test_a_host_endpoint_without_a_node_is_of_every_host(node: str) -> None:
    """The extension: left out, null or `*`."""
    (found,) = resources(manifest("HostEndpoint", f"{{{node}interfaceName: eth0}}")).endpoints

    assert (found.node, found.is_of("web1"), found.is_of("db1")) == ("*", True, True)


def test_a_network_set_masks_what_it_is_given() -> None:
    """Bare addresses, bits beyond the length, both families, overlaps."""
    text = manifest("GlobalNetworkSet", '{nets: [192.0.2.1, 10.1.2.3/8, "fd00::1/64", 10.1.0.0/16]}')

    (found,) = resources(text).network_sets

    assert found.nets == nets("192.0.2.1", "10.0.0.0/8", "fd00::/64", "10.1.0.0/16")


@pytest.mark.parametrize("text", [manifest("GlobalNetworkSet"), manifest("GlobalNetworkSet").replace("spec: {}", "")])
def test_a_network_set_may_be_empty(text: str) -> None:
    """With or without a spec."""
    assert resources(text).network_sets == (GlobalNetworkSet(Metadata("case", position=_at(1, 1))),)


@pytest.mark.parametrize(
    ("head", "namespace"), [("namespace: shop", "shop"), ("namespace: ''", "default"), ("labels: {}", "default")]
)
def test_a_network_set_belongs_to_a_namespace(head: str, namespace: str) -> None:
    """To `default` if it names none."""
    (found,) = resources(manifest("NetworkSet", "{nets: [192.0.2.1, 10.1.2.3/8]}", metadata=head)).namespaced_sets

    assert found == NetworkSet(
        Metadata("case", position=_at(1, 1), namespace=namespace), nets("192.0.2.1", "10.0.0.0/8")
    )
    assert found.metadata.full_name == f"{namespace}/case"


KUBECTL = """\
apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: v1
  kind: Namespace
  metadata:
    creationTimestamp: "2026-01-01T00:00:00Z"
    labels: {kubernetes.io/metadata.name: shop, env: prod}
    name: shop
    uid: 5f0c
  spec: {finalizers: [kubernetes]}
  status: {phase: Active}
- apiVersion: projectcalico.org/v3
  kind: NetworkSet
  metadata: {name: office, namespace: shop}
  spec: {nets: [192.0.2.0/24]}
"""


def test_what_kubectl_writes_of_several_kinds_decodes() -> None:
    """Each item says what it is; of a Namespace the labels count."""
    found = resources(KUBECTL)

    labels = (("env", "prod"), ("kubernetes.io/metadata.name", "shop"))
    assert found.namespaces == (Namespace(Metadata("shop", labels, position=_at(5, 3))),)
    assert [one.metadata.full_name for one in found.namespaced_sets] == ["shop/office"]


def test_a_tier_decodes() -> None:
    """By default last, and denying."""
    first, last = resources(manifest("Tier", name="last"), manifest("Tier", "{order: 5, defaultAction: Pass}")).tiers

    assert (first.order, first.default_action) == (5.0, Action.PASS)
    assert last == Tier(Metadata("last", position=Position("1.yaml", 1, 1)), order=None, default_action=Action.DENY)


def test_a_profile_decodes() -> None:
    """Labels to apply, and rules of both directions."""
    (found,) = resources(
        manifest("Profile", "{labelsToApply: {b: '1', a: ''}, ingress: [{action: Pass}], egress: [{action: Log}]}")
    ).profiles

    assert found == Profile(
        Metadata("case", position=_at(1, 1)),
        labels_to_apply=(("a", ""), ("b", "1")),
        ingress=(Rule(Action.PASS, position=_at(4, 50)),),
        egress=(Rule(Action.LOG, position=_at(4, 76)),),
    )


def test_an_interface_group_decodes() -> None:
    """Every condition; link groups by number and by name."""
    text = manifest(
        "InterfaceGroup",
        '\n  match:\n    - {name: "eth*", kind: bond, linkGroup: dmz, master: br0}\n'
        '    - {linkGroup: 7, addressIn: [10.0.0.0/8, "fd00::1"], defaultRoute: yes}\n  except:\n    - name: lo',
        version=HOSTFW,
    )

    (found,) = resources(text).interface_groups

    assert found == InterfaceGroup(
        Metadata("case", position=_at(1, 1)),
        match=(
            InterfaceMatch(name="eth*", kind="bond", link_group="dmz", master="br0", position=_at(6, 7)),
            InterfaceMatch(
                link_group=7, address_in=(net("10.0.0.0/8"), net("fd00::1")), default_route=True, position=_at(7, 7)
            ),
        ),
        except_=(InterfaceMatch(name="lo", position=_at(9, 7)),),
    )


@pytest.mark.parametrize("entry", ["{}", "{defaultRoute: null}", "{name: null, kind: null}", "{addressIn: []}"])
@pytest.mark.parametrize("where", ["match", "except"])
def test_an_entry_without_a_condition_is_refused(entry: str, where: str) -> None:
    """It would hold for every interface; a field that says nothing is as good as none."""
    other = "" if where == "match" else "\n  match:\n    - name: lo"
    text = manifest("InterfaceGroup", f"{other}\n  {where}:\n    - {entry}", version=HOSTFW)

    (problem,) = decoded(text).problems

    assert problem.message == "this entry has no condition, so it would hold for every interface"


def test_an_entry_with_a_mistake_is_not_called_empty_as_well() -> None:
    """One thing is wrong with it."""
    text = manifest("InterfaceGroup", "\n  match:\n    - {colour: red}", version=HOSTFW)

    (problem,) = decoded(text).problems

    assert problem.message.startswith('unknown field "colour"')


def test_a_list_is_its_items() -> None:
    """Each with its own position; items may leave out what the list says."""
    text = """\
apiVersion: projectcalico.org/v3
kind: TierList
metadata: {resourceVersion: "5"}
items:
  - apiVersion: projectcalico.org/v3
    kind: Tier
    metadata: {name: a}
  - metadata: {name: b}
"""
    assert [(tier.metadata.name, tier.metadata.position) for tier in resources(text).tiers] == [
        ("a", _at(5, 5)),
        ("b", _at(8, 5)),
    ]


def test_an_empty_list_is_no_resource() -> None:
    """As `calicoctl get -o yaml` prints it where there is none."""
    assert resources(f"apiVersion: {HOSTFW}\nkind: InterfaceGroupList\nitems: []") == Resources()


def test_resources_are_sorted_by_name_whatever_the_files() -> None:
    """Two of one name by place, so that the second is called the duplicate."""
    one = "---\n".join((manifest("Tier", name="c"), manifest("Profile", name="z"), manifest("Tier", name="a")))

    found = resources(one, manifest("Tier", name="b"), manifest("Tier", name="a"))

    assert [(tier.metadata.name, tier.metadata.position.path) for tier in found.tiers] == [
        ("a", "1.yaml"),
        ("a", "3.yaml"),
        ("b", "2.yaml"),
        ("c", "1.yaml"),
    ]
    assert [profile.metadata.name for profile in found.profiles] == ["z"]


def test_no_files_are_default_settings_and_no_resources() -> None:
    """The state of a new installation."""
    assert decode(Configuration()) == Decoded(Settings(), Resources(), ())


def test_aliases_repeat_values() -> None:
    """An anchor may stand in one field and be used in another."""
    (found,) = resources(
        policy("{ingress: [{action: Allow, source: &office {nets: [10.0.0.0/8]}, destination: *office}]}")
    ).policies

    assert found.ingress[0].source == found.ingress[0].destination == EntityRule(nets=nets("10.0.0.0/8"))


def test_what_is_wrong_with_the_settings_and_every_file_is_said_at_once() -> None:
    """In the order of paths and lines, and the good resources are there all the same."""
    result = decoded(policy("{order: x}", "b"), manifest("Tier", name="A"), policy(name="good"), settings="x: 1")

    assert [problem.position for problem in result.problems] == [
        Position("1.yaml", 4, 15),
        Position("2.yaml", 3, 18),
        Position("hostfw.yaml", 1, 1),
    ]
    assert [found.metadata.name for found in result.resources.policies] == ["b", "good"]
    assert result.resources.tiers == ()


def test_a_selector_that_was_good_once_is_good_again_at_its_own_place() -> None:
    """Texts are parsed once, positions are not shared."""
    found = resources(policy("{selector: has(a)}", "a"), policy("{selector: has(a)}", "b"))

    assert [p.selector.position for p in found.policies] == [Position("1.yaml", 4, 18), Position("2.yaml", 4, 18)]


def test_a_tier_that_is_not_given_has_no_position() -> None:
    """An empty one counts as not given."""
    (found,) = resources(policy("{tier: ''}")).policies

    assert (found.tier, found.tier_position) == ("default", NOWHERE)


def test_names_may_be_as_long_as_calicos() -> None:
    """A GlobalNetworkPolicy of 253 characters, a tier of 63."""
    assert mistakes(policy(name="x" * 253), manifest("Tier", name="y" * 63)) == []


def _at(line: int, column: int) -> Position:
    return Position("1.yaml", line, column)
