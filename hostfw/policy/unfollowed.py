"""Interfaces that came or changed while no service followed the host.

Rules match the names that HostEndpoints have, and the indices of interfaces on record, so that one of these which was
renamed keeps its policy. One that a group, an address or a port of it brings to a HostEndpoint is in no rule until
somebody compiles them anew.
"""

from collections.abc import Iterable
from typing import NamedTuple

from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance, InterfaceLookup
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import Binding, Plan
from hostfw.model.resources import HostEndpoint, Resources
from hostfw.model.settings import Settings
from hostfw.policy.resolve.plan import resolve, without_policies
from hostfw.policy.unmanaged import bare_consequence


class Unfollowed(NamedTuple):
    """The bindings of now that no rule in force is for, and those that a change of the host keeps without a record."""

    without_rules: tuple[Binding, ...]
    kept: tuple[Binding, ...]


def unfollowed(plan: Plan, endpoints: Iterable[HostEndpoint], governance: Governance, facts: HostFacts) -> Unfollowed:
    """Compare what a plan of now governs with the rules that were compiled for what is on record."""
    on_host = InterfaceLookup(facts, governance.interfaces)
    kept = {interface.name for interface in governance.kept}
    named = {endpoint.metadata.full_name for endpoint in endpoints if endpoint.interface_name}
    known = {
        (interface.name, record.endpoint)
        for record in governance.interfaces
        if (interface := on_host.found_again(record)) is not None
    }
    present = [binding for binding in plan.bindings if binding.present and binding.interface != LOOPBACK]
    return Unfollowed(
        tuple(
            binding
            for binding in present
            if (binding.interface, binding.endpoint) not in known and (binding.kept or binding.endpoint not in named)
        ),
        tuple(
            binding
            for binding in present
            if (binding.interface, binding.endpoint) in known and binding.kept and binding.interface not in kept
        ),
    )


def bare_plan(resources: Resources, settings: Settings, facts: HostFacts, governance: Governance) -> Plan:
    """The plan of a host without policies: which HostEndpoint governs which interface, at little cost."""
    plan, _ = resolve(without_policies(resources), settings, facts, governance=governance)
    return plan


def without_rules_text(binding: Binding, settings: Settings) -> str:
    """The sentence about an interface that no rule in force is for."""
    return (
        f"no rule in force is for {binding.interface} yet, which HostEndpoint {binding.endpoint} governs "
        f"({binding.reason}): {bare_consequence(settings)}"
    )
