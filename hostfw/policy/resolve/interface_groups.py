"""Membership of InterfaceGroups: which interfaces of a host an entry holds for.

Addresses and default routes count only where an administrator set them, since a neighbour writes the others: a rogue
DHCP server or one forged router advertisement would decide which policy an interface gets. With `learned` an entry
believes them all the same. What an entry does not believe can neither bring an interface in nor take it out.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.values import Cidr, Learned, address_text
from hostfw.model.wording import listed, unlisted

_GLOB = re.compile(r"[*?\[]")
_WORDS = {Learned.DHCP: "by DHCP", Learned.RA: "by a router advertisement"}


class HostIndex:
    """The interfaces of a host by what bindings look for: names, alternative names, addresses."""

    def __init__(self, facts: HostFacts) -> None:
        self.facts = facts
        self.names = {interface.name: interface for interface in facts.interfaces}
        self.by_altname = {name: interface for interface in facts.interfaces for name in interface.altnames}
        self.link_groups = dict(facts.link_groups)
        self.all_names = f"one of {listed(self.names)}"
        self.unlisted_names = unlisted(self.names)
        self._called: dict[str, list[Interface]] = {}
        self._holders: dict[Cidr, list[Interface]] = {}
        self._sorted: list[str] = []
        for interface in facts.interfaces:
            for name in dict.fromkeys((interface.name, *interface.altnames)):
                self._called.setdefault(name, []).append(interface)
            for cidr in interface.addresses:
                self._holders.setdefault(cidr, []).append(interface)

    def holders(self, cidr: Cidr) -> Collection[Interface]:
        """The interfaces that have an address, whoever set it."""
        return self._holders.get(cidr, ())

    def candidates(self, entry: InterfaceMatch) -> Collection[Interface]:
        """The interfaces that an entry may hold for, by its name, or by what a pattern begins with."""
        if entry.name is None:
            return self.facts.interfaces
        glob = _GLOB.search(entry.name)
        if glob is None:
            return self._called.get(entry.name, ())
        return self._beginning(entry.name[: glob.start()])

    def _beginning(self, prefix: str) -> Collection[Interface]:
        if not prefix:
            return self.facts.interfaces
        if not self._sorted:
            self._sorted = sorted(self._called)
        found: dict[str, Interface] = {}
        for place in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[place].startswith(prefix):
                break
            found |= {interface.name: interface for interface in self._called[self._sorted[place]]}
        return found.values()


def in_group(group: InterfaceGroup, interface: Interface, facts: HostFacts) -> bool:
    """True if an interface is in an InterfaceGroup: any entry of `match` holds and none of `except`.

    Of the entries of `match` only those that say so count for `lo`.
    """
    return _is_member(group, interface, dict(facts.link_groups))


def members_of(group: InterfaceGroup, host: HostIndex) -> tuple[str, ...]:
    """The names of the interfaces of a group, sorted."""
    candidates = {interface.name: interface for entry in group.match for interface in host.candidates(entry)}
    return tuple(sorted(name for name, one in candidates.items() if _is_member(group, one, host.link_groups)))


@dataclass(frozen=True, slots=True)
class Distrusted:
    """Facts that would make an entry or an expected address hold, but came from a neighbour and are not trusted."""

    interfaces: tuple[str, ...]
    facts: tuple[str, ...]
    ways: tuple[Learned, ...]

    @property
    def trusting(self) -> str:
        """The field that would make it count."""
        return f"learned: [{', '.join(self.ways)}]"


def distrusted(entry: InterfaceMatch, host: HostIndex) -> Distrusted | None:
    """The untrusted facts because of which an entry holds for no interface. None otherwise."""
    if not entry.address_in and not entry.default_route:
        return None
    candidates = [one for one in host.candidates(entry) if _may_count(entry, one)]
    if any(_holds(entry, one, host.link_groups) for one in candidates):
        return None
    believing = replace(entry, learned=tuple(Learned))
    found = [one for one in candidates if _holds(believing, one, host.link_groups)]
    if not found:
        return None
    facts: list[tuple[str, Learned]] = []
    for one in found:
        facts += _doubted_addresses(entry, one)
        if entry.default_route and not one.has_default_route(entry.learned):
            facts += [(f"the default route to {one.name}", how) for how in one.default_route_learned]
    names = tuple(one.name for one in found)
    return Distrusted(names, tuple(f"{what} came {_WORDS[how]}" for what, how in facts), _ways(facts))


def distrusted_addresses(
    interface: Interface, believed: Collection[Learned], wanted: Collection[Cidr] | None = None
) -> Distrusted | None:
    """The addresses of an interface, or those of them that are wanted, that count for nothing. None for none."""
    facts = [
        (f"{address_text(cidr.family, cidr.address)} of {interface.name}", how)
        for cidr, how in interface.learned
        if how not in believed and (wanted is None or cidr in wanted)
    ]
    said = tuple(f"{what} came {_WORDS[how]}" for what, how in facts)
    return Distrusted((interface.name,), said, _ways(facts)) if facts else None


def _ways(facts: list[tuple[str, Learned]]) -> tuple[Learned, ...]:
    return tuple(sorted({how for _, how in facts}))


def _doubted_addresses(entry: InterfaceMatch, interface: Interface) -> Iterator[tuple[str, Learned]]:
    if _has_address(entry, interface.addresses_of(entry.learned)):
        return
    for cidr, how in interface.learned:
        if how not in entry.learned and _has_address(entry, (cidr,)):
            yield f"{address_text(cidr.family, cidr.address)} of {interface.name}", how


def _is_member(group: InterfaceGroup, interface: Interface, numbers: Mapping[str, int]) -> bool:
    entries = (entry for entry in group.match if _may_count(entry, interface))
    return any(_holds(entry, interface, numbers) for entry in entries) and not any(
        _holds(entry, interface, numbers) for entry in group.except_
    )


def _may_count(entry: InterfaceMatch, interface: Interface) -> bool:
    return interface.name != LOOPBACK or entry.name == LOOPBACK or entry.kind == "loopback"


def _holds(entry: InterfaceMatch, interface: Interface, numbers: Mapping[str, int]) -> bool:
    if entry.name is not None and not any(fnmatchcase(n, entry.name) for n in (interface.name, *interface.altnames)):
        return False
    if entry.kind is not None and interface.kind != entry.kind:
        return False
    if entry.link_group is not None:
        number = numbers.get(entry.link_group) if isinstance(entry.link_group, str) else entry.link_group
        if interface.link_group != number:
            return False
    if entry.master is not None and interface.master != entry.master:
        return False
    if entry.address_in and not _has_address(entry, interface.addresses_of(entry.learned)):
        return False
    return entry.default_route is None or interface.has_default_route(entry.learned) == entry.default_route


def _has_address(entry: InterfaceMatch, addresses: Collection[Cidr]) -> bool:
    return any(
        prefix.family is address.family and prefix.contains(address.address)
        for prefix in entry.address_in
        for address in addresses
    )
