"""The HostEndpoint that governs an interface, in words."""

from dataclasses import replace
from typing import NamedTuple

from hostfw.model.host.guests import Workload
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import UNIDENTIFIED_WORKLOAD, Plan, PlannedEndpoint
from hostfw.model.settings import UNIDENTIFIED

NOBODY = "-"
"""Stands for the HostEndpoint where there is none."""


class Governed(NamedTuple):
    """The HostEndpoint of an interface, or none, and why."""

    endpoint: str
    reason: str


def governing_endpoint(interface: str, plan: Plan) -> Governed:
    """The HostEndpoint that governs an interface, with the reason, or the reason why there is none."""
    binding = next((b for b in plan.bindings if b.interface == interface), None)
    if binding is not None:
        return Governed(binding.endpoint, f"kept: {binding.reason}" if binding.kept else binding.reason)
    if interface == LOOPBACK:
        return Governed(NOBODY, "no HostEndpoint names lo: everything passes")
    if plan.settings.workloads.has_bridge(interface):
        return Governed(NOBODY, "workloads: what is behind its ports is told by address")
    if plan.governing_unbound(interface) == UNIDENTIFIED:
        return Governed(UNIDENTIFIED, "no WorkloadEndpoint names it: everything is denied")
    if plan.wildcard is not None:
        return Governed(plan.wildcard, "interfaceName *")
    unmanaged = plan.settings.unmanaged_interfaces
    return Governed(NOBODY, f"unmanaged: ingress {unmanaged.ingress}, egress {unmanaged.egress}")


BEHIND = "behind "
"""The beginning of what stands for all workloads behind a bridge."""


def named_endpoint(plan: Plan, name: str) -> PlannedEndpoint:
    """The endpoint of a name, or of all workloads behind a bridge, which may send from each of their addresses."""
    if not name.startswith(BEHIND):
        return plan.endpoint(name)
    bridge = name.removeprefix(BEHIND)
    addresses = (net for _, workload in plan.bridged if workload.bridge == bridge for net in workload.addresses)
    return replace(UNIDENTIFIED_WORKLOAD, workload=Workload(tuple(addresses)))
