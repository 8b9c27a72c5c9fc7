"""Workloads of a host: containers, machines and whatever else is behind an interface of its own."""

from dataclasses import dataclass
from typing import NamedTuple

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.positions import Position
from hostfw.model.values import Cidr, Mac, Protocol


class EndpointPort(NamedTuple):
    """A named port of a HostEndpoint or WorkloadEndpoint."""

    name: str
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True)
class WorkloadEndpoint:
    """A workload that is behind an interface of the host, and the addresses that it has.

    `networks` are single addresses, or prefixes of which the workload may use each address. `node` is `*` where the
    manifest names none. `orchestrator` is the program that runs the workload, which is a label as well. With `mac` it
    sends from that Ethernet address alone.
    """

    metadata: Metadata
    interface_name: str
    networks: tuple[Cidr, ...]
    node: str = "*"
    orchestrator: str = ""
    profiles: tuple[str, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
    profile_positions: tuple[Position, ...] = ()
    mac: Mac | None = None

    @property
    def expected_ips(self) -> tuple[Cidr, ...]:
        """The addresses that rules find the workload by."""
        return self.networks

    def is_of(self, node: str) -> bool:
        """True if the workload runs on a host of that name."""
        return self.node in ("*", node)
