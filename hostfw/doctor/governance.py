"""Findings about the record: interfaces that are governed although no HostEndpoint claims them, and the node's name."""

from collections.abc import Iterator

from hostfw.build.candidate import Candidate
from hostfw.doctor.findings import Check, Finding
from hostfw.engine.outcomes import Status
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance, InterfaceLookup
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.moments import moment_text
from hostfw.model.plan import Plan
from hostfw.policy.unmanaged import bare_consequence


def unfollowed(plan: Plan, accepted: Candidate, governance: Governance, facts: HostFacts) -> Iterator[Finding]:
    """Findings about interfaces that came or changed while no service followed them.

    Rules match the names that HostEndpoints have, and the indices of interfaces on record, so that one of these which
    was renamed keeps its policy. One that a group, an address or a port of it brings to a HostEndpoint is in no rule
    until somebody compiles them anew.
    """
    on_host = InterfaceLookup(facts)
    kept = {interface.name for interface in governance.kept}
    named = {endpoint.metadata.full_name for endpoint in accepted.resources.endpoints if endpoint.interface_name}
    known = {
        (interface.name, record.endpoint)
        for record in governance.interfaces
        if (interface := on_host.found_again(record)) is not None
    }
    for binding in plan.bindings:
        if not binding.present or binding.interface == LOOPBACK:
            continue
        if (binding.interface, binding.endpoint) in known:
            if binding.kept and binding.interface not in kept:
                yield _kept(binding.interface, binding.endpoint, binding.reason)
            continue
        if binding.endpoint in named and not binding.kept:
            continue
        yield Finding(
            Check.GOVERNANCE,
            f"no rule in force is for {binding.interface} yet, which HostEndpoint {binding.endpoint} governs "
            f"({binding.reason}): {bare_consequence(plan.settings)}",
            "`hostfwctl reload` has it governed at once, and the service does by itself: `systemctl start hostfw`",
        )


def governance_findings(status: Status, plan: Plan | None) -> Iterator[Finding]:
    """Findings about the name of the node, kept interfaces, and HostEndpoints on ports of a bridge or bond."""
    if (name := status.other_name) is not None:
        node = status.governance.node
        yield Finding(
            Check.NODE,
            f"this host is called {name} now, and keeps the policy of node {node}, which was accepted for it",
            f"give HostEndpoints the name {name} and run `hostfwctl apply`, or set node: {node} in hostfw.yaml",
        )
    for interface in status.kept:
        since = f" since {moment_text(interface.since)}" if interface.since else ""
        yield _kept(interface.name, interface.endpoint, interface.kept, since)
    governs = {binding.interface: binding.endpoint for binding in plan.bindings} if plan is not None else {}
    for binding in plan.bindings if plan is not None else ():
        if binding.port_of is not None and not binding.kept and governs.get(binding.port_of) != binding.endpoint:
            yield Finding(
                Check.GOVERNANCE,
                f"HostEndpoint {binding.endpoint} is for {binding.interface}, a port of {binding.port_of}, on which "
                "its packets come in",
                f"say interfaceName: {binding.port_of} in a HostEndpoint",
            )


def _kept(interface: str, endpoint: str, why: str, since: str = "") -> Finding:
    """An interface that no HostEndpoint claims any more, and that keeps its policy."""
    return Finding(
        Check.GOVERNANCE,
        f"no HostEndpoint claims {interface}{since}, which keeps the policy of {endpoint}: {why}",
        f"say interfaceName: {interface} in a HostEndpoint; `hostfwctl apply --accept-loss` lets it go",
    )
