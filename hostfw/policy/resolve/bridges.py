"""Bridges of this host: those whose ports are workloads, and what keeps one from working as it does now."""

from collections.abc import Iterator

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.guests import GovernedBridge
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.positions import NOWHERE
from hostfw.model.problems import Problem, Severity
from hostfw.model.settings import Workloads

KIND_OF_BRIDGES = "bridge"
"""IFLA_INFO_KIND of a bridge."""


def governed_bridges(settings: Workloads, facts: HostFacts) -> tuple[GovernedBridge, ...]:
    """The bridges of the host whose ports are workloads, sorted by name."""
    found = (
        GovernedBridge(interface.name, interface.bridge is not None and interface.bridge.is_filtered)
        for interface in facts.interfaces
        if interface.kind == KIND_OF_BRIDGES and settings.has_bridge(interface.name)
    )
    return tuple(sorted(found, key=lambda bridge: bridge.name))


def other_ports(settings: Workloads, facts: HostFacts) -> tuple[str, ...]:
    """The ports of bridges that no workload is behind, sorted; none where no bridge has any."""
    if not settings.bridges:
        return ()
    bridges = {interface.name for interface in facts.interfaces if interface.kind == KIND_OF_BRIDGES}
    found = (
        interface.name
        for interface in facts.interfaces
        if interface.master in bridges and not settings.has_bridge(interface.master) and is_safe_name(interface.name)
    )
    return tuple(sorted(found))


def ports_of_bridges(facts: HostFacts, settings: Workloads) -> dict[str, str]:
    """The ports of bridges that the setting names, each with its bridge."""
    ports = [(interface.name, interface.master) for interface in facts.interfaces if interface.master is not None]
    theirs = {master for master in {master for _, master in ports} if settings.has_bridge(master)}
    return {name: master for name, master in ports if master in theirs}


def bridged_problems(settings: Workloads, facts: HostFacts) -> Iterator[Problem]:
    """Interfaces of workloads that are ports of something: their packets come in on that, where nobody knows them.

    And what keeps a bridge of workloads from working as it does now.
    """
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    masters = {interface.master for interface in facts.interfaces}
    governed = {
        master for master in masters if settings.has_bridge(master) and kinds.get(master or "") == KIND_OF_BRIDGES
    }
    for interface in facts.interfaces:
        if settings.has_bridge(interface.name) and interface.kind == KIND_OF_BRIDGES:
            yield from _bridge_problems(interface, facts)
        elif settings.has_bridge(interface.name) and interface.name != LOOPBACK:
            yield Problem(
                NOWHERE,
                f"{interface.name}, which workloads.bridges names, is not a bridge: everything is denied there",
                expected="the name of a bridge",
                hint="name it in workloads.interfaces, if a workload is behind it",
                severity=Severity.WARNING,
            )
        if interface.master in governed:
            continue
        if interface.master is not None and settings.has_interface(interface.name):
            kind = kinds.get(interface.master) or "interface"
            yield Problem(
                NOWHERE,
                f"{interface.name}, which the setting workloads names, is a port of the {kind} {interface.master}: its "
                "packets come in there, and no workload policy applies to them",
                expected="an interface of its own for each workload",
                hint=f"take it out of {interface.master}, or write a HostEndpoint for {interface.master}",
                severity=Severity.WARNING,
            )


def _bridge_problems(bridge: Interface, facts: HostFacts) -> Iterator[Problem]:
    if not facts.bridge_netfilter:
        yield Problem(
            NOWHERE,
            f"packets between the ports of {bridge.name} would meet no policy: this kernel runs without br_netfilter",
            expected="the kernel module br_netfilter",
            hint="`modprobe br_netfilter`, and name it in /etc/modules-load.d; loading it sets the sysctl "
            "net.bridge.bridge-nf-call-iptables for all bridges, which may be set to 0 again",
            severity=Severity.ERROR,
        )
    if bridge.bridge is not None and bridge.bridge.vlan_filtering:
        yield Problem(
            NOWHERE,
            f"the bridge {bridge.name} filters VLANs, so packets between its ports are tagged: all of them are denied",
            expected="a bridge without vlan_filtering",
            hint=f"`ip link set {bridge.name} type bridge vlan_filtering 0`",
            severity=Severity.WARNING,
        )
    for port in facts.interfaces:
        if port.master == bridge.name and not port.kind:
            yield Problem(
                NOWHERE,
                f"{port.name}, a port of {bridge.name}, leads out of this host: everything is denied there",
                expected="a bridge whose ports are workloads alone",
                hint=f"take {port.name} out of {bridge.name}, and route between them",
                severity=Severity.WARNING,
            )
