"""Frames as bytes, for what no socket sends: under another's address, or what only a router or a server says."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from lab.namespace import Namespace, inside

BROADCAST = "ff:ff:ff:ff:ff:ff"
_ETH_P_ALL = 3
IPV4, ARP, IPV6, VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
_UDP, _ICMPV6 = 17, 58


def opened(node: Namespace, interface: str) -> socket.socket:
    """A socket that sends and hears whole frames on an interface. Of what it hears, it never waits for any."""
    with inside(node):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        link.bind((interface, _ETH_P_ALL))
    link.setblocking(False)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return link


def received(link: socket.socket) -> list[bytes]:
    """All that has come in on a socket by now, without what left by it."""
    found: list[bytes] = []
    while True:
        try:
            frame, (_, _, kind, *_) = link.recvfrom(65_535)
        except BlockingIOError:
            return found
        if kind != socket.PACKET_OUTGOING:
            found.append(frame)


def frame(source: str, destination: str, kind: int, payload: bytes) -> bytes:
    """A frame; one that is too short for Ethernet is filled up."""
    return (_mac(destination) + _mac(source) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def ipv4_udp(source: str, destination: str, ports: tuple[int, int], data: bytes) -> bytes:
    """An IPv4 packet of UDP without a checksum of its own."""
    udp = struct.pack("!4H", *ports, 8 + len(data), 0) + data
    ends = IPv4Address(source).packed + IPv4Address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, _UDP, 0) + ends
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + udp


def ipv6(source: str, destination: str, protocol: int, payload: bytes, hop_limit: int = 64) -> bytes:
    """An IPv6 packet."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return head + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def ipv6_udp(source: str, destination: str, ports: tuple[int, int], data: bytes) -> bytes:
    """An IPv6 packet of UDP."""
    udp = struct.pack("!4H", *ports, 8 + len(data), 0) + data
    return ipv6(source, destination, _UDP, _summed(source, destination, _UDP, udp, 6))


def icmpv6(source: str, destination: str, kind: int, body: bytes, *, behind: bytes = b"") -> bytes:
    """A message of neighbour discovery, or whatever else has a hop limit of 255; `behind` is a header before it."""
    message = _summed(source, destination, _ICMPV6, struct.pack("!BBH", kind, 0, 0) + body, 2)
    return ipv6(source, destination, behind[-1] if behind else _ICMPV6, behind[:-1] + message, 255)


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str]) -> bytes:
    """A message of ARP: the Ethernet and IPv4 addresses of either side."""
    ends = b"".join(_mac(mac) + IPv4Address(address).packed for mac, address in (sender, target))
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + ends


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _summed(source: str, destination: str, protocol: int, message: bytes, at: int) -> bytes:
    pseudo = IPv6Address(source).packed + IPv6Address(destination).packed + struct.pack("!II", len(message), protocol)
    return message[:at] + struct.pack("!H", _checksum(pseudo + message)) + message[at + 2 :]


def _checksum(data: bytes) -> int:
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
