"""GlobalNetworkPolicy, staged or not, Profile and Tier."""

from collections.abc import Mapping
from dataclasses import replace

from hostfw.manifest.fields import (
    Blank,
    Reader,
    Refusal,
    Shape,
    boolean,
    choice,
    fields,
    given,
    is_blank,
    items,
    number,
)
from hostfw.manifest.kinds.metadata import formed_name, labels
from hostfw.manifest.kinds.refused import POLICY_FIELDS
from hostfw.manifest.kinds.rule import decode_rules, limited_selector, of_namespace
from hostfw.manifest.kinds.source_limit import FIELD
from hostfw.manifest.scalars.name_forms import TIER_NAME
from hostfw.manifest.scalars.scalars import each
from hostfw.manifest.yaml.nodes import Node, Scalar
from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.positions import NOWHERE
from hostfw.model.problems import Problem
from hostfw.model.resources import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    Rule,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.model.values import Action, Direction, StagedAction

POLICY_SHAPE = Shape(
    "the spec of a GlobalNetworkPolicy",
    frozenset(
        (
            "tier",
            "order",
            "selector",
            "namespaceSelector",
            "types",
            "ingress",
            "egress",
            "applyOnForward",
            "doNotTrack",
            "preDNAT",
            "performanceHints",
        )
    ),
    POLICY_FIELDS,
)
STAGED_POLICY_SHAPE = Shape(
    "the spec of a StagedGlobalNetworkPolicy",
    POLICY_SHAPE.known | {"stagedAction"},
    {name: refusal for name, refusal in POLICY_FIELDS.items() if name != "stagedAction"},
)
_OF_NO_NAMESPACE = "a policy of a namespace selects its workloads alone"
NAMESPACED_POLICY_SHAPE = Shape(
    "the spec of a NetworkPolicy",
    frozenset(("tier", "order", "selector", "types", "ingress", "egress", "performanceHints")),
    {
        **POLICY_FIELDS,
        "stagedAction": Refusal("it belongs to staged policies", "write kind: StagedNetworkPolicy", Blank.TEXT),
        **dict.fromkeys(
            ("applyOnForward", "doNotTrack", "preDNAT"),
            Refusal(
                f"{_OF_NO_NAMESPACE}, whose every packet it meets after connection tracking", "leave it out", Blank.FLAG
            ),
        ),
        "namespaceSelector": Refusal(
            _OF_NO_NAMESPACE, "write a GlobalNetworkPolicy for those of other namespaces", Blank.TEXT
        ),
    },
)
STAGED_NAMESPACED_POLICY_SHAPE = Shape(
    "the spec of a StagedNetworkPolicy",
    NAMESPACED_POLICY_SHAPE.known | {"stagedAction"},
    {name: refusal for name, refusal in NAMESPACED_POLICY_SHAPE.refused.items() if name != "stagedAction"},
)
PROFILE_SHAPE = Shape("the spec of a Profile", frozenset(("ingress", "egress", "labelsToApply")))
TIER_SHAPE = Shape("the spec of a Tier", frozenset(("order", "defaultAction")))

TYPES = {"Ingress": Direction.INGRESS, "Egress": Direction.EGRESS}
DEFAULT_ACTIONS = {"Deny": Action.DENY, "Pass": Action.PASS}
HINTS = {"AssumeNeededOnEveryNode": True}
STAGED_ACTIONS = {action.value: action for action in StagedAction}


def decode_policy(reader: Reader, metadata: Metadata, spec: Node) -> GlobalNetworkPolicy:
    """A GlobalNetworkPolicy, its `types` filled in where they are not given."""
    return _policy(reader, metadata, fields(reader, spec, POLICY_SHAPE))


def decode_staged_policy(reader: Reader, metadata: Metadata, spec: Node) -> StagedGlobalNetworkPolicy:
    """A StagedGlobalNetworkPolicy; one that proposes to delete has a tier and nothing else, not even `types`."""
    return StagedGlobalNetworkPolicy(*_staged(reader, metadata, fields(reader, spec, STAGED_POLICY_SHAPE)))


def _staged(reader: Reader, metadata: Metadata, found: Mapping[str, Node]) -> tuple[GlobalNetworkPolicy, StagedAction]:
    policy = _policy(reader, metadata, found)
    action = choice(reader, given(found, "stagedAction"), "stagedAction", STAGED_ACTIONS) or StagedAction.SET
    if action is StagedAction.DELETE:
        policy = replace(policy, types=())
        for name, node in found.items():
            if name not in ("stagedAction", "tier") and not is_blank(node):
                message = f"{name} is given together with stagedAction: Delete"
                reader.report(node, message, "tier and nothing else", "leave it out, as Delete proposes no rules")
    return policy, action


def decode_network_policy(reader: Reader, metadata: Metadata, spec: Node) -> NetworkPolicy:
    """A NetworkPolicy, which selects workloads of its namespace alone."""
    return NetworkPolicy(_policy(reader, metadata, fields(reader, spec, NAMESPACED_POLICY_SHAPE)))


def decode_staged_network_policy(reader: Reader, metadata: Metadata, spec: Node) -> StagedNetworkPolicy:
    """A StagedNetworkPolicy."""
    return StagedNetworkPolicy(*_staged(reader, metadata, fields(reader, spec, STAGED_NAMESPACED_POLICY_SHAPE)))


def _policy(reader: Reader, metadata: Metadata, found: Mapping[str, Node]) -> GlobalNetworkPolicy:
    get, namespace = found.get, metadata.namespace
    tier = given(found, "tier")
    ingress = decode_rules(reader, get("ingress"), "ingress", namespace)
    egress = decode_rules(reader, get("egress"), "egress", namespace)
    selected = limited_selector(reader, found) or SelectorText("")
    policy = GlobalNetworkPolicy(
        metadata,
        formed_name(reader, tier, "tier", TIER_NAME) or "default",
        number(reader, get("order"), "order"),
        of_namespace(selected, namespace) if namespace else selected,
        _types(reader, get("types"), ingress, egress),
        ingress,
        egress,
        boolean(reader, get("applyOnForward"), "applyOnForward") or False,
        NOWHERE if tier is None else reader.at(tier),
        boolean(reader, get("doNotTrack"), "doNotTrack") or False,
        boolean(reader, get("preDNAT"), "preDNAT") or False,
    )
    _check_class(reader, policy, found)
    _check_hints(reader, get("performanceHints"))
    return policy


def decode_profile(reader: Reader, metadata: Metadata, spec: Node) -> Profile:
    """A Profile."""
    found = fields(reader, spec, PROFILE_SHAPE)
    return Profile(
        metadata,
        labels(reader, found.get("labelsToApply"), "labelsToApply"),
        decode_rules(reader, found.get("ingress"), "ingress"),
        decode_rules(reader, found.get("egress"), "egress"),
    )


def decode_tier(reader: Reader, metadata: Metadata, spec: Node) -> Tier:
    """A Tier."""
    found = fields(reader, spec, TIER_SHAPE)
    action = choice(reader, found.get("defaultAction"), "defaultAction", DEFAULT_ACTIONS)
    return Tier(metadata, number(reader, found.get("order"), "order"), action or Action.DENY)


def _types(
    reader: Reader, node: Node | None, ingress: tuple[Rule, ...], egress: tuple[Rule, ...]
) -> tuple[Direction, ...]:
    """The directions of a policy: as given, or those that it has rules for, or Ingress if it has none."""
    given: list[Direction] = []
    for item in items(reader, node, "types"):
        direction = choice(reader, item, "an item of types", TYPES)
        if direction in given:
            reader.report(item, f"types has {direction.value.title()} twice", "each direction once")
        elif direction is not None:
            given.append(direction)
    if given:
        return tuple(given)
    if egress:
        return (Direction.INGRESS, Direction.EGRESS) if ingress else (Direction.EGRESS,)
    return (Direction.INGRESS,)


def _check_class(reader: Reader, policy: GlobalNetworkPolicy, found: Mapping[str, Node]) -> None:
    """Check the conditions of doNotTrack, preDNAT and namespaceSelector, as Calico does."""
    namespaces = given(found, "namespaceSelector")
    if namespaces is not None and _is_global(namespaces):
        message = "namespaceSelector of a policy is global(), which stands for no namespace"
        hint = "leave it out; a label that only HostEndpoints have, in selector, leaves workloads out"
        reader.report(namespaces, message, "a selector of namespaces", hint)
    if policy.do_not_track and policy.pre_dnat:
        reader.report(found["preDNAT"], "preDNAT: true is given together with doNotTrack: true", "one of the two")
    for rule in policy.ingress if policy.do_not_track else ():
        if rule.limit is not None:
            message = f"{FIELD} in a policy with doNotTrack, which knows no connections"
            hint = "write the rule into a policy without doNotTrack"
            reader.problems.append(Problem(rule.position, message, f"a rule without {FIELD}", hint))
    for name, is_set in (("doNotTrack", policy.do_not_track), ("preDNAT", policy.pre_dnat)):
        if is_set and not policy.apply_on_forward:
            hint = "it is met before a packet is routed, so by forwarded traffic as well"
            reader.report(found[name], f"{name}: true is given without applyOnForward", "applyOnForward: true", hint)
        if is_set and namespaces is not None and not _is_global(namespaces):
            message = f"namespaceSelector is given together with {name}: true, which no workload meets"
            reader.report(namespaces, message, "no namespaceSelector", "leave it out")
    if not policy.pre_dnat:
        return
    if policy.egress:
        hint = "write them into a policy without preDNAT"
        reader.report(
            found["egress"], "egress rules are given together with preDNAT: true", "ingress rules alone", hint
        )
    elif Direction.EGRESS in policy.types:
        reader.report(found["types"], "types has Egress together with preDNAT: true", "Ingress alone")


def _is_global(node: Node) -> bool:
    return isinstance(node, Scalar) and node.text.replace(" ", "") == "global()"


def _check_hints(reader: Reader, node: Node | None) -> None:
    hints = each(reader, items(reader, node, "performanceHints"), "performanceHints", _hint)
    if node is not None and len(hints) > 1:
        reader.report(node, "performanceHints has a hint twice", "each hint once")


def _hint(reader: Reader, node: Node, what: str) -> bool | None:
    return choice(reader, node, f"an item of {what}", HINTS)
