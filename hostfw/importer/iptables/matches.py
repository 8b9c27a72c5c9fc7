"""The options of a rule of iptables, as a condition (iptables(8), iptables-extensions(8))."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hostfw.importer.conditions import (
    EVERY_ICMP,
    EVERY_PORT,
    EVERY_PROTOCOL,
    Condition,
    Interfaces,
    all_but,
    anything,
)
from hostfw.importer.iptables.limits import MODULES, UnsaidLimitError, bound_of
from hostfw.importer.rule_set import Bound
from hostfw.importer.special_addresses import addresses_of_kind
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.ranges import Ranges, every_address, ranges_of, union
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    Cidr,
    Family,
    mask_of,
    parse_address,
    parse_cidr,
    parse_mac,
)

PROTOCOL_NUMBERS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50,
    "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "ospf": 89, "pim": 103, "vrrp": 112, "sctp": 132, "mh": 135,
    "udplite": 136,
}  # fmt: skip
"""Names that iptables prints, with their numbers (/etc/protocols)."""
_ICMP_TYPES = {
    Family.V4: {
        "echo-reply": 0, "pong": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
        "ping": 8, "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "ttl-exceeded": 11,
        "parameter-problem": 12, "timestamp-request": 13, "timestamp-reply": 14, "address-mask-request": 17,
        "address-mask-reply": 18,
    },
    Family.V6: {
        "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "ttl-exceeded": 3,
        "parameter-problem": 4, "echo-request": 128, "ping": 128, "echo-reply": 129, "pong": 129,
        "router-solicitation": 133, "router-advertisement": 134, "neighbour-solicitation": 135,
        "neighbor-solicitation": 135, "neighbour-advertisement": 136, "neighbor-advertisement": 136, "redirect": 137,
    },
}  # fmt: skip
_UNREACHABLE = {
    "network-unreachable": 0,
    "host-unreachable": 1,
    "port-unreachable": 3,
    "fragmentation-needed": 4,
}
"""Names of codes of the IPv4 type 3 that people write."""
_STATES = {state.name: state for state in ConntrackState}
_WITH_OPTIONS = frozenset({
    "LOG", "NFLOG", "ULOG", "REJECT", "MARK", "CONNMARK", "NFQUEUE", "SET", "AUDIT", "CT", "TPROXY", "TEE", "CLASSIFY",
})  # fmt: skip
"""Targets with options of their own; matches may stand behind them."""
_FIRST_FLAGS = frozenset({"SYN"})
"""The TCP flags of a packet that begins a connection."""
_ALL_FLAGS = frozenset({"SYN", "ACK", "FIN", "RST", "URG", "PSH"})


class Read(NamedTuple):
    """A rule as it was read: its condition, or the part of it that policy can say, and why it can say no more.

    `target` is where a packet goes that matches; `goto` is True if that is a chain that it does not come back from.
    """

    condition: Condition
    unsaid: str
    target: str
    goto: bool
    bound: Bound | None


@dataclass(slots=True)
class _Options:
    """The words of a rule, read from the left."""

    words: list[str]
    family: Family
    interfaces: Interfaces
    place: int = 0
    negated: bool = False
    target: str = ""
    goto: bool = False
    of_target: bool = False
    modules: list[str] = field(default_factory=list)
    protocols: Ranges = EVERY_PROTOCOL
    why: str = ""
    bound: Bound | None = None

    def value(self) -> str:
        """The next word. Raises ValueError where there is none."""
        if self.place >= len(self.words):
            raise ValueError(f"{self.words[-1]} without a value")
        self.place += 1
        return self.words[self.place - 1]

    def chosen(self, ranges: Ranges, whole: Ranges) -> Ranges:
        """The values, or all others behind an exclamation mark."""
        return all_but(ranges, whole) if self.negated else ranges


def read_rule(words: list[str], family: Family, interfaces: Interfaces) -> Read:
    """Read the words of a rule behind the name of its chain.

    Raises ValueError, with what is wrong, for a rule that iptables would not take.
    """
    options = _Options(words, family, interfaces)
    condition = anything(family)
    for narrower in _narrowed(options):
        condition = condition.also(narrower)
    return Read(condition, options.why, options.target, options.goto, options.bound)


def _narrowed(options: _Options) -> Iterator[Condition]:
    """One condition for each option that makes one."""
    whole = anything(options.family)
    while options.place < len(options.words):
        word = options.value()
        options.negated = word == "!"
        if options.negated:
            word = options.value()
        if word in ("-j", "--jump", "-g", "--goto"):
            options.target, options.goto = options.value(), word in ("-g", "--goto")
            options.of_target = options.target in _WITH_OPTIONS
            continue
        if word in ("-m", "--match"):
            options.modules.append(options.value())
            options.of_target = False
            if options.modules[-1] in MODULES:
                _counted(options, options.modules[-1])
            continue
        read = _OPTIONS.get(word)
        if read is None and options.of_target:
            while options.place < len(options.words) and not options.words[options.place].startswith(("-", "!")):
                options.place += 1
            continue
        if read is None:
            module = options.modules[-1] if options.modules else ""
            options.why = options.why or (f"-m {module}" if module else word)
            # How many values an option of an unknown module has is not known: look for the target.
            while options.place < len(options.words) and options.words[options.place] not in (
                "-j",
                "-g",
                "--jump",
                "--goto",
            ):
                options.place += 1
            continue
        found = read(options, whole)
        if found is not None:
            yield found


def _counted(options: _Options, module: str) -> None:
    """Read what a module counts by source; one count of a rule can be said."""
    try:
        bound, options.place = bound_of(module, options.words, options.place, options.family)
    except UnsaidLimitError:
        options.why = options.why or f"-m {module}"
        return
    if bound is not None and options.bound is not None:
        options.why = options.why or f"two counts by source (-m {module})"
    options.bound = bound or options.bound


def _addresses(text: str, family: Family) -> Ranges:
    """The addresses of a list of prefixes, with lengths or masks."""
    cidrs = [cidr for one in text.split(",") if (cidr := _cidr(one, family)) is not None]
    if len(cidrs) != len(text.split(",")):
        raise ValueError(f"{text} is not an address or network of IPv{family:d}")
    return ranges_of(cidrs, family)


def _cidr(text: str, family: Family) -> Cidr | None:
    address, _, length = text.partition("/")
    mask = parse_address(length) if length else None
    if mask is not None:
        bits = mask[1].bit_count()
        if mask[1] != mask_of(mask[0], bits):
            return None
        length = str(bits)
    found = parse_cidr(f"{address}/{length or family.bits}")
    return found if found is not None and found.family is family else None


def _source(options: _Options, whole: Condition) -> Condition:
    ranges = options.chosen(_addresses(options.value(), options.family), every_address(options.family))
    return replace(whole, source=ranges)


def _destination(options: _Options, whole: Condition) -> Condition:
    ranges = options.chosen(_addresses(options.value(), options.family), every_address(options.family))
    return replace(whole, destination=ranges)


def _range_of_addresses(options: _Options) -> Ranges:
    text = options.value()
    ends = [parse_address(end) for end in text.split("-")]
    if len(ends) != 2 or any(end is None or end[0] is not options.family for end in ends):
        raise ValueError(f"{text} is not a range of addresses of IPv{options.family:d}")
    first, last = (end[1] for end in ends if end is not None)
    return options.chosen((first, last + 1) if first <= last else (), every_address(options.family))


def _into(options: _Options, whole: Condition) -> Condition:
    return replace(whole, into=_classes(options))


def _out(options: _Options, whole: Condition) -> Condition:
    return replace(whole, out=_classes(options))


def _classes(options: _Options) -> frozenset[str]:
    found = options.interfaces.matching(options.value())
    return options.interfaces.classes - found if options.negated else found


def _protocol(options: _Options, whole: Condition) -> Condition:
    text = options.value().lower()
    if text in ("all", "0"):
        return whole
    number = PROTOCOL_NUMBERS.get(text, int(text) if text.isascii() and text.isdecimal() else None)
    if number is None or number > 255:
        raise ValueError(f"{text} is not a protocol")
    options.protocols = options.chosen((number, number + 1), EVERY_PROTOCOL)
    return replace(whole, protocols=options.protocols)


def _ports(options: _Options) -> Ranges:
    """Ports and ranges of them, by number; those of a protocol that policy knows no ports of cannot be said."""
    text = options.value()
    found: Ranges = ()
    for one in text.split(","):
        first, colon, last = one.partition(":")
        low, high = first or "0", (last or "65535") if colon else first
        if not (low.isdecimal() and high.isdecimal()) or int(high) > 65535:
            raise ValueError(f"{one} is not a port or range of ports, by number")
        if int(low) <= int(high):
            found = union(found, (int(low), int(high) + 1))
    if options.protocols not in [(number, number + 1) for number in PORT_PROTOCOLS]:
        options.why = options.why or "ports of this protocol"
    return options.chosen(found, EVERY_PORT)


def _source_ports(options: _Options, whole: Condition) -> Condition:
    return replace(whole, source_ports=_ports(options))


def _destination_ports(options: _Options, whole: Condition) -> Condition:
    return replace(whole, destination_ports=_ports(options))


def _either_port(options: _Options, whole: Condition) -> Condition:
    options.value()
    options.why = options.why or "a port of either side (multiport --ports)"
    return whole


def _icmp(options: _Options, whole: Condition) -> Condition:
    text = options.value()
    if text in ("any", "255"):
        return whole
    kind, slash, code = text.partition("/")
    if text in _UNREACHABLE and options.family is Family.V4:
        kind, slash, code = "3", "/", str(_UNREACHABLE[text])
    number = _ICMP_TYPES[options.family].get(kind, int(kind) if kind.isdecimal() else None)
    if number is None or number > 255 or (slash and not code.isdecimal()):
        raise ValueError(f"{text} is not a type of an ICMP message that is known here; iptables-save prints its number")
    first = number * 256 + (int(code) if slash else 0)
    protocol = (ICMP if options.family is Family.V4 else ICMPV6).number
    return replace(
        whole,
        protocols=(protocol, protocol + 1),
        icmp=options.chosen((first, first + (1 if slash else 256)), EVERY_ICMP),
    )


def _states(options: _Options, whole: Condition) -> Condition:
    names = options.value().split(",")
    if any(name not in _STATES for name in names):
        options.why = options.why or "translated connections (--ctstate SNAT or DNAT)"
        return whole
    states = frozenset(_STATES[name] for name in names)
    return replace(whole, states=frozenset(ConntrackState) - states if options.negated else states)


def _flags(options: _Options, whole: Condition) -> Condition:
    looked_at, set_ = (_named_flags(options.value()) for _ in range(2))
    return _if_first(options, whole, holds=(looked_at & _FIRST_FLAGS) == set_)


def _syn(options: _Options, whole: Condition) -> Condition:
    return _if_first(options, whole, holds=True)


def _named_flags(text: str) -> frozenset[str]:
    return {"ALL": _ALL_FLAGS, "NONE": frozenset[str]()}.get(text) or frozenset(set(text.split(",")) - {"NONE"})


def _if_first(options: _Options, whole: Condition, *, holds: bool) -> Condition:
    if holds is options.negated:
        options.why = options.why or "TCP flags of packets that begin no connection"
    return whole


def _kind_of_destination(options: _Options, whole: Condition) -> Condition:
    kinds = options.value().split(",")
    found: Ranges = ()
    for kind in kinds:
        addresses = addresses_of_kind(kind, options.family)
        if addresses is None:
            options.why = options.why or f"-m addrtype --dst-type {kind}"
            return whole
        found = union(found, addresses)
    return replace(whole, destination=options.chosen(found, every_address(options.family)))


def _mac(options: _Options, whole: Condition) -> Condition:
    text = options.value()
    mac = parse_mac(text.lower())
    if mac is None:
        raise ValueError(f"{text} is no Ethernet address")
    if options.negated:
        options.why = options.why or "every Ethernet address but one (! --mac-source)"
        return whole
    return replace(whole, macs=(mac.value, mac.value + 1))


def _way_of_ipsec(options: _Options, _: Condition) -> None:
    if options.value() != "in":
        options.why = options.why or "what goes out through IPsec (-m policy --dir out)"


def _ipsec(options: _Options, whole: Condition) -> Condition:
    return replace(whole, ipsec=frozenset({(options.value() == "ipsec") is not options.negated}))


def _comment(options: _Options, _: Condition) -> None:
    options.value()


def _fragments(options: _Options, whole: Condition) -> Condition | None:
    # Conntrack puts fragments together before any rule of the table filter.
    if not options.negated:
        options.why = options.why or "fragments, which connection tracking puts together before"
    return None if options.negated else whole


_Reader = Callable[[_Options, Condition], Condition | None]
_OPTIONS: Mapping[str, _Reader] = {
    **dict.fromkeys(("-s", "--source", "--src"), _source),
    **dict.fromkeys(("-d", "--destination", "--dst"), _destination),
    **dict.fromkeys(("-i", "--in-interface"), _into),
    **dict.fromkeys(("-o", "--out-interface"), _out),
    **dict.fromkeys(("-p", "--protocol", "--proto"), _protocol),
    **dict.fromkeys(("--sport", "--source-port", "--sports", "--source-ports"), _source_ports),
    **dict.fromkeys(("--dport", "--destination-port", "--dports", "--destination-ports"), _destination_ports),
    "--ports": _either_port,
    **dict.fromkeys(("--icmp-type", "--icmpv6-type"), _icmp),
    **dict.fromkeys(("--state", "--ctstate"), _states),
    "--tcp-flags": _flags,
    "--syn": _syn,
    "--src-range": lambda options, whole: replace(whole, source=_range_of_addresses(options)),
    "--dst-range": lambda options, whole: replace(whole, destination=_range_of_addresses(options)),
    "--dst-type": _kind_of_destination,
    "--mac-source": _mac,
    "--dir": _way_of_ipsec,
    "--pol": _ipsec,
    "--comment": _comment,
    **dict.fromkeys(("-f", "--fragment"), _fragments),
}
