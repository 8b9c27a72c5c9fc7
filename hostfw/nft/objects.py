"""The objects of a table: chains, counters, sets and maps, as frozen values named as in nft(8).

Types hold what the kernel holds: addresses and ports are integers. `nft.rules` has the rules of the chains,
`nft.object_text` the text of both.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import PortRange, TableFamily
from hostfw.nft.rules import Rule, Verdict

TABLE = "hostfw"
"""The name of our tables, `ip hostfw`, `ip6 hostfw` and `bridge hostfw`."""


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
    NETWORK = "network"
    QUESTION = "question"
    USER = "uid"
    CT_ID = "ct id"
    MARK = "mark"


KeyType = ElementType | tuple[ElementType, ...]
"""The type of a key: of one field, or of a concatenation of addresses and ports."""

Element = int | str | PortRange | tuple[int, ...] | tuple[str, int]
"""An address or port, an interface name, a range of ports, (address, protocol, port), (interface, address), or fields.

A mark is a number of its upper half, as `Note` has it.
"""

CONCATENATIONS = tuple(
    (*(ElementType.ADDRESS,) * addresses, *(ElementType.PORT,) * ports)
    for addresses in range(3)
    for ports in range(3)
    if addresses + ports > 1
)
"""The types of the concatenations that maps of ours have: addresses first, source before destination."""

EXTERNAL, EXTERNAL_NETS = "external/", "external-nets/"
"""The beginnings of the names of sets that other programs fill: with addresses, and with prefixes."""


def is_external(name: str) -> bool:
    """True for the name of a set that other programs fill; what they do to its elements is no tampering."""
    return name.startswith((EXTERNAL, EXTERNAL_NETS))


SOURCE_LIMITS = "limit/"
"""The beginning of the names of sets that hold the limits of sources, for a rule each."""

LINKS = "links"
"""The name of the set of all interfaces that are governed, by index; those of each HostEndpoint are below it."""


def is_of_links(name: str) -> bool:
    """True for the name of a set of interface indices, which says nothing of what it holds."""
    return name == LINKS or name.startswith(f"{LINKS}/")


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
    """A named map from keys to verdicts, of fixed content. `text` is that of its elements, once they are written."""

    name: str
    type: KeyType
    elements: tuple[tuple[Element, Verdict], ...]
    interval: bool = False
    text: str = field(default="", compare=False, repr=False)


class TableNames(NamedTuple):
    """The names of a table's objects, of each kind but base chains."""

    counters: frozenset[str]
    sets: frozenset[str]
    maps: frozenset[str]
    chains: frozenset[str]


@dataclass(frozen=True, slots=True)
class Table:
    """One of our two tables; everything but the base chains is sorted by name."""

    family: TableFamily
    counters: tuple[str, ...] = ()
    sets: tuple[Set, ...] = ()
    maps: tuple[VerdictMap, ...] = ()
    chains: tuple[Chain, ...] = ()
    base_chains: tuple[BaseChain, ...] = ()
    _names: list[TableNames] = field(default_factory=list, init=False, compare=False, repr=False)

    @property
    def names(self) -> TableNames:
        """The names of its objects, put together once."""
        if not self._names:
            of_objects = ([one.name for one in objects] for objects in (self.sets, self.maps, self.chains))
            self._names.append(TableNames(frozenset(self.counters), *map(frozenset, of_objects)))
        return self._names[0]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The tables of a generation: of IPv4, of IPv6, and of bridges where there are workloads behind any."""

    tables: tuple[Table, ...]
