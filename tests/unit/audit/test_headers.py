"""Packet headers out of log records."""

import struct
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.audit.packet_headers import Headers, headers
from hostfw.model.values import FAMILIES, Family, parse_address

SYN = bytes.fromhex("9c40 0016 00000001 00000000 a002 faf0 0000 0000 020405b4 0402080a 00000001 00000000 01030307")
SYN_ACK = bytes.fromhex("0016 9c40 00000001 00000002 5012 faf0 0000 0000")
NULL_SCAN = bytes.fromhex("9c40 0016 00000001 00000000 5000 faf0 0000 0000")
UDP = bytes.fromhex("9c41 0035 000c 0000 61626364")
UDPLITE = bytes.fromhex("0fa0 0fa1 0008 0000 61626364")
SCTP_INIT = bytes.fromhex("9c42 0e59 00000000 00000000 01000014 48464857 0000ffff 0001 0001 00000001")
PING = bytes.fromhex("0800 f7ff 1234 0001 61626364")
PING6 = bytes.fromhex("8000 0000 1234 0001 61626364")
REPLY = bytes.fromhex("0000 f7ff 1234 0001 61626364")
PORT_UNREACHABLE = bytes.fromhex("0303 0000 00000000 45000020") + bytes(24)
SOLICITATION = bytes.fromhex("8700 0000 00000000 20010db8000000000000000000000001 0101 020000000001")
ESP = bytes.fromhex("00000100 00000001") + bytes(16)
AH = bytes.fromhex("0604 0000 00000100 00000001") + bytes(12)

HOP_BY_HOP = bytes.fromhex("00 050200000100")
ROUTING = bytes.fromhex("02 0401 00000000") + bytes(16)
DESTINATION = bytes.fromhex("00 010400000000")


def address(text: str) -> int:
    """An address as an integer."""
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


def v4(
    protocol: int, payload: bytes, *, position: int = 0x4000, options: bytes = b"", length: int | None = None
) -> bytes:
    """An IPv4 packet from 192.0.2.2 to 192.0.2.1; `position` are flags and fragment offset."""
    header_bytes = 20 + len(options)
    total = header_bytes + len(payload) if length is None else length
    head = struct.pack("!BBHHHBBH", 0x40 | header_bytes // 4, 0, total, 1, position, 64, protocol, 0)
    return head + bytes((192, 0, 2, 2)) + bytes((192, 0, 2, 1)) + options + payload


def v6(following: int, payload: bytes, *, length: int | None = None) -> bytes:
    """An IPv6 packet from 2001:db8::2 to 2001:db8::1."""
    size = len(payload) if length is None else length
    ends = b"".join(address(text).to_bytes(16, "big") for text in ("2001:db8::2", "2001:db8::1"))
    return struct.pack("!IHBB", 6 << 28, size, following, 255) + ends + payload


def fragment6(following: int, offset_bytes: int, payload: bytes, *, more: bool) -> bytes:
    """A fragment header and what follows."""
    return struct.pack("!BBHI", following, 0, offset_bytes | more, 7) + payload


def known(family: Family, protocol: int | None, length: int | None, **more: object) -> Headers:
    """The expected headers of a packet of v4() or v6()."""
    ends = ("192.0.2.2", "192.0.2.1") if family is Family.V4 else ("2001:db8::2", "2001:db8::1")
    hops = 64 if family is Family.V4 else 255
    source, destination = map(address, ends)
    return Headers(family, source, destination, protocol, length, hops, **more)  # type: ignore[arg-type]


V4, V6 = FAMILIES
OPEN = {"source_port": 40000, "destination_port": 22, "tcp_flags": 0x02}
DNS = {"source_port": 40001, "destination_port": 53}

PACKETS = [
    ("a TCP SYN", v4(6, SYN), known(V4, 6, 60, **OPEN)),
    ("a TCP SYN over IPv6", v6(6, SYN), known(V6, 6, 80, **OPEN)),
    ("an answer", v4(6, SYN_ACK), known(V4, 6, 40, source_port=22, destination_port=40000, tcp_flags=0x12)),
    ("a segment without a flag", v4(6, NULL_SCAN), known(V4, 6, 40, **(OPEN | {"tcp_flags": 0}))),
    ("a packet with IP options", v4(6, SYN, options=b"\x94\x04\0\0"), known(V4, 6, 64, **OPEN)),
    ("UDP", v4(17, UDP), known(V4, 17, 32, **DNS)),
    ("UDP over IPv6", v6(17, UDP), known(V6, 17, 52, **DNS)),
    ("UDPLite", v4(136, UDPLITE), known(V4, 136, 32, source_port=4000, destination_port=4001)),
    ("UDPLite over IPv6", v6(136, UDPLITE), known(V6, 136, 52, source_port=4000, destination_port=4001)),
    ("SCTP", v4(132, SCTP_INIT), known(V4, 132, 52, source_port=40002, destination_port=3673)),
    ("SCTP over IPv6", v6(132, SCTP_INIT), known(V6, 132, 72, source_port=40002, destination_port=3673)),
    ("an echo request", v4(1, PING), known(V4, 1, 32, icmp_type=8, icmp_code=0, icmp_id=0x1234)),
    ("an echo reply", v4(1, REPLY), known(V4, 1, 32, icmp_type=0, icmp_code=0, icmp_id=0x1234)),
    ("an echo request over IPv6", v6(58, PING6), known(V6, 58, 52, icmp_type=128, icmp_code=0, icmp_id=0x1234)),
    ("an ICMP error", v4(1, PORT_UNREACHABLE), known(V4, 1, 56, icmp_type=3, icmp_code=3)),
    ("neighbour solicitation", v6(58, SOLICITATION), known(V6, 58, 72, icmp_type=135, icmp_code=0)),
    ("ICMPv6 over IPv4, which means nothing", v4(58, PING6), known(V4, 58, 32)),
    ("ICMP over IPv6, which means nothing", v6(1, PING), known(V6, 1, 52)),
    ("ESP", v4(50, ESP), known(V4, 50, 44)),
    ("an authentication header", v4(51, AH + SYN), known(V4, 51, 84)),
    ("an authentication header over IPv6", v6(51, AH + SYN), known(V6, 51, 104)),
    ("an unknown protocol", v4(253, b"abcd"), known(V4, 253, 24)),
    ("no next header", v6(59, b""), known(V6, 59, 40)),
    (
        "hop-by-hop options",
        v6(0, b"\x3a" + HOP_BY_HOP + PING6),
        known(V6, 58, 60, icmp_type=128, icmp_code=0, icmp_id=0x1234),
    ),
    (
        "three extension headers",
        v6(0, b"\x2b" + HOP_BY_HOP + b"\x3c" + ROUTING + b"\x06" + DESTINATION + SYN),
        known(V6, 6, 120, **OPEN),
    ),
    ("a first fragment", v4(17, UDP, position=0x2000), known(V4, 17, 32, fragment=0, **DNS)),
    ("a later fragment", v4(17, UDP, position=0x2000 | 185), known(V4, 17, 32, fragment=1480)),
    ("the last fragment", v4(17, UDP, position=185), known(V4, 17, 32, fragment=1480)),
    ("a first fragment over IPv6", v6(44, fragment6(17, 0, UDP, more=True)), known(V6, 17, 60, fragment=0, **DNS)),
    ("an atomic fragment", v6(44, fragment6(17, 0, UDP, more=False)), known(V6, 17, 60, fragment=0, **DNS)),
    ("a later fragment over IPv6", v6(44, fragment6(17, 1448, UDP, more=False)), known(V6, 17, 60, fragment=1448)),
    (
        "a later fragment whose protocol is in the first",
        v6(44, fragment6(60, 1448, UDP, more=True)),
        known(V6, None, 60, fragment=1448),
    ),
    ("what is longer than its length can say", v4(6, SYN, length=0), known(V4, 6, None, **OPEN)),
    ("a jumbogram", v6(0, b"\x11" + HOP_BY_HOP + UDP, length=0), known(V6, 17, None, **DNS)),
    ("an IPv4 header that is too short for itself", b"\x44" + v4(6, SYN)[1:], known(V4, 6, 60)),
    ("an IPv4 header that is cut", v4(6, b"", options=b"\1" * 8)[:24], known(V4, 6, 28, truncated=True)),
    ("an extension header that leads nowhere", v6(0, b"\x06\xff" + bytes(6)), known(V6, 6, 48, truncated=True)),
    ("nothing", b"", Headers(truncated=True)),
    ("something else", b"\x05garbage" * 8, Headers()),
]


@pytest.mark.parametrize(("packet", "expected"), [case[1:] for case in PACKETS], ids=[case[0] for case in PACKETS])
def test_a_packet_says_what_it_is(packet: bytes, expected: Headers) -> None:
    """Whatever its protocol, its extension headers and its fragment, and with the family known or not."""
    assert headers(packet) == expected
    if expected.family is not None:
        assert headers(packet, expected.family) == expected


@pytest.mark.parametrize("packet", [case[1] for case in PACKETS], ids=[case[0] for case in PACKETS])
def test_a_truncated_packet_says_no_other_thing(packet: bytes) -> None:
    """Cut at every length, each field is what it is in the whole packet, or is not known."""
    whole = asdict(headers(packet))

    for length in range(len(packet)):
        cut = asdict(headers(packet[:length], headers(packet).family))

        assert {
            name: value for name, value in cut.items() if name != "truncated" and value not in (None, whole[name])
        } == {}, length


CUTS = [
    ("before the ports", v4(6, SYN)[:23], known(V4, 6, 60, truncated=True)),
    ("after the ports", v4(6, SYN)[:24], known(V4, 6, 60, source_port=40000, destination_port=22, truncated=True)),
    ("after the flags", v4(6, SYN)[:34], known(V4, 6, 60, **OPEN)),
    ("within the ICMP type", v4(1, PING)[:21], known(V4, 1, 32, truncated=True)),
    ("before the echo's identifier", v4(1, PING)[:24], known(V4, 1, 32, icmp_type=8, icmp_code=0, truncated=True)),
    ("within the addresses", v6(6, SYN)[:39], Headers(V6, truncated=True)),
    ("within an extension header", v6(0, b"\x3a" + HOP_BY_HOP)[:44], known(V6, None, 48, truncated=True)),
]


@pytest.mark.parametrize(("packet", "expected"), [case[1:] for case in CUTS], ids=[case[0] for case in CUTS])
def test_a_cut_is_said(packet: bytes, expected: Headers) -> None:
    """Truncated fields are told apart from absent ones."""
    assert headers(packet) == expected


def test_a_packet_of_another_family_than_its_hook_is_not_looked_into() -> None:
    """The hook knows better."""
    assert headers(v6(6, SYN), V4) == Headers(V4)


@given(
    start=st.sampled_from((b"", b"\x45", b"\x4f", b"\x60", *(packet for _, packet, _ in PACKETS))),
    rest=st.binary(max_size=200),
    family=st.sampled_from((None, *FAMILIES)),
)
def test_no_bytes_are_too_strange(start: bytes, rest: bytes, family: Family | None) -> None:
    """Nothing raises, and what is said fits its field."""
    found = headers(start + rest, family)

    assert family is None or found.family is family
    assert (found.source is None) == (found.destination is None) == (found.source_text == "")
    assert found.source is None or (found.family is not None and found.source < 1 << found.family.bits)
    assert all(port is None or 0 <= port < 65536 for port in (found.source_port, found.destination_port))
    assert all(byte is None or 0 <= byte < 256 for byte in (found.icmp_type, found.icmp_code, found.tcp_flags))


@pytest.mark.parametrize(
    ("flags", "text"),
    [(0x02, "SYN"), (0x12, "SYN,ACK"), (0x29, "FIN,PSH,URG"), (0xFF, "FIN,SYN,RST,PSH,ACK,URG,ECE,CWR"), (0, "none")],
)
def test_flags_have_their_names(flags: int, text: str) -> None:
    """In the order of their bits."""
    assert Headers(tcp_flags=flags).tcp_flags_text == text
    assert Headers().tcp_flags_text == ""


@pytest.mark.parametrize(("number", "text"), [(6, "TCP"), (58, "ICMPv6"), (136, "UDPLite"), (47, "47"), (None, "")])
def test_protocols_have_the_names_of_policy(number: int | None, text: str) -> None:
    """Or their number."""
    assert Headers(protocol=number).protocol_text == text
