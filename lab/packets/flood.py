"""Floods: packets of many sources or one, as fast as a machine sends them, each of them accounted for."""

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from hostfw.model.values import Family
from lab.namespace import LabError, Namespace, inside, open_socket

_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20
_ETH_P = {Family.V4: 0x0800, Family.V6: 0x86DD}
_BATCH = 1024
"""UIO_MAXIOV: what one system call sends at most."""

_SENDER = bytes.fromhex("02f100d00001")
"""A hardware address of its own: a bridge forwards nothing that comes from none."""

_libc = ctypes.CDLL(None, use_errno=True)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr on 64 bits."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IoVec)),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class Flooded:
    """The number of packets that went out, and the seconds that it took."""

    packets: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Packets a second."""
        return self.packets / self.seconds


def udp_frame(hardware_address: str, source: int, destination: int, family: Family, port: int) -> bytes:
    """An Ethernet frame with an empty UDP datagram to a port; IPv4 needs no UDP checksum, IPv6 gets one."""
    head = bytes.fromhex(hardware_address.replace(":", "")) + _SENDER + struct.pack("!H", _ETH_P[family])
    size = family.bits // 8
    ends = source.to_bytes(size, "big") + destination.to_bytes(size, "big")
    if family is Family.V4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0x4000, 64, socket.IPPROTO_UDP, 0)
        ip = ip[:10] + struct.pack("!H", checksum(ip + ends)) + ends
        return head + ip + struct.pack("!HHHH", 40000, port, 8, 0)
    datagram = struct.pack("!HHHH", 40000, port, 8, 0)
    summed = checksum(ends + struct.pack("!II", 8, socket.IPPROTO_UDP) + datagram)
    return (
        head
        + struct.pack("!IHBB", 6 << 28, 8, socket.IPPROTO_UDP, 64)
        + ends
        + datagram[:6]
        + struct.pack("!H", summed)
    )


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def flood(
    node: Namespace, interface: str, frames: Sequence[bytes], *, count: int | None = None, seconds: float | None = None
) -> Flooded:
    """Send the frames of a node in turn, over and over, so many times in all or for so long. Raises LabError."""
    with open_socket(node, socket.AF_PACKET, socket.SOCK_RAW) as sock:
        with inside(node):
            sock.bind((interface, 0))
        sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        batches = [_messages(frames[start : start + _BATCH]) for start in range(0, len(frames), _BATCH)]
        if len(frames) < _BATCH:
            batches = [_messages([frames[place % len(frames)] for place in range(_BATCH)])]
        sent, began_s, position = 0, monotonic(), 0
        while (count is None or sent < count) and (seconds is None or monotonic() - began_s < seconds):
            messages, _keep = batches[position % len(batches)]
            wanted = len(messages) if count is None else min(len(messages), count - sent)
            sent += _send(sock, messages, wanted)
            position += 1
        return Flooded(sent, monotonic() - began_s)


def received(node: Namespace, interface: str) -> tuple[int, int]:
    """The numbers of packets that an interface received, and dropped for lack of room in the kernel's backlog."""
    with inside(node):
        devices = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
    line = next(line for line in devices.splitlines() if line.lstrip().startswith(f"{interface}:"))
    figures = line.partition(":")[2].split()
    return int(figures[1]), int(figures[3])


def spoofed(hardware_address: str, destination: int, family: Family, port: int, sources: int) -> list[bytes]:
    """Frames from as many sources as are wanted, each of another /64 in IPv6."""
    first, step = (0x0B000001, 1) if family is Family.V4 else (0x2001 << 112 | 0xBAD << 96 | 1, 1 << 64)
    return [udp_frame(hardware_address, first + number * step, destination, family, port) for number in range(sources)]


def _send(sock: socket.socket, messages: "ctypes.Array[_Message]", wanted: int) -> int:
    done = 0
    while done < wanted:
        at = ctypes.byref(messages, done * ctypes.sizeof(_Message))
        number = _libc.sendmmsg(sock.fileno(), at, wanted - done, 0)
        if number < 0:
            reason = ctypes.get_errno()
            raise LabError(f"a flood cannot be sent: {os.strerror(reason)}")
        done += number
    return done


def _messages(frames: Sequence[bytes]) -> "tuple[ctypes.Array[_Message], list[object]]":
    """The argument of sendmmsg, and objects that must live as long."""
    buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
    vectors = (_IoVec * len(frames))(
        *(
            _IoVec(ctypes.cast(buffer, ctypes.c_void_p), len(frame))
            for buffer, frame in zip(buffers, frames, strict=True)
        )
    )
    messages = (_Message * len(frames))()
    for place, message in enumerate(messages):
        message.iov = ctypes.pointer(vectors[place])
        message.iov_count = 1
    return messages, [buffers, vectors]
