"""Addresses, ports and protocols: the small values that policy is written with."""

import re

# Not `socket`, which makes enumerations of all its constants: 2 ms of every start (Python 3.11).
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Family(IntEnum):
    """An IP version; the value is the number that Calico's `ipVersion` carries."""

    V4 = 4
    V6 = 6

    @property
    def bits(self) -> int:
        """The width of an address: 32 or 128."""
        return 32 if self is Family.V4 else 128

    @property
    def nft(self) -> str:
        """The nftables address family, which is also the keyword of a header match: `ip` or `ip6`."""
        return "ip" if self is Family.V4 else "ip6"


FAMILIES = (Family.V4, Family.V6)


class BridgeFamily(IntEnum):
    """The nftables address family of frames between the ports of a bridge; the value is NFPROTO_BRIDGE."""

    BRIDGE = 7

    @property
    def bits(self) -> int:
        """The width of an address: that of Ethernet."""
        return 48

    @property
    def nft(self) -> str:
        """The nftables address family."""
        return "bridge"


BRIDGE = BridgeFamily.BRIDGE
TableFamily = Family | BridgeFamily
"""The address family of a table: an IP version, or that of bridges."""
TABLE_FAMILIES: tuple[TableFamily, ...] = (*FAMILIES, BRIDGE)
"""The families of the tables that hostfw may have; that of bridges only where a setting names some."""


def ip_version(family: TableFamily) -> Family:
    """The IP version of a table. Raises TypeError for that of bridges, whose sets hold no addresses of one."""
    if isinstance(family, BridgeFamily):
        raise TypeError("a table of bridges has no IP version")
    return family


class Direction(StrEnum):
    """The direction of policy as Calico names it, seen from the host."""

    INGRESS = "ingress"
    EGRESS = "egress"

    @property
    def short(self) -> str:
        """`in` or `out`, for names in the ruleset."""
        return "in" if self is Direction.INGRESS else "out"

    @property
    def opposite(self) -> "Direction":
        """The other direction."""
        return Direction.EGRESS if self is Direction.INGRESS else Direction.INGRESS


class Learned(StrEnum):
    """The origin of a fact that neighbours supply: a DHCP server, or a router advertisement."""

    DHCP = "dhcp"
    RA = "ra"


class Action(StrEnum):
    """The action of a policy rule, spelled as in `projectcalico.org/v3`."""

    ALLOW = "Allow"
    DENY = "Deny"
    LOG = "Log"
    PASS = "Pass"


class StagedAction(StrEnum):
    """The proposal of a staged policy, spelled as in `projectcalico.org/v3`."""

    SET = "Set"
    DELETE = "Delete"
    LEARN = "Learn"
    IGNORE = "Ignore"


class Cidr(NamedTuple):
    """A prefix of one family. `address` is the network as an integer, host bits zero; `length` is in bits.

    Sorts by family, address, then length, so a covering prefix comes right before what it covers.
    A million of these are ordinary, hence a tuple and integers, not `ipaddress` objects.
    """

    family: Family
    address: int
    length: int

    def __str__(self) -> str:
        return f"{address_text(self.family, self.address)}/{self.length}"

    @property
    def is_host(self) -> bool:
        """True if the prefix holds exactly one address."""
        return self.length == self.family.bits

    @property
    def mask(self) -> int:
        """The network mask as an integer."""
        return mask_of(self.family, self.length)

    def contains(self, address: int) -> bool:
        """True if an address of the same family lies within."""
        return address & self.mask == self.address


def of_family(cidrs: tuple[Cidr, ...], family: Family) -> tuple[Cidr, ...]:
    """Those of some prefixes that are of a family: the very tuple where all are, as nearly always."""
    found = [cidr for cidr in cidrs if cidr[0] is family]
    return cidrs if len(found) == len(cidrs) else tuple(found)


def mask_of(family: Family, length: int) -> int:
    """The network mask of `length` bits as an integer."""
    return ((1 << length) - 1) << (family.bits - length)


def address_text(family: Family, address: int) -> str:
    """The usual text of an address (RFC 5952 for IPv6)."""
    if family is Family.V4:
        return inet_ntop(AF_INET, address.to_bytes(4, "big"))
    return inet_ntop(AF_INET6, address.to_bytes(16, "big"))


def parse_address(text: str) -> tuple[Family, int] | None:
    """The family and value of a bare address, or None if the text is none. No zone, no leading zeros."""
    family = Family.V6 if ":" in text else Family.V4
    try:
        packed = inet_pton(AF_INET6 if family is Family.V6 else AF_INET, text)
    except (OSError, ValueError):
        return None
    return family, int.from_bytes(packed, "big")


def parse_cidr(text: str) -> Cidr | None:
    """A prefix in `address/length` form with its host bits masked off, or None if the text is none."""
    address_part, slash, length_part = text.partition("/")
    parsed = parse_address(address_part)
    if parsed is None or not slash or not (length_part.isascii() and length_part.isdigit()) or len(length_part) > 3:
        return None
    family, address = parsed
    length = int(length_part)
    if length > family.bits:
        return None
    return Cidr(family, address & mask_of(family, length), length)


def host_cidr(family: Family, address: int) -> Cidr:
    """The prefix that holds one address."""
    return Cidr(family, address, family.bits)


def merge(cidrs: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """The fewest disjoint prefixes that cover the same addresses, sorted.

    Covered prefixes vanish and two halves become their whole, so no set that the kernel
    gets holds an overlap (an overlap refuses the transaction).
    """
    merged: list[Cidr] = []
    family: Family | None = None
    first, end = 0, -1
    for cidr in sorted(cidrs):
        if cidr.family is not family:
            family, first, end = cidr.family, len(merged), -1
        if cidr.address <= end:
            continue
        merged.append(cidr)
        host_bits = family.bits - cidr.length
        end = cidr.address | (1 << host_bits) - 1
        # Only an upper half can complete a whole, and the lower one is right before it.
        while len(merged) - first > 1 and merged[-1].address >> host_bits & 1:
            low = merged[-2]
            if low.length != merged[-1].length or low.address ^ merged[-1].address != 1 << host_bits:
                break
            merged[-2:] = [Cidr(family, low.address, low.length - 1)]
            host_bits += 1
    return tuple(merged)


class PortRange(NamedTuple):
    """Ports from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}:{self.last}"


class Mac(NamedTuple):
    """An Ethernet address, as a number of 48 bits."""

    value: int

    def __str__(self) -> str:
        return self.value.to_bytes(6, "big").hex(":")

    @property
    def is_group(self) -> bool:
        """True for broadcast and multicast: the lowest bit of the first byte is set."""
        return bool(self.value >> 40 & 1)


_MAC = r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"


def parse_mac(text: str) -> Mac | None:
    """An Ethernet address (`02:00:00:00:00:01`), or None if the text is none."""
    return Mac(int(text.replace(":", ""), 16)) if re.fullmatch(_MAC, text) else None


class Protocol(NamedTuple):
    """A layer 4 protocol. `family` is set for the names that exist in one IP version only (ICMP, ICMPv6)."""

    number: int
    name: str = ""
    family: Family | None = None

    def __str__(self) -> str:
        return self.name or str(self.number)

    @property
    def has_ports(self) -> bool:
        """True if rules may match its ports: TCP, UDP and SCTP, as in Calico."""
        return self.number in PORT_PROTOCOLS


TCP = Protocol(6, "TCP")
UDP = Protocol(17, "UDP")
SCTP = Protocol(132, "SCTP")
UDPLITE = Protocol(136, "UDPLite")
ICMP = Protocol(1, "ICMP", Family.V4)
ICMPV6 = Protocol(58, "ICMPv6", Family.V6)

IGMP = Protocol(2, "IGMP", Family.V4)

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (TCP, UDP, ICMP, ICMPV6, SCTP, UDPLITE)}
"""The protocol names of `projectcalico.org/v3`, in its exact case."""

NAMED_PROTOCOLS = PROTOCOLS | {
    p.name: p
    for p in (
        IGMP,
        Protocol(4, "IPIP"),
        Protocol(47, "GRE"),
        Protocol(50, "ESP"),
        Protocol(51, "AH"),
        Protocol(88, "EIGRP"),
        Protocol(89, "OSPF"),
        Protocol(103, "PIM"),
        Protocol(112, "VRRP"),
        Protocol(115, "L2TP"),
    )
}
"""Those, and names of our own for protocols without ports (IANA, Assigned Internet Protocol Numbers)."""

PORT_PROTOCOLS = frozenset((TCP.number, UDP.number, SCTP.number))


class Icmp(NamedTuple):
    """An ICMP type (0 to 254) and, optionally, a code (0 to 255)."""

    type: int
    code: int | None = None
