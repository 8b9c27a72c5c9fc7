"""The connections that a host depends on at one moment: ssh sessions, and its needs of the network.

It is plain data that crosses the control socket: who may look sends it to who decides. Addresses are integers of their
family, and `interface` is the one that a route says packets come and go by, empty where none is known.
"""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.host.services import PublishedPort
from hostfw.model.values import Family

SSH_SERVERS = frozenset({"sshd", "sshd-session", "dropbear"})
"""Names of ssh servers: OpenSSH up to 9.7, from 9.8 on (Debian 13), and Dropbear."""


class LeaseKind(StrEnum):
    """The origin of an address that ends."""

    DHCP = "dhcp"
    ROUTER_ADVERTISEMENT = "router-advertisement"


@dataclass(frozen=True, slots=True)
class Session:
    """An established ssh connection to this host; `own` is True for the caller's own session.

    `original` are the address and port that the peer connected to, where another program's destination NAT replaced
    them with `local` and `local_port`.
    """

    family: Family
    peer: int
    peer_port: int
    local: int
    local_port: int
    interface: str = ""
    own: bool = False
    original: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that an ssh server listens on; `address` None stands for every address of the family."""

    family: Family
    port: int
    address: int | None = None
    server: str = "sshd"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway of a default route; a point-to-point link has no gateway address."""

    family: Family
    interface: str
    address: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """An address of this host that ends unless it is renewed; `server` None where it is not known who gave it."""

    kind: LeaseKind
    family: Family
    interface: str
    address: int
    server: int | None = None


@dataclass(frozen=True, slots=True)
class NameServer:
    """A resolver that this host asks, and the address that it asks from."""

    family: Family
    address: int
    interface: str = ""
    source: int | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """All of it, each kind sorted.

    `sees_processes` is whether the processes were looked at: without, ssh is told by its ports alone, and no session
    is known to be the caller's. `published` are the ports of other programs that lead to those of ssh, or away from
    them, the first that holds first. `outgoing` are connections of people's ssh sessions to ssh servers of other hosts,
    as of those who use this one as a jump host: `peer_port` is the server's.
    """

    sessions: tuple[Session, ...] = ()
    listeners: tuple[Listener, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    leases: tuple[Lease, ...] = ()
    name_servers: tuple[NameServer, ...] = ()
    sees_processes: bool = False
    published: tuple[PublishedPort, ...] = ()
    outgoing: tuple[Session, ...] = ()
