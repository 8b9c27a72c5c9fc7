"""The address book: what rule selectors and port names stand for.

It holds the HostEndpoints of all nodes, not only of this one, the workloads, the sets of either scope and the Feeds. A
HostEndpoint contributes its expectedIPs and never the addresses that its interface really has, as in Calico; so one
that has none is in no set, and `all()` means every address that the book knows, not every address.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

from hostfw.model.kinds.metadata import Labels, SelectorText
from hostfw.model.kinds.sets import Feed
from hostfw.model.kinds.workloads import EndpointPort, WorkloadEndpoint
from hostfw.model.plan import NO_NETWORKS, AddressSet, ExternalSet, LinkNetworks, PortMember, PortSet
from hostfw.model.prefixes import PACKED_FROM, Cidrs, CidrSet, union, unpacked
from hostfw.model.resources import GlobalNetworkPolicy, HostEndpoint, Profile, Resources
from hostfw.model.values import Cidr, Protocol, merge
from hostfw.policy.effective_labels import (
    LabelIndex,
    NamespaceLabels,
    index_labels,
    labels_of_members,
    members,
    selected,
)
from hostfw.selector.evaluate import Selector, canonical, parse
from hostfw.selector.required_labels import RequiredLabels, required_labels


class Entry(NamedTuple):
    """The addresses of an endpoint or a set, those of each family apart, with its labels.

    `of` is kept so that its identity stays its own.
    """

    of: object
    parts: tuple[tuple[Cidr, ...], ...]
    labels: dict[str, str]


class Parsed(NamedTuple):
    """A selector, its canonical text, which is empty where it restricts nothing, and what a label set needs for it."""

    selector: Selector
    name: str
    required: RequiredLabels | None

    def selected(self, index: LabelIndex) -> int:
        """The label sets that it selects, as bits; that it selects none of a few is mostly known without a look."""
        if self.required is not None and self.required.isdisjoint(index.there):
            return 0
        return selected(self.selector, index)


class Asked(NamedTuple):
    """All that the rules of a policy or profile ask of a book; `owner` is kept so that its identity stays its own."""

    owner: GlobalNetworkPolicy | Profile
    selectors: tuple[SelectorText, ...]
    names_ports: bool
    means_networks: bool


class Written(NamedTuple):
    """Everything that the answers of a book come from.

    `entries` are addresses with their labels by the identity of whose they are, `outside_sets` the Feeds and the
    external sets with theirs, `ports` the endpoints that have named ports, and `networks` those of interfaces.
    """

    entries: Mapping[int, Entry]
    outside_sets: tuple[tuple[Feed, ...], tuple[ExternalSet, ...], tuple[Labels, ...]]
    ports: tuple[tuple[tuple[EndpointPort, ...], tuple[Cidr, ...], dict[str, str]], ...]
    networks: LinkNetworks


class AddressBook:
    """Looks up selectors and port names; equal questions get the same object, worked out once."""

    def __init__(
        self,
        resources: Resources,
        profiles: Mapping[str, Profile],
        networks: LinkNetworks = NO_NETWORKS,
        before: "AddressBook | None" = None,
    ) -> None:
        """The book of these resources; `networks` are those of the interfaces of this host.

        What `before` has parsed need not be parsed again, nor is what it has of the very same endpoints and sets.
        """
        self.networks = networks
        namespaces = self._namespaces = NamespaceLabels(resources)
        self._profiles = profiles
        self._labels_rest_on = resources.namespaces, dict(profiles)
        endpoints = resources.every_endpoint
        is_alike = before is not None and before._labels_rest_on == self._labels_rest_on  # noqa: SLF001  another of its own
        known: Mapping[int, Entry] = before.written.entries if before is not None and is_alike else {}
        of_set = namespaces.of_set
        addressed = {
            **{
                id(e): known.get(id(e)) or _entry(e, e.expected_ips, namespaces.of_endpoint(e, profiles))
                for e in endpoints
                if e.expected_ips
            },
            **{id(s): known.get(id(s)) or _entry(s, s.nets, of_set(s)) for s in resources.network_sets if s.nets},
            **{id(s): known.get(id(s)) or _entry(s, s.nets, of_set(s)) for s in resources.namespaced_sets if s.nets},
        }
        # An entry for each family, all sorted by address, so that what a selector gathers comes nearly sorted.
        entries = sorted([(part, one.labels) for one in addressed.values() for part in one.parts], key=itemgetter(0))
        feeds = [feed for feed in resources.feeds if feed.cidrs]
        self._entries: tuple[Cidrs, ...] = (*(cidrs for cidrs, _ in entries), *(feed.cidrs for feed in feeds))
        self._from_feed = (1 << len(self._entries)) - (1 << len(entries))
        self._entry_labels = index_labels(
            (*(labels for _, labels in entries), *(dict(feed.metadata.labels) for feed in feeds))
        )
        external = sorted(
            (feed for feed in resources.feeds if feed.external and _is_there(feed.external.of, resources)),
            key=lambda feed: feed.metadata.name,
        )
        self._external = tuple(
            ExternalSet(feed.metadata.name, feed.external.size, feed.external.timeout_s)
            for feed in external
            if feed.external is not None
        )
        self._external_labels = index_labels(dict(labels_of_members(feed, resources)) for feed in external)
        self._with_ports = tuple(e for e in endpoints if e.ports and e.expected_ips)
        self._port_labels = index_labels(namespaces.of_endpoint(e, profiles) for e in self._with_ports)
        self._named = _bits_by_port_name(self._with_ports)
        self._parsed: dict[str, Parsed] = before.parsed_in_use() if before is not None else {}
        self._used: set[str] = set()
        self._gathered: dict[int, Cidrs] = {}
        self._address_sets: dict[str, AddressSet] = {}
        self.written: Written = Written(
            addressed,
            (resources.feeds, self._external, tuple(labels_of_members(feed, resources) for feed in external)),
            tuple((one.ports, one.expected_ips, self.labels_of(one)) for one in self._with_ports),
            networks,
        )
        self._port_sets: dict[tuple[str, str, int | None], PortSet] = {}
        self._asked: dict[int, Asked] = {}

    @property
    def external(self) -> tuple[ExternalSet, ...]:
        """The sets that other programs fill, sorted by name."""
        return self._external

    def labels_of(self, endpoint: HostEndpoint | WorkloadEndpoint) -> dict[str, str]:
        """The labels that selectors see of an endpoint."""
        return self._namespaces.of_endpoint(endpoint, self._profiles)

    def canonical(self, text: SelectorText | None) -> str:
        """The canonical text of a selector; "" for one that is absent or blank and so restricts nothing."""
        return "" if text is None else self._parse(text).name

    def address_set(self, text: SelectorText | None) -> AddressSet | None:
        """The addresses that a selector stands for, or None where it restricts nothing."""
        if text is None:
            return None
        parsed = self._parse(text)
        name = parsed.name
        if not name:
            return None
        known = self._address_sets.get(name)
        if known is None:
            bits = parsed.selected(self._entry_labels)
            external = (
                tuple(self._external[place] for place in members(parsed.selected(self._external_labels)))
                if self._external
                else ()
            )
            known = AddressSet(name, self._gather(bits), from_feed=bool(bits & self._from_feed), external=external)
            self._address_sets[name] = known
        return known

    def port_set(self, name: str, text: SelectorText | None, protocol: Protocol | None) -> PortSet:
        """The members of a port name on the endpoints of a selector (all of them without one), for a protocol."""
        key = (name, self.canonical(text), None if protocol is None else protocol.number)
        known = self._port_sets.get(key)
        if known is None:
            bits = self._named.get(name, 0)
            if text is not None:
                bits &= self._parse(text).selected(self._port_labels)
            found = (m for place in members(bits) for m in _port_members(self._with_ports[place], name, protocol))
            known = PortSet(name, tuple(sorted(set(found))))
            self._port_sets[key] = known
        return known

    def answers_of(self, before: "AddressBook") -> Callable[[GlobalNetworkPolicy | Profile], bool]:
        """A function that tells if both books say the same to all that the rules of a policy or profile ask.

        A selector stands for the same as before if it selects none of the entries that came or went.
        """
        now, then = self.written, before.written
        changed = [dict(labels) for _, labels in _contents(now, then) ^ _contents(then, now)]
        ports_alike, networks_alike = now.ports == then.ports, now.networks == then.networks
        outside_alike = now.outside_sets == then.outside_sets
        index = index_labels(changed)
        known: dict[str, bool] = {}
        owners: dict[int, bool] = {}

        def stays(text: SelectorText) -> bool:
            found = known.get(text.text)
            if found is None:
                parsed = self._parse(text)
                found = known[text.text] = not parsed.name or (outside_alike and not parsed.selected(index))
            return found

        def owner_stays(owner: GlobalNetworkPolicy | Profile) -> bool:
            # Asked for each direction.
            key = id(owner)
            found = owners.get(key)
            if found is None:
                asked = self._asked[key] = before._asked.get(key) or _asked(owner)  # noqa: SLF001  another of its own
                found = owners[key] = (
                    (ports_alike or not asked.names_ports)
                    and (networks_alike or not asked.means_networks)
                    and all(map(stays, asked.selectors))
                )
            return found

        return owner_stays

    def selected(self, text: SelectorText, index: LabelIndex) -> int:
        """The label sets that a selector selects, as bits; its text is parsed once."""
        return self._parse(text).selected(index)

    def parsed_in_use(self) -> dict[str, Parsed]:
        """The texts that were asked for since the book was made, parsed."""
        return {text: self._parsed[text] for text in self._used}

    def _parse(self, text: SelectorText) -> Parsed:
        self._used.add(text.text)
        known = self._parsed.get(text.text)
        if known is None:
            selector = parse(text.text)
            name = canonical(selector) if text.text.strip(" \t") else ""
            known = Parsed(selector, name, required_labels(selector))
            self._parsed[text.text] = known
        return known

    def _gather(self, bits: int) -> Cidrs:
        known = self._gathered.get(bits)
        if known is None:
            known = _joined([self._entries[place] for place in members(bits)])
            self._gathered[bits] = known
        return known


def _entry(of: object, cidrs: tuple[Cidr, ...], labels: dict[str, str]) -> Entry:
    return Entry(of, tuple(_by_family(merge(cidrs))), labels)


def _contents(of: Written, other: Written) -> set[tuple[tuple[Cidr, ...], frozenset[tuple[str, str]]]]:
    """The addresses with their labels in a book, but for those entries that another has as the very same."""
    entries = (one for key, one in of.entries.items() if other.entries.get(key) is not one)
    return {(cidrs, frozenset(one.labels.items())) for one in entries for cidrs in one.parts}


def _asked(owner: GlobalNetworkPolicy | Profile) -> Asked:
    sides = [side for rule in (*owner.ingress, *owner.egress) for side in (rule.source, rule.destination)]
    return Asked(
        owner,
        tuple([text for side in sides for text in (side.selector, side.not_selector) if text is not None]),
        any(isinstance(port, str) for side in sides for port in (*side.ports, *side.not_ports)),
        any(side.local or side.not_local for side in sides),
    )


def _joined(parts: list[Cidrs]) -> Cidrs:
    """All of them, disjoint and sorted: as a tuple while they are few."""
    if sum(map(len, parts)) >= PACKED_FROM:
        one = parts[0] if len(parts) == 1 else None
        return unpacked(one if isinstance(one, CidrSet) else union(parts))
    few = [tuple(part) for part in parts]
    return few[0] if len(few) == 1 else merge(chain.from_iterable(few))


def _by_family(cidrs: tuple[Cidr, ...]) -> Iterable[tuple[Cidr, ...]]:
    return (tuple(part) for _, part in groupby(cidrs, key=lambda cidr: cidr.family))


def _bits_by_port_name(endpoints: Iterable[HostEndpoint | WorkloadEndpoint]) -> dict[str, int]:
    bits: dict[str, int] = {}
    for place, endpoint in enumerate(endpoints):
        for port in endpoint.ports:
            bits[port.name] = bits.get(port.name, 0) | 1 << place
    return bits


def _port_members(
    endpoint: HostEndpoint | WorkloadEndpoint, name: str, protocol: Protocol | None
) -> Iterable[PortMember]:
    for port in endpoint.ports:
        if port.name == name and (protocol is None or protocol.number == port.protocol.number):
            for cidr in endpoint.expected_ips:
                yield PortMember(cidr.family, cidr.address, port.protocol.number, port.port)


def _is_there(of: str, resources: Resources) -> bool:
    """True if a set that others' members belong to is there: one that has expired takes them along."""
    return not of or any(one.metadata.name == of for one in resources.every_set)
