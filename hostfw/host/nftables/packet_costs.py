"""Costs of rules on this host: packets through compares and through lookups, in a network namespace of their own.

`python3 -m hostfw.host.nftables.packet_costs` makes the namespace, sends packets on its loopback and prints what
they cost. No rule and no packet of the host has to do with it. It takes some 0.3 s, and needs root and nft.
"""

import ctypes
import os
import struct
import subprocess
import sys
from contextlib import suppress
from fcntl import ioctl
from socket import AF_INET, SOCK_DGRAM, socket
from time import thread_time_ns

from hostfw.host.process.import_path import import_path
from hostfw.nft.worst_packet import TYPICAL, Prices

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET (linux/sched.h)."""
_SET_FLAGS, _UP = 0x8914, 1
"""SIOCSIFFLAGS (linux/sockios.h), and IFF_UP."""
_NFT = "/usr/sbin/nft"
_TIMEOUT_S = 10
_COMPARES, _LOOKUPS, _ELEMENTS = 200, 100, 1000
_PACKETS, _ROUNDS = 50, 60
_PORTS = range(9, 12)
"""The destination ports of packets that meet nothing, compares, and lookups."""
_MOST_NS = 10_000
"""More than any compare or lookup takes: what is beyond was no measurement."""


def measured_prices() -> Prices:
    """The costs of a rule and of a lookup on this host, or typical ones where they cannot be measured."""
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-m", __name__],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONPATH": import_path()},
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_TIMEOUT_S,
        )
        rule_ns, lookup_ns = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return TYPICAL
    if not (0 < rule_ns < _MOST_NS and 0 < lookup_ns < _MOST_NS):
        return TYPICAL
    return Prices(rule_ns, lookup_ns, measured=True)


def script() -> str:
    """The rules that packets are sent through: half of the compares are inline, as of ports, and half as of ranks."""
    elements = ", ".join(f"10.0.{number // 250}.{number % 250} : accept" for number in range(_ELEMENTS))
    compares = "\n".join(
        f"th dport {40_000 + number} accept" if number % 2 else f"meta mark {number + 1} accept"
        for number in range(_COMPARES)
    )
    lookups = "\n".join(["ip saddr vmap @known"] * _LOOKUPS)
    nothing, to_compares, to_lookups = _PORTS
    return f"""\
table ip costs {{
map known {{ type ipv4_addr : verdict; elements = {{ {elements} }} }}
chain compares {{
{compares}
drop
}}
chain lookups {{
{lookups}
drop
}}
chain output {{
type filter hook output priority 0; policy accept;
udp dport {nothing} drop
udp dport {to_compares} goto compares
udp dport {to_lookups} goto lookups
}}
}}
"""


def main() -> None:
    """Measure, and print the nanoseconds of a rule and of a lookup."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket(AF_INET, SOCK_DGRAM) as any_socket:
        ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP))
    subprocess.run((_NFT, "-f", "-"), input=script(), text=True, check=True)
    os.nice(-5)
    rounds = [[_packet_ns(port) for port in _PORTS] for _ in range(_ROUNDS)]
    # What else runs on the host only ever adds to a round, though its time does not count.
    nothing, compares, lookups = (min(each) for each in zip(*rounds, strict=True))
    sys.stdout.write(f"{max(compares - nothing, 0) // _COMPARES} {max(lookups - nothing, 0) // _LOOKUPS}\n")


def _packet_ns(port: int) -> int:
    with socket(AF_INET, SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        started = thread_time_ns()
        for _ in range(_PACKETS):
            # That a rule drops it is told to who sends.
            with suppress(PermissionError):
                sender.send(b"")
        return (thread_time_ns() - started) // _PACKETS


if __name__ == "__main__":
    main()
