"""The interfaces whose coming, going and changing may decide which HostEndpoint governs what.

A host of containers makes and deletes interfaces all the time that no HostEndpoint, InterfaceGroup or setting asks
about: no rule changes by them. What is in doubt is of interest.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.governance import Governance, GovernedInterface
from hostfw.model.kinds.interface_groups import InterfaceMatch
from hostfw.model.plan import Plan
from hostfw.model.resources import WILDCARD, Resources
from hostfw.model.values import Cidr


@dataclass(frozen=True, slots=True)
class Interest:
    """The questions of a plan about interfaces: names, indices, hardware addresses, entries of groups, and addresses.

    `every_address` is whether each address of an interface without a binding counts.
    """

    plan: Plan
    names: frozenset[str]
    indices: frozenset[int]
    macs: frozenset[str]
    entries: tuple[InterfaceMatch, ...]
    link_groups: Mapping[str, int]
    expected: frozenset[Cidr]
    every_address: bool
    observed: Mapping[int, Interface]

    def in_link(self, interface: Interface) -> bool:
        """True if a link that was, or has become, this interface may change a binding. Its addresses do not count."""
        return (
            interface.index in self.indices
            or not self.names.isdisjoint((interface.name, *interface.altnames))
            or not self.macs.isdisjoint((interface.mac, interface.permanent_mac))
            or self.plan.settings.workloads.has(interface.name)
            or (bool(self.plan.settings.workloads.bridges) and interface.master is not None)
            or any(self._may_hold(entry, interface) for entry in self.entries)
        )

    def in_address(self, interface: str, address: Cidr) -> bool:
        """True if a binding, or what a rule knows of an endpoint, may change by an address that came or went."""
        return (
            self.every_address
            or interface in self.names
            or address in self.expected
            or self.plan.settings.workloads.has(interface)
            or any(_lies_in(entry, (address,)) for entry in self.entries)
        )

    def _may_hold(self, entry: InterfaceMatch, interface: Interface) -> bool:
        """True if an entry may hold for a link, whatever its addresses and routes are, of which other events tell."""
        names = (interface.name, *interface.altnames)
        if entry.name is not None and not any(fnmatchcase(name, entry.name) for name in names):
            return False
        if entry.kind is not None and interface.kind != entry.kind:
            return False
        if entry.link_group is not None:
            number = self.link_groups.get(entry.link_group) if isinstance(entry.link_group, str) else entry.link_group
            if interface.link_group != number:
                return False
        if entry.master is not None and interface.master != entry.master:
            return False
        if (entry.name, entry.kind, entry.link_group, entry.master) != (None,) * 4 or entry.default_route is False:
            return True
        # Nothing but its addresses and routes could bring it in.
        known = self.observed.get(interface.index)
        return known is not None and (known.default_route or _lies_in(entry, known.addresses))


def interest(resources: Resources, plan: Plan, facts: HostFacts, governance: Governance) -> Interest:
    """The interest of a plan, with the resources, facts and record that it was resolved with."""
    grouped = {endpoint.interface_group for endpoint in resources.endpoints}
    groups = [group for group in resources.interface_groups if group.metadata.name in grouped]
    entries = tuple(entry for group in groups for entry in group.match)
    excluding = (entry for group in groups for entry in group.except_)
    masters = {entry.master for entry in (*entries, *excluding)}
    named = {one.interface_name for one in (*resources.every_endpoint, *facts.workloads)}
    bound = {binding.interface for binding in plan.bindings}
    names = bound | named | masters | {record.name for record in governance.interfaces}
    here = [interface for interface in facts.interfaces if interface.name in bound]
    devices: tuple[Interface | GovernedInterface, ...] = (*here, *governance.interfaces)
    by_address = (one for one in resources.endpoints if one.interface_name is None and one.interface_group is None)
    return Interest(
        plan,
        names=frozenset(name for name in names if name is not None and name != WILDCARD),
        indices=frozenset(device.index for device in devices if device.index),
        macs=frozenset(mac for device in devices for mac in (device.mac, device.permanent_mac) if mac),
        entries=entries,
        link_groups=dict(facts.link_groups),
        expected=frozenset(cidr for endpoint in by_address for cidr in endpoint.expected_ips),
        every_address=plan.settings.learn_addresses and plan.wildcard is not None,
        observed={interface.index: interface for interface in facts.interfaces},
    )


def _lies_in(entry: InterfaceMatch, addresses: Collection[Cidr]) -> bool:
    return any(
        prefix.family is address.family and prefix.contains(address.address)
        for prefix in entry.address_in
        for address in addresses
    )
