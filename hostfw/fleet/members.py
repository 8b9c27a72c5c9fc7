"""Members of a fleet: a host with its plan, and the places that connections between hosts begin and end at."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hostfw.explain.governing import governing_endpoint
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import Plan
from hostfw.model.resources import HostEndpoint, Resources
from hostfw.model.values import Family
from hostfw.policy.effective_labels import effective_labels


class Place(NamedTuple):
    """An address of a host at one of its interfaces, and the labels of the HostEndpoint that governs it."""

    host: str
    family: Family
    address: int
    interface: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """One host of the fleet. `places` are sorted by family and address."""

    name: str
    facts: HostFacts
    plan: Plan
    places: tuple[Place, ...]


def member_of(name: str, facts: HostFacts, plan: Plan, resources: Resources) -> Member:
    """A host with every address of its governed interfaces; what a HostEndpoint expects counts where no fact does.

    Addresses of a link alone, and those of `lo`, are no way to another host.
    """
    profiles = {profile.metadata.name: profile for profile in resources.profiles}
    own = {endpoint.metadata.name: endpoint for endpoint in resources.endpoints if endpoint.is_of(plan.node)}
    labels = {found: effective_labels(endpoint, profiles) for found, endpoint in own.items()}
    places = {
        (place.family, place.address): place
        for found, endpoint in own.items()
        for place in _places(name, endpoint, labels[found], facts, plan)
    }
    return Member(name, facts, plan, tuple(places[key] for key in sorted(places)))


def _places(
    name: str, endpoint: HostEndpoint, labels: Mapping[str, str], facts: HostFacts, plan: Plan
) -> Iterator[Place]:
    governed = [
        interface
        for interface in facts.interfaces
        if interface.name != LOOPBACK and governing_endpoint(interface.name, plan).endpoint == endpoint.metadata.name
    ]
    held = {(c.family, c.address): interface.name for interface in governed for c in interface.addresses}
    for (family, address), interface in held.items():
        if not _is_of_the_link(family, address):
            yield Place(name, family, address, interface, labels)
    for cidr in endpoint.expected_ips:
        key = cidr.family, cidr.address
        if governed and key not in held and not _held_elsewhere(key, facts.interfaces):
            yield Place(name, *key, _usual(governed).name, labels)


def _held_elsewhere(key: tuple[Family, int], interfaces: Iterable[Interface]) -> bool:
    return any((c.family, c.address) == key for interface in interfaces for c in interface.addresses)


def _usual(interfaces: list[Interface]) -> Interface:
    return min(interfaces, key=lambda interface: (not interface.default_route, interface.name))


def _is_of_the_link(family: Family, address: int) -> bool:
    return family is Family.V6 and address >> 118 == 0xFE80 >> 6
