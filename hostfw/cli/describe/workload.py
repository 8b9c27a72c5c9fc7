"""The description of a WorkloadEndpoint: its interface, labels, and everything that decides on a packet, in order."""

from collections.abc import Iterator

from hostfw.cli.describe.description import Description, Entry, Role, Section
from hostfw.cli.describe.endpoint import labels_text, policy_entry, tier_entry
from hostfw.cli.describe.references import references_to
from hostfw.cli.input.facts import PlannedHost
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.plan import PlannedDirection, PlannedEndpoint
from hostfw.model.settings import InvalidPackets, Settings
from hostfw.model.values import Direction, address_text
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.effective_labels import NamespaceLabels

_TITLES = {Direction.INGRESS: "ingress, to the workload", Direction.EGRESS: "egress, from the workload"}


def describe_workload(endpoint: WorkloadEndpoint, host: PlannedHost) -> Description:
    """A WorkloadEndpoint of this node or another."""
    resources, plan = host.candidate.resources, host.plan
    name = endpoint.metadata.full_name
    profiles = {profile.metadata.name: profile for profile in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
    labels = NamespaceLabels(resources).of_endpoint(endpoint, profiles)
    here = "this host" if endpoint.is_of(plan.node) else f"{endpoint.node}, not this host ({plan.node})"
    networks = (address_text(c.family, c.address) if c.is_host else str(c) for c in endpoint.networks)
    governing = next((planned for planned in plan.endpoints if planned.name == name), None)
    properties = (
        ("node", (here,)),
        ("interface", (_interface(endpoint, host, governing),)),
        ("labels", tuple(labels_text(dict(endpoint.metadata.labels), labels, "of a profile or its namespace"))),
        ("ipNetworks", tuple(networks)),
        ("profiles", endpoint.profiles),
        ("ports", tuple(f"{port.name} {port.protocol} {port.port}" for port in endpoint.ports)),
    )
    order = (
        tuple(Section(_TITLES[d], tuple(_order(governing.direction(d), d, plan.settings))) for d in Direction)
        if governing is not None
        else ()
    )
    used = Section("rules that its addresses are in", tuple(references_to(labels, resources)))
    return Description("WorkloadEndpoint", name, endpoint.metadata.position, properties, (*order, used))


def _interface(endpoint: WorkloadEndpoint, host: PlannedHost, governing: PlannedEndpoint | None) -> str:
    name = endpoint.interface_name
    if governing is None:
        workloads, interface = host.plan.settings.workloads, host.facts.interface(name)
        is_port = interface is not None and workloads.has_bridge(interface.master)
        denied = "everything is denied there" if is_port or workloads.has_interface(name) else "it governs nothing"
        return f"{name}, which is not this workload's now: {denied}"
    return name if host.facts.interface(name) is not None else f"{name}, which is not there"


def _order(planned: PlannedDirection, direction: Direction, settings: Settings) -> Iterator[Entry]:
    """The steps that a packet of the workload meets, on whatever way it goes."""
    if direction is Direction.EGRESS:
        yield Entry(Role.EXEMPTION, "from another address than its own", "Deny")
    yield Entry(Role.EXEMPTION, "belongs to what is established", "Allow")
    if settings.invalid_packets is InvalidPackets.DROP:
        yield Entry(Role.EXEMPTION, "invalid for connection tracking", "Deny")
    if direction is Direction.EGRESS:
        services = ", ".join(map(str, settings.workloads.to_host)) or "nothing"
        yield Entry(Role.EXEMPTION, "to this host", f"Allow to {services}, otherwise Deny")
    yield from (tier_entry(tier, PolicyClass.FORWARD) for tier in planned.tiers)
    yield from (policy_entry(profile) for profile in planned.profiles)
    yield Entry(Role.END, "nothing decided", "Deny")
