"""Attack packets as bytes, each for a host that lets in TCP to port 80 and, from one neighbour, UDP to port 53.

What is out of the ordinary of one packet is all that is: what a probe tries, it tries alone. Its number is in the
identification of IPv4, or the flow label of IPv6, by which what got past a ruleset is known.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from hostfw.model.values import Family
from lab.packets.flood import checksum

HOST = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
PEER = {Family.V4: "192.0.2.2", Family.V6: "2001:db8::2"}
STRANGER = {Family.V4: "203.0.113.9", Family.V6: "2001:db8:9::9"}
OPEN_TCP, OPEN_UDP, CLOSED = 80, 53, 9999
SPORT = 40000

_HARDWARE = bytes.fromhex("020000000000")
_SENDER = bytes.fromhex("02f100d00002")
_ETHERTYPE = {Family.V4: 0x0800, Family.V6: 0x86DD}
_ICMP = {Family.V4: 1, Family.V6: 58}
_TCP, _UDP = 6, 17
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _ESP, _AH, _NO_NEXT, _OPTIONS, _MOBILITY, _HIP, _SHIM6 = (
    0, 43, 44, 50, 51, 59, 60, 135, 139, 140,
)  # fmt: skip
_EXTENSIONS = {_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AH, _OPTIONS, _MOBILITY, _HIP, _SHIM6}
_SYN = 0x02
_NEIGHBOUR_DISCOVERY = range(133, 138)
_LISTENERS = (130, 131, 132, 143)

Build = Callable[[int], tuple[bytes, ...]]
"""The frames of a probe, by its number."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that an attacker tries. `passes` is whether policy allows it after all, which shows that it is real."""

    name: str
    family: Family
    frames: Build
    passes: bool = False


# ------------------------------------------------------------------------------------------------------------- headers


def address(text: str) -> bytes:
    """An address as it stands in a header."""
    return ip_address(text).packed


def ethernet(payload: bytes, ethertype: int, *, to: bytes = _HARDWARE) -> bytes:
    """A frame for the host."""
    return to + _SENDER + struct.pack("!H", ethertype) + payload


def ip4(
    number: int,
    protocol: int,
    payload: bytes,
    *,
    source: str = PEER[Family.V4],
    to: str = HOST[Family.V4],
    options: bytes = b"",
    fragment: int = 0,
    first_byte: int | None = None,
    length: int | None = None,
    sum_off: int = 0,
) -> bytes:
    """An IPv4 packet, to the host unless said otherwise. `fragment` is the whole field of flags and offset."""
    size = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH",
        0x40 | size // 4 if first_byte is None else first_byte,
        0,
        size + len(payload) if length is None else length,
        number,
        fragment,
        64,
        protocol,
        0,
    )
    whole = head + address(source) + address(to) + options
    return whole[:10] + struct.pack("!H", checksum(whole) ^ sum_off) + whole[12:] + payload


def ip6(
    number: int,
    following: int,
    payload: bytes,
    *,
    source: str = PEER[Family.V6],
    to: str = HOST[Family.V6],
    hop_limit: int = 64,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet, to the host unless said otherwise."""
    size = len(payload) if length is None else length
    head = struct.pack("!IHBB", version << 28 | number, size, following, hop_limit)
    return head + address(source) + address(to) + payload


def udp(
    family: Family, port: int, *, source: str = "", to: str = "", sport: int = SPORT, length: int | None = None
) -> bytes:
    """A datagram, to the host unless said otherwise."""
    data = b"attack"
    head = struct.pack("!HHHH", sport, port, 8 + len(data) if length is None else length, 0) + data
    return _summed((source or PEER[family], to or HOST[family]), _UDP, head, 6)


def tcp(
    family: Family,
    port: int,
    flags: int = _SYN,
    *,
    source: str = "",
    to: str = "",
    sport: int = SPORT,
    offset: int = 5,
    data: bytes = b"",
) -> bytes:
    """A segment, to the host unless said otherwise."""
    head = struct.pack("!HHIIBBHHH", sport, port, 1, 0, offset << 4, flags, 65535, 0, 0) + data
    return _summed((source or PEER[family], to or HOST[family]), _TCP, head, 16)


def icmp(family: Family, kind: int, code: int = 0, body: bytes = b"\0\0\0\0attack..", *, source: str = "") -> bytes:
    """An ICMP message to the host."""
    message = struct.pack("!BBH", kind, code, 0) + body
    if family is Family.V4:
        return message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    return _summed((source or PEER[family], HOST[family]), _ICMP[family], message, 2)


def _summed(ends: tuple[str, str], protocol: int, message: bytes, at: int) -> bytes:
    pseudo = b"".join(map(address, ends)) + struct.pack("!II", len(message), protocol)
    padded = pseudo + message + b"\0" * (len(message) % 2)
    return message[:at] + struct.pack("!H", checksum(padded)) + message[at + 2 :]


def packet(family: Family, number: int, protocol: int, payload: bytes, *, source: str = "", to: str = "") -> bytes:
    """A plain packet, to the host unless said otherwise."""
    make = ip4 if family is Family.V4 else ip6
    return make(number, protocol, payload, source=source or PEER[family], to=to or HOST[family])


def _framed(family: Family, packets: Callable[[int], tuple[bytes, ...]]) -> Build:
    return lambda number: tuple(ethernet(each, _ETHERTYPE[family]) for each in packets(number))


def _plain(family: Family, protocol: int, payload: bytes, *, source: str = "") -> Build:
    return _framed(family, lambda number: (packet(family, number, protocol, payload, source=source),))


# -------------------------------------------------------------------------------------------------------------- groups


def allowed(family: Family) -> Iterator[Probe]:
    """Packets that policy allows: they show that the host is there and answers."""
    yield Probe("TCP 80", family, _plain(family, _TCP, tcp(family, OPEN_TCP)), passes=True)
    yield Probe("UDP 53", family, _plain(family, _UDP, udp(family, OPEN_UDP)), passes=True)


def protocols(family: Family) -> Iterator[Probe]:
    """Every protocol but those that have ports, with what would be a port of TCP that is open."""
    for number in range(256):
        if number not in {_TCP, _UDP, _ICMP[family]} and not (family is Family.V6 and number in _EXTENSIONS):
            yield Probe(f"protocol {number}", family, _plain(family, number, tcp(family, OPEN_TCP)))


def flags(family: Family) -> Iterator[Probe]:
    """Every combination of TCP's flags to a closed port."""
    for value in range(256):
        if value & 0xC0 in (0, 0xC0):
            yield Probe(f"flags {value:#04x}", family, _plain(family, _TCP, tcp(family, CLOSED, value)))


def icmp_messages(family: Family) -> Iterator[Probe]:
    """Every type of ICMP that a host need not take from anybody; discovery only from beyond the link."""
    for kind in range(256):
        beyond = family is Family.V6 and (kind in _NEIGHBOUR_DISCOVERY or kind in _LISTENERS)
        hop = " from beyond the link" if beyond else ""
        for code in (0, 1) if kind < 16 else (0,):
            body = b"\0\0\0\0" + address(HOST[family]) * 2
            yield Probe(
                f"ICMP {kind}/{code}{hop}", family, _plain(family, _ICMP[family], icmp(family, kind, code, body))
            )


def errors(family: Family) -> Iterator[Probe]:
    """ICMP errors about flows that there never were, to open and closed ports."""
    kinds = (
        ((3, 1), (3, 3), (3, 4), (4, 0), (5, 0), (11, 0), (12, 0))
        if family is Family.V4
        else ((1, 0), (1, 4), (2, 0), (3, 0), (4, 0))
    )
    for kind, code in kinds:
        for port in (OPEN_TCP, CLOSED):
            quoted = packet(family, 1, _TCP, tcp(family, port), source=HOST[family])
            yield Probe(
                f"error {kind}/{code} about port {port}",
                family,
                _plain(family, _ICMP[family], icmp(family, kind, code, b"\0\0\0\0" + quoted)),
            )


def source_ports(family: Family) -> Iterator[Probe]:
    """Ports that exemptions are about, as the source, and odd ones."""
    for sport in (0, 1, 20, 22, 53, 67, 68, 80, 88, 123, 443, 546, 547, 1023, 2379, 5353, 6666, 65535):
        yield Probe(f"UDP from {sport}", family, _plain(family, _UDP, udp(family, CLOSED, sport=sport)))
        yield Probe(f"TCP from {sport}", family, _plain(family, _TCP, tcp(family, CLOSED, sport=sport)))
        yield Probe(f"SYN-ACK from {sport}", family, _plain(family, _TCP, tcp(family, CLOSED, 0x12, sport=sport)))


_ODD_SOURCES = {
    Family.V4: (
        "0.0.0.0", "0.0.0.1", "127.0.0.1", "127.255.255.254", "192.0.2.0", "192.0.2.1", "192.0.2.255", "192.0.2.3",
        "10.0.0.1", "169.254.1.1", "172.17.0.1", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "192.0.2.66",
    ),
    Family.V6: (
        "::", "::1", "::2", "::ffff:192.0.2.2", "::192.0.2.2", "64:ff9b::c000:202", "2002:c000:202::1",
        "fe80::1", "fe80::2",
        "fec0::2", "fd00::2", "ff02::1", "ff02::2", "ff0e::1", "2001:db8::1", "2001:db8::3", "2001:db8:9::9",
        "2001:0:1::2",
        "100::1", "3ffe::1",
    ),
}  # fmt: skip


def sources(family: Family) -> Iterator[Probe]:
    """Sources that a packet may claim; port 53 is open for one neighbour alone."""
    for source in _ODD_SOURCES[family]:
        for port in (OPEN_UDP, CLOSED):
            payload = udp(family, port, source=source)
            yield Probe(f"UDP {port} from {source}", family, _plain(family, _UDP, payload, source=source))
        closed = tcp(family, CLOSED, source=source)
        yield Probe(f"TCP {CLOSED} from {source}", family, _plain(family, _TCP, closed, source=source))


# ----------------------------------------------------------------------------------------------------------- fragments


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment: where it begins, in bytes, what it holds, and whether more follow."""

    at: int
    data: bytes
    more: bool


def _fragments(payload: bytes, *cuts: int) -> list[Fragment]:
    ends = [*cuts, len(payload)]
    return [Fragment(at, payload[at:end], end != len(payload)) for at, end in zip([0, *cuts], ends, strict=True)]


def _in_fragments(family: Family, protocol: int, pieces: list[Fragment], *, source: str = "") -> Build:
    def packets(number: int) -> tuple[bytes, ...]:
        who = source or PEER[family]
        if family is Family.V4:
            return tuple(
                ip4(number, protocol, p.data, source=who, fragment=p.at // 8 | (0x2000 if p.more else 0))
                for p in pieces
            )
        return tuple(
            ip6(number, _FRAGMENT, struct.pack("!BBHI", protocol, 0, p.at | p.more, number) + p.data, source=who)
            for p in pieces
        )

    return _framed(family, packets)


def fragments(family: Family) -> Iterator[Probe]:
    """Packets in pieces: tiny ones, in any order, twice, overlapping, with nothing behind or before them."""
    ways: list[tuple[str, Callable[[list[Fragment]], list[Fragment]], bool]] = [
        ("in order", lambda p: p, True),
        ("backwards", lambda p: p[::-1], True),
        ("without the first", lambda p: p[1:], False),
        ("without the last", lambda p: p[:-1], False),
        ("the first alone, said to be whole", lambda p: [Fragment(0, p[0].data, more=False)], False),
        (
            "overlapping",
            lambda p: [p[0], Fragment(max(p[1].at - 8, 0), b"\xff" * 8 + p[1].data, p[1].more), *p[2:]],
            False,
        ),
        ("beyond all bounds", lambda p: [p[0], Fragment(65528, p[1].data + b"x" * 64, more=False)], False),
    ]
    for protocol, noun, port, payload in (
        (_UDP, "UDP", OPEN_UDP, udp(family, OPEN_UDP)),
        (_UDP, "UDP", CLOSED, udp(family, CLOSED)),
        (_TCP, "TCP", CLOSED, tcp(family, CLOSED, data=b"data" * 8)),
    ):
        for cut in (8, 16) if protocol == _TCP else (8,):
            pieces = _fragments(payload, cut)
            for how, change, is_whole in ways:
                name = f"{noun} {port} cut at {cut}, {how}"
                passes = is_whole and port == OPEN_UDP
                yield Probe(name, family, _in_fragments(family, protocol, change(pieces)), passes)
    # What the first fragment says is replaced by what the second one says.
    innocent, other = udp(family, OPEN_UDP), udp(family, CLOSED)
    for name, pieces in (
        (
            "a second first one",
            [
                Fragment(0, innocent[:8], more=True),
                Fragment(0, other[:8], more=True),
                Fragment(8, other[8:], more=False),
            ],
        ),
        (
            "a first one afterwards",
            [Fragment(8, other[8:], more=False), Fragment(0, innocent[:8], more=True), Fragment(0, other, more=False)],
        ),
        ("all of it twice", [*_fragments(other, 8), *_fragments(other, 8)]),
    ):
        # The kernel keeps the piece that came first, so what is put together is what policy allows.
        passes = name != "all of it twice"
        yield Probe(f"UDP rewritten by {name}", family, _in_fragments(family, _UDP, pieces), passes)
    for source in (STRANGER[family], HOST[family]):
        whole = _fragments(udp(family, OPEN_UDP, source=source), 8)
        yield Probe(f"UDP 53 in pieces from {source}", family, _in_fragments(family, _UDP, whole, source=source))
    yield Probe("a fragment that is all", family, _in_fragments(family, _UDP, [Fragment(0, other, more=False)]))


# ------------------------------------------------------------------------------------------- options, extension headers


def _option(kind: int, data: bytes) -> bytes:
    return bytes((kind, 2 + len(data))) + data


def _padded(options: bytes) -> bytes:
    return options + b"\0" * (-len(options) % 4)


def options(family: Family) -> Iterator[Probe]:
    """Options of IPv4, or extension headers of IPv6, before ports that are closed, and before one that is open."""
    if family is Family.V4:
        yield from _ip4_options()
        return
    chains: list[tuple[str, list[tuple[int, bytes]]]] = [
        ("hop-by-hop", [(_HOP_BY_HOP, _tlv(b""))]),
        ("hop-by-hop, router alert", [(_HOP_BY_HOP, _tlv(b"\x05\x02\0\0"))]),
        ("hop-by-hop, jumbo", [(_HOP_BY_HOP, _tlv(b"\xc2\x04\0\x01\0\0"))]),
        ("hop-by-hop, unknown to be skipped", [(_HOP_BY_HOP, _tlv(b"\x3e\x02\0\0"))]),
        ("hop-by-hop, unknown to be refused", [(_HOP_BY_HOP, _tlv(b"\xfe\x02\0\0"))]),
        ("hop-by-hop, long", [(_HOP_BY_HOP, _tlv(b"\x01\xf0" + b"\0" * 240))]),
        ("destination options", [(_OPTIONS, _tlv(b""))]),
        ("destination options twice", [(_OPTIONS, _tlv(b""))] * 2),
        ("destination options sixteen times", [(_OPTIONS, _tlv(b""))] * 16),
        ("destination options, home address", [(_OPTIONS, _tlv(b"\xc9\x10" + address(STRANGER[family])))]),
        ("routing 0", [(_ROUTING, b"\x02\0\x01" + b"\0" * 4 + address(PEER[family]))]),
        ("routing 0, done", [(_ROUTING, b"\x02\0\0" + b"\0" * 4 + address(PEER[family]))]),
        ("routing 2", [(_ROUTING, b"\x02\x02\x01" + b"\0" * 4 + address(HOST[family]))]),
        ("routing 3", [(_ROUTING, b"\x02\x03\x01" + b"\0" * 4 + address(HOST[family]))]),
        ("routing 4", [(_ROUTING, b"\x02\x04\x01" + b"\0" * 4 + address(HOST[family]))]),
        ("routing 4, done", [(_ROUTING, b"\x02\x04\0" + b"\0" * 4 + address(HOST[family]))]),
        ("routing 253", [(_ROUTING, b"\0\xfd\0" + b"\0" * 4)]),
        ("a fragment header that says: whole", [(_FRAGMENT, b"\0\0\0" + b"\0\0\0\7")]),
        ("two fragment headers", [(_FRAGMENT, b"\0\0\0" + b"\0\0\0\7"), (_FRAGMENT, b"\0\0\0" + b"\0\0\0\7")]),
        ("authentication", [(_AH, b"\x04\0\0\0\0\1\0\0\0\0\1" + b"\0" * 12)]),
        ("mobility", [(_MOBILITY, b"\0\1\0\0\0\0\0")]),
        ("HIP", [(_HIP, b"\x04\1\1\0\0\0\0" + b"\0" * 32)]),
        ("shim6", [(_SHIM6, b"\0\x80\0\0\0\0\0")]),
        (
            "every kind",
            [
                (_HOP_BY_HOP, _tlv(b"")),
                (_OPTIONS, _tlv(b"")),
                (_ROUTING, b"\0\xfd\0" + b"\0" * 4),
                (_OPTIONS, _tlv(b"")),
            ],
        ),
        ("hop-by-hop behind others", [(_OPTIONS, _tlv(b"")), (_HOP_BY_HOP, _tlv(b""))]),
        ("a length beyond the end", [(_OPTIONS, b"\xff" + b"\1\4\0\0\0\0")]),
    ]
    for name, chain in chains:
        for port, protocol, payload in (
            (CLOSED, _UDP, udp(family, CLOSED)),
            (CLOSED, _TCP, tcp(family, CLOSED)),
            (OPEN_UDP, _UDP, udp(family, OPEN_UDP, source=STRANGER[family])),
        ):
            source = STRANGER[family] if port == OPEN_UDP else PEER[family]
            yield Probe(
                f"{name}, then protocol {protocol} to {port} from {source}",
                family,
                _chained(chain, protocol, payload, source),
            )
    for name, chain in chains:
        if name in ("hop-by-hop", "destination options", "destination options twice"):
            yield Probe(
                f"{name}, then UDP 53", family, _chained(chain, _UDP, udp(family, OPEN_UDP), PEER[family]), passes=True
            )
    yield Probe("no next header", family, _plain(family, _NO_NEXT, udp(family, OPEN_UDP)))
    yield Probe("ESP around UDP 53", family, _plain(family, _ESP, struct.pack("!II", 1, 1) + udp(family, OPEN_UDP)))


def _tlv(data: bytes) -> bytes:
    """Options with their length in front, padded to a multiple of eight bytes; the next header comes before."""
    padding = -(len(data) + 2) % 8
    pad = b"" if padding == 0 else b"\0" if padding == 1 else bytes((1, padding - 2)) + b"\0" * (padding - 2)
    return bytes(((len(data) + 2 + padding) // 8 - 1,)) + data + pad


def _chained(chain: list[tuple[int, bytes]], protocol: int, payload: bytes, source: str) -> Build:
    following = [*(kind for kind, _ in chain[1:]), protocol]
    headers = b"".join(bytes((after,)) + body for after, (_, body) in zip(following, chain, strict=True))
    first = chain[0][0]
    return _framed(Family.V6, lambda number: (ip6(number, first, headers + payload, source=source),))


def _ip4_options() -> Iterator[Probe]:
    via = address("198.51.100.1")
    kinds = {
        "no-operation": b"\1\1\1\1",
        "router alert": _option(148, b"\0\0"),
        "loose source route": _padded(_option(131, b"\4" + via)),
        "loose source route, done": _padded(_option(131, b"\x08" + via)),
        "strict source route": _padded(_option(137, b"\4" + via)),
        "record route": _padded(_option(7, b"\4" + b"\0" * 8)),
        "timestamp": _padded(_option(68, b"\5\0" + b"\0" * 8)),
        "security": _padded(_option(130, b"\0" * 9)),
        "CIPSO": _padded(_option(134, b"\0\0\0\1")),
        "unknown": _padded(_option(94, b"\0\0")),
        "the most that there is room for": b"\1" * 40,
        "a length of zero": b"\x07\0\0\0",
        "a length beyond the end": b"\x07\x28\4\0",
    }
    family = Family.V4
    for name, data in kinds.items():
        for protocol, payload, source in (
            (_UDP, udp(family, CLOSED), PEER[family]),
            (_TCP, tcp(family, CLOSED), PEER[family]),
            (_UDP, udp(family, OPEN_UDP, source=STRANGER[family]), STRANGER[family]),
        ):
            yield Probe(
                f"{name}, protocol {protocol} from {source}", family, _optioned(data, protocol, payload, source)
            )
        if name in ("no-operation", "router alert"):
            passing = _optioned(data, _UDP, udp(family, OPEN_UDP), PEER[family])
            yield Probe(f"{name}, UDP 53", family, passing, passes=True)


def _optioned(data: bytes, protocol: int, payload: bytes, source: str) -> Build:
    return _framed(Family.V4, lambda number: (ip4(number, protocol, payload, source=source, options=data),))


# ------------------------------------------------------------------------------------------------ malformed, frames


def malformed(family: Family) -> Iterator[Probe]:
    """Lengths, offsets and versions that are not true, before an open port: what cannot be read is not allowed."""
    whole = tcp(family, OPEN_TCP)
    payloads = {
        "TCP cut after its ports": (_TCP, whole[:4]),
        "TCP cut before its ports": (_TCP, whole[:2]),
        "TCP of nothing": (_TCP, b""),
        "TCP with an offset of zero": (_TCP, tcp(family, OPEN_TCP, offset=0)),
        "TCP with an offset beyond its end": (_TCP, tcp(family, OPEN_TCP, offset=15)),
        "TCP without a flag": (_TCP, tcp(family, OPEN_TCP, 0)),
        "TCP with SYN and FIN": (_TCP, tcp(family, OPEN_TCP, 0x03)),
        "TCP with SYN and RST": (_TCP, tcp(family, OPEN_TCP, 0x06)),
        "TCP with all flags": (_TCP, tcp(family, OPEN_TCP, 0x3F)),
        "UDP cut after its ports": (_UDP, udp(family, OPEN_UDP)[:4]),
        "UDP of nothing": (_UDP, b""),
        "UDP longer than it is": (_UDP, udp(family, OPEN_UDP, length=60_000)),
        "UDP with a length of seven": (_UDP, udp(family, OPEN_UDP, length=7)),
        "ICMP of nothing": (_ICMP[family], b""),
        "ICMP of one byte": (_ICMP[family], b"\x08"),
    }
    for name, (protocol, payload) in payloads.items():
        yield Probe(name, family, _plain(family, protocol, payload))
    inner = tcp(family, OPEN_TCP)
    if family is Family.V4:
        heads: dict[str, Callable[[int], bytes]] = {
            "version 6": lambda n: ip4(n, _TCP, inner, first_byte=0x65),
            "version 0": lambda n: ip4(n, _TCP, inner, first_byte=0x05),
            "a header of four words": lambda n: ip4(n, _TCP, inner, first_byte=0x44),
            "a header of fifteen words": lambda n: ip4(n, _TCP, inner, first_byte=0x4F),
            "a length of nothing": lambda n: ip4(n, _TCP, inner, length=0),
            "a length of the header alone": lambda n: ip4(n, _TCP, inner, length=20),
            "a length beyond the end": lambda n: ip4(n, _TCP, inner, length=1400),
            "a wrong checksum": lambda n: ip4(n, _TCP, inner, sum_off=0x1234),
            "the reserved flag and a fragment": lambda n: ip4(n, _TCP, inner, fragment=0x8001),
        }
    else:
        heads = {
            "version 4": lambda n: ip6(n, _TCP, inner, version=4),
            "version 0": lambda n: ip6(n, _TCP, inner, version=0),
            "a length of nothing": lambda n: ip6(n, _TCP, inner, length=0),
            "a length beyond the end": lambda n: ip6(n, _TCP, inner, length=1400),
            "hop-by-hop cut": lambda n: ip6(n, _HOP_BY_HOP, b"\6"),
            "a fragment header cut": lambda n: ip6(n, _FRAGMENT, b"\6\0\0"),
        }
    for name, head in heads.items():
        yield Probe(name, family, _framed(family, lambda number, head=head: (head(number),)))  # type: ignore[misc]


def tunnels(family: Family) -> Iterator[Probe]:
    """Packets that policy allows, with packets that it denies inside."""
    inner4, inner6 = ip4(9, _TCP, tcp(Family.V4, OPEN_TCP)), ip6(9, _TCP, tcp(Family.V6, OPEN_TCP))
    for name, protocol, data in (
        ("IPv4", 4, inner4),
        ("IPv6", 41, inner6),
        ("GRE around IPv4", 47, b"\0\0\x08\0" + inner4),
        ("GRE around IPv6", 47, b"\0\0\x86\xdd" + inner6),
        ("GRE around Ethernet", 47, b"\0\0\x65\x58" + ethernet(inner4, 0x0800)),
        ("MPLS", 137, b"\0\1\x01\xff" + inner4),
        ("EtherIP", 97, b"\x30\0" + ethernet(inner4, 0x0800)),
        ("L2TP", 115, b"\0\0\0\1" + ethernet(inner4, 0x0800)),
    ):
        yield Probe(f"{name} within", family, _plain(family, protocol, data))


def frames(family: Family) -> Iterator[Probe]:
    """Frames of which the addresses, the tags or the types are not those of the packet within."""

    def closed(number: int) -> bytes:
        return packet(family, number, _UDP, udp(family, CLOSED))

    other = _ETHERTYPE[Family.V6 if family is Family.V4 else Family.V4]
    mine = struct.pack("!H", _ETHERTYPE[family])
    ways: dict[str, Callable[[int], bytes]] = {
        "to everyone": lambda n: ethernet(closed(n), _ETHERTYPE[family], to=b"\xff" * 6),
        "to a group": lambda n: ethernet(closed(n), _ETHERTYPE[family], to=bytes.fromhex("01005e000001")),
        "to all nodes": lambda n: ethernet(closed(n), _ETHERTYPE[family], to=bytes.fromhex("333300000001")),
        "to somebody else": lambda n: ethernet(closed(n), _ETHERTYPE[family], to=bytes.fromhex("020000000077")),
        "of the other type": lambda n: ethernet(closed(n), other),
        "with a priority tag": lambda n: ethernet(b"\xe0\0" + mine + closed(n), 0x8100),
        "in VLAN 5": lambda n: ethernet(b"\0\5" + mine + closed(n), 0x8100),
        "in VLAN 5 of VLAN 6": lambda n: ethernet(b"\0\6\x81\0\0\5" + mine + closed(n), 0x88A8),
        "with two priority tags": lambda n: ethernet(b"\0\0\x81\0\0\0" + mine + closed(n), 0x8100),
        "in MPLS": lambda n: ethernet(b"\0\1\x01\xff" + closed(n), 0x8847),
        "in PPPoE": lambda n: ethernet(
            b"\x11\0\0\1" + struct.pack("!H", 2 + len(closed(n))) + b"\0\x21" + closed(n), 0x8864
        ),
        "in LLC": lambda n: ethernet(b"\xaa\xaa\3\0\0\0" + mine + closed(n), 8 + len(closed(n))),
    }
    for name, way in ways.items():
        yield Probe(f"a frame {name}", family, lambda number, way=way: (way(number),))  # type: ignore[misc]


GROUPS: dict[str, Callable[[Family], Iterator[Probe]]] = {
    "allowed": allowed,
    "protocols": protocols,
    "flags": flags,
    "ICMP": icmp_messages,
    "errors": errors,
    "source ports": source_ports,
    "sources": sources,
    "fragments": fragments,
    "options": options,
    "malformed": malformed,
    "tunnels": tunnels,
    "frames": frames,
}
