"""Random resources that are valid, in every field and form that a manifest can have."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from hypothesis import strategies as st

from hostfw.manifest.kinds.feed import LARGEST_SIZE
from hostfw.manifest.kinds.rule import of_namespace
from hostfw.manifest.kubernetes.cluster_conversion import cluster_policy
from hostfw.manifest.kubernetes.conversion import kubernetes_policy
from hostfw.model.kinds.feed_sources import Download, External
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.kubernetes import (
    ClusterPeer,
    ClusterPolicy,
    ClusterPort,
    ClusterRule,
    ClusterTier,
    IPBlock,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    NamespacedPods,
    PeerRule,
    PodPolicy,
    PolicyPeer,
    PolicyPort,
)
from hostfw.model.kinds.metadata import Labels, Metadata, SelectorText
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftHook, NftRule, NftRules
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.source_limit import MOST_CONNECTIONS, Rate, SourceLimit, Unit
from hostfw.model.kinds.workloads import EndpointPort, WorkloadEndpoint
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.resources import (
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    NetworkPolicy,
    Profile,
    Resource,
    Rule,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.model.values import (
    FAMILIES,
    ICMP,
    ICMPV6,
    NAMED_PROTOCOLS,
    SCTP,
    TCP,
    UDP,
    Action,
    Cidr,
    Direction,
    Family,
    Icmp,
    Learned,
    Mac,
    PortRange,
    Protocol,
    StagedAction,
    host_cidr,
    mask_of,
)

Part = TypeVar("Part")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,6}[A-Za-z0-9])?")

names = st.from_regex(_NAME, fullmatch=True)
words = st.from_regex(_WORD, fullmatch=True) | st.sampled_from(
    ("true", "No", "on", "null", "1", "007", "0x1F", "1e3", "1.5", "0o17", "12e34", "2024-01-01", "y")
)
"""Words of a label's form, above all those that YAML would take for something else without quotes."""

texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20) | st.sampled_from(
    ("", "~", "- a", "a: b", "# a", "'", '"', " a ", "a\nb", "%", "*a", "&a", "!a", "{a", "]")
)


@st.composite
def cidrs(draw: st.DrawFn, family: Family | None = None, least: int = 0) -> Cidr:
    """A prefix with its host bits zero, none of those that stand for IPv4 within IPv6."""
    family = family or draw(st.sampled_from(Family))
    length = draw(st.integers(least, family.bits))
    address = draw(st.integers(0, 2**family.bits - 1)) & mask_of(family, length)
    if family is Family.V6 and address >> 32 == 0xFFFF:
        address = 0
    return Cidr(family, address, length)


addresses = cidrs().map(lambda cidr: host_cidr(cidr.family, cidr.address))


def few(elements: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    """A short tuple."""
    return st.lists(elements, min_size=least, max_size=3).map(tuple)


ways = st.sets(st.sampled_from(Learned)).map(lambda found: tuple(sorted(found)))
"""Values of a `learned` field."""


def label_maps(values: st.SearchStrategy[str]) -> st.SearchStrategy[Labels]:
    """Sorted pairs of keys and values."""
    keys = words | st.builds("{}/{}".format, names, words)
    return st.dictionaries(keys, values, max_size=3).map(lambda pairs: tuple(sorted(pairs.items())))


metadatas = st.builds(Metadata, names, label_maps(words | st.just("")), label_maps(texts))

namespaced = st.builds(replace, metadatas, namespace=st.sampled_from(("default", "shop")))
"""Metadata of what belongs to a namespace."""

_operations = (
    st.builds("{} == '{}'".format, words, words)
    | st.builds("has({})".format, words)
    | st.builds("{} not in {{\"{}\", ''}}".format, words, words)
    | st.builds("{} starts with '{}'".format, words, words)
    | st.just("all()")
)


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.builds("({} && {})".format, inner, inner) | st.builds("{} || {}".format, inner, inner)
    return inner | joined | st.builds("!({})".format, inner)


selectors = _combined(_combined(_operations)).map(SelectorText)

port_ranges = st.builds(lambda a, b: PortRange(min(a, b), max(a, b)), st.integers(1, 65535), st.integers(1, 65535))
port_names = st.from_regex(re.compile(r"([0-9]{1,3}-)?[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,3})?"), fullmatch=True)


def _of_both(of_one: Callable[[Family], st.SearchStrategy[Cidr]]) -> st.SearchStrategy[tuple[Cidr, ...]]:
    return st.just(()) | st.tuples(of_one(Family.V6), of_one(Family.V4))


@st.composite
def entities(draw: st.DrawFn, family: Family, *, numbers: bool, port_name: bool, both: bool) -> EntityRule:
    """One side of a rule; `numbers` says whether its protocol has ports, `port_name` whether it may have any.

    With `both` its lists of prefixes have both families, or nothing.
    """
    ports: st.SearchStrategy[PortRange | str] = port_names
    if numbers:
        ports = port_names | port_ranges
    return EntityRule(
        nets=draw(_of_both(cidrs) if both else few(cidrs(family))),
        not_nets=draw(_of_both(lambda one: cidrs(one, least=1)) if both else few(cidrs(family, least=1))),
        selector=draw(st.none() | selectors),
        not_selector=draw(st.none() | selectors),
        ports=draw(few(ports)) if port_name else (),
        not_ports=draw(few(ports)) if port_name else (),
    )


protocols = st.sampled_from(tuple(NAMED_PROTOCOLS.values())) | st.integers(1, 255).map(Protocol)

_FAMILY_OF = {ICMP.number: Family.V4, ICMPV6.number: Family.V6}

"""The IP version of a protocol; one that is given by its number alone has no name to tell it by."""


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """A rule whose fields agree."""
    protocol = draw(st.none() | protocols)
    not_protocol = draw(st.none() | protocols)
    others = draw(st.lists(protocols, max_size=3)) if protocol is not None and draw(st.booleans()) else []
    unlike = {p.number: p for p in others if protocol is not None and p.number != protocol.number}
    if protocol is not None and protocol.has_ports:
        unlike = {number: p for number, p in unlike.items() if p.has_ports}
    asked = [p for p in (protocol, *unlike.values(), not_protocol) if p is not None]
    families = {family for p in asked if (family := p.family or _FAMILY_OF.get(p.number)) is not None}
    family = draw(st.sampled_from(Family)) if len(families) != 1 else families.pop()
    version = None if len(families) > 1 else draw(st.none() | st.just(family))
    numbers = protocol is not None and protocol.has_ports
    named = protocol is None or protocol.has_ports
    icmps = st.builds(Icmp, st.integers(0, 254), st.none() | st.integers(0, 255))
    is_icmp = not unlike and protocol is not None and protocol.number in (ICMP.number, ICMPV6.number)
    both = version is None and draw(st.booleans())
    sides = st.just(EntityRule()) | entities(family, numbers=numbers, port_name=named, both=both)
    action = draw(st.sampled_from(Action))
    return Rule(
        action=action,
        ip_version=version,
        protocol=protocol,
        not_protocol=not_protocol,
        icmp=draw(st.none() | icmps) if is_icmp else None,
        not_icmp=draw(st.none() | icmps),
        source=draw(sides),
        destination=draw(sides),
        annotations=draw(label_maps(texts)),
        other_protocols=tuple(unlike.values()),
    )


limits = st.none() | st.builds(SourceLimit, st.builds(Rate, st.integers(1, MOST_CONNECTIONS), st.sampled_from(Unit)))


def _limited(rule: Rule, limit: SourceLimit | None) -> Rule:
    return replace(rule, limit=limit) if rule.action is Action.ALLOW else rule


orders = st.none() | st.integers(-(2**40), 2**40).map(float) | st.floats(allow_nan=False, allow_infinity=False)


def _in_a_class(policy: GlobalNetworkPolicy, policy_class: PolicyClass) -> GlobalNetworkPolicy:
    match policy_class:
        case PolicyClass.UNTRACKED:
            without = tuple(replace(rule, limit=None) for rule in policy.ingress)
            return replace(policy, ingress=without, apply_on_forward=True, do_not_track=True)
        case PolicyClass.PRE_DNAT:
            into = (Direction.INGRESS,)
            return replace(policy, types=into, egress=(), apply_on_forward=True, pre_dnat=True)
        case PolicyClass.FORWARD:
            return replace(policy, apply_on_forward=True)
        case PolicyClass.NORMAL:
            return policy


_normal_policies = st.builds(
    GlobalNetworkPolicy,
    metadata=metadatas,
    tier=names,
    order=orders,
    selector=selectors | st.just(SelectorText("")),
    types=st.permutations(tuple(Direction)).flatmap(lambda d: st.sampled_from((tuple(d), tuple(d[:1])))),
    ingress=few(st.builds(_limited, rules(), limits)),
    egress=few(rules()),
)
policies = st.builds(_in_a_class, _normal_policies, st.sampled_from(PolicyClass))
_rules_staged = st.sampled_from((StagedAction.SET, StagedAction.LEARN, StagedAction.IGNORE))
_deleting = st.builds(GlobalNetworkPolicy, metadata=metadatas, tier=names, types=st.just(()))
staged_policies = st.builds(StagedGlobalNetworkPolicy, policies, _rules_staged) | st.builds(
    StagedGlobalNetworkPolicy, _deleting, st.just(StagedAction.DELETE)
)


def _of_a_namespace(policy: GlobalNetworkPolicy, namespace: str) -> GlobalNetworkPolicy:
    """A policy as one of a namespace is decoded: its selectors look there."""

    def side(entity: EntityRule) -> EntityRule:
        asks = any(one is not None and one.text.strip() for one in (entity.selector, entity.not_selector))
        return replace(entity, selector=of_namespace(entity.selector, namespace)) if asks else entity

    into, out = (
        tuple(replace(rule, source=side(rule.source), destination=side(rule.destination)) for rule in of_direction)
        for of_direction in (policy.ingress, policy.egress)
    )
    metadata = replace(policy.metadata, namespace=namespace)
    selector = of_namespace(policy.selector, namespace)
    return replace(policy, metadata=metadata, selector=selector, ingress=into, egress=out)


namespaces = st.sampled_from(("default", "shop"))
network_policies = st.builds(_of_a_namespace, _normal_policies, namespaces)

endpoint_port_names = st.from_regex(re.compile(r"[a-z]([a-z0-9]{0,6})"), fullmatch=True)
_requirements = st.builds(
    LabelRequirement, words, st.sampled_from((LabelOperator.IN, LabelOperator.NOT_IN)), few(words, least=1)
) | st.builds(LabelRequirement, words, st.sampled_from((LabelOperator.EXISTS, LabelOperator.DOES_NOT_EXIST)))
label_selectors = st.builds(LabelSelector, label_maps(words), few(_requirements))


@st.composite
def ip_blocks(draw: st.DrawFn) -> IPBlock:
    """A prefix without some of its parts."""
    family = draw(st.sampled_from(Family))
    whole = draw(cidrs(family))
    if whole.length > family.bits - 1:
        return IPBlock(whole)
    halves = (Cidr(family, whole.address | bit << (family.bits - whole.length - 1), whole.length + 1) for bit in (0, 1))
    parts = [half for half in halves if family is Family.V4 or half.address >> 32 != 0xFFFF]
    return IPBlock(whole, tuple(draw(st.lists(st.sampled_from(parts), max_size=1))))


_pods = st.none() | label_selectors
policy_peers = st.builds(PolicyPeer, ip_block=ip_blocks()) | st.builds(PolicyPeer, _pods, _pods).filter(
    lambda peer: peer != PolicyPeer()
)
policy_ports = st.builds(PolicyPort, st.sampled_from((TCP, UDP, SCTP)), st.none() | port_ranges | endpoint_port_names)
peer_rules = st.builds(PeerRule, few(policy_peers), few(policy_ports))
pod_policies = st.builds(
    PodPolicy,
    label_selectors,
    st.sampled_from(((Direction.INGRESS,), (Direction.EGRESS,), (Direction.EGRESS, Direction.INGRESS))),
    few(peer_rules),
    few(peer_rules),
)
cluster_pods = st.builds(NamespacedPods, label_selectors) | st.builds(
    NamespacedPods, label_selectors, label_selectors, st.just(True)
)
cluster_ports = st.builds(ClusterPort, st.sampled_from((TCP, UDP, SCTP)), port_ranges) | st.builds(
    ClusterPort, st.none(), endpoint_port_names
)
cluster_actions = st.sampled_from((Action.ALLOW, Action.DENY, Action.PASS))
incoming_rules = st.builds(
    ClusterRule, cluster_actions, few(st.builds(ClusterPeer, cluster_pods), least=1), few(cluster_ports), words
)
outgoing_rules = st.builds(
    ClusterRule,
    cluster_actions,
    few(st.builds(ClusterPeer, cluster_pods) | st.builds(ClusterPeer, networks=few(cidrs(), least=1)), least=1),
    few(st.builds(ClusterPort, st.sampled_from((TCP, UDP, SCTP)), port_ranges)),
)
cluster_policies = st.builds(
    ClusterPolicy,
    st.sampled_from(ClusterTier),
    st.integers(0, 1000),
    cluster_pods,
    few(incoming_rules, least=1),
    few(outgoing_rules),
)
endpoint_ports = st.builds(
    EndpointPort,
    endpoint_port_names,
    st.sampled_from((TCP, UDP, SCTP, Protocol(6), Protocol(17), Protocol(132))),
    st.integers(1, 65535),
)
_governs = st.sampled_from((("eth0", None), ("*", None), (None, "uplinks"), (None, None)))


@st.composite
def endpoints(draw: st.DrawFn) -> HostEndpoint:
    """A HostEndpoint that names its interfaces in one of the three ways."""
    name, group = draw(_governs)
    return HostEndpoint(
        metadata=draw(metadatas),
        node=draw(names),
        interface_name=name,
        interface_group=group,
        expected_ips=draw(few(addresses, least=0 if name or group else 1)),
        profiles=draw(few(names)),
        ports=draw(few(endpoint_ports)),
        learned=draw(ways),
    )


@st.composite
def workloads(draw: st.DrawFn) -> WorkloadEndpoint:
    """A WorkloadEndpoint; one with ports has single addresses alone."""
    ports = draw(few(endpoint_ports))
    return WorkloadEndpoint(
        metadata=draw(namespaced),
        interface_name=draw(words),
        networks=tuple(sorted(set(draw(few(addresses if ports else addresses | cidrs(), least=1))))),
        node=draw(names | st.just("*")),
        orchestrator=draw(words | st.just("")),
        profiles=draw(few(names)),
        ports=ports,
        mac=draw(st.none() | st.integers(0, (1 << 48) - 1).map(Mac).filter(lambda mac: not mac.is_group)),
    )


def _asks_learned(entry: InterfaceMatch) -> bool:
    return bool(entry.address_in) or entry.default_route is not None


def _words_without(characters: str) -> st.SearchStrategy[str]:
    return st.text(st.characters(whitelist_categories=["L", "N"], whitelist_characters=characters), min_size=1)


interface_matches = st.builds(
    InterfaceMatch,
    name=_words_without("*?[].-_@"),
    kind=st.none() | words,
    link_group=st.none() | st.integers(0, 2**32 - 1) | words,
    master=st.none() | words,
    address_in=few(cidrs()),
    default_route=st.none() | st.booleans(),
).flatmap(lambda entry: st.builds(replace, st.just(entry), learned=ways if _asks_learned(entry) else st.just(())))

resources: st.SearchStrategy[Resource] = st.one_of(
    policies,
    staged_policies,
    st.builds(NetworkPolicy, network_policies),
    st.builds(StagedNetworkPolicy, network_policies, _rules_staged),
    st.builds(kubernetes_policy, namespaced, pod_policies),
    st.builds(cluster_policy, metadatas, cluster_policies),
    endpoints(),
    st.builds(GlobalNetworkSet, metadatas, few(cidrs())),
    workloads(),
    st.builds(NetworkSet, namespaced, few(cidrs())),
    st.builds(Namespace, metadatas),
    st.builds(Feed, metadatas, _words_without("/.-_ "), st.integers(0, 100)),
    st.builds(
        Feed,
        metadatas,
        st.just(""),
        st.integers(0, 100),
        download=st.builds(
            Download,
            st.sampled_from(("https://a.example/l", "http://[::1]:8080/?q", "file:///srv/l")),
            sha256=st.sampled_from(("", "0" * 64, "https://a.example/l.sha256")),
            most_bytes=st.integers(1, 65_536).map(lambda kibibytes: kibibytes * 1024),
        ),
    ),
    st.builds(
        Feed,
        metadatas,
        st.just(""),
        st.just(100),
        download=st.builds(
            Download, hostnames=st.lists(st.sampled_from(("a", "b.example")), min_size=1, unique=True).map(tuple)
        ),
    ),
    st.builds(
        Feed,
        metadatas,
        st.just(""),
        external=st.builds(External, st.integers(1, LARGEST_SIZE), st.none() | st.integers(1, 86_400), st.just("a.b")),
    ),
    st.builds(Tier, metadatas, orders, st.sampled_from((Action.DENY, Action.PASS))),
    st.builds(Profile, metadatas, label_maps(words), few(rules()), few(rules())),
    st.builds(InterfaceGroup, metadatas, few(interface_matches, least=1), few(interface_matches)),
    st.builds(
        NftRules,
        metadatas,
        st.sampled_from((NftHook.INPUT, NftHook.OUTPUT)),
        orders,
        st.sampled_from((FAMILIES, (Family.V4,), (Family.V6,))),
        few(st.sampled_from((NftRule("counter"), NftRule("tcp dport { 1-9, 80 } drop", verdicts=("drop",)))), least=1),
    ),
)


def without_positions(value: Part) -> Part:
    """A value with every position in it replaced by NOWHERE, and tuples of positions emptied."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    plain: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, Position):
            plain[field.name] = NOWHERE
        elif type(content) is tuple:
            plain[field.name] = tuple(without_positions(item) for item in content if not isinstance(item, Position))
        else:
            plain[field.name] = without_positions(content)
    return replace(value, **plain)
