"""The HostEndpoint that governs an interface, in words."""

from typing import NamedTuple

from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import Plan
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
    if plan.governing_unbound(interface) == UNIDENTIFIED:
        return Governed(UNIDENTIFIED, "no WorkloadEndpoint names it: everything is denied")
    if plan.wildcard is not None:
        return Governed(plan.wildcard, "interfaceName *")
    unmanaged = plan.settings.unmanaged_interfaces
    return Governed(NOBODY, f"unmanaged: ingress {unmanaged.ingress}, egress {unmanaged.egress}")
