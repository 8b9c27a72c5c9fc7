"""Expiry: which resources of a configuration still count at a moment, and what is left without those that end.

A resource with the annotation `hostfw.io/expires` counts until that moment. What has expired once stays expired while
its annotation is the same, so that a clock which is set back opens nothing again. A clock that is behind the moment of
the last `apply` is known to be wrong: until it is set, nothing is allowed for the sake of a resource that expires.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from hostfw.model.host.governance import Governance
from hostfw.model.kinds.metadata import Labels, SelectorText
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import (
    ClusterNetworkPolicy,
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    KubernetesNetworkPolicy,
    NetworkPolicy,
    Profile,
    Resource,
    Resources,
    Rule,
)
from hostfw.model.time.expiry import Expired
from hostfw.model.values import Action
from hostfw.policy.effective_labels import NamespaceLabels
from hostfw.selector.evaluate import matches, parse

CLOCK_TOLERANCE = timedelta(minutes=1)
"""A clock that is behind by less was only adjusted."""

MOST_GONE = 1024
"""Most resources that are remembered as expired although they are gone, the last ones first."""

_NOBODY = "!all()"
_OF_WORKLOADS = NetworkPolicy | KubernetesNetworkPolicy | ClusterNetworkPolicy
_OPENING = (Action.ALLOW, Action.PASS)

_ENDS = "hostfw.io/ends"
"""The label of sets that end, where what lasts must not select them; nobody sees it."""
_Set = TypeVar("_Set", GlobalNetworkSet, NetworkSet, Feed)
_Endpoint = TypeVar("_Endpoint", HostEndpoint, WorkloadEndpoint)
_Ruled = TypeVar("_Ruled", GlobalNetworkPolicy, Profile)


@dataclass(frozen=True, slots=True)
class InTime:
    """The resources that count at a moment, those that count no more, and when this is different."""

    resources: Resources
    expired: tuple[Expired, ...] = ()
    next_expiry: datetime | None = None


def in_time(resources: Resources, now: datetime | None, governance: Governance) -> InTime:
    """The part of some resources that counts `now`, by the record; all of it where no moment is known."""
    if now is None:
        return InTime(resources)
    expiring = tuple(expiring_resources(resources))
    if not expiring:
        return InTime(resources)
    known = frozenset(governance.expired)
    ended = tuple(sorted(one for one in expiring if one.at <= now or one in known))
    left = without(resources, ended) if ended else resources
    if is_behind(now, governance):
        closed = lasting(left)
        if closed is not left:
            waiting = (one for one in expiring_resources(left, _opens) if one not in ended)
            return InTime(closed, tuple(sorted((*ended, *waiting))), governance.applied)
    return InTime(left, ended, min((one.at for one in expiring if one not in ended), default=None))


def is_behind(now: datetime, governance: Governance) -> bool:
    """True if a clock says a moment before the last `apply`, so that it is wrong."""
    return governance.applied is not None and now < governance.applied - CLOCK_TOLERANCE


def latest(*moments: datetime | None) -> datetime | None:
    """The latest of some moments, or None where none is known."""
    return max((moment for moment in moments if moment is not None), default=None)


def still_expired(expired: Iterable[Expired], now: datetime | None, before: Governance) -> tuple[Expired, ...]:
    """Of what does not count, that which is to stay so: not what only waits for a clock that is right.

    What was on record stays there although its resource is gone: it may come back, by git or by `rollback`.
    """
    known = frozenset(before.expired)
    here = frozenset(one for one in expired if one in known or (now is not None and one.at <= now))
    gone = sorted(known - here, key=lambda one: (one.at, one))[-MOST_GONE:]
    return tuple(sorted((*here, *gone)))


def _anything(_: Resource) -> bool:
    return True


def expiring_resources(resources: Resources, which: Callable[[Resource], bool] = _anything) -> Iterator[Expired]:
    """The resources that have a moment from which they do not count, all or some."""
    for resource in resources.all():
        if resource.metadata.annotations and (at := resource.metadata.expires) is not None and which(resource):
            yield Expired(type(resource).__name__, resource.metadata.full_name, at)


def without(resources: Resources, ended: Iterable[Expired]) -> Resources:
    """The resources without some; a Profile that is gone is no longer listed."""
    gone = {(one.kind, one.name) for one in ended}

    def stays(resource: Resource) -> bool:
        return (type(resource).__name__, resource.metadata.full_name) not in gone

    return replace(
        resources,
        policies=tuple(filter(stays, resources.policies)),
        network_policies=tuple(filter(stays, resources.network_policies)),
        kubernetes_policies=tuple(filter(stays, resources.kubernetes_policies)),
        cluster_policies=tuple(filter(stays, resources.cluster_policies)),
        staged_network_policies=tuple(filter(stays, resources.staged_network_policies)),
        endpoints=tuple(
            _with_profiles(endpoint, lambda name: (Profile.__name__, name) not in gone)
            for endpoint in resources.endpoints
        ),
        workloads=tuple(
            _with_profiles(endpoint, lambda name: (Profile.__name__, name) not in gone)
            for endpoint in resources.workloads
        ),
        network_sets=tuple(filter(stays, resources.network_sets)),
        namespaced_sets=tuple(filter(stays, resources.namespaced_sets)),
        profiles=tuple(filter(stays, resources.profiles)),
        staged_policies=tuple(filter(stays, resources.staged_policies)),
        feeds=tuple(filter(stays, resources.feeds)),
        nft_rules=tuple(filter(stays, resources.nft_rules)),
    )


def lasting(resources: Resources) -> Resources:
    """The resources without anything that is allowed for the sake of one which expires; what denies stays.

    A policy keeps its place, so the end of its tier still denies. They are the very same where nothing is allowed so.
    """
    by_namespace = NamespaceLabels(resources)
    sets = [
        by_namespace.of_set(one)
        for one in (*resources.every_set, *resources.namespaced_sets)
        if one.metadata.expires is not None
    ]
    policies = tuple(_closed(policy, sets) for policy in resources.policies)
    network_policies = tuple(replace(one, policy=_closed(one.policy, sets)) for one in resources.network_policies)
    kubernetes = tuple(replace(one, policy=_closed(one.policy, sets)) for one in resources.kubernetes_policies)
    cluster = tuple(replace(one, policy=_closed(one.policy, sets)) for one in resources.cluster_policies)
    profiles = tuple(_closed(profile, sets) for profile in resources.profiles)
    decided = (policies, network_policies, kubernetes, cluster, profiles)
    if decided == (
        resources.policies,
        resources.network_policies,
        resources.kubernetes_policies,
        resources.cluster_policies,
        resources.profiles,
    ):
        return resources
    return replace(
        resources,
        policies=policies,
        network_policies=network_policies,
        kubernetes_policies=kubernetes,
        cluster_policies=cluster,
        profiles=profiles,
        network_sets=tuple(_marked(one, ends=one.metadata.expires is not None) for one in resources.network_sets),
        namespaced_sets=tuple(_marked(one, ends=one.metadata.expires is not None) for one in resources.namespaced_sets),
        feeds=tuple(_marked(one, ends=one.metadata.expires is not None) for one in resources.feeds),
    )


def _closed(ruled: _Ruled, sets: Sequence[Mapping[str, str]]) -> _Ruled:
    """A policy or profile that allows nothing for the sake of some sets, and nothing at all if it expires."""
    if ruled.metadata.expires is not None:
        return replace(ruled, ingress=_opening_nothing(ruled.ingress), egress=_opening_nothing(ruled.egress))
    if not any(_favours(rule, sets) for rule in (*ruled.ingress, *ruled.egress)):
        return ruled
    return replace(ruled, ingress=_favouring_none(ruled.ingress, sets), egress=_favouring_none(ruled.egress, sets))


def _opens(resource: Resource) -> bool:
    """True if something may be allowed for the sake of a resource: by its rules, or by those that select a set."""
    ruled = resource.policy if isinstance(resource, _OF_WORKLOADS) else resource
    if isinstance(ruled, GlobalNetworkPolicy | Profile):
        return any(rule.action in _OPENING for rule in (*ruled.ingress, *ruled.egress))
    return isinstance(resource, GlobalNetworkSet | NetworkSet | Feed)


def _opening_nothing(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(_of_nobody(rule) if rule.action in _OPENING else rule for rule in rules)


def _with_profiles(endpoint: _Endpoint, stays: Callable[[str], bool]) -> _Endpoint:
    """An endpoint with those of its profiles that are there; the very same where all are."""
    if all(map(stays, endpoint.profiles)):
        return endpoint
    kept = [number for number, name in enumerate(endpoint.profiles) if stays(name)]
    positions = endpoint.profile_positions
    return replace(
        endpoint,
        profiles=tuple(endpoint.profiles[number] for number in kept),
        profile_positions=tuple(positions[number] for number in kept if number < len(positions)),
    )


def _favouring_none(rules: tuple[Rule, ...], sets: Sequence[Mapping[str, str]]) -> tuple[Rule, ...]:
    """Rules that let in no address for the sake of some sets; each keeps its place, and what it says of other sets."""
    return tuple(
        replace(
            rule, source=_favouring_no(rule, rule.source, sets), destination=_favouring_no(rule, rule.destination, sets)
        )
        for rule in rules
    )


def _favours(rule: Rule, sets: Sequence[Mapping[str, str]]) -> bool:
    return any(_names(_favoured(rule, side), sets) for side in (rule.source, rule.destination))


def _favoured(rule: Rule, side: EntityRule) -> SelectorText | None:
    """The selector of those that a rule is good for on one side."""
    if rule.action in _OPENING:
        return side.selector
    return side.not_selector if rule.action is Action.DENY else None


def _favouring_no(rule: Rule, side: EntityRule, sets: Sequence[Mapping[str, str]]) -> EntityRule:
    favoured = _favoured(rule, side)
    if favoured is None or not _names(favoured, sets):
        return side
    lasting_alone = SelectorText(f"({favoured.text}) && !has({_ENDS})", favoured.position)
    return (
        replace(side, selector=lasting_alone) if rule.action in _OPENING else replace(side, not_selector=lasting_alone)
    )


def _names(selector: SelectorText | None, sets: Sequence[Mapping[str, str]]) -> bool:
    return selector is not None and any(matches(parse(selector.text), labels) for labels in sets)


def _marked(one: _Set, *, ends: bool) -> _Set:
    """A set that rules can tell from those that stay, if it ends."""
    known: Labels = one.metadata.labels
    if not ends or (_ENDS, "") in known:
        return one
    return replace(one, metadata=replace(one.metadata, labels=tuple(sorted((*known, (_ENDS, ""))))))


def _of_nobody(rule: Rule) -> Rule:
    position = rule.source.selector.position if rule.source.selector is not None else rule.position
    return replace(rule, source=replace(rule.source, selector=SelectorText(_NOBODY, position)))
