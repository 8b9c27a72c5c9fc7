"""Packets as bytes: what stands on the wire for a `Packet` of the model.

Checksums are right, since conntrack calls what has a wrong one INVALID; a `Form` says what else is out of the ordinary.
"""

import struct
from dataclasses import dataclass
from enum import Enum

from hostfw.model.packets.packet import Packet
from hostfw.model.values import ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE, Family

_HOP_BY_HOP, _FRAGMENT = 0, 44
_ROUTER_ALERT = bytes((5, 2, 0, 0, 1, 0))
"""The option that MLD travels with (RFC 2711), padded."""
_CUT_BYTES = 16
"""The place at which a packet is cut: a multiple of eight inside every transport header but UDP's."""
_CRC32C = 0x82F63B78
"""The reversed polynomial of SCTP's checksum (RFC 9260, appendix A)."""


class Tcp(Enum):
    """The flags of a TCP segment. `NONE` is no packet of TCP: conntrack calls it INVALID."""

    SYN = 0x02
    SYN_ACK = 0x12
    ACK = 0x10
    FIN_ACK = 0x11
    RESET = 0x04
    NONE = 0x00


@dataclass(frozen=True, slots=True)
class Form:
    """Properties of a packet that the model does not have.

    `quoted` is the packet that an ICMP error is about. A packet that is `fragmented` travels in two; one with a
    `hop_by_hop` header (IPv6) says "router alert" there.
    """

    tcp: Tcp = Tcp.SYN
    sequence: int = 1
    acknowledged: int = 0
    quoted: bytes = b""
    wrong_checksum: bool = False
    fragmented: bool = False
    hop_by_hop: bool = False


PLAIN = Form()


def datagrams(packet: Packet, number: int, form: Form = PLAIN) -> tuple[bytes, ...]:
    """The packet from its IP header on: one datagram, or its two fragments.

    `number` tells it from others in log records: the identification of IPv4, the flow label of IPv6.
    """
    payload = _transport(packet, form)
    if not form.fragmented:
        return (_internet(packet, number, payload, form, None),)
    head, tail = payload[:_CUT_BYTES], payload[_CUT_BYTES:]
    return (
        _internet(packet, number, head, form, (0, True)),
        _internet(packet, number, tail, form, (_CUT_BYTES // 8, False)),
    )


def number_of(datagram: bytes) -> int:
    """The number that a datagram was made with."""
    if datagram[0] >> 4 == Family.V4:
        return int.from_bytes(datagram[4:6], "big")
    return int.from_bytes(datagram[1:4], "big") & 0xFFFFF


def _internet(packet: Packet, number: int, payload: bytes, form: Form, fragment: tuple[int, bool] | None) -> bytes:
    """The IP header before a payload. `fragment` is its offset in units of eight bytes, and whether more follow."""
    source, destination = _addresses(packet)
    offset, more = fragment or (0, False)
    if packet.family is Family.V4:
        header = struct.pack(
            "!BBHHHBBH", 0x45, 0, 20 + len(payload), number, offset | (more << 13), packet.hop_limit, packet.protocol, 0
        )
        whole = header + source + destination
        return whole[:10] + checksum(whole).to_bytes(2, "big") + whole[12:] + payload
    extensions, first = b"", packet.protocol
    if fragment:
        extensions = struct.pack("!BBHI", first, 0, offset << 3 | more, number)
        first = _FRAGMENT
    if form.hop_by_hop:
        extensions = bytes((first, 0)) + _ROUTER_ALERT + extensions
        first = _HOP_BY_HOP
    content = extensions + payload
    return (
        struct.pack("!IHBB", 6 << 28 | number, len(content), first, packet.hop_limit) + source + destination + content
    )


def _transport(packet: Packet, form: Form) -> bytes:
    """The packet without its IP header."""
    ports = packet.source_port or 0, packet.destination_port or 0
    match packet.protocol:
        case TCP.number:
            segment = struct.pack(
                "!HHIIBBHHH", *ports, form.sequence, form.acknowledged, 5 << 4, form.tcp.value, 65535, 0, 0
            )
            return _summed(packet, segment, 16, form)
        case UDP.number:
            return _summed(packet, struct.pack("!HHHH", *ports, 8 + len(_DATA), 0) + _DATA, 6, form)
        case UDPLITE.number:
            return _summed(packet, struct.pack("!HHHH", 4000, 4001, 0, 0) + _DATA, 6, form)
        case SCTP.number:
            return _init_chunk(*ports, form)
        case ICMP.number | ICMPV6.number:
            kind, code = packet.icmp_type or 0, packet.icmp_code or 0
            rest = b"\0\0\0\0" + form.quoted if form.quoted else b"\x48\x46\0\1" + _DATA
            return _summed(packet, struct.pack("!BBH", kind, code, 0) + rest, 2, form)
        case _:
            return b"\0" * 4 + _DATA


_DATA = b"hostfw: a packet to be judged..."


def _summed(packet: Packet, message: bytes, at: int, form: Form) -> bytes:
    """The message with its Internet checksum at a place that was zero; ICMP over IPv4 alone leaves addresses out."""
    pseudo = b""
    if packet.protocol != ICMP.number:
        source, destination = _addresses(packet)
        pseudo = source + destination + struct.pack("!IHBB", len(message), 0, 0, packet.protocol)
    # Zero and all ones are equal in this arithmetic, and zero would mean "none" to UDP.
    total = (checksum(pseudo + message) or 0xFFFF) ^ (0x5555 if form.wrong_checksum else 0)
    return message[:at] + total.to_bytes(2, "big") + message[at + 2 :]


def _init_chunk(source_port: int, destination_port: int, form: Form) -> bytes:
    """The first packet of an SCTP association (RFC 9260, 3.3.2)."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x48464857, 65535, 1, 1, 1)
    header = struct.pack("!HHI", source_port, destination_port, 0)
    total = _crc32c(header + b"\0\0\0\0" + chunk) ^ (0x5555 if form.wrong_checksum else 0)
    return header + struct.pack("<I", total) + chunk


def _addresses(packet: Packet) -> tuple[bytes, bytes]:
    size = packet.family.bits // 8
    return packet.source.to_bytes(size, "big"), packet.destination.to_bytes(size, "big")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words: tuple[int, ...] = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (_CRC32C if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF
