"""Small builders of packets, and their verdict under resources of this host."""

from hostfw.compile.ruleset import compile_plan
from hostfw.explain.verdict import explain
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.explanation import Explanation
from hostfw.model.packets.packet import Packet
from hostfw.model.resources import (
    GlobalNetworkPolicy,
    HostEndpoint,
    Profile,
    Resources,
    StagedGlobalNetworkPolicy,
    Tier,
)
from hostfw.model.settings import Settings
from hostfw.model.values import TCP, Protocol
from hostfw.nft.simulate import simulate
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import facts, gns, hep, net

PEER, HOST = "10.9.0.1", "10.0.0.1"
PEER6, HOST6 = "2001:db8::9", "2001:db8::1"
ON_ETH0 = hep("web", "eth0")


def addressed(
    source: str, destination: str, protocol: Protocol, port: int | None, sport: int = 40000, **more: object
) -> Packet:
    """A packet between two addresses; `more` are other fields of Packet, its interfaces among them."""
    return Packet(
        net(source).family,
        protocol.number,
        net(source).address,
        net(destination).address,
        sport if protocol.has_ports else None,
        port,
        **more,  # type: ignore[arg-type]
    )


def arriving(
    port: int | None = 80,
    protocol: Protocol = TCP,
    source: str = PEER,
    destination: str = HOST,
    interface: str = "eth0",
    **more: object,
) -> Packet:
    """A packet from a peer to this host."""
    return addressed(source, destination, protocol, port, in_interface=interface, **more)  # type: ignore[arg-type]


def leaving(
    port: int | None = 80,
    protocol: Protocol = TCP,
    source: str = HOST,
    destination: str = PEER,
    interface: str = "eth0",
    **more: object,
) -> Packet:
    """A packet from this host to a peer."""
    return addressed(source, destination, protocol, port, out_interface=interface, **more)  # type: ignore[arg-type]


def through(port: int = 80, incoming: str = "eth0", outgoing: str = "eth1", **more: object) -> Packet:
    """A packet that this host forwards."""
    interfaces = {"in_interface": incoming, "out_interface": outgoing}
    return addressed(PEER, "192.168.1.9", TCP, port, **interfaces, **more)  # type: ignore[arg-type]


def explained(
    packet: Packet,
    *policies: GlobalNetworkPolicy | StagedGlobalNetworkPolicy,
    endpoints: tuple[HostEndpoint, ...] = (ON_ETH0,),
    settings: Settings | None = None,
    tiers: tuple[Tier, ...] = (),
    profiles: tuple[Profile, ...] = (),
    sets: tuple[str, ...] = (),
) -> Explanation:
    """The explanation of a packet on a host with these resources; checks that the compiled ruleset agrees.

    The n-th of `sets` is a GlobalNetworkSet of 10.n.0.0/16.
    """
    resources = Resources(
        policies=tuple(policy for policy in policies if isinstance(policy, GlobalNetworkPolicy)),
        staged_policies=tuple(policy for policy in policies if isinstance(policy, StagedGlobalNetworkPolicy)),
        endpoints=endpoints,
        tiers=tiers,
        profiles=profiles,
        network_sets=tuple(gns(name, f"10.{n}.0.0/16", labels={"set": name}) for n, name in enumerate(sets, 1)),
    )
    plan, _ = resolve(resources, settings or Settings(), facts())
    explanation = explain(plan, packet)
    assert simulate(compile_plan(plan), packet).accepted is explanation.allowed
    return explanation


def outcome_of(explanation: Explanation) -> tuple[bool, Reason, str]:
    """The verdict, why, and the tier and policy that decided."""
    step = explanation.decided_by
    return explanation.allowed, step.reason, "/".join(part for part in (step.tier, step.policy) if part)
