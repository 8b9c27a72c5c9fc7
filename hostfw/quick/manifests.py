"""The files that say a quick rule at length: a policy of tier `quick`, and what it stands on where that is missing."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

import yaml

from hostfw.manifest.encode import manifest
from hostfw.model.kinds.feed_sources import External
from hostfw.model.kinds.metadata import BEFORE_FAILSAFES, EXPIRES, REASON, TICKET, Labels, Metadata, SelectorText
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet
from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.resources import (
    ANY_NODE,
    WILDCARD,
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    Profile,
    Resource,
    Resources,
    Rule,
    Tier,
)
from hostfw.model.settings import FailsafePort
from hostfw.model.values import FAMILIES, Action, Direction, Family, merge
from hostfw.policy.effective_labels import NamespaceLabels, effective_labels
from hostfw.quick.network_sets import network_set, selector_of_network_set
from hostfw.quick.requests import ANYBODY, Local, Named, QuickRule, RequestError, Service, members_name
from hostfw.quick.services import services_text
from hostfw.quick.words import rule_words
from hostfw.selector.evaluate import matches
from hostfw.selector.parser import parse

FOLDER = "quick"
"""The folder of quick rules in the configuration directory."""
TIER = "quick"
QUICK_TIER = Tier(Metadata(TIER), -1000.0, Action.PASS)
"""Comes first, and passes on what it does not decide."""

_ORDERS = {"deny-peer": 100.0, "allow": 200.0, "deny-service": 300.0}
"""A peer that is denied gets nothing; what is allowed to somebody comes before what is denied to everybody."""
_ENDPOINT, _PROFILE = "this-host", "outward"
_NAME_LIMIT, _DIGEST_DIGITS = 100, 8
_RANGE = re.compile(r"(?<=[/,])(\d+)-(\d+)")
_LIKE_OTHERS = re.compile(r"[./]|\A[-0-9a-f]+\Z|-(from|to|on|in|out)-")
"""Names of sets and endpoints that leave open, among the words of a rule, what they are."""


@dataclass(frozen=True, slots=True)
class QuickFile:
    """A file of the folder, by its name there, and what it is to hold."""

    name: str
    text: str


def policy_name(rule: QuickRule) -> str:
    """The name of the policy, which is the same for the same rule: of two equal ones the second changes nothing."""
    # A range would read like a list of its ends, and the name of a set like an address, or like the words behind it.
    said = rule_words(replace(rule, limit=None))
    words = _RANGE.sub(r"\1-to-\2", said)
    words = re.sub(r"[/,.: ]", "-", words)
    names = [rule.peers.name if isinstance(rule.peers, Named) else "", rule.endpoint or ""]
    if len(words) > _NAME_LIMIT or any(map(_LIKE_OTHERS.search, names)):
        digest = sha256(said.encode()).hexdigest()[:_DIGEST_DIGITS]
        words = f"{words[: _NAME_LIMIT - _DIGEST_DIGITS - 1].rstrip('-')}-{digest}"
    return f"{TIER}.{words.strip('-')}"


def file_name(policy: str) -> str:
    """The name of the file that a quick rule's policy is written to."""
    return f"{policy.removeprefix(f'{TIER}.')}.yaml"


@dataclass(frozen=True, slots=True)
class Notes:
    """Notes that are kept with a rule: why it is there, its ticket, and the moment at which it expires, if any.

    With `keeps_failsafes` what it denies to somebody leaves them the failsafe ports, without they are denied as well;
    None stands for what is best: a list that others fill does not decide who gets in by ssh. What is allowed within a
    limit comes before failsafes if all of it is for `failsafes` ports, which everybody reaches otherwise.
    """

    reason: str = ""
    ticket: str = ""
    expires: datetime | None = None
    keeps_failsafes: bool | None = None
    failsafes: tuple[FailsafePort, ...] = ()

    @property
    def annotations(self) -> Labels:
        """The annotations that say so, sorted by key."""
        expires = "" if self.expires is None else f"{self.expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        found = ((EXPIRES, expires), (REASON, self.reason), (TICKET, self.ticket))
        return tuple((key, value) for key, value in found if value)


def quick_files(rule: QuickRule, notes: Notes, resources: Resources) -> tuple[QuickFile, ...]:
    """The files that put a rule into the configuration that holds `resources`. Raises RequestError.

    The tier comes with the first rule; a HostEndpoint of every interface where nobody wrote any, since no policy would
    mean anything without.
    """
    policy = quick_policy(rule, notes, resources)
    _keep_lasting(policy, resources)
    command = f"hostfwctl {rule_words(rule)}"
    name = policy.metadata.name.removeprefix(f"{TIER}.")
    needed: list[tuple[str, list[Resource]]] = []
    if not _has_tier(resources):
        needed.append(("The tier of quick rules: they come first, and pass on what they do not decide.", [QUICK_TIER]))
    if not resources.endpoints:
        text = "No HostEndpoint was there. This one governs every interface as hostfw did without: in closed, out open."
        needed.append((text, _endpoint()))
    return (
        *(QuickFile(f"{_file_of(content)}.yaml", _text(comment, content)) for comment, content in needed),
        QuickFile(
            file_name(policy.metadata.name),
            _text(f"Written by `{command}`; `hostfwctl remove {name}` takes it away.", [policy]),
        ),
    )


def quick_policy(rule: QuickRule, notes: Notes, resources: Resources) -> GlobalNetworkPolicy:
    """The policy that a rule comes to. Raises RequestError if it names what is not there or cannot be selected."""
    peers = EntityRule()
    if isinstance(rule.peers, Named):
        peers = EntityRule(selector=SelectorText(_selector_of_set(rule.peers.name, resources)))
    elif isinstance(rule.peers, Local):
        peers = EntityRule(local=True)
    rules = {direction: tuple(_rules(rule, direction, peers)) for direction in rule.directions}
    return GlobalNetworkPolicy(
        Metadata(policy_name(rule), annotations=_annotations(rule, notes, resources)),
        tier=TIER,
        order=_ORDERS[_place(rule)],
        selector=SelectorText("all()" if rule.endpoint is None else _selector_of_endpoint(rule.endpoint, resources)),
        types=rule.directions,
        ingress=rules.get(Direction.INGRESS, ()),
        egress=rules.get(Direction.EGRESS, ()),
        # Whoever is denied altogether is not to reach what stands behind this host either.
        apply_on_forward=rule.action is Action.DENY and not rule.services,
    )


def _annotations(rule: QuickRule, notes: Notes, resources: Resources) -> Labels:
    opened, others = _opened(rule.services, notes)
    limits = rule.limit is not None and bool(opened) and not notes.keeps_failsafes
    if limits and others:
        first, second = (rule_words(replace(rule, services=some)) for some in (opened, others))
        raise RequestError(
            f"{services_text(opened)} is open to everybody as a failsafe, so its limit comes first, in another rule",
            f"`hostfwctl {first}`, then `hostfwctl {second}`",
        )
    early = limits or (_denies_some(rule) and not notes.keeps_failsafes)
    if notes.keeps_failsafes is None and isinstance(rule.peers, Named):
        # A list that others fill is a Feed.
        early = early and all(one.metadata.name != rule.peers.name for one in resources.feeds)
    return tuple(sorted((*notes.annotations, *([(BEFORE_FAILSAFES, "true")] if early else []))))


def _opened(services: Iterable[Service], notes: Notes) -> tuple[tuple[Service, ...], tuple[Service, ...]]:
    """The services whose ports failsafes let everybody reach, and the others."""
    open_ports = {(port.protocol.number, port.port) for port in notes.failsafes if port.net is None}
    opened: list[Service] = []
    others: list[Service] = []
    for service in services:
        reached = tuple(
            port
            for port in service.ports
            if port.first == port.last and (service.protocol.number, port.first) in open_ports
        )
        rest = tuple(port for port in service.ports if port not in reached)
        if reached:
            opened.append(replace(service, ports=reached))
        if rest or not reached:
            others.append(replace(service, ports=rest))
    return tuple(opened), tuple(others)


def _denies_some(rule: QuickRule) -> bool:
    """True for a rule that denies somebody by name, and not everybody of a family."""
    if rule.action is not Action.DENY or rule.peers == ANYBODY:
        return False
    return not isinstance(rule.peers, tuple) or all(cidr.length > 0 for cidr in merge(rule.peers))


def members_file(name: str) -> QuickFile:
    """The file of that Feed."""
    feed = Feed(Metadata(members_name(name)), "", external=External(of=name))
    return QuickFile(
        f"set-{name}.yaml", _text(f"Written by `hostfwctl set add {name}`; it takes what is added.", [feed])
    )


def _keep_lasting(policy: GlobalNetworkPolicy, resources: Resources) -> None:
    """Refuse to have a rule end that was to stay. Raises RequestError."""
    before = next((one for one in resources.policies if one.metadata.name == policy.metadata.name), None)
    if before is not None and before.metadata.expires is None and policy.metadata.expires is not None:
        name = policy.metadata.name.removeprefix(f"{TIER}.")
        raise RequestError(
            f'"{name}" is there already ({before.metadata.position.file_line}), and does not expire',
            f"to have it expire: `hostfwctl remove {name}` first",
        )


def is_quick(policy: GlobalNetworkPolicy) -> bool:
    """True for a policy that quick rules made, or one that stands among them."""
    return policy.tier == TIER


def _place(rule: QuickRule) -> str:
    if rule.action is Action.ALLOW:
        return "allow"
    return "deny-service" if rule.peers == ANYBODY else "deny-peer"


def _rules(rule: QuickRule, direction: Direction, selected: EntityRule) -> Iterator[Rule]:
    """A rule for each service and IP version that differ."""
    services = rule.services or (None,)
    nets = rule.peers if isinstance(rule.peers, tuple) else ()
    for service in services:
        families: Iterable[Family | None] = FAMILIES if nets else (None,)
        for family in families:
            of_family = tuple(cidr for cidr in nets if cidr.family is family)
            if family is not None and (not of_family or _is_of_other(service, family)):
                continue
            one = _one_rule(rule.action, service, direction, replace(selected, nets=of_family))
            yield one if rule.limit is None else replace(one, limit=SourceLimit(rule.limit))


def _one_rule(action: Action, service: Service | None, direction: Direction, peer: EntityRule) -> Rule:
    ports = service.ports if service is not None else ()
    if direction is Direction.INGRESS:
        source, destination = peer, EntityRule(ports=ports)
    else:
        source, destination = EntityRule(), replace(peer, ports=ports)
    return Rule(
        action,
        protocol=service.protocol if service is not None else None,
        icmp=service.icmp if service is not None else None,
        source=source,
        destination=destination,
    )


def _is_of_other(service: Service | None, family: Family) -> bool:
    return service is not None and service.protocol.family not in (None, family)


def _selector_of_endpoint(name: str, resources: Resources) -> str:
    """A selector of one HostEndpoint alone."""
    profiles = {profile.metadata.name: profile for profile in resources.profiles}
    labels = {endpoint.metadata.name: effective_labels(endpoint, profiles) for endpoint in resources.endpoints}
    if name not in labels:
        _explain_interface(name, resources)
    return _selector_of("HostEndpoint", name, labels)


def _explain_interface(name: str, resources: Resources) -> None:
    """Raise RequestError for the name of an interface where that of a HostEndpoint belongs."""
    of_name, of_all = (
        next((one.metadata.name for one in resources.endpoints if one.interface_name == given), None)
        for given in (name, WILDCARD)
    )
    if of_name is not None:
        raise RequestError(f'"{name}" is an interface, not a HostEndpoint', f"its HostEndpoint: on {of_name}")
    if of_all is not None:
        raise RequestError(
            f'there is no HostEndpoint "{name}"; "{of_all}" is for every interface',
            f"write a HostEndpoint for {name}, or leave `on {name}` out: the rule is for every interface then",
        )


def _selector_of_set(name: str, resources: Resources) -> str:
    """A selector of one GlobalNetworkSet, Feed or NetworkSet alone."""
    sets: tuple[GlobalNetworkSet | Feed, ...] = (*resources.network_sets, *resources.feeds)
    of_namespace = network_set(name, resources)
    if of_namespace is not None and all(one.metadata.name != name for one in sets):
        return selector_of_network_set(of_namespace, resources)
    labels = {one.metadata.name: dict(one.metadata.labels) for one in sets}
    text = _selector_of("GlobalNetworkSet or Feed", name, labels)
    selected = parse(text)
    of_set = NamespaceLabels(resources).of_set
    same = next((one for one in resources.namespaced_sets if matches(selected, of_set(one))), None)
    if same is not None:
        raise RequestError(
            f'the labels of "{name}" are those of NetworkSet "{same.metadata.full_name}" too',
            f"give it a label of its own, such as set: {name}",
        )
    if any(matches(selected, dict(endpoint.metadata.labels)) for endpoint in resources.endpoints):
        raise RequestError(
            f'the labels of "{name}" are those of a HostEndpoint too',
            f"give it a label of its own, such as set: {name}",
        )
    return text


def _selector_of(kind: str, name: str, labels: Mapping[str, Mapping[str, str]]) -> str:
    own = labels.get(name)
    if own is None:
        known = ", ".join(sorted(labels))
        raise RequestError(f'there is no {kind} "{name}"', f"there are: {known}" if known else "none is written yet")
    text = " && ".join(f"{key} == '{value}'" for key, value in sorted(own.items()))
    others = [other for other, of in labels.items() if other != name and text and matches(parse(text), of)]
    if not text or others:
        why = f'has the labels of "{others[0]}"' if others else "has no labels, by which policy selects"
        key = "endpoint" if kind == "HostEndpoint" else "set"
        raise RequestError(f'"{name}" {why}', f"give it a label of its own, such as {key}: {name}")
    return text


def _has_tier(resources: Resources) -> bool:
    tier = next((tier for tier in resources.tiers if tier.metadata.name == TIER), None)
    if tier is not None and tier.default_action is not Action.PASS:
        raise RequestError(
            f'tier "{TIER}" ({tier.metadata.position}) denies what it does not decide: no policy after it would count',
            "set its defaultAction to Pass",
        )
    return tier is not None


def _endpoint() -> list[Resource]:
    """Policy for every interface that equals the default of an ungoverned one: closed inward, open outward."""
    anything = Rule(Action.ALLOW)
    return [
        HostEndpoint(Metadata(_ENDPOINT), ANY_NODE, interface_name="*", profiles=(_PROFILE,)),
        Profile(Metadata(_PROFILE), egress=(anything,)),
    ]


def _file_of(content: Iterable[Resource]) -> str:
    first = next(iter(content))
    return "tier" if isinstance(first, Tier) else first.metadata.name


def _text(comment: str, resources: Iterable[Resource]) -> str:
    documents = "---\n".join(
        yaml.safe_dump(manifest(resource), sort_keys=False, allow_unicode=True, width=120) for resource in resources
    )
    return f"# {comment}\n{documents}"
