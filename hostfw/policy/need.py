"""The endpoints that the rules of a host ask for, as words: selectors in their one form, and names of ports.

A bundle has a host take only the endpoints that its rules ask for (`bundle.selections`). What is kept with them are the
words that they were chosen by, in an annotation of the host's own endpoints. As long as the rules of the host ask for
these words alone, no address is missing. Whoever asks for more, a policy of the host's own or another label, is
refused: a Deny that meets fewer addresses than it names lets packets through.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from hostfw.model.kinds.metadata import ENDPOINTS_FOR, SelectorText
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, HostEndpoint, Profile, Resources
from hostfw.model.settings import Workloads
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.effective_labels import NamespaceLabels
from hostfw.selector.evaluate import canonical, matches, parse

PORT = "port:"
"""Begins the word for a name of a port without a selector; no selector begins so."""

_Endpoint = HostEndpoint | WorkloadEndpoint


def words_of(
    owner: GlobalNetworkPolicy | Profile, canonical_of: Callable[[SelectorText], str]
) -> Iterator[tuple[str, Position]]:
    """The words that the rules of a policy or Profile ask for, in either direction, and where they do."""
    for rule in (*owner.ingress, *owner.egress):
        for side in (rule.source, rule.destination):
            yield from _of_side(side, rule.position, canonical_of)


def _of_side(
    side: EntityRule, position: Position, canonical_of: Callable[[SelectorText], str]
) -> Iterator[tuple[str, Position]]:
    written = [(text, canonical_of(text)) for text in (side.selector, side.not_selector) if text is not None]
    yield from ((word, text.position) for text, word in written if word)
    if side.selector is None or not canonical_of(side.selector):
        names = (port for port in (*side.ports, *side.not_ports) if isinstance(port, str))
        yield from ((f"{PORT}{name}", position) for name in names)


def canonical_text(text: SelectorText) -> str:
    """The one form of a selector, empty for one that restricts nothing."""
    return canonical(parse(text.text)) if text.text.strip(" \t") else ""


def is_partial(resources: Resources) -> bool:
    """True if the endpoints of a configuration are only some of those of its fleet."""
    return any(one.metadata.annotation(ENDPOINTS_FOR) for one in resources.every_endpoint)


def lacking(resources: Resources, node: str, workloads: Workloads) -> Problem | None:
    """The first rule of a host that asks for endpoints which its configuration may not have; None if it has all.

    Every policy counts on a host that may have workloads: their labels are not known before they run.
    """
    if not is_partial(resources):
        return None
    local = [one for one in resources.every_endpoint if one.is_of(node)]
    chosen_for = frozenset(chain.from_iterable(one.metadata.annotation(ENDPOINTS_FOR).split("\n") for one in local))
    known = dict[str, str]()

    def canonical_of(text: SelectorText) -> str:
        if text.text not in known:
            known[text.text] = canonical_text(text)
        return known[text.text]

    for owner in applying(resources, local, every=bool(workloads.patterns)):
        for word, position in words_of(owner, canonical_of):
            if word not in chosen_for:
                return _problem(word, position, owner, node)
    return None


def applying(
    resources: Resources, local: Iterable[_Endpoint], *, every: bool
) -> Iterator[GlobalNetworkPolicy | Profile]:
    """The policies and Profiles whose rules may decide about some endpoints, the staged among them; or every one."""
    local = tuple(local)
    profiles = {one.metadata.name: one for one in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    listed = {name for one in local for name in one.profiles}
    yield from (one for name, one in profiles.items() if every or name in listed)
    labels = _labels(resources, local, profiles)
    for policy in resources.every_policy:
        if every:
            yield policy
        else:
            selector = parse(policy.selector.text)
            if any(matches(selector, one) for one in labels):
                yield policy


def _labels(
    resources: Resources, local: tuple[_Endpoint, ...], profiles: Mapping[str, Profile]
) -> list[dict[str, str]]:
    by_namespace = NamespaceLabels(resources)
    return [by_namespace.of_endpoint(one, profiles) for one in local]


def _problem(word: str, position: Position, owner: GlobalNetworkPolicy | Profile, node: str) -> Problem:
    what = f'the port name "{word.removeprefix(PORT)}"' if word.startswith(PORT) else f"the selector {word}"
    kind = type(owner).__name__ if isinstance(owner, Profile) else "policy"
    return Problem(
        position,
        f'{kind} "{owner.metadata.full_name}" asks for {what}, and the endpoints that node {node} took from its bundle '
        "were chosen for other selectors: addresses may be missing",
        expected=f"the selectors in the annotation {ENDPOINTS_FOR} of the endpoints of {node}",
        hint="`hostfwctl pull --all-endpoints` takes the endpoints of all hosts; then try it again",
    )
