"""Governance that outlives its facts: bindings that a record adds to those that the facts of now give.

A HostEndpoint claims interfaces by name, by group or by address. Where a fact changes (an interface is renamed, becomes
the port of a bridge or bond, leaves a group, loses its route or its address) the claim may end although nobody has
touched policy. The interface then keeps the HostEndpoint that it had, in every direction and class, forwarded traffic
included, until another one claims it, until the configuration claims something else, or until a person lets it go.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from hostfw.manifest.encode import manifest
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.governance import Governance, GovernedInterface, InterfaceLookup, remembered
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.interface_groups import InterfaceGroup
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.plan import Binding, Plan
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import HostEndpoint, Resources
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.values import address_text
from hostfw.policy.expiry import still_expired
from hostfw.policy.resolve.bindings import Bindings


def keep(
    bound: Bindings,
    governance: Governance,
    local: Sequence[HostEndpoint | WorkloadEndpoint],
    resources: Resources,
    facts: HostFacts,
    on_host: InterfaceLookup,
) -> tuple[Bindings, tuple[Problem, ...]]:
    """The bindings of now, those that the record adds, and a warning for each of these.

    A record counts while its HostEndpoint is there and claims what it claimed then; once an interface is kept, until
    the HostEndpoint is gone. An interface that another HostEndpoint claims by name, group or address is that one's.
    """
    named = {record.endpoint for record in governance.interfaces}
    endpoints = {name: one for one in local if (name := one.metadata.full_name) in named}
    claims = _claims(endpoints.values(), resources.interface_groups)
    standing = [
        (record, interface)
        for record in sorted(governance.interfaces, key=lambda record: (record.endpoint, record.name))
        if record.endpoint in endpoints and (record.kept or claims[record.endpoint] == record.claim)
        if (interface := on_host.found_again(record)) is not None
    ]
    taken = {binding.interface for binding in bound.bindings}
    kept: dict[str, Binding] = {}
    for record, interface in standing:
        if interface.name not in taken and is_safe_name(interface.name):
            kept.setdefault(
                interface.name,
                Binding(
                    interface.name, record.endpoint, _why(record, interface, endpoints[record.endpoint]), kept=True
                ),
            )
    for record, interface in standing:
        if isinstance(endpoints[record.endpoint], WorkloadEndpoint):
            # A bridge carries what the host sends and gets itself, and other workloads.
            continue
        for port, master in _masters(interface, record, facts):
            if master.name not in taken and is_safe_name(master.name):
                why = f"{port.name}, which HostEndpoint {record.endpoint} governs, became a port of it"
                kept.setdefault(master.name, Binding(master.name, record.endpoint, why, kept=True))
    bindings = tuple(sorted((*bound.bindings, *kept.values()), key=lambda binding: binding.interface))
    problems = (_problem(binding, endpoints[binding.endpoint]) for binding in kept.values())
    return replace(bound, bindings=bindings), tuple(problems)


def closed(
    bound: Bindings, governance: Governance, workloads: Sequence[WorkloadEndpoint], on_host: InterfaceLookup
) -> tuple[str, ...]:
    """The interfaces of workloads that are no more, under names that tell it no longer: they are nobody's."""
    running = {one.metadata.full_name for one in workloads}
    taken = {binding.interface for binding in bound.bindings}
    left = (
        interface.name
        for record in governance.interfaces
        if _is_left(record, running) and (record.kept or bound.workloads.has(record.name))
        if (interface := on_host.found_again(record)) is not None
    )
    return tuple(
        sorted({name for name in left if name not in taken and not bound.workloads.has(name) and is_safe_name(name)})
    )


def _is_left(record: GovernedInterface, endpoints: Container[str]) -> bool:
    """True if a record is about a workload that is no more."""
    return "/" in record.endpoint and record.endpoint not in endpoints


def recorded(plan: Plan, resources: Resources, facts: HostFacts, before: Governance, now: datetime) -> Governance:
    """The record of a plan in force on a host; `before` is the record that it was resolved with."""
    every = (*resources.every_endpoint, *facts.workloads)
    claims = _claims(every, resources.interface_groups)
    on_host = InterfaceLookup(facts, before.interfaces)
    by_name = {interface.name: interface for interface in facts.interfaces}
    since = {
        (interface.name, record.endpoint): record.since
        for record in before.kept
        if (interface := on_host.found_again(record)) is not None
    }
    present = [
        _record(interface, binding, claims[binding.endpoint], since.get((interface.name, binding.endpoint), now))
        for binding in plan.bindings
        if binding.interface != LOOPBACK and (interface := by_name.get(binding.interface)) is not None
    ]
    names = {record.name for record in present}
    absent = (
        replace(record, index=0)
        for record in before.interfaces
        if record.endpoint in claims and record.name not in names and on_host.found_again(record) is None
    )
    # What was a workload's stays closed after it.
    left = [
        record
        for record in before.interfaces
        if _is_left(record, claims)
        and (interface := on_host.found_again(record)) is not None
        and interface.name not in names
        and plan.governing_unbound(interface.name) == UNIDENTIFIED
    ]
    expired = still_expired(plan.expired, facts.now, before)
    return Governance(plan.node, (*present, *left, *remembered(absent)), expired=expired, applied=before.applied)


def _claims(endpoints: Iterable[HostEndpoint | WorkloadEndpoint], groups: Iterable[InterfaceGroup]) -> dict[str, str]:
    """The claims of each endpoint to interfaces: equal texts claim alike on equal hosts."""
    entries = {group.metadata.name: json.dumps(manifest(group)["spec"], sort_keys=True) for group in groups}
    return {endpoint.metadata.full_name: _claim(endpoint, entries) for endpoint in endpoints}


def _claim(endpoint: HostEndpoint | WorkloadEndpoint, groups: Mapping[str, str]) -> str:
    if isinstance(endpoint, WorkloadEndpoint):
        return f"workload {endpoint.interface_name}"
    if endpoint.interface_name is not None:
        return f"interfaceName {endpoint.interface_name}"
    if endpoint.interface_group is not None:
        return f"interfaceGroup {endpoint.interface_group} {_digest(groups[endpoint.interface_group])}"
    addresses = sorted(address_text(cidr.family, cidr.address) for cidr in endpoint.expected_ips)
    return f"expectedIPs {_digest(' '.join(addresses))}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]


def _masters(port: Interface, record: GovernedInterface, facts: HostFacts) -> Iterator[tuple[Interface, Interface]]:
    """The bridge, bond or VRF that an interface became a port of since it was recorded, and what that is a port of.

    One that was a port already when the HostEndpoint claimed it never governed a packet there.
    """
    seen = {port.name}
    was = record.master
    while port.master is not None and port.master != was and port.master not in seen:
        master = facts.interface(port.master)
        if master is None:
            return
        yield port, master
        seen.add(master.name)
        port, was = master, None


def _why(record: GovernedInterface, interface: Interface, endpoint: HostEndpoint | WorkloadEndpoint) -> str:
    """The reason why the endpoint of a record does not claim the interface any more."""
    if record.kept:
        return record.kept
    if interface.name != record.name and endpoint.interface_name is not None:
        return f"it was {record.name}, which the {type(endpoint).__name__} names"
    port = f" since it is a port of {interface.master}" if interface.master not in (None, record.master) else ""
    was = f" (it was {record.name})" if interface.name != record.name else ""
    if isinstance(endpoint, HostEndpoint) and endpoint.interface_group is not None:
        return f"it is no longer in InterfaceGroup {endpoint.interface_group}{port}{was}"
    return f"it no longer has an address of the HostEndpoint's expectedIPs{port}{was}"


def _record(interface: Interface, binding: Binding, claim: str, since: datetime | None) -> GovernedInterface:
    return GovernedInterface(
        interface.name,
        binding.endpoint,
        claim,
        interface.index,
        interface.kind,
        interface.mac,
        interface.permanent_mac,
        interface.master,
        binding.reason if binding.kept else "",
        since if binding.kept else None,
    )


def _problem(binding: Binding, endpoint: HostEndpoint | WorkloadEndpoint) -> Problem:
    if isinstance(endpoint, WorkloadEndpoint):
        return Problem(
            endpoint.metadata.position,
            f"the interface {binding.interface} keeps the policy of workload {binding.endpoint}: {binding.reason}",
            expected=f"interfaceName: {binding.interface}",
            hint=f"say so in the WorkloadEndpoint, and name {binding.interface} in workloads.interfaces of hostfw.yaml",
            severity=Severity.WARNING,
        )
    return Problem(
        endpoint.metadata.position,
        f'no HostEndpoint claims the interface {binding.interface}, which keeps "{binding.endpoint}": {binding.reason}',
        expected=f"a HostEndpoint that claims {binding.interface}",
        hint=f"say interfaceName: {binding.interface}, or release it with `hostfwctl apply --accept-loss`",
        severity=Severity.WARNING,
    )
