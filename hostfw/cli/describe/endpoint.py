"""The description of a HostEndpoint: interfaces, labels, and everything that decides on a packet, in order."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from hostfw.cli.describe.description import Description, Entry, Role, Section
from hostfw.cli.describe.references import references_to
from hostfw.cli.describe.rules import rule_entry
from hostfw.cli.input.facts import PlannedHost
from hostfw.explain.governing import governing_endpoint
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.plan import PlannedDirection, PlannedPolicy, PlannedTier
from hostfw.model.resources import ANY_NODE, HostEndpoint
from hostfw.model.settings import InvalidPackets, NeighbourDiscovery, Settings
from hostfw.model.values import Direction, address_text
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.effective_labels import effective_labels

_TITLES = {
    PolicyClass.UNTRACKED: "before connection tracking (doNotTrack)",
    PolicyClass.PRE_DNAT: "before destination NAT (preDNAT)",
    PolicyClass.FORWARD: "forwarded (applyOnForward)",
}
_LOCAL = {Direction.INGRESS: "to this host", Direction.EGRESS: "from this host"}
_ENDS = {
    PolicyClass.UNTRACKED: "on to connection tracking",
    PolicyClass.PRE_DNAT: "on to destination NAT",
    PolicyClass.NORMAL: "Deny",
    PolicyClass.FORWARD: "Allow, as far as this endpoint is concerned",
}


def describe_endpoint(endpoint: HostEndpoint, host: PlannedHost) -> Description:
    """A HostEndpoint of this node or another."""
    resources, plan = host.candidate.resources, host.plan
    name = endpoint.metadata.name
    profiles = {profile.metadata.name: profile for profile in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    labels = effective_labels(endpoint, profiles)
    is_local = endpoint.is_of(plan.node)
    own = "* (every host that reads it)" if endpoint.node == ANY_NODE else f"{endpoint.node} (this host)"
    properties = (
        ("node", (own if is_local else f"{endpoint.node}, not this host ({plan.node})",)),
        ("interfaces", tuple(_interfaces(endpoint, host)) if is_local else ()),
        ("labels", tuple(labels_text(dict(endpoint.metadata.labels), labels, "of a profile"))),
        ("expectedIPs", tuple(address_text(cidr.family, cidr.address) for cidr in endpoint.expected_ips)),
        ("profiles", endpoint.profiles),
        ("ports", tuple(f"{port.name} {port.protocol} {port.port}" for port in endpoint.ports)),
    )
    governing = next((planned for planned in plan.endpoints if planned.name == name), None)
    order = tuple(_order(governing.direction(d), d, plan.settings) for d in Direction) if governing else ()
    used = Section(
        "rules that its addresses are in", tuple(references_to(labels, resources)) if endpoint.expected_ips else ()
    )
    sections = (*(section for sections in order for section in sections), used)
    return Description("HostEndpoint", name, endpoint.metadata.position, properties, sections)


def _interfaces(endpoint: HostEndpoint, host: PlannedHost) -> Iterator[str]:
    """The interfaces that the endpoint governs and why, those of the host and those that may yet appear."""
    name = endpoint.metadata.name
    governed = ((interface.name, governing_endpoint(interface.name, host.plan)) for interface in host.facts.interfaces)
    found = [f"{interface} ({why.reason})" for interface, why in governed if why.endpoint == name]
    yield from found
    absent = [b for b in host.plan.bindings if b.endpoint == name and not b.present]
    yield from (f"{binding.interface} ({binding.reason}), which is not there" for binding in absent)
    if host.plan.wildcard == name:
        yield "every other that appears"
    elif not found and not absent:
        yield "none, so it claims no interface now"


def labels_text(own: Collection[str], effective: Mapping[str, str], otherwise: str) -> Iterator[str]:
    """The labels that selectors see, with where those come from that are not an endpoint's own."""
    for key, value in sorted(effective.items()):
        yield f"{key}={value}" if key in own else f"{key}={value} ({otherwise})"


# ------------------------------------------------------------------------------------------------ what a packet meets


def _order(planned: PlannedDirection, direction: Direction, settings: Settings) -> Iterator[Section]:
    """A section for each class of policy that a packet may meet, in the order in which it meets them."""
    for policy_class, tiers in (
        (PolicyClass.UNTRACKED, planned.untracked_tiers),
        (PolicyClass.PRE_DNAT, planned.pre_dnat_tiers),
        (PolicyClass.NORMAL, planned.tiers),
        (PolicyClass.FORWARD, planned.forward_tiers),
    ):
        if not tiers and policy_class is not PolicyClass.NORMAL:
            continue
        title = f"{direction}, {_TITLES.get(policy_class, _LOCAL[direction])}"
        profiles = planned.profiles if policy_class is PolicyClass.NORMAL else ()
        entries = (
            *_before(policy_class, tiers, direction, settings, planned.before_failsafes),
            *(tier_entry(tier, policy_class) for tier in tiers),
            *(policy_entry(profile) for profile in profiles),
            Entry(Role.END, "nothing decided", _ENDS[policy_class]),
        )
        yield Section(title, entries)


def _before(
    policy_class: PolicyClass,
    tiers: Iterable[PlannedTier],
    direction: Direction,
    settings: Settings,
    early: Iterable[PlannedPolicy],
) -> Iterator[Entry]:
    """Decisions before any policy of a class; before connection tracking and NAT they exempt from the class."""
    is_final = policy_class in (PolicyClass.NORMAL, PolicyClass.FORWARD)
    outcome = "Allow" if is_final else "exempt from these policies"
    if policy_class is not PolicyClass.UNTRACKED:
        yield Entry(Role.EXEMPTION, "belongs to what is established", "Allow")
    if policy_class is not PolicyClass.FORWARD and settings.neighbour_discovery is NeighbourDiscovery.ACCEPT:
        yield Entry(Role.EXEMPTION, "neighbour discovery, multicast membership", outcome)
    if settings.multicast_answers and policy_class is PolicyClass.NORMAL and direction is Direction.INGRESS:
        yield Entry(Role.EXEMPTION, "answers a question to multicast (multicastAnswers)", outcome)
    sees_state = policy_class is PolicyClass.NORMAL or any(tier.is_enforced for tier in tiers)
    if policy_class is not PolicyClass.UNTRACKED and sees_state and settings.invalid_packets is InvalidPackets.DROP:
        yield Entry(Role.EXEMPTION, "invalid for connection tracking", "Deny")
    if policy_class is PolicyClass.FORWARD:
        return
    failsafe = settings.failsafe
    own, other = failsafe.inbound, failsafe.outbound
    if direction is Direction.EGRESS:
        own, other = other, own
    entries = {port: Entry(Role.FAILSAFE, str(port), outcome) for port in own}
    if policy_class is PolicyClass.NORMAL:
        yield from (entry for port, entry in entries.items() if port.is_for_some)
        yield from (policy_entry(policy) for policy in early)
        yield from (entry for port, entry in entries.items() if not port.is_for_some)
    else:
        yield from entries.values()
    if policy_class is PolicyClass.UNTRACKED:
        yield from (Entry(Role.FAILSAFE, f"{port}, answers to it", outcome) for port in other)


def tier_entry(tier: PlannedTier, policy_class: PolicyClass) -> Entry:
    """A tier with its policies, and what its end does where the class has ends of tiers."""
    is_normal = policy_class is PolicyClass.NORMAL
    policies = tuple(policy_entry(policy) for policy in (tier.after_failsafes if is_normal else tier.policies))
    if policy_class in (PolicyClass.UNTRACKED, PolicyClass.PRE_DNAT):
        return Entry(Role.TIER, tier.name, below=policies)
    text = tier.default_action.value if tier.is_enforced else "on, as all of it is staged"
    return Entry(Role.TIER, tier.name, below=(*policies, Entry(Role.END, "end of tier", text)))


def policy_entry(policy: PlannedPolicy) -> Entry:
    """A policy or profile in one direction, with its rules."""
    if not policy.tier:
        role, text = Role.PROFILE, ""
    else:
        role = Role.STAGED_POLICY if policy.staged else Role.POLICY
        order = "" if policy.order is None else f"order {policy.order:.15g}"
        text = ", ".join(filter(None, (order, "before failsafes" if policy.before_failsafes else "")))
    rules = tuple(rule_entry(rule) for rule in policy.rules)
    return Entry(role, policy.name, text, policy.position, rules)
