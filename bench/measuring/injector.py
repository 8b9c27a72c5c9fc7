"""New packets by the million: frames made in the kernel and handed to the stack of a network namespace.

A program for XDP writes addresses and ports of a table into each frame of BPF_PROG_TEST_RUN with live frames (Linux
5.18), so no sender, no driver and no socket is part of what is measured. The difference to an empty chain is what the
rules of a chain cost.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostfw.model.packets.packet import Packet
from hostfw.model.values import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

_BPF = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _TEST_RUN = 0, 2, 5, 10
_ARRAY, _XDP, _PASS, _LIVE_FRAMES = 2, 6, 2, 2
_ETHERNET = 14
_TYPES = {Family.V4: 0x0800, Family.V6: 0x86DD}
_PATCHED = {Family.V4: (_ETHERNET + 10, 14), Family.V6: (_ETHERNET + 8, 36)}
"""Where what differs from frame to frame begins, and its bytes: (checksum,) addresses, ports."""
_ATTRIBUTE_BYTES = 144
_LOG_BYTES = 65_536

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Injector:
    """Frames of one table of packets."""

    program: int
    frame: bytes

    def ns(self, frames: int) -> int:
        """The nanoseconds that a frame takes from its making to its end, in the namespace of the caller."""
        data = ctypes.create_string_buffer(self.frame, len(self.frame))
        attribute = ctypes.create_string_buffer(
            struct.pack(
                "=IIIIQQIIIIQQIII4x",
                *(self.program, 0, len(self.frame), 0, ctypes.addressof(data), 0, frames, 0),
                *(0, 0, 0, 0, _LIVE_FRAMES, 0, 64),
            ),
            _ATTRIBUTE_BYTES,
        )
        _bpf(_TEST_RUN, attribute)
        return int(struct.unpack_from("=I", attribute, 36)[0])


@contextmanager
def injector(packets: Sequence[Packet]) -> "Iterator[Injector]":
    """An injector of packets, drawn from these at random. Raises OSError where the kernel cannot."""
    family = packets[0].family
    start, size = _PATCHED[family]
    table = os.fdopen(_bpf(_MAP_CREATE, _attribute("=IIII", _ARRAY, 4, size, len(packets))), "rb", 0)
    with closing(table):
        for number, packet in enumerate(packets):
            key, value = struct.pack("=I", number), _frame(packet)[start : start + size]
            keyed, valued = ctypes.create_string_buffer(key, 4), ctypes.create_string_buffer(value, size)
            update = _attribute("=I4xQQQ", table.fileno(), ctypes.addressof(keyed), ctypes.addressof(valued), 0)
            _bpf(_MAP_UPDATE, update)
        code = _code(table.fileno(), len(packets), start, size)
        text, license_name = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
        log = ctypes.create_string_buffer(_LOG_BYTES)
        load = _attribute(
            "=IIQQIIQ",
            *(_XDP, len(code) // 8, ctypes.addressof(text), ctypes.addressof(license_name)),
            *(1, _LOG_BYTES, ctypes.addressof(log)),
        )
        try:
            program = os.fdopen(_bpf(_PROG_LOAD, load), "rb", 0)
        except OSError as error:
            error.add_note(log.value.decode(errors="replace"))
            raise
        with closing(program):
            yield Injector(program.fileno(), _frame(packets[0]))


def _attribute(form: str, *values: int) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(struct.pack(form, *values), _ATTRIBUTE_BYTES)


def _bpf(command: int, attribute: "ctypes.Array[ctypes.c_char]") -> int:
    result = _libc.syscall(_BPF[platform.machine()], command, attribute, _ATTRIBUTE_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "bpf")
    return int(result)


def _code(table: int, count: int, start: int, size: int) -> bytes:
    """The program: a random entry of the table over the frame, and on to the stack."""
    copies = [
        one
        for offset in range(0, size, 2)
        for one in (_op(0x69, 5, 0, offset), _op(0x6B, 2, 5, start + offset))  # r5 = value[offset]; frame[...] = r5
    ]
    body = [
        _op(0x61, 2, 6, 0),  # r2 = the frame
        _op(0x61, 3, 6, 4),  # r3 = its end
        _op(0xBF, 4, 2),
        _op(0x07, 4, immediate=start + size),
        _op(0x2D, 4, 3, len(copies)),  # past the end: leave it
        *copies,
    ]
    instructions = [
        _op(0xBF, 6, 1),
        _op(0x85, immediate=7),  # get_prandom_u32
        _op(0x94, 0, immediate=count),
        _op(0x63, 10, 0, -4),
        _op(0xBF, 2, 10),
        _op(0x07, 2, immediate=-4),
        _op(0x18, 1, 1, immediate=table),  # the descriptor of a map, in two instructions
        _op(0x00),
        _op(0x85, immediate=1),  # map_lookup_elem
        _op(0x15, 0, 0, len(body)),
        *body,
        _op(0xB7, 0, immediate=_PASS),
        _op(0x95),
    ]
    return b"".join(instructions)


def _op(code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | destination, offset, immediate)


def _frame(packet: Packet) -> bytes:
    """A TCP SYN, or UDP, without its own checksum, which nothing before the filter looks at."""
    ports = struct.pack("!HH", packet.source_port or 0, packet.destination_port or 0)
    transport = ports + struct.pack("!IIBBHHH", 1, 0, 0x50, 2, 1024, 0, 0)
    width = packet.family.bits // 8
    source, destination = packet.source.to_bytes(width, "big"), packet.destination.to_bytes(width, "big")
    if packet.family is Family.V4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0, 64, packet.protocol, 0)
        checksum = _checksum(head + source + destination)
        head = head[:10] + struct.pack("!H", checksum)
    else:
        head = struct.pack("!IHBB", 6 << 28, len(transport), packet.protocol, 64)
    return bytes(12) + struct.pack("!H", _TYPES[packet.family]) + head + source + destination + transport


def _checksum(head: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
