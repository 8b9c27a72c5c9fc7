"""Left sides of matches of nftables: which criterion of a condition they look at, and how their values read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hostfw.importer.conditions import (
    EVERY_MAC,
    EVERY_PORT,
    EVERY_PROTOCOL,
    IPSEC_OR_NOT,
    Condition,
    Interfaces,
    anything,
)
from hostfw.importer.iptables.matches import PROTOCOL_NUMBERS
from hostfw.importer.nft.text import Json, value_text
from hostfw.importer.special_addresses import ROUTED_KINDS, addresses_of_kind
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.ranges import Ranges, every_address
from hostfw.model.values import ICMP, ICMPV6, Family, parse_address, parse_mac

Values = Ranges | frozenset[str] | frozenset[ConntrackState] | frozenset[bool]

_ICMP_TYPES = {
    "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
    "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
    "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16, "address-mask-request": 17,
    "address-mask-reply": 18,
}  # fmt: skip
_ICMPV6_TYPES = {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
    "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
    "mld-listener-done": 132, "mld-listener-reduction": 132, "nd-router-solicit": 133, "nd-router-advert": 134,
    "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138,
    "ind-neighbor-solicit": 141, "ind-neighbor-advert": 142, "mld2-listener-report": 143,
}  # fmt: skip
_ICMP_CODES = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
    "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
_ICMPV6_CODES = {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5,
    "reject-route": 6,
}  # fmt: skip
"""Names of types and codes as nft prints them (nft(8), DATA TYPES)."""
_STATES = {state.value: state for state in ConntrackState}
_NFPROTO = {"ipv4": Family.V4, "ipv6": Family.V6}
_ETHERTYPES = {"ip": Family.V4, "ip6": Family.V6, 0x0800: Family.V4, 0x86DD: Family.V6}
_ADDRESSES = {("ip", Family.V4), ("ip6", Family.V6)}
_NEVER: Ranges = ()


class UnsaidError(Exception):
    """A part of a rule that policy cannot say; the message names it in nft's words."""


class Key(NamedTuple):
    """A value of packets that a rule looks at: the criterion of `Condition`, all its values, and how one is read.

    `needs` is what else has to hold of a packet that has the value at all. `read` takes one value of a set.
    """

    criterion: str
    whole: Values
    read: Callable[[Json], Values]
    needs: Condition


@dataclass(slots=True)
class Reader:
    """The meaning of keys in one family; `patterns` collects the interfaces that rules name."""

    family: Family
    interfaces: Interfaces
    patterns: set[str] = field(default_factory=set)
    by_kind: bool = False
    """True once a kind of a destination was read that the routing table tells."""

    @property
    def everything(self) -> Condition:
        """The condition without any criterion."""
        return anything(self.family)

    @property
    def nothing(self) -> Condition:
        """A condition of another family, which no packet matches."""
        return replace(self.everything, protocols=_NEVER)

    def key(self, left: Json) -> Key:
        """The key of a left side. Raises UnsaidError for one that policy has no criterion for."""
        match left:
            case {"payload": {"protocol": str(protocol), "field": str(name)}}:
                return self._payload(protocol, name, left)
            case {"meta": {"key": str(name)}}:
                return self._meta(name, left)
            case {"ct": {"key": "state", **others}} if not others:
                return Key("states", frozenset(ConntrackState), _state, self.everything)
            case {"fib": {"result": "type", "flags": ["daddr"] | "daddr"}}:
                return Key("destination", every_address(self.family), self._kind, self.everything)
            case _:
                raise UnsaidError(value_text(left))

    def _payload(self, protocol: str, name: str, left: Json) -> Key:
        everything = self.everything
        match protocol, name:
            case (("ip" | "ip6"), ("saddr" | "daddr")):
                criterion = "source" if name == "saddr" else "destination"
                needs = everything if (protocol, self.family) in _ADDRESSES else self.nothing
                of = Family.V4 if protocol == "ip" else Family.V6
                return Key(criterion, every_address(self.family), lambda value: _address(value, of), needs)
            case ("ip", "protocol") | ("ip6", "nexthdr"):
                needs = everything if self.family is _NFPROTO[f"ipv{4 if protocol == 'ip' else 6}"] else self.nothing
                return Key("protocols", EVERY_PROTOCOL, _protocol, needs)
            case (("tcp" | "udp" | "sctp"), ("sport" | "dport")):
                number = PROTOCOL_NUMBERS[protocol]
                return self._port(name, replace(everything, protocols=(number, number + 1)))
            case "th", ("sport" | "dport"):
                return self._port(name, everything)
            case ("ether", "saddr"):
                return Key("macs", EVERY_MAC, _mac, everything)
            case (("icmp" | "icmpv6"), ("type" | "code")):
                return self._icmp(protocol, name)
            case _:
                raise UnsaidError(value_text(left))

    def _port(self, name: str, needs: Condition) -> Key:
        criterion = "source_ports" if name == "sport" else "destination_ports"
        return Key(criterion, EVERY_PORT, lambda value: _number(value, 65536), needs)

    def _icmp(self, protocol: str, name: str) -> Key:
        of, number = (Family.V4, ICMP.number) if protocol == "icmp" else (Family.V6, ICMPV6.number)
        needs = replace(self.everything, protocols=(number, number + 1)) if of is self.family else self.nothing
        if name == "type":
            names = _ICMP_TYPES if of is Family.V4 else _ICMPV6_TYPES
            return Key("icmp", (0, 65536), lambda value: _type(value, names), needs)
        codes = _ICMP_CODES if of is Family.V4 else _ICMPV6_CODES
        return Key("icmp", (0, 65536), lambda value: _code(value, codes), needs)

    def _meta(self, name: str, left: Json) -> Key:
        match name:
            case "iif" | "iifname":
                return Key("into", self.interfaces.classes, self._interface, self.everything)
            case "oif" | "oifname":
                return Key("out", self.interfaces.classes, self._interface, self.everything)
            case "l4proto":
                return Key("protocols", EVERY_PROTOCOL, _protocol, self.everything)
            case "secpath" | "ipsec":
                return Key("ipsec", IPSEC_OR_NOT, _is_there, self.everything)
            case "nfproto" | "protocol":
                return Key("protocols", EVERY_PROTOCOL, self._version, self.everything)
            case _:
                raise UnsaidError(value_text(left))

    def _interface(self, value: Json) -> frozenset[str]:
        if not isinstance(value, str):
            raise UnsaidError(f"the interface {value_text(value)}")
        pattern = f"{value[:-1]}+" if value.endswith("*") else value
        self.patterns.add(pattern)
        return self.interfaces.matching(pattern)

    def _kind(self, value: Json) -> Ranges:
        found = addresses_of_kind(str(value).upper(), self.family)
        self.by_kind = self.by_kind or str(value).upper() in ROUTED_KINDS
        if found is None:
            raise UnsaidError(f"fib daddr type {value_text(value)}")
        return found

    def _version(self, value: Json) -> Ranges:
        of = _NFPROTO.get(value) or _ETHERTYPES.get(value) if isinstance(value, str) else _ETHERTYPES.get(_int(value))
        return EVERY_PROTOCOL if of is self.family else _NEVER


def _int(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnsaidError(f"the value {value_text(value)}")
    return value


def _number(value: Json, end: int) -> Ranges:
    number = _int(value)
    return (number, number + 1) if 0 <= number < end else ()


def _protocol(value: Json) -> Ranges:
    number = PROTOCOL_NUMBERS.get(value) if isinstance(value, str) else _int(value)
    if number is None:
        raise UnsaidError(f"the protocol {value}")
    return (number, number + 1) if 0 <= number < 256 else ()


def _type(value: Json, names: Mapping[str, int]) -> Ranges:
    first = _named(value, names) * 256
    return (first, first + 256)


def _code(value: Json, names: Mapping[str, int]) -> Ranges:
    code = _named(value, names)
    return tuple(edge for kind in range(256) for edge in (kind * 256 + code, kind * 256 + code + 1))


def _named(value: Json, names: Mapping[str, int]) -> int:
    number = names.get(value) if isinstance(value, str) else _int(value)
    if number is None or not 0 <= number < 256:
        raise UnsaidError(f"the ICMP message {value_text(value)}")
    return number


def _state(value: Json) -> frozenset[ConntrackState]:
    if not isinstance(value, str) or value not in _STATES:
        raise UnsaidError(f"ct state {value_text(value)}")
    return frozenset({_STATES[value]})


def _is_there(value: Json) -> frozenset[bool]:
    if value not in (True, False, "exists", "missing", 0, 1):
        raise UnsaidError(f"meta ipsec {value_text(value)}")
    return frozenset({value in (True, "exists", 1)})


def _mac(value: Json) -> Ranges:
    found = parse_mac(value) if isinstance(value, str) else None
    if found is None:
        raise UnsaidError(f"the Ethernet address {value_text(value)}")
    return (found.value, found.value + 1)


def _address(value: Json, family: Family) -> Ranges:
    found = parse_address(value) if isinstance(value, str) else None
    if found is None or found[0] is not family:
        raise UnsaidError(f"the address {value_text(value)}")
    return (found[1], found[1] + 1)
