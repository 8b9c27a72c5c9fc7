"""Netlink messages and attributes with the standard library: what the nftables, route and NFLOG readers share.

The formats are those of netlink(7), <linux/netlink.h> and <linux/netfilter/nfnetlink.h>: headers in host byte order,
nfnetlink's own integers in network byte order, everything padded to four bytes.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from itertools import count
from time import monotonic, sleep
from types import TracebackType
from typing import NamedTuple, Self

from hostfw.host.errors import HostError

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400

NLMSG_ERROR = 2
NLMSG_DONE = 3

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""
ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length with this header, type."""
NFGENMSG = struct.Struct("!BBH")
"""struct nfgenmsg: address family, version (0), resource id."""

_ERRNO = struct.Struct("=i")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_TYPE_MASK = 0x3FFF
_NESTED = 0x8000
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SOL_NETLINK, _NETLINK_GET_STRICT_CHK = 270, 12
_OVERHEAD_BYTES = 1024
"""Room in a socket's buffer beside the message; af_netlink.c takes 32 bytes off."""
_PATIENCE_S = 5.0
"""Time during which an interrupted dump is repeated. A hundred interfaces that come at once interrupt many."""
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.05
_RECEIVE_BYTES = 256 * 1024
"""More than a kernel puts into one part of a dump: at most 32 KiB up to 6.18 (af_netlink.c, max_recvmsg_len)."""


class NetlinkError(HostError):
    """The kernel refused a netlink request; `errno` is its reason, and `reason` what it means where that is known.

    `sequence` is the number of the message of a batch that it refused, 0 where that is not known.
    """

    def __init__(self, number: int, what: str, hint: str = "", reason: str = "", *, sequence: int = 0) -> None:
        super().__init__(f"{what}: {reason or os.strerror(number)}", hint)
        self.errno = number
        self.sequence = sequence


class Message(NamedTuple):
    """One netlink message without its header."""

    kind: int
    flags: int
    payload: bytes


class NetlinkSocket:
    """A netlink socket that asks and reads back, in the network namespace that the caller is in.

    `timeout_s` bounds each wait for the kernel, which answers dumps at once unless something is very wrong.
    """

    def __init__(self, protocol: int, timeout_s: float = 10.0) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            self._socket.settimeout(timeout_s)
            self._socket.bind((0, 0))
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "opening a netlink socket") from error
        self._sequence = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def filter_dumps(self) -> None:
        """Have the kernel leave out of dumps what a request does not name (NETLINK_GET_STRICT_CHK, Linux 4.20)."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)

    def dump(self, kind: int, body: bytes, what: str) -> list[bytes]:
        """The payloads of every message that a dump request yields; `what` names the request in errors.

        A dump whose content changed while it was read (NLM_F_DUMP_INTR) is read again, for some seconds. This is the
        one place that does so. Raises NetlinkError, EAGAIN if the content never stood still.
        """
        deadline = monotonic() + _PATIENCE_S
        pause_s = _SHORTEST_PAUSE_S
        while (payloads := self._dump_once(kind, body, what)) is None:
            if monotonic() >= deadline:
                raise NetlinkError(
                    errno.EAGAIN,
                    what,
                    "`nft monitor` and `ip monitor` show the constant changes",
                    "it kept changing while it was read",
                )
            sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return payloads

    def ask(self, kind: int, body: bytes, what: str) -> bytes:
        """The payload of the one message that answers a request."""
        return next(self._answers(self._send(kind, NLM_F_REQUEST, body, what), what)).payload

    def ask_each(self, kind: int, flags: int, bodies: Iterable[bytes], what: str) -> list[int]:
        """Send requests at once, and give what the kernel says to each, in their order: 0, or an errno.

        As many as fit into the socket's receive buffer together with their answers, which are left unread.
        """
        requests = {next(self._sequence): body for body in bodies}
        if not requests:
            return []
        last = max(requests)
        # Answers come in order: with that of the last the others are known to have gone well, or not.
        self._socket.send(
            b"".join(
                message(kind, flags | NLM_F_REQUEST | (NLM_F_ACK if sequence == last else 0), sequence, body)
                for sequence, body in requests.items()
            )
        )
        found: dict[int, int] = {}
        for sequence, answer in self._received(what):
            if answer.kind == NLMSG_ERROR and sequence in requests:
                found[sequence] = error_of(answer)
                if sequence == last:
                    break
        return [found.get(sequence, 0) for sequence in requests]

    def make_room(self, message_bytes: int) -> int:
        """Let the socket take messages of this size, as far as the kernel permits; gives the size that it takes."""
        size = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if size - _OVERHEAD_BYTES < message_bytes:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, message_bytes)
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
            except PermissionError:
                # In a user namespace of our own the system's bound holds: net.core.wmem_max.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, message_bytes)
            size = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        return size - _OVERHEAD_BYTES

    def transact(self, batch: bytes, last: int, what: str) -> None:
        """Send a batch of messages and wait until it is done; `last` is the sequence number that asks for an ACK.

        The kernel commits before it answers, and answers with every error before that ACK. More errors than there is
        room for are as bad as the first.
        """
        try:
            self._socket.send(batch)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, what) from error
        for sequence, answer in self._received(what, some_will_do=True):
            refusal = error_of(answer)
            if refusal:
                raise NetlinkError(refusal, what, _hint(refusal), sequence=sequence)
            if sequence == last:
                return

    def _dump_once(self, kind: int, body: bytes, what: str) -> list[bytes] | None:
        """The payloads of one dump, read to its end; None if it was interrupted."""
        sequence = self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, body, what)
        payloads: list[bytes] = []
        interrupted = False
        try:
            for message in self._answers(sequence, what):
                interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind == NLMSG_DONE:
                    break
                payloads.append(message.payload)
        except NetlinkError as error:
            if error.errno == errno.EINTR:
                return None
            raise
        return None if interrupted else payloads

    def _send(self, kind: int, flags: int, body: bytes, what: str) -> int:
        sequence = next(self._sequence)
        try:
            self._socket.send(message(kind, flags, sequence, body))
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, what) from error
        return sequence

    def _answers(self, sequence: int, what: str) -> Iterator[Message]:
        for answer_sequence, answer in self._received(what):
            if answer_sequence == sequence:
                refusal = error_of(answer)
                if refusal:
                    raise NetlinkError(refusal, what, _hint(refusal))
                yield answer

    def _received(self, what: str, *, some_will_do: bool = False) -> Iterator[tuple[int, Message]]:
        while True:
            try:
                data, _, flags, _ = self._socket.recvmsg(_RECEIVE_BYTES)
            except TimeoutError:
                raise NetlinkError(errno.ETIMEDOUT, what) from None
            except OSError as error:
                if some_will_do and error.errno == errno.ENOBUFS:
                    continue
                raise NetlinkError(error.errno or errno.EIO, what) from error
            if flags & socket.MSG_TRUNC:
                raise NetlinkError(errno.EMSGSIZE, what)
            yield from messages(data)


def enlarge_receive_buffer(sock: socket.socket, size_bytes: int) -> None:
    """Ask for a receive buffer beyond the system's limit, which CAP_NET_ADMIN may, or up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A complete message, addressed to the kernel."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, Message]]:
    """The messages of one datagram, each with its sequence number. A malformed rest is left out."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        yield sequence, Message(kind, flags, data[offset + HEADER.size : offset + length])
        offset += aligned(length)


def error_of(answer: Message) -> int:
    """The errno that an answer carries: of an error message, or of a dump that ended early. 0 for none."""
    if answer.kind == NLMSG_ERROR or (answer.kind == NLMSG_DONE and len(answer.payload) >= _ERRNO.size):
        number: int = _ERRNO.unpack_from(answer.payload)[0]
        return max(-number, 0)
    return 0


def aligned(length: int) -> int:
    """A length in bytes rounded up to netlink's four."""
    return (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute with its padding."""
    length = ATTRIBUTE.size + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + bytes(aligned(length) - length)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in network byte order, as nfnetlink has them."""
    return attribute(kind, _U32.pack(value))


def u64(kind: int, value: int) -> bytes:
    """An attribute that holds 64 bits in network byte order."""
    return attribute(kind, _U64.pack(value))


def attribute_list(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes from `offset` on, in order: type without its flag bits, and payload."""
    end = len(data)
    unpack = ATTRIBUTE.unpack_from
    while offset + ATTRIBUTE.size <= end:
        length, kind = unpack(data, offset)
        if length < ATTRIBUTE.size or offset + length > end:
            return
        yield kind & _TYPE_MASK, data[offset + ATTRIBUTE.size : offset + length]
        offset += aligned(length)


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on by type; of a repeated type the last."""
    # As `attribute_list`, without a step of a generator for each of hundreds of thousands.
    found: dict[int, bytes] = {}
    end = len(data)
    unpack = ATTRIBUTE.unpack_from
    while offset + ATTRIBUTE.size <= end:
        length, kind = unpack(data, offset)
        if length < ATTRIBUTE.size or offset + length > end:
            break
        found[kind & _TYPE_MASK] = data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def text_of(payload: bytes) -> str:
    """A NUL-terminated string; bytes that are not UTF-8 are escaped, since other programs choose names too."""
    return payload.rstrip(b"\0").decode("utf-8", "backslashreplace")


def u32_of(payload: bytes) -> int:
    """32 bits in network byte order."""
    value: int = _U32.unpack_from(payload)[0]
    return value


def u64_of(payload: bytes) -> int:
    """64 bits in network byte order."""
    value: int = _U64.unpack_from(payload)[0]
    return value


def _hint(number: int) -> str:
    if number in (errno.EPERM, errno.EACCES):
        return "this needs root, or the capability CAP_NET_ADMIN"
    return ""
