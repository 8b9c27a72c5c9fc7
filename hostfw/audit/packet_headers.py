"""Packet headers, as far as a log record holds them.

A record is cut at the snap length, and what it holds was on the wire: anything may be missing or wrong. What cannot be
known is None, and nothing is guessed. Protocols and extension headers are told apart as nftables does for `meta
l4proto` (nf_tables_ipv6.h, ipv6_find_hdr), so that a packet is shown as the protocol that policy took it for.
"""

import struct
from dataclasses import dataclass, replace

from hostfw.model.values import (
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    PROTOCOLS,
    TCP,
    UDPLITE,
    Family,
    address_text,
)

_V4_HEADER_BYTES = 20
_V6_HEADER_BYTES = 40
_EXTENSION_UNIT_BYTES = 8
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_EXTENSIONS = frozenset((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS))
"""Those that nftables looks behind; the authentication header (51) is a protocol to it, in both families."""
_NOT_A_PROTOCOL = frozenset((*_EXTENSIONS, 51, 59))
"""Next headers after which only the first fragment names the protocol."""

_PORTS = PORT_PROTOCOLS | {UDPLITE.number}
_ECHOES = {Family.V4: (0, 8), Family.V6: (128, 129)}
_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_PROTOCOL_NAMES = {protocol.number: protocol.name for protocol in PROTOCOLS.values()}

_PROTOCOL_NUMBERS = {name: number for number, name in _PROTOCOL_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields of a packet; None is what is not known.

    Addresses are integers of `family`. `length` is that of the whole packet in bytes as its IP header states it, and
    `fragment` the offset in bytes of a fragment's payload, 0 for the first. `icmp_id` is the identifier of an echo
    request or reply. `tcp_flags` is the byte of the TCP header. `truncated` says that a header was cut short.
    """

    family: Family | None = None
    source: int | None = None
    destination: int | None = None
    protocol: int | None = None
    length: int | None = None
    hop_limit: int | None = None
    fragment: int | None = None
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    tcp_flags: int | None = None
    truncated: bool = False

    @property
    def source_text(self) -> str:
        """The source address as people write it, or nothing."""
        return _text(self.family, self.source)

    @property
    def destination_text(self) -> str:
        """The destination address as people write it, or nothing."""
        return _text(self.family, self.destination)

    @property
    def protocol_text(self) -> str:
        """The protocol's name in `projectcalico.org/v3`, or its number, or nothing."""
        return "" if self.protocol is None else protocol_name(self.protocol)

    @property
    def tcp_flags_text(self) -> str:
        """The flags of a TCP segment as `SYN,ACK`; `none` if it has none, and nothing if they are not known."""
        if self.tcp_flags is None:
            return ""
        return ",".join(name for bit, name in enumerate(_TCP_FLAGS) if self.tcp_flags >> bit & 1) or "none"


def headers(payload: bytes, family: Family | None = None) -> Headers:
    """The header fields of a packet, from its bytes from the IP header on; never raises.

    With `family`, that of the hook which logged it, a packet that calls itself otherwise is not looked into.
    """
    version = payload[0] >> 4 if payload else 0
    if version not in (Family.V4, Family.V6) or family not in (None, version):
        return Headers(family, truncated=not payload)
    return _v4(payload) if version == Family.V4 else _v6(payload)


def protocol_name(number: int) -> str:
    """The name of a protocol in `projectcalico.org/v3`, or its number."""
    return _PROTOCOL_NAMES.get(number) or str(number)


def protocol_number(text: str) -> int | None:
    """The protocol that `protocol_name` calls so; None for what it never says."""
    number = _PROTOCOL_NUMBERS.get(text)
    if number is None and text.isascii() and text.isdigit() and len(text) <= len("255") and int(text) < 1 << 8:
        return int(text)
    return number


def tcp_flags_of(text: str) -> int | None:
    """The byte whose `tcp_flags_text` this is; None for what it never says."""
    names = [] if text == "none" else text.split(",")
    if not set(names) <= set(_TCP_FLAGS):
        return None
    return sum(1 << _TCP_FLAGS.index(name) for name in set(names))


@dataclass(frozen=True, slots=True)
class _Internet:
    """The fields of the IP header that is read, whichever its family."""

    family: Family
    source: int
    destination: int
    length: int | None
    hop_limit: int

    def headers(self, *, protocol: int | None, fragment: int | None = None, truncated: bool = False) -> Headers:
        """Without anything of the transport header."""
        return Headers(
            self.family,
            self.source,
            self.destination,
            protocol,
            self.length,
            self.hop_limit,
            fragment,
            truncated=truncated,
        )


def _v4(data: bytes) -> Headers:
    if len(data) < _V4_HEADER_BYTES:
        return Headers(Family.V4, truncated=True)
    length, position, hop_limit, protocol = struct.unpack_from("!xxHxxHBB", data)
    header_bytes = (data[0] & 0x0F) * 4
    found = _Internet(
        Family.V4,
        int.from_bytes(data[12:16], "big"),
        int.from_bytes(data[16:20], "big"),
        # Linux writes 0 for what is longer than the field holds (BIG TCP).
        length or None,
        hop_limit,
    )
    offset, more = (position & 0x1FFF) * 8, bool(position & 0x2000)
    fragment = offset if offset or more else None
    cut = len(data) < header_bytes
    if offset or cut or header_bytes < _V4_HEADER_BYTES:
        return found.headers(protocol=protocol, fragment=fragment, truncated=cut)
    return _transport(found, protocol, fragment, data[header_bytes:])


def _v6(data: bytes) -> Headers:
    if len(data) < _V6_HEADER_BYTES:
        return Headers(Family.V6, truncated=True)
    length, following, hop_limit = struct.unpack_from("!4xHBB", data)
    found = _Internet(
        Family.V6,
        int.from_bytes(data[8:24], "big"),
        int.from_bytes(data[24:40], "big"),
        # 0 stands for a jumbogram (RFC 2675) as well as for nothing, so it says nothing but of what ends here.
        _V6_HEADER_BYTES + length if length or following == 59 else None,
        hop_limit,
    )
    at = _V6_HEADER_BYTES
    fragment: int | None = None
    while following in _EXTENSIONS:
        if at + _EXTENSION_UNIT_BYTES > len(data):
            return found.headers(protocol=None, fragment=fragment, truncated=True)
        extension, following = following, data[at]
        if extension == _FRAGMENT:
            fragment = int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8
            if fragment:
                known = None if following in _NOT_A_PROTOCOL else following
                return found.headers(protocol=known, fragment=fragment)
            at += _EXTENSION_UNIT_BYTES
        else:
            at += (data[at + 1] + 1) * _EXTENSION_UNIT_BYTES
    return _transport(found, following, fragment, data[at:])


def _transport(found: _Internet, protocol: int, fragment: int | None, data: bytes) -> Headers:
    """The whole, with what the transport header says."""
    known = found.headers(protocol=protocol, fragment=fragment)
    if protocol in _PORTS:
        return _with_ports(known, data)
    if protocol == (ICMP if found.family is Family.V4 else ICMPV6).number:
        return _with_icmp(known, data)
    return known


def _with_ports(known: Headers, data: bytes) -> Headers:
    if len(data) < 4:
        return replace(known, truncated=True)
    source_port, destination_port = struct.unpack_from("!HH", data)
    is_tcp = known.protocol == TCP.number
    cut = is_tcp and len(data) < 14
    return replace(
        known,
        source_port=source_port,
        destination_port=destination_port,
        tcp_flags=data[13] if is_tcp and not cut else None,
        truncated=cut,
    )


def _with_icmp(known: Headers, data: bytes) -> Headers:
    if len(data) < 2:
        return replace(known, truncated=True)
    is_echo = known.family is not None and data[0] in _ECHOES[known.family]
    cut = is_echo and len(data) < 6
    return replace(
        known,
        icmp_type=data[0],
        icmp_code=data[1],
        icmp_id=int.from_bytes(data[4:6], "big") if is_echo and not cut else None,
        truncated=cut,
    )


def _text(family: Family | None, address: int | None) -> str:
    return "" if family is None or address is None else address_text(family, address)
