"""A packet as policy sees it: what can decide its verdict, and nothing else."""

from dataclasses import dataclass, replace
from enum import StrEnum

from hostfw.model.values import ICMP, ICMPV6, PORT_PROTOCOLS, Direction, Family, Mac


class ConntrackState(StrEnum):
    """The connection tracking state of a packet, in nftables' words (`ct state`)."""

    NEW = "new"
    ESTABLISHED = "established"
    RELATED = "related"
    INVALID = "invalid"
    UNTRACKED = "untracked"


class Path(StrEnum):
    """The way of a packet through the host, which decides the hook that filters it."""

    LOCAL_IN = "local-in"
    LOCAL_OUT = "local-out"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True)
class Original:
    """The destination of a packet before destination NAT replaced it.

    `out_interface` is where the first route of what the host sends led, if the translated destination has another.
    `own` is whether the destination is an address of this host, as its routing has it (type local): the packet is for
    a port that the host publishes then, and passes through it otherwise, as what goes to a transparent proxy does.
    """

    destination: int
    destination_port: int | None = None
    out_interface: str | None = None
    own: bool = True


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. Addresses are integers of `family`; `protocol` is the number of the layer 4 header.

    It is described as it is once routed, where most policy meets it: what destination NAT does to it is done, and
    `original` says what it was before, when untracked and preDNAT policy met it. Conntrack puts fragments together
    before any rule sees them, so ports are always known where the protocol has any. `in_interface` is None for what
    the host sends and `out_interface` for what it receives; a packet to one of the host's own addresses is sent on
    `lo` and then received on `lo`. `hop_limit` is the TTL of an IPv4 packet. `mac` is the Ethernet address that it came
    from, None for what came by no Ethernet; `ipsec` is whether it came through IPsec. `answer` is whether it goes where
    a question of this host to multicast or broadcast came from a moment ago, on the same interface. `no_way_back` is
    whether the reverse path filter finds no route to its source. `over_limit` is whether its source is beyond the
    limit of whatever rule has one for it.
    """

    family: Family
    protocol: int
    source: int
    destination: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    hop_limit: int = 64
    in_interface: str | None = None
    out_interface: str | None = None
    state: ConntrackState = ConntrackState.NEW
    original: Original | None = None
    mac: Mac | None = None
    ipsec: bool = False
    answer: bool = False
    no_way_back: bool = False
    over_limit: bool = False

    def __post_init__(self) -> None:
        if self.in_interface is None and self.out_interface is None:
            raise ValueError("a packet comes in on an interface, goes out on one, or both")
        if self.original is None:
            return
        if self.state in (ConntrackState.INVALID, ConntrackState.UNTRACKED):
            raise ValueError("only what connection tracking follows has its destination translated")
        if self.original.out_interface is not None and self.path is not Path.LOCAL_OUT:
            raise ValueError("only what the host sends has a route before its destination is translated")

    @property
    def path(self) -> Path:
        """The path of the packet: to the host, from it, or through it."""
        if self.out_interface is None:
            return Path.LOCAL_IN
        return Path.LOCAL_OUT if self.in_interface is None else Path.FORWARDED

    @property
    def hops(self) -> tuple[tuple[str, Direction], ...]:
        """The interfaces that the packet passes, in that order, each with the direction of policy it meets there."""
        into = () if self.in_interface is None else ((self.in_interface, Direction.INGRESS),)
        out = () if self.out_interface is None else ((self.out_interface, Direction.EGRESS),)
        return (*into, *out)

    @property
    def untranslated(self) -> "Packet":
        """The packet as it is before destination NAT, and stays where connection tracking does not follow it."""
        original = self.original
        if original is None:
            return self
        return replace(
            self,
            destination=original.destination,
            destination_port=original.destination_port,
            out_interface=original.out_interface or self.out_interface,
            original=None,
        )

    @property
    def as_published(self) -> "Packet":
        """The packet as policy for the host itself sees it if it is for a published port: with the port that is known.

        It stays what it is if it belongs to a known connection, or comes in on no interface, or if nothing translated
        it, or its sender did not address the host.
        """
        original = self.original
        if original is None or not original.own or self.in_interface is None or self.state is not ConntrackState.NEW:
            return self
        return replace(self, destination=original.destination, destination_port=original.destination_port)

    @property
    def has_ports(self) -> bool:
        """True if the protocol has ports that rules can match: TCP, UDP and SCTP."""
        return self.protocol in PORT_PROTOCOLS

    @property
    def is_icmp(self) -> bool:
        """True if this is ICMP over IPv4, or ICMPv6 over IPv6; across the families the numbers mean nothing."""
        return self.protocol == (ICMP if self.family is Family.V4 else ICMPV6).number
