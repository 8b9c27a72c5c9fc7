"""Packets that the kernel logs to an NFLOG group, read with the standard library.

Formats are those of <linux/netfilter/nfnetlink_log.h>. Every record carries the kernel's running number, so records
that found our buffer full are counted, not just missed.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

from hostfw.host.errors import HostError
from hostfw.host.netlink import messages as netlink
from hostfw.host.netlink.listening import ListeningSocket
from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NLM_F_ACK,
    NLM_F_REQUEST,
    attribute,
    attributes,
    u32,
)
from hostfw.model.values import Family

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
"""Some 10,000 records of 128 packet bytes: the limits in the ruleset let through far fewer between two reads."""

_SUBSYSTEM = 4 << 8
_PACKET = _SUBSYSTEM | 0
_CONFIG = _SUBSYSTEM | 1

_CFG_CMD, _CFG_MODE, _CFG_BUFFER, _CFG_TIMEOUT, _CFG_THRESHOLD, _CFG_FLAGS = 1, 2, 3, 4, 5, 6
_CMD_BIND = 1
_COPY_PACKET = 2
_FLAG_SEQUENCE = 1
_BATCH_BYTES = 64 * 1024
"""One datagram at most (NFULA_CFG_NLBUFSIZ; the kernel allows 128 KiB)."""
_BATCH_RECORDS = 64
_BATCH_WAIT_CS = 5
"""Time that a record waits for others in the kernel, in hundredths of a second; the kernel's default is 100.

A denied packet is to be in the journal before whoever sent it looks there, and a flood wakes us twenty times a second.
"""

_HEADER, _TIMESTAMP, _INDEV, _OUTDEV, _PAYLOAD, _PREFIX, _SEQUENCE = 1, 3, 4, 5, 9, 10, 12
_PORT_IN, _PORT_OUT = 6, 7
"""NFULA_IFINDEX_PHYSINDEV and _PHYSOUTDEV: the ports of a bridge, beside the bridge itself."""
_ETHER_TYPES = {0x0800: Family.V4, 0x86DD: Family.V6}
_OF_BRIDGES = 7
"""NFPROTO_BRIDGE: the family of a record that a table of bridges made."""
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_FAMILIES: dict[int, Family] = {socket.AF_INET: Family.V4, socket.AF_INET6: Family.V6}
_U64_PAIR = struct.Struct("!QQ")
_MODE = struct.Struct("!IBx")
_SEQUENCE_MODULUS = 1 << 32
_ACK_WAIT_S = 5.0
_READERS = Path("/proc/thread-self/net/netfilter/nfnetlink_log")


@dataclass(frozen=True, slots=True)
class NflogRecord:
    """One logged packet. `indev` and `outdev` are interface indexes, 0 where the hook has none.

    `payload` starts with the IP header and holds at most the snap length. `timestamp` is in seconds since 1970 and
    None for packets that the kernel did not stamp, as those that leave the host.
    """

    prefix: str
    family: Family | None
    hook: str
    indev: int
    outdev: int
    payload: bytes
    timestamp: float | None


class Nflog(Protocol):
    """A reader of a group, such as `NflogReader`."""

    lost: int
    overruns: int

    def fileno(self) -> int:
        """The descriptor that becomes readable when there are records."""

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is something to read."""

    def close(self) -> None:
        """Leave the group."""

    def read(self) -> tuple[NflogRecord, ...]:
        """The records that have come."""


class NflogReader(ListeningSocket):
    """The one reader of an NFLOG group in the network namespace that we are in.

    `lost` counts the records that found the buffer full; a loss shows with the first record after it, and as a rise
    of `overruns` at once.
    """

    def __init__(self, group: int, snaplen_bytes: int, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self.lost = 0
        self.overruns = 0
        self._next_sequence = 0
        try:
            super().__init__(NETLINK_NETFILTER, receive_buffer_bytes, lambda sock: _join(sock, group, snaplen_bytes))
        except OSError as error:
            raise _refusal(group, error) from error

    def read(self) -> tuple[NflogRecord, ...]:
        """The records of one datagram, at most 64; none if nothing has come. Never waits."""
        try:
            data = self._socket.recv(_BATCH_BYTES * 2)
        except BlockingIOError:
            return ()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise HostError(f"NFLOG records cannot be read: {error.strerror}") from error
            self.overruns += 1
            return ()
        return tuple(self._record(item.payload) for _, item in netlink.messages(data) if item.kind == _PACKET)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is something to read, at most `timeout_s` or for ever; gives whether there is."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))

    def records(self, timeout_s: float) -> Iterator[NflogRecord]:
        """Records as they come, until none has come for `timeout_s`."""
        deadline = monotonic() + timeout_s
        while (remaining := deadline - monotonic()) > 0:
            if self.wait(remaining) and (batch := self.read()):
                yield from batch
                deadline = monotonic() + timeout_s

    def _record(self, payload: bytes) -> NflogRecord:
        fields = attributes(payload, NFGENMSG.size)
        if _SEQUENCE in fields:
            sequence = netlink.u32_of(fields[_SEQUENCE])
            self.lost += (sequence - self._next_sequence) % _SEQUENCE_MODULUS
            self._next_sequence = (sequence + 1) % _SEQUENCE_MODULUS
        hook = fields[_HEADER][2]
        stamp = fields.get(_TIMESTAMP)
        seconds, microseconds = _U64_PAIR.unpack(stamp) if stamp else (0, 0)
        way_in, way_out, family = _INDEV, _OUTDEV, _FAMILIES.get(payload[0])
        content = fields.get(_PAYLOAD, b"")
        if payload[0] == _OF_BRIDGES:
            # It is the port that a rule looked at, and a frame may hold anything.
            way_in, way_out = _PORT_IN, _PORT_OUT
            family = _ETHER_TYPES.get(int.from_bytes(fields[_HEADER][:2], "big"))
            content = content if family is not None else b""
        return NflogRecord(
            prefix=netlink.text_of(fields.get(_PREFIX, b"")),
            family=family,
            hook=_HOOKS[hook] if hook < len(_HOOKS) else str(hook),
            indev=_index(fields.get(way_in)),
            outdev=_index(fields.get(way_out)),
            payload=content,
            timestamp=seconds + microseconds / 1e6 if stamp else None,
        )


def interface_name(index: int) -> str:
    """The name that an interface of this network namespace has now; empty for none, or one that has gone."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return ""


def _join(sock: socket.socket, group: int, snaplen_bytes: int) -> None:
    """Bind the group and set how it delivers, in one message, so that no record comes in any other way."""
    sock.bind((0, 0))
    body = b"".join(
        (
            NFGENMSG.pack(socket.AF_UNSPEC, 0, group),
            attribute(_CFG_CMD, bytes((_CMD_BIND,))),
            attribute(_CFG_MODE, _MODE.pack(snaplen_bytes, _COPY_PACKET)),
            u32(_CFG_BUFFER, _BATCH_BYTES),
            u32(_CFG_TIMEOUT, _BATCH_WAIT_CS),
            u32(_CFG_THRESHOLD, _BATCH_RECORDS),
            attribute(_CFG_FLAGS, struct.pack("!H", _FLAG_SEQUENCE)),
        )
    )
    sock.send(netlink.message(_CONFIG, NLM_F_REQUEST | NLM_F_ACK, 1, body))
    if not select.select((sock,), (), (), _ACK_WAIT_S)[0]:
        raise TimeoutError(errno.ETIMEDOUT, "no answer")
    for _, answer in netlink.messages(sock.recv(_BATCH_BYTES * 2)):
        if refusal := netlink.error_of(answer):
            raise OSError(refusal, "refused")


def _refusal(group: int, error: OSError) -> HostError:
    # The kernel says EPERM to whoever is second, as it does to whoever may not.
    if error.errno in (errno.EBUSY, errno.EPERM) and group in groups_with_reader():
        return HostError(
            f"NFLOG group {group} has a reader already",
            "set logging.group to a group that /proc/net/netfilter/nfnetlink_log does not list",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return HostError(f"NFLOG group {group} cannot be read: not permitted", "this needs root, or CAP_NET_ADMIN")
    return HostError(f"NFLOG group {group} cannot be read: {os.strerror(error.errno or errno.EIO)}")


def groups_with_reader() -> frozenset[int]:
    """The NFLOG groups of this network that somebody reads."""
    try:
        lines = _READERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return frozenset()
    return frozenset(int(line.split()[0]) for line in lines)


def _index(data: bytes | None) -> int:
    return netlink.u32_of(data) if data else 0
