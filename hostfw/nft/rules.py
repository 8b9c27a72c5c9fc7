"""The rules of a chain, as frozen values named as in nft(8): tests of a packet, and statements.

Addresses and ports are integers; text is `nft.rule_text`'s business.
"""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.kinds.source_limit import Unit
from hostfw.model.values import Cidr, PortRange


class Key(StrEnum):
    """The part of a packet that a match tests. The `*_SOCKET` keys are the concatenation address . protocol . port.

    `SOURCE_TO_PORT` and `DESTINATION_FROM_PORT` are those of an address and the port of the other end. As ports, nft
    reads the first two pairs of bytes behind the IP header, which in ICMP are type and code, and the checksum.
    `DADDR_TYPE` is what the routes say of the destination, and `USER` is who owns the socket that sends. `IIF` and
    `OIF` are the index of an interface, which a rename leaves as it is; `IIF` is 0 for what the host itself sends.
    The `ORIGINAL_*` keys are the destination that the first packet of the connection had before NAT; its port can only
    be loaded where a rule has tested for a protocol that has ports.
    `SCRATCH` is the upper half of the packet's mark, which hostfw uses within one base chain and leaves as it was.
    `CT_ID` is the kernel's own id of a connection, made with a secret and the same at every hook (nf_conntrack_core.c,
    nf_ct_get_id); what is not tracked has none.
    `ETHER_SADDR` can only be loaded of what came in by Ethernet, for which nft adds a test. `SECPATH` is whether IPsec
    has let the packet in, in prerouting, input and forward alone (nft_meta.c).
    Those from `ETHER_DADDR` to `ND_TARGET` are fields of frames, by their nft names, for the table of bridges, where a
    header has no family; the last is the target of a neighbour advertisement or solicitation (RFC 4861, 4.3 and 4.4).
    `SOURCE_ON_LINK` is the interface that a packet came in on, empty for none, with its source, and
    `DESTINATION_ON_LINK` the one that it goes out on with its destination. `QUESTION` is where a packet goes out and
    came from, the interface, address and port, and `ANSWER` where it comes in and goes to. `ROUTE_BACK` is the route to
    the source of what comes in, and `ROUTE_BACK_BY_IIF` the one by the interface that it comes in on.
    """

    IIF = "iif"
    OIF = "oif"
    IIFNAME = "iifname"
    OIFNAME = "oifname"
    PROTOCOL = "l4proto"
    SADDR = "saddr"
    DADDR = "daddr"
    SPORT = "sport"
    DPORT = "dport"
    SOURCE_SOCKET = "source socket"
    DESTINATION_SOCKET = "destination socket"
    SOURCE_TO_PORT = "source to port"
    DESTINATION_FROM_PORT = "destination from port"
    ORIGINAL_DADDR = "ct original daddr"
    ORIGINAL_DPORT = "ct original proto-dst"
    ORIGINAL_SOCKET = "original destination socket"
    DADDR_TYPE = "fib daddr type"
    USER = "meta skuid"
    ICMP_TYPE = "icmp type"
    ICMP_CODE = "icmp code"
    HOP_LIMIT = "hoplimit"
    CT_STATE = "ct state"
    CT_STATUS = "ct status"
    NFPROTO = "meta nfproto"
    TCP_SYN = "tcp flags & (syn | ack)"
    SCRATCH = "meta mark"
    CT_ID = "ct id"
    ETHER_SADDR = "ether saddr"
    ETHER_DADDR = "ether daddr"
    ETHER_TYPE = "ether type"
    IP_SADDR = "ip saddr"
    IP6_SADDR = "ip6 saddr"
    UDP_SPORT = "udp sport"
    UDP_DPORT = "udp dport"
    ARP_HTYPE = "arp htype"
    ARP_PTYPE = "arp ptype"
    ARP_HLEN = "arp hlen"
    ARP_PLEN = "arp plen"
    ARP_SADDR_ETHER = "arp saddr ether"
    ARP_SADDR_IP = "arp saddr ip"
    ND_TARGET = "@th,64,128"
    SECPATH = "meta secpath"
    SOURCE_ON_LINK = "iifname . saddr"
    DESTINATION_ON_LINK = "oifname . daddr"
    QUESTION = "oifname . saddr . sport"
    ANSWER = "iifname . daddr . dport"
    ROUTE_BACK = "fib saddr oif"
    ROUTE_BACK_BY_IIF = "fib saddr . iif oif"


SCRATCH_SHIFT = 16
"""The bits of the packet's mark below those that `SCRATCH` is."""


@dataclass(frozen=True, slots=True)
class SetRef:
    """A lookup in a named set. For addresses, `length` is the prefix length that the set holds, in bits."""

    name: str
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Below:
    """A number that the field must be less than."""

    limit: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of the name of an interface, whatever follows it."""

    text: str


MatchValue = int | str | PortRange | Cidr | SetRef | Below | Beginning


@dataclass(frozen=True, slots=True)
class Match:
    """One test of a rule.

    A `str` value is an interface name, or what nft writes of states, IP versions and TCP flags.
    """

    key: Key
    value: MatchValue
    negated: bool = False


@dataclass(frozen=True, slots=True)
class CounterRef:
    """Counts the packet on a named counter."""

    name: str


@dataclass(frozen=True, slots=True)
class OverLimit:
    """Lets through to the statements after it what is beyond the limit that all packets of one key share.

    Each key is an element of the dynamic set `set`, with a limit of its own; of addresses `length` bits count. What the
    set has no room for, and a packet that has no such key, is never over its limit.
    """

    set: str
    key: Key
    length: int | None
    rate: int
    burst_packets: int
    per: Unit = Unit.SECOND


@dataclass(frozen=True, slots=True)
class OverCount:
    """Lets through to the statements after it what is beyond the connections at a time that all of one key share.

    Each key is an element of the dynamic set `set`, which counts those connections of it that the kernel still tracks
    and TCP has not ended (nf_conncount, Linux 4.18); of addresses `length` bits count. What the set has no room for is
    never over its limit.
    """

    set: str
    key: Key
    length: int
    connections: int


@dataclass(frozen=True, slots=True)
class Remember:
    """Puts the key of a packet into a dynamic set, or keeps it there for as long again.

    Where the set has no room for it, or the packet has no such key, the statements after it are passed over.
    """

    set: str
    key: Key
    length: int | None


@dataclass(frozen=True, slots=True)
class Log:
    """Sends the first `snaplen_bytes` of the packet to an NFLOG group, with a prefix of at most 127 bytes."""

    prefix: str
    group: int
    snaplen_bytes: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Ends this base chain; base chains of other tables still see the packet."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Ends the packet."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Ends the packet and tells its sender: a TCP reset, or ICMP "administratively prohibited"."""

    tcp_reset: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """Goes on after the jump that led here."""


@dataclass(frozen=True, slots=True)
class Jump:
    """Goes through another chain and comes back unless it decides."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Goes on in another chain and does not come back."""

    chain: str


@dataclass(frozen=True, slots=True)
class Notrack:
    """Keeps connection tracking from the packet; only before priority -200 (raw)."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Takes the key of a packet out of a dynamic set, whether or not it is there."""

    set: str
    key: Key


@dataclass(frozen=True, slots=True)
class Note:
    """Writes a number from 0 to 65,535 into the upper half of the packet's mark; the lower half stays as it is.

    A base chain leaves it as 0, as it found it, before any verdict: nobody else sees what was noted.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Readdress:
    """Writes into the packet the destination address that it had before NAT (`original`), or the one that it has now.

    What is looked up of a destination is looked up of the packet's; so the two frame such a lookup, within one chain
    and without a verdict in between, and nobody else sees a packet that is not as NAT made it.
    """

    original: bool


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A whole rule as somebody else wrote it, in nft's words. What it tests and does is for the kernel alone to know.

    No packet ends by it in a simulation.
    """

    text: str


Verdict = Accept | Drop | Return | Jump | Goto


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a packet within a concatenation, and how many of its first bits count; None for all."""

    key: Key
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Vmap:
    """Looks a key up in a verdict map; a packet without an element goes on with the next rule.

    The key is one part of the packet, or the concatenation of several. For an address or a port
    alone, `length` is the number of its first bits that count, and for these or the scratch half of the mark `mask` has
    those that do.
    """

    key: Key | tuple[Field, ...]
    map: str
    length: int | None = None
    mask: int | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The parts of the packet that are looked up."""
        return tuple(field.key for field in self.key) if isinstance(self.key, tuple) else (self.key,)


Statement = (
    CounterRef
    | OverLimit
    | OverCount
    | Remember
    | Forget
    | Log
    | Note
    | Notrack
    | Readdress
    | Reject
    | Verbatim
    | Vmap
    | Verdict
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Tests, all of which must hold, and what happens then, in order."""

    matches: tuple[Match, ...] = ()
    statements: tuple[Statement, ...] = ()
    comment: str = ""

    @property
    def is_final(self) -> bool:
        """True if it is a verdict and no more, so that no packet gets past it in a base chain."""
        return not self.matches and isinstance(self.statements[0], Accept | Drop | Return | Goto)
