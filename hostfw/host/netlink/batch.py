"""nf_tables messages as one batch, which the kernel takes as one transaction."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hostfw.host.netlink.messages import (
    HEADER,
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NetlinkError,
    NetlinkSocket,
    message,
    u32,
)
from hostfw.host.nftables.nf_tables import FIRST_SEQUENCE, SUBSYSTEM

_BEGIN, _END, _GENID = 0x10, 0x11, 1


class Request(NamedTuple):
    """A message of a batch: its type, its flags beside NLM_F_REQUEST, and the parts of its body."""

    kind: int
    flags: int
    body: Sequence[bytes | memoryview]


def sealed(requests: Iterable[Request], generation: int | None = None) -> tuple[bytes, int]:
    """Requests as one transaction, with the sequence number that is acknowledged.

    That is the last request's: an ACK of the batch's end itself is only given from kernel 6.12 on, and one of every
    request would fill the receive buffer. They are numbered from `FIRST_SEQUENCE` + 1 on. `generation` is the one that
    nftables must still be at.
    """
    subsystem = NFGENMSG.pack(0, 0, SUBSYSTEM >> 8)
    genid = b"" if generation is None else u32(_GENID, generation)
    every = tuple(requests)
    last = FIRST_SEQUENCE + len(every)
    parts: list[bytes | memoryview] = [message(_BEGIN, NLM_F_REQUEST, FIRST_SEQUENCE, subsystem + genid)]
    for sequence, (kind, flags, body) in enumerate(every, FIRST_SEQUENCE + 1):
        acknowledged = NLM_F_ACK if sequence == last else 0
        size = HEADER.size + sum(map(len, body))
        parts.append(HEADER.pack(size, kind, NLM_F_REQUEST | flags | acknowledged, sequence, 0))
        parts.extend(body)
    parts.append(message(_END, NLM_F_REQUEST, last + 1, subsystem))
    return b"".join(parts), last


class BatchSocket:
    """Sends batches by a socket that stays open, in the network namespace of whoever sends first.

    To close one takes until the kernel has freed what a batch deleted, 10 to 20 ms, for which nobody needs to wait.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._socket: NetlinkSocket | None = None

    def send(self, requests: Iterable[Request], doing: str, generation: int | None = None) -> None:
        """Send requests as one transaction, if nftables is at this generation, or at any. Raises NetlinkError."""
        batch, last = sealed(requests, generation)
        if self._socket is None:
            self._socket = NetlinkSocket(NETLINK_NETFILTER, self._timeout_s)
        try:
            self._socket.make_room(len(batch))
            self._socket.transact(batch, last, doing)
        except NetlinkError:
            # More answers may come, which the next batch must not take for its own.
            self.close()
            raise

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
