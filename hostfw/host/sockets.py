"""The TCP sockets of the network namespace that we are in, by sock_diag (sock_diag(7), <linux/inet_diag.h>).

A cookie names a socket for as long as the kernel runs and is never used again, so it tells a connection that was
there at some moment from one that was made later, whatever addresses and ports they have.
"""

import socket
import struct
from typing import NamedTuple

from hostfw.host.errors import HostError
from hostfw.host.netlink import DumpInterrupted, NetlinkSocket

NETLINK_SOCK_DIAG = 4

_SOCK_DIAG_BY_FAMILY = 20
_TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN = 6, 7, 10
_ALL_STATES = 0xFFFFFFFF
_CONNECTED = _ALL_STATES & ~(1 << _TCP_TIME_WAIT | 1 << _TCP_CLOSE | 1 << _TCP_LISTEN)
"""Half-open ones among them: such a socket hands its cookie on to the connection that it becomes."""

_REQUEST = struct.Struct("=BBBxI48x")
"""struct inet_diag_req_v2: family, protocol, extensions, states, and a socket id that dumps do not look at."""
_ANSWER = struct.Struct("=BBBBHH32x4xQIIIII")
"""struct inet_diag_msg: family, state, timer, retransmits, ports (in network order), addresses, interface, cookie,
expiry, queues, user and inode. A cookie is two words of 32 bits; as the name of a socket their order is all one."""
_ATTEMPTS = 10


class TcpSocket(NamedTuple):
    """A connection's socket. `inode` is what /proc/PID/fd shows, or 0 while no process has it."""

    cookie: int
    inode: int


def read_tcp_sockets() -> tuple[TcpSocket, ...]:
    """Every TCP socket, IPv4 and IPv6, that is connected or becomes so. Raises HostError."""
    for _ in range(_ATTEMPTS):
        try:
            with NetlinkSocket(NETLINK_SOCK_DIAG) as netlink:
                return tuple(
                    _socket(answer)
                    for family in (socket.AF_INET, socket.AF_INET6)
                    for answer in netlink.dump(
                        _SOCK_DIAG_BY_FAMILY,
                        _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _CONNECTED),
                        "listing TCP connections",
                    )
                )
        except DumpInterrupted:
            continue
    raise HostError("TCP connections come and go too fast to be listed")


def _socket(answer: bytes) -> TcpSocket:
    fields = _ANSWER.unpack_from(answer)
    return TcpSocket(cookie=fields[6], inode=fields[11])
