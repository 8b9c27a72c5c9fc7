"""Descriptions of policies, sets of addresses, tiers, profiles and groups of interfaces."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from hostfw.cli.describe.description import Description, Entry, Role, Section
from hostfw.cli.describe.references import references_to
from hostfw.cli.describe.rules import addresses_text, rule_entry, rules_by_identity
from hostfw.cli.input.facts import PlannedHost
from hostfw.cli.kinds import cells, label_selector_text, pairs, pods_text
from hostfw.explain.governing import NOBODY, governing_endpoint
from hostfw.model.kinds.feed_sources import Download
from hostfw.model.kinds.interface_groups import InterfaceGroup
from hostfw.model.kinds.metadata import Labels
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.resources import (
    ClusterNetworkPolicy,
    GlobalNetworkPolicy,
    HostEndpoint,
    KubernetesNetworkPolicy,
    NetworkPolicy,
    Profile,
    Resources,
    Rule,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.model.values import Direction, merge
from hostfw.model.wording import listed
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.effective_labels import NamespaceLabels
from hostfw.policy.order import POLICY_KIND, EvaluatedPolicy, every_tier, policies_in_order, tiers_in_order
from hostfw.policy.resolve.address_book import AddressBook
from hostfw.policy.resolve.directions import PROFILE_KIND
from hostfw.policy.resolve.interface_groups import in_group
from hostfw.policy.resolve.rules import Owner, plan_rules
from hostfw.selector.evaluate import canonical, matches, parse
from hostfw.selector.namespaces import NAME_LABELS

_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}
_CLASSES = {
    PolicyClass.UNTRACKED: "doNotTrack",
    PolicyClass.PRE_DNAT: "preDNAT",
    PolicyClass.NORMAL: "normal",
    PolicyClass.FORWARD: "applyOnForward",
}


def describe_policy(policy: GlobalNetworkPolicy, host: PlannedHost) -> Description:
    """A GlobalNetworkPolicy."""
    return _policy(EvaluatedPolicy(POLICY_KIND, policy), host, ())


def describe_network_policy(
    one: NetworkPolicy | KubernetesNetworkPolicy | ClusterNetworkPolicy, host: PlannedHost
) -> Description:
    """A policy of workloads; of one of Kubernetes also the name under which it decides."""
    more: tuple[tuple[str, tuple[str, ...]], ...] = ()
    if isinstance(one, KubernetesNetworkPolicy):
        more = (("podSelector", (label_selector_text(one.spec.pod_selector),)),)
    if isinstance(one, ClusterNetworkPolicy):
        more = (("subject", (pods_text(one.spec.subject),)),)
    if more:
        more = (*more, ("as", (one.policy.metadata.full_name,)))
    described = _policy(EvaluatedPolicy(type(one).__name__, one.policy), host, more)
    return replace(described, name=one.metadata.full_name)


def describe_staged_policy(staged: StagedGlobalNetworkPolicy | StagedNetworkPolicy, host: PlannedHost) -> Description:
    """A policy that is staged; what it would do is counted and logged, and decides nothing."""
    action = staged.staged_action.value
    text = action if staged.is_evaluated else f"{action}, so it is not evaluated"
    return _policy(EvaluatedPolicy(type(staged).__name__, staged.policy), host, (("stagedAction", (text,)),))


def _policy(policy: EvaluatedPolicy, host: PlannedHost, more: tuple[tuple[str, tuple[str, ...]], ...]) -> Description:
    spec, resources = policy.spec, host.candidate.resources
    selecting = list(_selected(spec, resources))
    here = [e for e in selecting if e.is_of(host.plan.node)]
    elsewhere = [f"{e.metadata.full_name} ({e.node})" for e in selecting if not e.is_of(host.plan.node)]
    properties = (
        *more,
        ("tier", (spec.tier,)),
        ("order", ("none (evaluated last)" if spec.order is None else f"{spec.order:.15g}",)),
        ("place", tuple(_places(policy, resources)) or ("not evaluated",)),
        ("selector", (canonical(parse(spec.selector.text)),)),
        ("types", tuple(direction.value.capitalize() for direction in spec.types)),
        ("classes", tuple(text for policy_class, text in _CLASSES.items() if spec.is_of(policy_class))),
        ("elsewhere", tuple(elsewhere)),
    )
    sections = (
        Section("selects on this host", tuple(_endpoint(e, host) for e in here), "no endpoint"),
        *_rule_sections(
            {d: spec.rules(d) for d in spec.types},
            (policy.kind, spec.tier, spec.metadata.full_name),
            host,
            unrecorded=spec.metadata.unrecorded,
        ),
    )
    return Description(policy.kind, spec.metadata.full_name, spec.metadata.position, properties, sections)


def describe_network_set(network_set: GlobalNetworkSet | NetworkSet, host: PlannedHost) -> Description:
    """A GlobalNetworkSet, or a NetworkSet with the labels that it has by its namespace."""
    labels = tuple(sorted(NamespaceLabels(host.candidate.resources).of_set(network_set).items()))
    kind = type(network_set).__name__
    properties = (
        ("labels", tuple(f"{key}={value}" for key, value in labels)),
        ("addresses", (addresses_text(merge(network_set.nets)),)),
        ("nets", tuple(map(str, network_set.nets))),
    )
    return Description(
        kind, network_set.metadata.full_name, network_set.metadata.position, properties, _used(labels, host)
    )


def describe_namespace(namespace: Namespace, host: PlannedHost) -> Description:
    """A Namespace: the labels that namespaceSelector sees, and the sets that belong to it."""
    name = namespace.metadata.name
    labels = {**dict(namespace.metadata.labels), **dict.fromkeys(NAME_LABELS, name)}
    sets = (one for one in host.candidate.resources.namespaced_sets if one.metadata.namespace == name)
    entries = tuple(Entry(Role.NETWORK_SET, one.metadata.full_name, pairs(one.metadata.labels)) for one in sets)
    properties = (("labels", tuple(f"{key}={value}" for key, value in sorted(labels.items()))),)
    return Description(
        "Namespace", name, namespace.metadata.position, properties, (Section("sets that belong to it", entries),)
    )


def describe_feed(feed: Feed, host: PlannedHost) -> Description:
    """A Feed, with what its file holds now."""
    labels = feed.metadata.labels
    if feed.external is not None:
        stays = "for ever" if feed.external.timeout_s is None else f"{feed.external.timeout_s} s"
        external = (
            ("labels", tuple(f"{key}={value}" for key, value in labels)),
            ("external", ("other programs fill it",)),
            ("size", (str(feed.external.size),)),
            ("timeout", (f"{stays}, unless it is put in with a time",)),
        )
        return Description("Feed", feed.metadata.name, feed.metadata.position, external, _used(labels, host))
    properties = (
        ("labels", tuple(f"{key}={value}" for key, value in labels)),
        *_download(feed.download),
        ("file", (feed.file,)),
        ("maxShrink", (f"{feed.max_shrink}%",)),
        ("addresses", (addresses_text(feed.cidrs),)),
    )
    return Description("Feed", feed.metadata.name, feed.metadata.position, properties, _used(labels, host))


def _download(download: Download | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The properties of the source of a Feed that is downloaded."""
    if download is None:
        return
    if download.hostnames:
        yield "hostnames", download.hostnames
        return
    yield "url", (download.url,)
    if download.sha256:
        yield "sha256", (download.sha256,)
    yield "maxSize", (f"{download.most_bytes // 1024}Ki",)


def _used(labels: Labels, host: PlannedHost) -> tuple[Section]:
    return (Section("rules that its addresses are in", tuple(references_to(dict(labels), host.candidate.resources))),)


def describe_tier(tier: Tier, host: PlannedHost) -> Description:
    """A Tier, declared or built in."""
    resources = host.candidate.resources
    name = tier.metadata.name
    order = list(tiers_in_order(every_tier(resources)))
    place = _nth(order.index(name), len(order), "tier")
    properties = (
        ("order", (f"{'none' if tier.order is None else f'{tier.order:.15g}'}, {place}",)),
        ("defaultAction", (tier.default_action.value,)),
    )
    return Description("Tier", name, tier.metadata.position, properties, tuple(_tier_sections(name, host)))


def _tier_sections(tier: str, host: PlannedHost) -> Iterator[Section]:
    """The policies of a tier in evaluation order, in each direction."""
    resources = host.candidate.resources
    for direction in Direction:
        entries = []
        for policy in policies_in_order(resources, tiers_in_order(every_tier(resources)), direction):
            spec = policy.spec
            if spec.tier != tier:
                continue
            here = sum(endpoint.is_of(host.plan.node) for endpoint in _selected(spec, resources))
            order = "" if spec.order is None else f"order {spec.order:.15g}, "
            role = Role.STAGED_POLICY if policy.staged else Role.POLICY
            text = f"{order}selects {here} here" if here else f"{order}selects nothing here"
            entries.append(Entry(role, spec.metadata.name, text, spec.metadata.position))
        yield Section(str(direction), tuple(entries), "no policy")


def describe_profile(profile: Profile, host: PlannedHost) -> Description:
    """A Profile, declared or built in."""
    resources = host.candidate.resources
    name = profile.metadata.name
    listing = tuple(_endpoint(e, host) for e in resources.every_endpoint if name in e.profiles)
    rules = {direction: profile.rules(direction) for direction in Direction}
    properties = (("labelsToApply", (pairs(profile.labels_to_apply),)),)
    sections = (
        Section("HostEndpoints that list it", listing),
        *_rule_sections(rules, (PROFILE_KIND, "", name), host, unrecorded=profile.metadata.unrecorded),
    )
    return Description("Profile", name, profile.metadata.position, properties, sections)


def describe_group(group: InterfaceGroup, host: PlannedHost) -> Description:
    """An InterfaceGroup."""
    name = group.metadata.name
    (match,), (but,) = cells(group)
    members = tuple(
        Entry(Role.INTERFACE, interface.name, _governed(interface.name, host))
        for interface in host.facts.interfaces
        if in_group(group, interface, host.facts)
    )
    naming = tuple(_endpoint(e, host) for e in host.candidate.resources.endpoints if e.interface_group == name)
    sections = (
        Section("interfaces of this host", members),
        Section("HostEndpoints that name it", naming),
    )
    return Description(
        "InterfaceGroup", name, group.metadata.position, (("match", (match,)), ("except", (but,))), sections
    )


def describe_nft_rules(one: NftRules) -> Description:
    """NftRules: where they stand and what they may do to packets, as far as anybody knows."""
    may = listed(_MAY[verdict] for verdict in one.verdicts)
    entries = tuple(Entry(Role.RULE, f"{number}", rule.text) for number, rule in enumerate(one.rules, 1))
    versions = " and ".join(f"IPv{family.value}" for family in one.families)
    return Description(
        "NftRules",
        one.metadata.name,
        one.metadata.position,
        (
            ("hook", (f"{one.hook}, before every policy and before what is established",)),
            ("order", (cells(one)[0][1],)),
            ("ipVersion", (versions,)),
            ("may", (may or "change packets or count them, and decide nothing",)),
            ("not modelled", ("explain, the lock-out check and exposure do not know what these rules match",)),
        ),
        (Section("rules", entries),),
    )


_MAY = {
    "accept": "accept packets that no policy allows",
    "drop": "drop packets that policy allows",
    "queue": "let a program in user space decide",
    "reject": "reject packets that policy allows",
}


def _governed(interface: str, host: PlannedHost) -> str:
    endpoint, reason = governing_endpoint(interface, host.plan)
    return f"governed by {endpoint} ({reason})" if endpoint != NOBODY else reason


def _selected(policy: GlobalNetworkPolicy, resources: Resources) -> Iterator[HostEndpoint | WorkloadEndpoint]:
    """The HostEndpoints and workloads of all nodes that a policy selects."""
    namespaces = NamespaceLabels(resources)
    selector = parse(policy.selector.text)
    profiles = {profile.metadata.name: profile for profile in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    return (e for e in resources.every_endpoint if matches(selector, namespaces.of_endpoint(e, profiles)))


def _endpoint(endpoint: HostEndpoint | WorkloadEndpoint, host: PlannedHost) -> Entry:
    """A HostEndpoint or workload, and where it is or what it governs here."""
    name = endpoint.metadata.full_name
    if not endpoint.is_of(host.plan.node):
        return Entry(Role.ENDPOINT, name, f"of {endpoint.node}", endpoint.metadata.position)
    governed = [i.name for i in host.facts.interfaces if governing_endpoint(i.name, host.plan).endpoint == name]
    governed += [workload.port for known, workload in host.plan.bridged if known.name == name]
    text = f"governs {', '.join(governed)}" if governed else "governs no interface now"
    return Entry(Role.ENDPOINT, name, text, endpoint.metadata.position)


def _places(policy: EvaluatedPolicy, resources: Resources) -> Iterator[str]:
    """The place of a policy among those of its tier, in each direction that it has."""
    spec = policy.spec
    tiers = tiers_in_order(every_tier(resources))
    for direction in spec.types:
        of_tier = [p for p in policies_in_order(resources, tiers, direction) if p.spec.tier == spec.tier]
        if policy in of_tier:
            yield f"{direction}: {_nth(of_tier.index(policy), len(of_tier), 'policy', 'policies')} of the tier"


def _nth(place: int, number: int, noun: str, plural: str = "") -> str:
    """A place, from 0, among so many."""
    nth = _ORDINALS.get(place + 1, f"{place + 1}th")
    return f"the only {noun}" if number == 1 else f"the {nth} of {number} {plural or noun + 's'}"


def _rule_sections(
    rules: Mapping[Direction, tuple[Rule, ...]], owner: tuple[str, str, str], host: PlannedHost, *, unrecorded: bool
) -> Iterator[Section]:
    """The rules of each direction, with what their selectors stand for, whether or not anything here is selected."""
    resources = host.candidate.resources
    profiles = {profile.metadata.name: profile for profile in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    book = AddressBook(resources, profiles)
    # The Plan knows more where addresses are learned, and only of what governs something here.
    known = rules_by_identity(host.plan)
    for direction, of_direction in rules.items():
        planned = plan_rules(of_direction, Owner(*owner, direction, unrecorded), book)
        yield Section(f"{direction}", tuple(rule_entry(known.get(rule.identity, rule)) for rule in planned), "no rules")
