"""Conditions of what is exempt from policy: failsafe ports, and the leases that a host gives."""

from collections.abc import Iterator

from hostfw.compile.program import Condition
from hostfw.model.plan import ANY_SIDE, PlannedSide
from hostfw.model.settings import FailsafePort, Settings
from hostfw.model.values import FAMILIES, UDP, Direction, Family, PortRange

_CLIENTS_OF_LEASES = {(UDP.number, 67): (Family.V4, 68), (UDP.number, 547): (Family.V6, 546)}
"""The IP versions and ports of clients by what servers have: DHCP (RFC 2131, 4.1) and DHCPv6 (RFC 8415, 7.2)."""


def failsafe_condition(port: FailsafePort, direction: Direction) -> Condition:
    """A failsafe port: the peer's net is the source of what comes in and the destination of what goes out."""
    nets = (port.net,) if port.net else None
    ports = (PortRange(port.port, port.port),)
    families = (port.net.family,) if port.net else FAMILIES
    if direction is Direction.INGRESS:
        source, destination = PlannedSide(nets=nets), PlannedSide(ports=ports)
    else:
        source, destination = ANY_SIDE, PlannedSide(nets=nets, ports=ports)
    return Condition(families=families, protocol=port.protocol, source=source, destination=destination)


def leases(settings: Settings) -> Iterator[tuple[FailsafePort, tuple[Family, int]]]:
    """The services of the host by which workloads get their addresses, each with the port that it answers to.

    One whose net is of the other IP version than its answers gives none.
    """
    for port in settings.workloads.to_host:
        client = _CLIENTS_OF_LEASES.get((port.protocol.number, port.port))
        if client is not None and (port.net is None or port.net.family is client[0]):
            yield port, client


def lease_condition(server: FailsafePort, family: Family, client: int) -> Condition:
    """A lease that a service gives: the net of the service is where it is asked, and so where it answers from."""
    nets = (server.net,) if server.net else None
    source = PlannedSide(nets=nets, ports=(PortRange(server.port, server.port),))
    return Condition(
        families=(family,),
        protocol=server.protocol,
        source=source,
        destination=PlannedSide(ports=(PortRange(client, client),)),
    )
