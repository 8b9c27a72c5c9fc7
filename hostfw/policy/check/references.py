"""Checks across resources: unique names, references that exist, selectors that parse."""

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple

from hostfw.manifest.fields import did_you_mean
from hostfw.model.kinds.metadata import SelectorText
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.problems import Problem, in_order
from hostfw.model.resources import (
    GlobalNetworkPolicy,
    HostEndpoint,
    NetworkPolicy,
    Profile,
    Resource,
    Resources,
    Rule,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.model.settings import Settings
from hostfw.model.wording import listed, quoted, unlisted
from hostfw.policy.built_in import BUILT_IN_TIERS, DEFAULT_ALLOW_PROFILE, DEFAULT_TIER
from hostfw.policy.cache import ByResource
from hostfw.policy.check.before_failsafes import misplaced_before_failsafes
from hostfw.policy.check.warnings import LintCache, lint
from hostfw.policy.check.workloads import workload_problems
from hostfw.selector.evaluate import SelectorError, parse


@dataclass(slots=True, eq=False, repr=False)
class CheckCache:
    """Problems of each resource at the last check."""

    selectors: ByResource[tuple[Problem, ...]] = field(default_factory=ByResource)
    before_failsafes: ByResource[tuple[Problem, ...]] = field(default_factory=ByResource)
    lint: LintCache = field(default_factory=LintCache)


def check(
    resources: Resources,
    settings: Settings,
    cache: CheckCache | None = None,
    *,
    whole: bool = True,
    warnings: bool = True,
    of_a_host: bool = True,
) -> tuple[Problem, ...]:
    """The errors that only show across resources, and what looks unintended, as warnings.

    `whole` is whether everything could be read, so that what a rule does not say is not meant. `warnings` is whether
    to look for what takes longest to find and refuses nothing. `of_a_host` is whether the settings are those of a host.
    """
    known = CheckCache() if cache is None else cache
    return in_order(
        (
            *_duplicates(resources),
            *_same_names(resources),
            *_reserved_tiers(resources.tiers),
            *_built_in_profile(resources.profiles),
            *_references(resources),
            *workload_problems(resources, settings, of_a_host=of_a_host),
            *_selectors(resources, known.selectors),
            *misplaced_before_failsafes(
                resources,
                settings.failsafe.inbound,
                partial(known.lint.select, resources, settings),
                known.before_failsafes,
                whole=whole,
            ),
            *(lint(resources, settings, known.lint, whole=whole) if warnings else ()),
        )
    )


def _duplicates(resources: Resources) -> Iterator[Problem]:
    every = resources.all()
    if len({(resource.__class__, resource.metadata.full_name) for resource in every}) == len(every):
        return
    first: dict[tuple[str, str], Position] = {}
    for resource in sorted(every, key=lambda r: r.metadata.position):
        kind, metadata = type(resource).__name__, resource.metadata
        earlier = first.get((kind, metadata.full_name))
        if earlier is None:
            first[kind, metadata.full_name] = metadata.position
        else:
            message = f"{kind} {quoted(metadata.full_name)} is already given at {earlier}"
            yield Problem(metadata.position, message, "each name once in a kind", "rename or remove one of the two")


def _same_names(resources: Resources) -> Iterator[Problem]:
    """Policies that are called as one of Kubernetes is in Calico's form: records would not tell them apart."""
    converted = {one.policy.metadata.full_name: one for one in resources.kubernetes_policies}
    named: tuple[NetworkPolicy | StagedNetworkPolicy, ...]
    named = (*resources.network_policies, *resources.staged_network_policies) if converted else ()
    for one in named:
        other = converted.get(one.metadata.full_name)
        if other is not None:
            message = f"{type(one).__name__} {quoted(one.metadata.full_name)} is what the one of Kubernetes at "
            message += f"{other.metadata.position} is called as well"
            yield Problem(one.metadata.position, message, "one of the two", "remove the copy that Calico made of it")


def _reserved_tiers(tiers: Iterable[Tier]) -> Iterator[Problem]:
    for tier in tiers:
        name = tier.metadata.name
        built_in = BUILT_IN_TIERS.get(name, tier)
        if (tier.order, tier.default_action) == (built_in.order, built_in.default_action):
            continue
        expected = f"order: {built_in.order:.0f} and defaultAction: {built_in.default_action.value}"
        hint = "it exists without being declared; leave it out"
        yield Problem(tier.metadata.position, f"the tier {quoted(name)} is Calico's and fixed", expected, hint)


def _built_in_profile(profiles: Iterable[Profile]) -> Iterator[Problem]:
    name = DEFAULT_ALLOW_PROFILE.metadata.name
    for profile in profiles:
        if profile.metadata.name == name:
            message = f"the profile {quoted(name)} is built in and allows everything"
            yield Problem(profile.metadata.position, message, "another name", "leave it out; HostEndpoints can name it")


class _Names(NamedTuple):
    """The resources that a reference may lead to."""

    noun: str
    known: frozenset[str]
    in_order: tuple[str, ...]
    expected: str
    unlisted: tuple[str, ...]
    """The names that `expected` only counts; one tuple, which thousands of problems have together."""


def _references(resources: Resources) -> Iterator[Problem]:
    tiers = _names("tier", (*resources.tiers, DEFAULT_TIER))
    for policy in resources.every_policy:
        if policy.tier not in tiers.known and policy.tier not in BUILT_IN_TIERS:
            yield _unknown(tiers, policy.tier, policy.tier_position, policy.metadata.position)
    sets = _names("GlobalNetworkSet or Feed", (*resources.network_sets, *resources.feeds))
    for feed in resources.feeds:
        if feed.external is not None and feed.external.of and feed.external.of not in sets.known:
            yield _unknown(sets, feed.external.of, feed.external.of_position, feed.metadata.position)
    profiles = _names("profile", (*resources.profiles, DEFAULT_ALLOW_PROFILE))
    groups = _names("InterfaceGroup", resources.interface_groups)
    for endpoint in resources.every_endpoint:
        position = endpoint.metadata.position
        places = dict(zip(endpoint.profiles, endpoint.profile_positions, strict=False))
        for name in endpoint.profiles:
            if name not in profiles.known:
                yield _unknown(profiles, name, places.get(name, NOWHERE), position)
        group = endpoint.interface_group if isinstance(endpoint, HostEndpoint) else None
        if isinstance(endpoint, HostEndpoint) and group is not None and group not in groups.known:
            yield _unknown(groups, group, endpoint.interface_group_position, position)


def _names(noun: str, declared: Iterable[Resource]) -> _Names:
    known = frozenset(resource.metadata.name for resource in declared)
    expected = f"one of {listed(known)}" if known else f"a declared {noun}"
    return _Names(noun, known, tuple(sorted(known)), expected, unlisted(known))


_NEIGHBOURS = 16


def _unknown(names: _Names, name: str, position: Position, otherwise: Position) -> Problem:
    # To compare thousands of wrong names with thousands of right ones would take minutes: a hint looks at those that
    # stand next to the name in their order, which are all of them in most configurations.
    place = bisect(names.in_order, name)
    near = names.in_order[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS]
    hint = did_you_mean(name, near) or f"declare the {names.noun}"
    message = f"unknown {names.noun} {quoted(name)}"
    return Problem(position if position.line else otherwise, message, names.expected, hint, more=names.unlisted)


def _selectors(resources: Resources, known: ByResource[tuple[Problem, ...]]) -> Iterator[Problem]:
    """Selectors that do not parse. Decoding refuses them; resources made otherwise may have them."""
    known.next_round()
    judged: dict[str, SelectorError | None] = {}
    owners: tuple[GlobalNetworkPolicy | Profile, ...] = (*resources.every_policy, *resources.profiles)
    yield from chain.from_iterable(known.of_each(owners, partial(_wrong_selectors, judged)))


def _wrong_selectors(
    judged: dict[str, SelectorError | None], owner: GlobalNetworkPolicy | Profile
) -> tuple[Problem, ...]:
    problems: list[Problem] = []
    for selector in _selector_texts(owner):
        if selector.text not in judged:
            judged[selector.text] = _error_of(selector.text)
        error = judged[selector.text]
        if error is not None:
            message = f"the selector {quoted(selector.text)} does not parse: {error.message}"
            problems.append(Problem(selector.position, message, error.expected))
    return tuple(problems)


def _error_of(text: str) -> SelectorError | None:
    try:
        parse(text)
    except SelectorError as error:
        return error
    return None


def _selector_texts(owner: GlobalNetworkPolicy | Profile) -> Iterator[SelectorText]:
    if isinstance(owner, GlobalNetworkPolicy):
        yield owner.selector
    yield from _rule_selectors((*owner.ingress, *owner.egress))


def _rule_selectors(rules: Iterable[Rule]) -> Iterator[SelectorText]:
    for rule in rules:
        for side in (rule.source, rule.destination):
            if side.selector is not None:
                yield side.selector
            if side.not_selector is not None:
                yield side.not_selector
