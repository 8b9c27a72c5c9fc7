"""Conditions of rules of other firewalls: for each criterion the values that match, so that conditions combine exactly.

Addresses, ports, protocols and ICMP messages are `Ranges`; interfaces are classes of names (`Interfaces`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from hostfw.model.packets.packet import ConntrackState, Packet
from hostfw.model.ranges import Ranges, difference, every_address, holds, intersection, union
from hostfw.model.values import ICMPV6, Family

EVERY_PROTOCOL: Ranges = (0, 256)
EVERY_PORT: Ranges = (0, 65536)
EVERY_ICMP: Ranges = (0, 65536)
"""Types and codes, as type * 256 + code."""
EVERY_MAC: Ranges = (0, 1 << 48)
"""The Ethernet addresses of neighbours, as numbers."""
IPSEC_OR_NOT = frozenset({True, False})
STATES = frozenset(ConntrackState)
LOOPBACK = "lo"
OTHERS = "*"
"""The class of the interfaces that no rule names."""
_RANGES = frozenset({"source", "destination", "protocols", "source_ports", "destination_ports", "icmp", "macs"})
NONE = ""
"""In the place of the interface that a packet does not have: what comes in goes out by none."""


FOREIGN: Mapping[Family, Ranges] = {Family.V4: (ICMPV6.number, ICMPV6.number + 1), Family.V6: (1, 3)}
"""Protocols of the other IP version: ICMPv6, and ICMP and IGMP. No host makes anything of such packets."""


MAPPED: Ranges = (0xFFFF << 32, 0x10000 << 32)
"""The addresses of IPv6 that hold one of IPv4 (RFC 4291, 2.5.5.2). No packet carries them, and policy has none."""


@dataclass(frozen=True, slots=True)
class Interfaces:
    """The interfaces that rules tell apart: names, prefixes of names (`eth+`), the others (`*`), and `lo`.

    An interface is of the class with its name, otherwise of the longest prefix, otherwise of the others.
    """

    names: frozenset[str] = frozenset()

    @classmethod
    def told_apart_by(cls, patterns: Iterable[str]) -> "Interfaces":
        """The classes that patterns of iptables make: a name, or a prefix with `+` behind it."""
        return cls(frozenset(pattern for pattern in patterns if pattern != "+"))

    @property
    def classes(self) -> frozenset[str]:
        """Every class, and `NONE`."""
        return self.names | {LOOPBACK, OTHERS, NONE}

    @property
    def governed(self) -> tuple[str, ...]:
        """The classes that get a HostEndpoint: all but `lo`, which hostfw exempts."""
        return tuple(sorted((self.names | {OTHERS}) - {LOOPBACK}))

    def of(self, name: str) -> str:
        """The class of an interface."""
        if name == LOOPBACK or name in self.names:
            return name
        prefixes = [one for one in self.names if one.endswith("+") and name.startswith(one[:-1])]
        return max(prefixes, key=len, default=OTHERS)

    def matching(self, pattern: str) -> frozenset[str]:
        """The classes all of whose interfaces match a pattern; no class matches it only in part."""
        if not pattern.endswith("+"):
            return frozenset({pattern})
        prefix = pattern[:-1]
        if not prefix:
            return self.classes
        return frozenset(one for one in self.classes - {OTHERS, NONE} if one.removesuffix("+").startswith(prefix))


@dataclass(frozen=True, slots=True)
class Condition:
    """A conjunction: a packet matches if each of its values is among those of the criterion.

    `into` and `out` are classes of interfaces; None is every one, `NONE` included. `macs` are Ethernet addresses of
    neighbours, which some packets do not have; `ipsec` is whether a packet came through IPsec.
    """

    source: Ranges
    destination: Ranges
    protocols: Ranges = EVERY_PROTOCOL
    source_ports: Ranges = EVERY_PORT
    destination_ports: Ranges = EVERY_PORT
    icmp: Ranges = EVERY_ICMP
    states: frozenset[ConntrackState] = STATES
    macs: Ranges = EVERY_MAC
    ipsec: frozenset[bool] = IPSEC_OR_NOT
    into: frozenset[str] | None = None
    out: frozenset[str] | None = None

    @property
    def is_void(self) -> bool:
        """True if no packet can match."""
        return any(getattr(self, each.name) in ((), frozenset()) for each in fields(self))

    def also(self, other: "Condition") -> "Condition":
        """Both at once."""
        return Condition(
            source=intersection(self.source, other.source),
            destination=intersection(self.destination, other.destination),
            protocols=intersection(self.protocols, other.protocols),
            source_ports=intersection(self.source_ports, other.source_ports),
            destination_ports=intersection(self.destination_ports, other.destination_ports),
            icmp=intersection(self.icmp, other.icmp),
            states=self.states & other.states,
            macs=intersection(self.macs, other.macs),
            ipsec=self.ipsec & other.ipsec,
            into=_both(self.into, other.into),
            out=_both(self.out, other.out),
        )

    def joined(self, other: "Condition") -> "Condition | None":
        """Either of the two, if that is a condition: they differ in the addresses, ports or messages of one kind."""
        differing = [each.name for each in fields(self) if getattr(self, each.name) != getattr(other, each.name)]
        if len(differing) != 1 or differing[0] not in _RANGES:
            return other if not differing else None
        (name,) = differing
        both: dict[str, Any] = {name: union(getattr(self, name), getattr(other, name))}
        return replace(self, **both)

    def at(self, into: str | None = None, out: str | None = None) -> "Condition | None":
        """The same for packets of one class of interfaces, of each side that is given; None if they do not match."""
        if _is_other(into, self.into) or _is_other(out, self.out):
            return None
        return replace(self, into=self.into if into is None else None, out=self.out if out is None else None)

    def matches(self, packet: Packet, into: str, out: str) -> bool:
        """True if a packet matches that comes in and goes out by interfaces of these classes."""
        icmp = (packet.icmp_type or 0) * 256 + (packet.icmp_code or 0)
        return (
            packet.state in self.states
            and packet.ipsec in self.ipsec
            and (self.macs == EVERY_MAC or (packet.mac is not None and holds(self.macs, packet.mac.value)))
            and (self.into is None or into in self.into)
            and (self.out is None or out in self.out)
            and holds(self.protocols, packet.protocol)
            and holds(self.source, packet.source)
            and holds(self.destination, packet.destination)
            and (not packet.has_ports or holds(self.source_ports, packet.source_port or 0))
            and (not packet.has_ports or holds(self.destination_ports, packet.destination_port or 0))
            and (not packet.is_icmp or holds(self.icmp, icmp))
        )


def anything(family: Family) -> Condition:
    """The condition that every packet of a family matches."""
    return Condition(every_address(family), every_address(family))


def all_but(ranges: Ranges, whole: Ranges) -> Ranges:
    """The values that are not in some ranges."""
    return difference(whole, ranges)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _is_other(one: str | None, classes: frozenset[str] | None) -> bool:
    return one is not None and classes is not None and one not in classes
