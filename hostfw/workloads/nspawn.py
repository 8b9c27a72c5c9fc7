"""The Ethernet address that systemd-nspawn gives a machine behind a bridge (`--network-zone`, `--network-bridge`).

It follows from the id of this host and the name of the machine alone (systemd, src/nspawn/nspawn-network.c). So it is
known without asking the machine, whose root can give the interface another one.
"""

import re
from pathlib import Path

from hostfw.workloads.values import mac_of

MACHINE_ID = Path("/etc/machine-id")
PREFIX = "vb-"
"""The beginning of the names of such ports; that of longer names stays when systemd shortens them."""
_KEY = bytes.fromhex("c3c4f919b557b21ce6cf1427039ceea2")
_ID = re.compile(r"[0-9a-f]{32}")
_MASK = (1 << 64) - 1
_LENGTH = 6
_IS_LOCAL, _IS_A_GROUP = 0x02, 0x01


def host_id(path: Path = MACHINE_ID) -> bytes | None:
    """The id of this host (machine-id(5)); None where it has none."""
    try:
        text = path.read_text("ascii", "replace").strip()
    except OSError:
        return None
    return bytes.fromhex(text) if _ID.fullmatch(text) else None


def ethernet_address(host: bytes, machine: str) -> str:
    """The Ethernet address of the interface `host0` within a machine, unless it was started with one of its own."""
    first, *others = siphash(_KEY, host + machine.encode()).to_bytes(8, "little")[:_LENGTH]
    return mac_of(bytes([first & ~_IS_A_GROUP | _IS_LOCAL, *others]).hex(":"))


def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 of some bytes (Aumasson and Bernstein, 2012)."""
    low, high = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    state = (
        low ^ 0x736F6D6570736575,
        high ^ 0x646F72616E646F6D,
        low ^ 0x6C7967656E657261,
        high ^ 0x7465646279746573,
    )
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        a, b, c, d = _rounds(2, *state[:3], state[3] ^ word)
        state = (a ^ word, b, c, d)
    a, b, c, d = _rounds(4, *state[:2], state[2] ^ 0xFF, state[3])
    return a ^ b ^ c ^ d


def _rounds(count: int, a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        a = (a + b) & _MASK
        b = _rotated(b, 13) ^ a
        c = (c + d) & _MASK
        d = _rotated(d, 16) ^ c
        a = (_rotated(a, 32) + d) & _MASK
        d = _rotated(d, 21) ^ a
        c = (c + b) & _MASK
        b = _rotated(b, 17) ^ c
        c = _rotated(c, 32)
    return a, b, c, d


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK
