"""Selections of a configuration's selectors, computed once for each text."""

from collections.abc import Iterable
from functools import reduce
from operator import or_

from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.interface_groups import InterfaceGroup
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.prefixes import Cidrs, CidrSet, includes
from hostfw.model.resources import WILDCARD, HostEndpoint, Profile, Resources
from hostfw.model.values import Cidr, Family, host_cidr, merge
from hostfw.policy.effective_labels import (
    LabelIndex,
    NamespaceLabels,
    index_labels,
    labels_of_members,
    members,
    selected,
)
from hostfw.selector.evaluate import SelectorError, parse

LOOPBACK_NETS = (Cidr(Family.V4, 127 << 24, 8), host_cidr(Family.V6, 1))


class Selections:
    """Selected resources as the bits of an integer, as in `policy.labels`.

    Made for configurations that may still be wrong: an unknown profile gives no labels, and what does not parse
    selects nothing. With `learn_addresses` every endpoint may have addresses, though nobody knows yet which. `others`
    is whether there may be more endpoints than the configuration has: workloads that run at some time, or those of
    other hosts where it has only some of them, which is what `partial` says.
    """

    def __init__(
        self, resources: Resources, *, learn_addresses: bool = False, others: bool = False, partial: bool = False
    ) -> None:
        endpoints = resources.every_endpoint
        names = {name for endpoint in endpoints for name in endpoint.profiles}
        profiles = {name: Profile(Metadata(name)) for name in names} | {p.metadata.name: p for p in resources.profiles}
        by_namespace = NamespaceLabels(resources)
        labels = [by_namespace.of_endpoint(endpoint, profiles) for endpoint in endpoints]
        sets = [by_namespace.of_set(one) for one in resources.network_sets]
        sets += [by_namespace.of_set(one) for one in resources.namespaced_sets]
        sets += [dict(labels_of_members(feed, resources)) for feed in resources.feeds]
        self._endpoints = index_labels(labels)
        self._entities = index_labels([*labels, *sets])
        self._of_endpoints: dict[str, int] = {}
        self._of_entities: dict[str, int] = {}
        self._gathered: dict[int, tuple[Cidrs, ...]] = {}
        self._nets: list[Cidrs] = [endpoint.expected_ips for endpoint in endpoints]
        self._nets += [network_set.nets for network_set in resources.network_sets]
        self._nets += [network_set.nets for network_set in resources.namespaced_sets]
        self._nets += [feed.cidrs for feed in resources.feeds]
        namespaced = _bits(True for _ in resources.namespaced_sets)
        self.in_namespaces = namespaced << (len(endpoints) + len(resources.network_sets))
        self.of_workloads = _bits(isinstance(endpoint, WorkloadEndpoint) for endpoint in endpoints)
        self.in_namespaces |= self.of_workloads
        self.others = others
        self.partial = partial
        learning = self._endpoints.everything if learn_addresses else 0
        first_feed = len(self._nets) - len(resources.feeds)
        external = _bits(feed.external is not None for feed in resources.feeds) << first_feed
        self.addressed = learning | external | sum(1 << place for place, nets in enumerate(self._nets) if nets)
        self.beyond_loopback = _bits(not all(includes(LOOPBACK_NETS, net) for net in nets) for nets in self._nets)
        """The bits of what has any address that is not of the host's loopback."""
        self._having_port = _bits_by_port_name(endpoints)
        self._listing = _bits_by_profile(endpoints)
        self.every_endpoint = self._endpoints.everything
        naming_lo = {group.metadata.name for group in resources.interface_groups if _names_loopback(group)}
        self.wildcards = _bits(e.interface_name == WILDCARD for e in resources.endpoints)
        self.of_loopback = _bits(
            e.interface_name == LOOPBACK or e.interface_group in naming_lo for e in resources.endpoints
        )
        self.by_address = _bits(e.interface_name is None and e.interface_group is None for e in resources.endpoints)

    def endpoints(self, text: str) -> int:
        """The HostEndpoints that a policy's selector selects."""
        return _selected(text, self._endpoints, self._of_endpoints)

    def entities(self, text: str) -> int:
        """The HostEndpoints, sets and Feeds that a rule's selector selects."""
        return _selected(text, self._entities, self._of_entities)

    def having_port(self, name: str) -> int:
        """The HostEndpoints that have a port of a name."""
        return self._having_port.get(name, 0)

    def listing(self, profile: str) -> int:
        """The HostEndpoints that list a profile."""
        return self._listing.get(profile, 0)

    def nets(self, text: str) -> tuple[Cidrs, ...]:
        """The addresses that a rule's selector stands for: what is packed one by one, all the rest merged into one."""
        bits = self.entities(text)
        known = self._gathered.get(bits)
        if known is None:
            found = [self._nets[place] for place in members(bits)]
            packed = [nets for nets in found if isinstance(nets, CidrSet)]
            merged = merge(net for nets in found if not isinstance(nets, CidrSet) for net in nets)
            known = (*packed, merged)
            self._gathered[bits] = known
        return known


def union(bits: Iterable[int]) -> int:
    """The union of bit sets."""
    return reduce(or_, bits, 0)


def _selected(text: str, index: LabelIndex, known: dict[str, int]) -> int:
    bits = known.get(text)
    if bits is None:
        try:
            bits = selected(parse(text), index)
        except SelectorError:
            bits = 0
        known[text] = bits
    return bits


def _bits_by_port_name(endpoints: Iterable[HostEndpoint | WorkloadEndpoint]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, endpoint in enumerate(endpoints):
        for port in endpoint.ports:
            found[port.name] = found.get(port.name, 0) | 1 << place
    return found


def _bits_by_profile(endpoints: Iterable[HostEndpoint | WorkloadEndpoint]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, endpoint in enumerate(endpoints):
        for name in endpoint.profiles:
            found[name] = found.get(name, 0) | 1 << place
    return found


def _names_loopback(group: InterfaceGroup) -> bool:
    """True if a group may have `lo`, which no glob and no address brings in."""
    return any(entry.name == LOOPBACK or entry.kind == "loopback" for entry in group.match)


def _bits(of_each: Iterable[bool]) -> int:
    return sum(1 << place for place, holds in enumerate(of_each) if holds)
