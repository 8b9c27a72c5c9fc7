"""The settings of `hostfw.yaml`, with defaults that keep a host closed, reachable and usable."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.host.interface_names import fits
from hostfw.model.values import SCTP, TCP, UDP, Cidr, Protocol

HISTORY_LIMIT = 10
"""Number of generations that are kept by default."""


class Loopback(StrEnum):
    """The meaning of a HostEndpoint `*` for `lo`. One that names `lo` always governs it."""

    EXEMPT = "exempt"
    POLICED = "policed"


class NeighbourDiscovery(StrEnum):
    """The treatment of ICMPv6 neighbour discovery, and of how hosts join multicast groups: MLD and, over IPv4, IGMP.

    Without them IPv6 fails under default deny, and multicast where a switch forwards it to members only.
    """

    ACCEPT = "accept"
    POLICED = "policed"


class InvalidPackets(StrEnum):
    """The treatment of packets that conntrack calls INVALID, on governed interfaces."""

    DROP = "drop"
    POLICED = "policed"


class ReversePathFilter(StrEnum):
    """The treatment of a new connection from a source to which no route leads back.

    With `strict` the route has to lead to the interface that it came in on, with `loose` to any.
    """

    DISABLED = "disabled"
    LOOSE = "loose"
    STRICT = "strict"


class DenyAction(StrEnum):
    """The sender's view of a denied packet."""

    DROP = "drop"
    REJECT = "reject"


class Unmanaged(StrEnum):
    """The treatment of traffic in one direction on an interface that no HostEndpoint governs."""

    ALLOW = "allow"
    DENY = "deny"


class LockoutCheck(StrEnum):
    """The treatment of a change that would block a connection or a service that the host depends on."""

    REFUSE = "refuse"
    WARN = "warn"
    IGNORE = "ignore"


class PublishedPorts(StrEnum):
    """The policy for a new connection to a port of the host that another program has sent on by destination NAT.

    With `policy` it is the normal ingress policy of the interface that it came in on, as if the service ran on the
    host; with `theirs` it is only who publishes the port.
    """

    POLICY = "policy"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class FailsafePort:
    """A port that stays open whatever policy says; `net` narrows it to peers in one prefix."""

    protocol: Protocol
    port: int
    net: Cidr | None = None

    @property
    def is_for_some(self) -> bool:
        """True if it names the peers that it is open to; what denies somebody before failsafes does not close these."""
        return self.net is not None and self.net.length > 0

    def __str__(self) -> str:
        net = f" {self.net}" if self.net else ""
        return f"{self.protocol.name.lower() or self.protocol}{net} {self.port}"


FAILSAFE_INBOUND = (FailsafePort(TCP, 22), FailsafePort(UDP, 68), FailsafePort(UDP, 546))
FAILSAFE_OUTBOUND = (
    FailsafePort(UDP, 53),
    FailsafePort(TCP, 53),
    FailsafePort(UDP, 67),
    FailsafePort(UDP, 123),
    FailsafePort(UDP, 547),
)

_CALICO_CONTROL_PLANE = tuple(FailsafePort(TCP, port) for port in (179, 2379, 2380, 5473, 6443, 6666, 6667))
CALICO_FAILSAFE_INBOUND = (FailsafePort(TCP, 22), FailsafePort(UDP, 68), *_CALICO_CONTROL_PLANE)
"""FailsafeInboundHostPorts as the Calico documentation lists its default."""
CALICO_FAILSAFE_OUTBOUND = (FailsafePort(UDP, 53), FailsafePort(UDP, 67), *_CALICO_CONTROL_PLANE)
"""FailsafeOutboundHostPorts as the Calico documentation lists its default."""

FAILSAFE_PROTOCOLS = (TCP, UDP, SCTP)


@dataclass(frozen=True, slots=True)
class Failsafe:
    """The failsafe ports of both directions: inbound by the packet's source net, outbound by its destination net."""

    inbound: tuple[FailsafePort, ...] = FAILSAFE_INBOUND
    outbound: tuple[FailsafePort, ...] = FAILSAFE_OUTBOUND


TO_HOST_PORTS = (FailsafePort(UDP, 53), FailsafePort(TCP, 53), FailsafePort(UDP, 67), FailsafePort(UDP, 547))
"""The services of the host that workloads may use unless a setting says otherwise: names and addresses."""

UNIDENTIFIED = "(unidentified)"
"""Stands for the endpoint of interfaces of workloads that no WorkloadEndpoint names."""


CONTAINER_ORCHESTRATORS = frozenset(("docker", "podman", "k8s", "cni"))
"""The programs whose containers are open where no policy selects them, as those of Kubernetes are."""


class Unselected(StrEnum):
    """The default of a workload in a direction in which no policy selects it, if it has no profile."""

    BY_ORCHESTRATOR = "byOrchestrator"
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Workloads:
    """The interfaces that workloads are behind, as names or beginnings (`ve-*`), and what these may ask of the host.

    Each port of a bridge of `bridges` is such an interface as well. No HostEndpoint governs one, nor such a bridge.
    What is behind one that no WorkloadEndpoint names is denied everything.
    """

    interfaces: tuple[str, ...] = ()
    to_host: tuple[FailsafePort, ...] = TO_HOST_PORTS
    unselected: Unselected = Unselected.BY_ORCHESTRATOR
    bridges: tuple[str, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """The interfaces at which the host itself meets workloads: their own, and bridges."""
        return (*self.interfaces, *self.bridges)

    def opens(self, orchestrator: str) -> bool:
        """True if a workload that this program runs is open where no policy selects it."""
        if self.unselected is Unselected.BY_ORCHESTRATOR:
            return orchestrator in CONTAINER_ORCHESTRATORS
        return self.unselected is Unselected.ALLOW

    def has(self, interface: str) -> bool:
        """True if an interface is one of those, or a bridge of theirs."""
        return any(fits(pattern, interface) for pattern in self.patterns)

    def has_interface(self, interface: str) -> bool:
        """True if an interface is one that a workload has for itself."""
        return any(fits(pattern, interface) for pattern in self.interfaces)

    def has_bridge(self, bridge: str | None) -> bool:
        """True if there is such a bridge, and workloads are its ports."""
        return bridge is not None and any(fits(pattern, bridge) for pattern in self.bridges)


@dataclass(frozen=True, slots=True)
class UnmanagedInterfaces:
    """The verdict for new local traffic on interfaces without a HostEndpoint, per direction."""

    ingress: Unmanaged = Unmanaged.DENY
    egress: Unmanaged = Unmanaged.ALLOW


@dataclass(frozen=True, slots=True)
class Logging:
    """Settings of the log: the NFLOG group, the bytes of a packet, and the limits.

    The rate and the burst are those of each source, or of each destination and port of what is sent; the shared ones
    are those of all together, for each family, direction and reason (`compile.log_limits`).
    """

    group: int = 100
    snaplen_bytes: int = 128
    rate_per_second: int = 10
    burst_packets: int = 50
    shared_rate_per_second: int = 100
    shared_burst_packets: int = 500


@dataclass(frozen=True, slots=True)
class Metrics:
    """The file that the service writes figures for Prometheus to, None for nowhere, and how often."""

    textfile: str | None = None
    interval_seconds: int = 30


@dataclass(frozen=True, slots=True)
class PacketMarks:
    """The bits of a packet's mark that `packetMarks` sets aside. Nothing uses them: others may set and clear any bit.

    Others use by default: Calico 0xffff0000 (never on the same host), Tailscale 0x00ff0000, kube-proxy 0x0000c000,
    netavark 0x00002000, Cilium 0x00000f00.
    """

    accepted: int = 0x10000000
    translated: int = 0x20000000

    @property
    def mask(self) -> int:
        """Both bits."""
        return self.accepted | self.translated

    def __str__(self) -> str:
        return f"{self.mask:#010x}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything of `hostfw.yaml`. `node` None means the host's own name.

    `learn_addresses` adds the addresses that the interfaces of local HostEndpoints have to their expectedIPs, and
    `history_limit` is how many generations are kept, the accepted one among them. `multicast_answers` are the UDP ports
    of which answers are let in that go to who asked there, all hosts at once, a moment ago.
    """

    node: str | None = None
    failsafe: Failsafe = Failsafe()
    unmanaged_interfaces: UnmanagedInterfaces = UnmanagedInterfaces()
    loopback: Loopback = Loopback.EXEMPT
    neighbour_discovery: NeighbourDiscovery = NeighbourDiscovery.ACCEPT
    invalid_packets: InvalidPackets = InvalidPackets.DROP
    deny_action: DenyAction = DenyAction.DROP
    logging: Logging = Logging()
    metrics: Metrics = Metrics()
    marks: PacketMarks = PacketMarks()
    learn_addresses: bool = False
    lockout_check: LockoutCheck = LockoutCheck.REFUSE
    published_ports: PublishedPorts = PublishedPorts.POLICY
    history_limit: int = HISTORY_LIMIT
    workloads: Workloads = Workloads()
    multicast_answers: tuple[int, ...] = ()
    reverse_path_filter: ReversePathFilter = ReversePathFilter.DISABLED


CALICO_COMPATIBLE = Settings(
    failsafe=Failsafe(CALICO_FAILSAFE_INBOUND, CALICO_FAILSAFE_OUTBOUND),
    unmanaged_interfaces=UnmanagedInterfaces(Unmanaged.ALLOW, Unmanaged.ALLOW),
    loopback=Loopback.POLICED,
    neighbour_discovery=NeighbourDiscovery.POLICED,
    published_ports=PublishedPorts.THEIRS,
)
"""The base of `compatibility: calico`; each setting may still be given and then wins."""
