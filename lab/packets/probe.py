"""Probes: whether a packet gets from one node to another, and an answer back.

Both ends are sockets of this process, each in its node's namespace, so that a flow costs a millisecond, and what
arrived is known at both ends. A TCP or UDP flow carries a nonce to a listener that sends it back; an ICMP flow is an
echo request.

What was seen is certain; what was not seen is a matter of patience. Give flows that should pass more of it than flows
that should not. A silence proves something of the firewall only once the same flow has passed without it (`control`).
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from hostfw.model.values import ICMP, ICMPV6, TCP, UDP, Family, Protocol
from lab.laboratory import Lab
from lab.namespace import LabError, Namespace, open_socket

ALLOW_PATIENCE_S = 3.0
"""Time to wait for packets that should pass: ample, as it is spent in failing cases alone."""
DENY_PATIENCE_S = 0.3
"""Time to wait for packets that should not pass; a passing flow takes a few milliseconds."""

_NONCE_BYTES = 16
_ECHO = {Family.V4: (8, 0), Family.V6: (128, 129)}
"""The types of ICMP echo request and reply."""
_UNREACHABLE = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES, errno.ECONNRESET))
"""Errors that a TCP reset or an ICMP "unreachable" of any kind turns into."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation to try. `protocol` ICMP stands for the echo request of the family; it alone has no port.

    `address` is where the destination is sought, if not at `Topology.address`.
    """

    source: str
    destination: str
    protocol: Protocol
    port: int | None
    family: Family
    address: str | None = None

    def __str__(self) -> str:
        port = "" if self.port is None else f" {self.port}"
        return f"{self.source} -> {self.destination} {self.protocol}{port} over IPv{self.family:d}"


class Verdict(StrEnum):
    """The fate of a flow. `ONE_WAY`: the packet arrived, and its answer did not."""

    ALLOWED = "allowed"
    DROPPED = "dropped"
    REJECTED = "rejected"
    ONE_WAY = "one-way"


@dataclass(frozen=True, slots=True)
class Sent:
    """The first packet of a probe as a log record shows it. For ICMP, `source_port` is the echo identifier."""

    family: Family
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A flow, what became of it, and the packet that tried."""

    flow: Flow
    verdict: Verdict
    sent: Sent


def probe(lab: Lab, flows: Iterable[Flow], patience_s: float) -> tuple[Outcome, ...]:
    """Try the flows, all at the same time, and wait for each as long as `patience_s`."""
    return asyncio.run(_probe(lab, tuple(flows), patience_s))


def control(lab: Lab, flows: Iterable[Flow], patience_s: float = ALLOW_PATIENCE_S) -> None:
    """Prove that every flow passes as long as no ruleset is in force; LabError names those that do not."""
    astray = [f"{o.flow}: {o.verdict}" for o in probe(lab, flows, patience_s) if o.verdict is not Verdict.ALLOWED]
    if astray:
        raise LabError("without any ruleset these do not pass:\n  " + "\n  ".join(astray))


async def _probe(lab: Lab, flows: Sequence[Flow], patience_s: float) -> tuple[Outcome, ...]:
    async with _listeners(lab, flows) as arrived:
        tried = (_try(lab, flow, arrived, patience_s) for flow in flows)
        return tuple(await asyncio.gather(*tried))


async def _try(lab: Lab, flow: Flow, arrived: set[bytes], patience_s: float) -> Outcome:
    nonce = os.urandom(_NONCE_BYTES)
    with _socket(lab[flow.source], flow.protocol, flow.family) as client:
        target = _target(lab, flow)
        try:
            async with asyncio.timeout(patience_s):
                answered = await _converse(client, flow, target, nonce)
        except TimeoutError:
            verdict = Verdict.ONE_WAY if nonce in arrived else Verdict.DROPPED
        except OSError as error:
            verdict = _verdict_of(error, flow, client)
        else:
            if not answered:
                raise LabError(f"{flow}: the answer is not what was sent")
            verdict = Verdict.ALLOWED
        return Outcome(flow, verdict, _sent(client, flow, target, nonce))


def _socket(node: Namespace, protocol: Protocol, family: Family) -> socket.socket:
    made = open_socket(node, *_SOCKETS[protocol, family])
    made.settimeout(0)
    return made


def _target(lab: Lab, flow: Flow) -> str:
    return flow.address or lab.topology.address(flow.source, flow.destination, flow.family)


async def _converse(client: socket.socket, flow: Flow, target: str, nonce: bytes) -> bool:
    """Send the nonce and wait for it to come back."""
    loop = asyncio.get_running_loop()
    if flow.port is None:
        client.connect((target, 0))
        client.send(_echo_request(flow.family, nonce))
    elif flow.protocol == UDP:
        client.connect((target, flow.port))
        client.send(nonce)
    else:
        await loop.sock_connect(client, (target, flow.port))
        client.send(nonce)
    if flow.port is not None:
        return await loop.sock_recv(client, _NONCE_BYTES) == nonce
    while not _is_reply(await loop.sock_recv(client, 2048), flow.family, nonce):
        pass
    return True


def _verdict_of(error: OSError, flow: Flow, client: socket.socket) -> Verdict:
    """The verdict that an error stands for.

    What the output hook denies, the socket hears of as EPERM; if it was rejected, an ICMP error waits behind that.
    """
    if error.errno == errno.EPERM:
        waiting = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return Verdict.REJECTED if waiting in _UNREACHABLE else Verdict.DROPPED
    if error.errno in _UNREACHABLE:
        return Verdict.REJECTED
    raise LabError(f"{flow}: {error.strerror}") from error


def _sent(client: socket.socket, flow: Flow, target: str, nonce: bytes) -> Sent:
    source, source_port = client.getsockname()[:2]
    if flow.port is None:
        source_port = _identifier(nonce)
    number = (ICMP if flow.family is Family.V4 else ICMPV6).number if flow.port is None else flow.protocol.number
    return Sent(flow.family, number, source, source_port, target, flow.port)


@asynccontextmanager
async def _listeners(lab: Lab, flows: Sequence[Flow]) -> AsyncIterator[set[bytes]]:
    """Everything that answers at the flows' destinations, and the nonces that have arrived there."""
    arrived: set[bytes] = set()
    wanted = {(f.destination, f.protocol, f.family, _target(lab, f), f.port) for f in flows if f.port is not None}
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for destination, protocol, family, address, port in wanted:
            listener = stack.enter_context(_socket(lab[destination], protocol, family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
            except OSError as error:
                raise LabError(f"{destination} cannot listen at {address} {port}: {error.strerror}") from error
            if protocol == TCP:
                server = await asyncio.start_server(partial(_answer_stream, arrived), sock=listener)
                stack.callback(server.close)
            else:
                loop.add_reader(listener, _answer_datagram, arrived, listener)
                stack.callback(loop.remove_reader, listener)
        yield arrived


async def _answer_stream(arrived: set[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a nonce back over its connection."""
    with suppress(asyncio.IncompleteReadError, OSError):
        nonce = await reader.readexactly(_NONCE_BYTES)
        arrived.add(nonce)
        writer.write(nonce)
        await writer.drain()
    writer.close()


def _answer_datagram(arrived: set[bytes], listener: socket.socket) -> None:
    """Send a nonce back. An answer that the output hook drops, or an ICMP error for an earlier one, is an OSError."""
    with suppress(OSError):
        nonce, client = listener.recvfrom(_NONCE_BYTES)
        arrived.add(nonce)
        listener.sendto(nonce, client)


def _identifier(nonce: bytes) -> int:
    """The echo identifier: the first two bytes of the nonce, as a kernel would give each socket its own."""
    return int.from_bytes(nonce[:2], "big")


def _echo_request(family: Family, nonce: bytes) -> bytes:
    """An ICMP echo request. The kernel fills in the checksum of ICMPv6 alone."""
    request, _ = _ECHO[family]
    header = struct.pack("!BBHHH", request, 0, 0, _identifier(nonce), 1)
    checksum = 0 if family is Family.V6 else _checksum(header + nonce)
    return struct.pack("!BBHHH", request, 0, checksum, _identifier(nonce), 1) + nonce


def _is_reply(packet: bytes, family: Family, nonce: bytes) -> bool:
    """True if a packet is the reply; raw IPv4 sockets include the IP header, and get every ICMP packet."""
    header_bytes = (packet[0] & 0x0F) * 4 if family is Family.V4 else 0
    message = packet[header_bytes:]
    _, reply = _ECHO[family]
    return message[0] == reply and message[8:] == nonce


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


_SOCKETS = {
    (TCP, Family.V4): (socket.AF_INET, socket.SOCK_STREAM, 0),
    (TCP, Family.V6): (socket.AF_INET6, socket.SOCK_STREAM, 0),
    (UDP, Family.V4): (socket.AF_INET, socket.SOCK_DGRAM, 0),
    (UDP, Family.V6): (socket.AF_INET6, socket.SOCK_DGRAM, 0),
    (ICMP, Family.V4): (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    (ICMP, Family.V6): (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
}
