"""The packet that `explain` is asked about: parties, a protocol and numbers, before any host is known."""

from shlex import quote
from typing import NamedTuple

from hostfw.cli.command_line.options import Options
from hostfw.manifest.scalars.net_texts import form_hint, given_cidr
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    NAMED_PROTOCOLS,
    PORT_PROTOCOLS,
    PROTOCOLS,
    TCP,
    Family,
    Mac,
    Protocol,
    parse_mac,
)

HOST = "host"
"""The party that is this host, whatever its addresses are."""

FIRST_DYNAMIC_PORT = 49_152
"""The source port where none is given: the first of the dynamic ones (RFC 6335)."""

_LAST_PORT = 65_535
_LAST_PROTOCOL = 255
_LAST_OCTET = 255
_PROTOCOLS = {name.lower(): protocol for name, protocol in NAMED_PROTOCOLS.items()}
_ECHO_REQUEST = {Family.V4: 8, Family.V6: 128}


class QueryError(Exception):
    """A question that means nothing, or not one thing: why, and the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Address(NamedTuple):
    """An address with its family."""

    family: Family
    value: int


Party = Address | str
"""A sender or receiver: an address, the name of a HostEndpoint, or `host`."""


class PacketQuery(NamedTuple):
    """A packet as far as the command line says. `protocol` None is a ping of whichever family it comes to."""

    source: Party
    destination: Party
    protocol: Protocol | None
    source_port: int | None
    destination_port: int | None
    icmp: tuple[int, int] | None
    state: ConntrackState
    in_interface: str | None
    out_interface: str | None
    mac: Mac | None = None
    ipsec: bool = False
    answer: bool = False
    no_way_back: bool = False
    over_limit: bool = False

    @property
    def family(self) -> Family | None:
        """The family that the question leaves no doubt about, if it does not."""
        for party in (self.source, self.destination):
            if isinstance(party, Address):
                return party.family
        return None if self.protocol is None else self.protocol.family

    def icmp_of(self, family: Family) -> tuple[int, int]:
        """The ICMP type and code: what was given, or an echo request."""
        return self.icmp or (_ECHO_REQUEST[family], 0)

    def protocol_of(self, family: Family) -> Protocol:
        """The protocol: what was given, or the ICMP of the family."""
        return self.protocol or (ICMP if family is Family.V4 else ICMPV6)


def packet_query(options: Options) -> PacketQuery:
    """The question of a command line. Raises QuestionError."""
    if options.destination.isascii() and options.destination.isdigit():
        meant = f"`hostfwctl explain {quote(options.source)} {HOST}:{options.destination}`"
        raise QueryError(f'DST is "{options.destination}", which is not an address', meant)
    destination, port, protocol = _destination(options.destination)
    if protocol is None and port is not None:
        protocol = TCP
    query = PacketQuery(
        source=_party(options.source, "SRC"),
        destination=destination,
        protocol=protocol,
        source_port=options.source_port,
        destination_port=port,
        icmp=None if options.icmp is None else _icmp(options.icmp),
        state=ConntrackState(options.state),
        in_interface=options.in_interface,
        out_interface=options.out_interface,
        mac=None if options.mac is None else _mac(options.mac),
        ipsec=options.ipsec,
        answer=options.answer,
        no_way_back=options.no_way_back,
        over_limit=options.over_limit,
    )
    _check_families(query)
    if protocol is not None and protocol.number in PORT_PROTOCOLS:
        return _with_ports(query, protocol)
    return _without_ports(query)


def _mac(text: str) -> Mac:
    mac = parse_mac(text)
    if mac is None:
        raise QueryError(f'--mac is "{text}"', "write an Ethernet address such as 02:00:00:00:00:01")
    return mac


def _with_ports(query: PacketQuery, protocol: Protocol) -> PacketQuery:
    if query.icmp is not None:
        raise QueryError(f"--icmp is given for {protocol}", "leave out the port, or write /icmp or /icmpv6")
    if query.destination_port is None:
        raise QueryError(f"{protocol} needs a port", "write DST:PORT, such as 192.0.2.1:443 or [fd00::1]:443")
    port = FIRST_DYNAMIC_PORT if query.source_port is None else query.source_port
    if not 1 <= port <= _LAST_PORT:
        raise QueryError(f"--sport is {port}", f"it is a number from 1 to {_LAST_PORT}")
    return query._replace(source_port=port)


def _without_ports(query: PacketQuery) -> PacketQuery:
    name = query.protocol or "a ping"
    if query.destination_port is not None or query.source_port is not None:
        raise QueryError(f"{name} has no ports that policy can match", "leave them out, or write /tcp, /udp or /sctp")
    number = None if query.protocol is None else query.protocol.number
    if query.icmp is not None and number not in (None, ICMP.number, ICMPV6.number):
        raise QueryError(f"--icmp is given for protocol {name}", "write /icmp or /icmpv6, or leave out --icmp")
    return query


def _destination(text: str) -> tuple[Party, int | None, Protocol | None]:
    """DST[:PORT][/PROTO]; an IPv6 address is in brackets where a port follows it."""
    head, slash, protocol_text = text.partition("/")
    protocol = _protocol(protocol_text) if slash else None
    if head.startswith("["):
        inside, bracket, rest = head[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise QueryError(f'DST is "{text}"', "write [ADDRESS]:PORT, such as [fd00::1]:443")
        return _party(inside, "DST"), _port(rest[1:]) if rest else None, protocol
    if head.count(":") == 1:
        head, _, port_text = head.partition(":")
        return _party(head, "DST"), _port(port_text), protocol
    return _party(head, "DST"), None, protocol


def _party(text: str, what: str) -> Party:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    cidr = given_cidr(bare) if "/" not in bare else None
    if cidr is not None:
        return Address(cidr.family, cidr.address)
    is_name = bool(text) and not set(text) & set(":/[]% \t")
    if not is_name or text.replace(".", "").isdigit():
        raise QueryError(
            f'{what} is "{text}"',
            form_hint(bare) or f"it is an address, the name of a HostEndpoint, or {HOST} for this host",
        )
    return text


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_LAST_PORT)) and 1 <= int(text) <= _LAST_PORT:
        return int(text)
    raise QueryError(f'the port is "{text}"', f"it is a number from 1 to {_LAST_PORT}")


def _protocol(text: str) -> Protocol:
    known = _PROTOCOLS.get(text.lower())
    if known is not None:
        return known
    if text.isascii() and text.isdigit() and len(text) <= len("255") and 1 <= int(text) <= _LAST_PROTOCOL:
        # ICMP's numbers are of both families until a name says otherwise, as in rules.
        either = (p for p in PROTOCOLS.values() if p.number == int(text) and p.family is None)
        return next(either, Protocol(int(text)))
    raise QueryError(f'the protocol is "{text}"', f"it is one of {', '.join(_PROTOCOLS)}, or a number from 1 to 255")


def _icmp(text: str) -> tuple[int, int]:
    type_text, slash, code_text = text.partition("/")
    numbers = [type_text, code_text if slash else "0"]
    if all(n.isascii() and n.isdigit() and len(n) <= len("255") and int(n) <= _LAST_OCTET for n in numbers):
        return int(numbers[0]), int(numbers[1])
    raise QueryError(f'--icmp is "{text}"', "it is TYPE or TYPE/CODE, each from 0 to 255")


def _check_families(query: PacketQuery) -> None:
    """Raise QuestionError where two parts of a question are of different IP versions."""
    families: dict[str, Family] = {}
    for name, party in (("SRC", query.source), ("DST", query.destination)):
        if isinstance(party, Address):
            families[name] = party.family
    protocol = query.protocol
    if protocol is not None and protocol.family is not None:
        families[str(protocol)] = protocol.family
    if len(set(families.values())) > 1:
        which = " and ".join(f"{name} is of IPv{family:d}" for name, family in families.items())
        hint = "write /icmp for IPv4 and /icmpv6 for IPv6" if protocol is not None and protocol.family else ""
        raise QueryError(which, hint)
