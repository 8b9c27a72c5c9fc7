"""The networks that interfaces are on, as far as `local` in a rule means them.

Who is on the link can forge an address of its network, and answers for itself alone. But a network may be said by that
very neighbour (DHCP, a router advertisement), and must not make everybody local: what a neighbour gave counts from a
length on that one link has, and what an administrator set unless it is a good part of all addresses.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import LINK_LOCAL, NO_NETWORKS, LinkNetworks
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import GlobalNetworkPolicy, Profile, Resources, Rule
from hostfw.model.values import Cidr, Direction, Family, Learned, merge
from hostfw.policy.cache import ByResource
from hostfw.policy.resolve.bindings import Bindings

SHORTEST = {Family.V4: 8, Family.V6: 32}
"""The length from which a network counts that an administrator set."""
SHORTEST_LEARNED = {Family.V4: 16, Family.V6: 64}
"""The length from which one counts that a neighbour gave."""
MOST_LEARNED = 16
"""Most networks of an interface and IP version that a neighbour gave, as many as the kernel takes addresses of."""

_WORDS = {Learned.DHCP: "DHCP", Learned.RA: "a router advertisement"}


def local_networks(asking: Rule | None, facts: HostFacts, bound: Bindings) -> LinkNetworks:
    """The networks of the interfaces of a host; none where no rule asks for them, so that no rule depends on them."""
    return link_networks(facts, bound) if asking is not None else NO_NETWORKS


def link_networks(facts: HostFacts, bound: Bindings) -> LinkNetworks:
    """The networks of every interface but those of workloads, and but `lo` while no HostEndpoint names it.

    What an interface of a VRF receives comes in on the VRF as well. Link-local addresses of IPv6 are left out: they
    are on the link whatever interface they come in on.
    """
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    named = {binding.interface for binding in bound.bindings}
    found: dict[str, list[Cidr]] = {}
    for interface in facts.interfaces:
        if (interface.name == LOOPBACK and LOOPBACK not in named) or bound.workloads.has(interface.name):
            continue
        counted, _ = _told_apart(interface)
        found.setdefault(interface.name, []).extend(counted)
        if interface.master is not None and kinds.get(interface.master) == "vrf":
            found.setdefault(interface.master, []).extend(counted)
    return LinkNetworks(tuple((name, cidr) for name in sorted(found) for cidr in merge(found[name])))


def left_out_problems(rule: Rule | None, facts: HostFacts) -> Iterator[Problem]:
    """A warning for each network that `local` in a rule does not mean although an interface is on it."""
    if rule is None:
        return
    for interface in facts.interfaces:
        for cidr, how in _told_apart(interface)[1]:
            shortest = (SHORTEST if how is None else SHORTEST_LEARNED)[cidr.family]
            given = "" if how is None else f", which {_WORDS[how]} gave"
            limit = f"at most {MOST_LEARNED} networks" if cidr.length >= shortest else f"/{shortest} or longer"
            yield Problem(
                rule.position,
                f"local is without {cidr} of {interface.name}{given}",
                expected=f"{limit} of an interface over IPv{cidr.family:d}",
                hint=f"add {cidr} to nets if all of it is meant",
                severity=Severity.WARNING,
            )


_Known = tuple[Cidr, Learned | None]


def _told_apart(interface: Interface) -> tuple[tuple[Cidr, ...], tuple[_Known, ...]]:
    """The networks of an interface that count, and those that do not, with how they came."""
    learned = dict(interface.networks_learned)
    counted: list[Cidr] = []
    left_out: list[_Known] = []
    given: Counter[Family] = Counter()
    for cidr in sorted(interface.networks):
        if LINK_LOCAL.family is cidr.family and LINK_LOCAL.contains(cidr.address):
            continue
        how = learned.get(cidr)
        shortest = SHORTEST if how is None else SHORTEST_LEARNED
        if cidr.length < shortest[cidr.family] or (how is not None and given[cidr.family] >= MOST_LEARNED):
            left_out.append((cidr, how))
            continue
        given[cidr.family] += how is not None
        counted.append(cidr)
    return tuple(counted), tuple(left_out)


def first_asking(resources: Resources, known: ByResource[Rule | None]) -> Rule | None:
    """The first rule that asks for the networks of interfaces; None where none does. `known` are those of last time."""
    known.next_round()
    of_policies = known.of_each(resources.every_policy, _first_of)
    return next(filter(None, (*of_policies, *known.of_each(resources.profiles, _first_of, "profiles"))), None)


def _first_of(owner: GlobalNetworkPolicy | Profile) -> Rule | None:
    rules = chain.from_iterable(owner.rules(direction) for direction in Direction)
    return next(filter(asks_for_networks, rules), None)


def asks_for_networks(rule: Rule) -> bool:
    """True if a rule has the word `local`."""
    source, destination = rule.source, rule.destination
    return source.local or source.not_local or destination.local or destination.not_local
