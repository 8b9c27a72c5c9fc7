"""The nftables objects that hostfw uses, as frozen values named as in nft(8).

Types hold what the kernel holds: addresses and ports are integers, a rule is matches and then statements. Text is
`nft.render`'s business.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import Cidr, Family, PortRange

TABLE = "hostfw"
"""The name of both our tables, `ip hostfw` and `ip6 hostfw`."""


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


@dataclass(frozen=True, slots=True)
class SetRef:
    """A lookup in a named set. For addresses, `length` is the prefix length that the set holds, in bits."""

    name: str
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Below:
    """A number that the field must be less than."""

    limit: int


MatchValue = int | str | PortRange | Cidr | SetRef | Below


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
    rate_per_second: int
    burst_packets: int


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


Verdict = Accept | Drop | Return | Jump | Goto


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a packet within a concatenation, and how many of its first bits count; None for all."""

    key: Key
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Vmap:
    """Looks a key up in a verdict map; a packet without an element goes on with the next rule.

    The key is one part of the packet, or the concatenation of several. For an address or a port alone, `length` is the
    number of its first bits that count.
    """

    key: Key | tuple[Field, ...]
    map: str
    length: int | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The parts of the packet that are looked up."""
        return tuple(field.key for field in self.key) if isinstance(self.key, tuple) else (self.key,)


Statement = CounterRef | OverLimit | Remember | Forget | Log | Note | Notrack | Readdress | Reject | Vmap | Verdict


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


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that rules and maps lead to; its name carries the digest of its content and is never edited."""

    name: str
    rules: tuple[Rule, ...]


class Hook(StrEnum):
    """The netfilter hooks that a packet passes."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"


class Priority(StrEnum):
    """The place of a base chain in a hook, by nft's names: raw -300, (conntrack -200,) mangle -150, filter 0."""

    RAW = "raw"
    MANGLE = "mangle"
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A chain of a hook. `policy_drop` also denies what a rule failed to decide."""

    hook: Hook
    priority: Priority
    policy_drop: bool
    rules: tuple[Rule, ...]

    @property
    def name(self) -> str:
        """The name in nft."""
        return base_chain_name(self.hook, self.priority)


def base_chain_name(hook: Hook, priority: Priority) -> str:
    """A base chain is named after its hook, and its priority where that is not filter."""
    return hook.value if priority is Priority.FILTER else f"{priority}-{hook}"


PRIORITY_NUMBERS = {Priority.RAW: -300, Priority.MANGLE: -150, Priority.FILTER: 0}
"""The priorities as the kernel has them (<linux/netfilter_ipv4.h>)."""


class Place(NamedTuple):
    """The attachment of a base chain: its type, its hook and its priority, as the kernel shows them."""

    type: str
    hook: str
    priority: int

    def __str__(self) -> str:
        return f"type {self.type} hook {self.hook} priority {self.priority}"


BASE_CHAIN_PLACES = {
    base_chain_name(hook, priority): Place("filter", hook.value, PRIORITY_NUMBERS[priority])
    for hook in Hook
    for priority in Priority
}
"""Every name that a base chain of ours can have, and the only place that a chain of that name may be attached at."""

BASE_CHAIN_NAMES = frozenset(BASE_CHAIN_PLACES)
"""Every name that a base chain of ours can have."""

DROPPING_CHAINS = frozenset(base_chain_name(hook, Priority.FILTER) for hook in (Hook.INPUT, Hook.OUTPUT))
"""The base chains that drop by policy; all others accept."""


class ElementType(StrEnum):
    """The key of a set or map; `ADDRESS` is that of the table's family."""

    ADDRESS = "address"
    PORT = "inet_service"
    IFNAME = "ifname"
    IFINDEX = "iface_index"
    SOCKET = "socket"
    USER = "uid"
    CT_ID = "ct id"
    MARK = "mark"


KeyType = ElementType | tuple[ElementType, ...]
"""The type of a key: of one field, or of a concatenation of addresses and ports."""

Element = int | str | PortRange | tuple[int, ...]
"""An address or port, an interface name, a range of ports, (address, protocol, port), or the fields of a concatenation.

A mark is a number of its upper half, as `Note` has it.
"""

CONCATENATIONS = tuple(
    (*(ElementType.ADDRESS,) * addresses, *(ElementType.PORT,) * ports)
    for addresses in range(3)
    for ports in range(3)
    if addresses + ports > 1
)
"""The types of the concatenations that maps of ours have: addresses first, source before destination."""

SCRATCH_SHIFT = 16
"""The bits of the packet's mark below those that `SCRATCH` is."""


EXTERNAL, EXTERNAL_NETS = "external/", "external-nets/"
"""The beginnings of the names of sets that other programs fill: with addresses, and with prefixes."""


def is_external(name: str) -> bool:
    """True for the name of a set that other programs fill; what they do to its elements is no damage."""
    return name.startswith((EXTERNAL, EXTERNAL_NETS))


def is_external_nets(name: str) -> bool:
    """True for the name of such a set that holds prefixes."""
    return name.startswith(EXTERNAL_NETS)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A set that rules fill: room for `size` elements, which expire after so many seconds without a packet.

    An `external` one is filled by other programs, each element with a time of its own, `timeout_s` or none.
    """

    size: int
    timeout_s: int | None = None
    external: bool = False


@dataclass(frozen=True, slots=True)
class Set:
    """A named set of fixed content; `interval` allows ranges (ports only: addresses are hashed per prefix length).

    Addresses are packed where they are many. A set `edited_in_place` belongs to no generation: its name says what it is
    for and not what it holds, it has room to grow, and its content is edited in place. A mark tells which content it
    has, an empty set that is made and removed in the very transaction that changes the content.

    A `dynamic` set belongs to no generation either: rules fill it, or the engine by what the host is like, and no
    script does. Its name stands for its type and its size, and it lives with its elements for as long as any generation
    wants one of that name.
    """

    name: str
    type: ElementType
    elements: tuple[Element, ...] | PackedAddresses
    interval: bool = False
    comment: str = ""
    edited_in_place: bool = False
    dynamic: Dynamic | None = None

    @property
    def size(self) -> int:
        """The number of elements that fit; in a set that may grow, at least a tenth more than it has."""
        if self.dynamic is not None:
            return self.dynamic.size
        size = 3
        while self.edited_in_place and size * 10 < len(self.elements) * 11:
            # The kernel's table has a power of two of buckets, three quarters of which are used then.
            size *= 2
        return size if self.edited_in_place else len(self.elements)

    @property
    def mark(self) -> str:
        """The name of the empty set that is there as long as a set apart has this content."""
        if not isinstance(self.elements, PackedAddresses):
            raise TypeError(f"the content of {self.name} is in its name")
        return f"{self.name}/{sha256(self.elements.data).hexdigest()[:16]}"

    @property
    def is_big(self) -> bool:
        """True if its elements go to the kernel by `host.elements`, apart from the script that declares it."""
        return isinstance(self.elements, PackedAddresses)


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """A named map from keys to verdicts, of fixed content."""

    name: str
    type: KeyType
    elements: tuple[tuple[Element, Verdict], ...]
    interval: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One of our two tables; everything but the base chains is sorted by name."""

    family: Family
    counters: tuple[str, ...] = ()
    sets: tuple[Set, ...] = ()
    maps: tuple[VerdictMap, ...] = ()
    chains: tuple[Chain, ...] = ()
    base_chains: tuple[BaseChain, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Both tables of a generation, IPv4 first."""

    tables: tuple[Table, ...]
