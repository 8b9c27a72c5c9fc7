"""Findings about the record: interfaces that are governed although no HostEndpoint claims them, and the node's name."""

from collections.abc import Iterator

from hostfw.build.candidate import Candidate
from hostfw.doctor.findings import Check, Finding
from hostfw.engine.outcomes import Status
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance
from hostfw.model.plan import Plan
from hostfw.model.time.moments import moment_text
from hostfw.policy.unfollowed import unfollowed, without_rules_text


def unfollowed_findings(plan: Plan, accepted: Candidate, governance: Governance, facts: HostFacts) -> Iterator[Finding]:
    """Findings about interfaces that came or changed while no service followed them."""
    found = unfollowed(plan, accepted.resources.endpoints, governance, facts)
    for binding in found.kept:
        yield _kept(binding.interface, binding.endpoint, binding.reason)
    for binding in found.without_rules:
        yield Finding(
            Check.GOVERNANCE,
            without_rules_text(binding, plan.settings),
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
