"""Traffic without pause, accounted for packet by packet, while generations change on the node that it meets.

    with flood(lab, "host", streams) as sent:      # senders are processes of their own
        ...
    account = counted(lab["host"], streams)        # at the node's gates: before hostfw and behind it

Every packet of a stream is new to connection tracking: its source ports take turns and nothing ever answers. A gate
is a table of somebody else's on the node: its first counters come before any chain of hostfw's, its last ones behind,
where the packet ends. So what hostfw let through is known exactly, whatever the load does to receivers.
"""

import json
import multiprocessing
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from time import sleep

from lab.laboratory import Lab
from lab.namespace import LabError, Namespace, open_socket, run

SOURCE_PORTS = range(20_000, 24_000)
"""The source ports of a stream, which take turns: few enough for connection tracking, whose entries last a second."""

_BURST_PACKETS = 16
_PAUSE_S = 0.0005
_ECHO_BYTES = 8
_JOIN_S = 10
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Stream:
    """UDP packets from a node, with any source address, to a port that no other stream has."""

    name: str
    node: str
    source: str
    destination: str
    port: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets of a stream at the gates: what came to hostfw's chains and what left them."""

    came: int
    passed: int


def gates(streams: Iterable[Stream], conversations: Iterable[int] = ()) -> str:
    """The gates of a node as an nft script: a stream ends at the last one, a conversation's port goes on."""
    ports = [(stream.port, "drop") for stream in streams]
    talk = tuple(conversations)
    counters = [name for port, _ in ports for name in (f"came.{port}", f"passed.{port}")]
    counters += [f"{place}.{way}.{port}" for port in talk for way in ("to", "from") for place in ("came", "passed")]
    lines = ["table inet gates {", *(f"\tcounter {name} {{ }}" for name in counters)]
    places = (
        ("before", "prerouting", -350, "came"),
        ("before-output", "output", -350, "came"),
        ("behind", "input", 350, "passed"),
        ("behind-forward", "forward", 350, "passed"),
        ("behind-output", "output", 350, "passed"),
    )
    for chain, hook, priority, counter in places:
        lines.append(f"\tchain {chain} {{ type filter hook {hook} priority {priority};")
        # What leaves through loopback comes in again: it is no stream of ours.
        end = "drop" if counter == "passed" else "accept"
        lines += [f'\t\tmeta l4proto udp th dport {port} counter name "{counter}.{port}" {end}' for port, _ in ports]
        lines += [f'\t\tth dport {port} counter name "{counter}.to.{port}"' for port in talk]
        lines += [f'\t\tth sport {port} counter name "{counter}.from.{port}"' for port in talk]
        lines.append("\t}")
    return "\n".join([*lines, "}\n"])


def counted(node: Namespace, streams: Iterable[Stream]) -> dict[str, Counted]:
    """The counts of each stream at the gates of a node."""
    values = _counters(node)
    return {s.name: Counted(values[f"came.{s.port}"], values[f"passed.{s.port}"]) for s in streams}


def counted_conversation(node: Namespace, port: int) -> tuple[Counted, Counted]:
    """The counts of a conversation at the gates: to the port, and from it."""
    values = _counters(node)
    to, back = (Counted(values[f"came.{way}.{port}"], values[f"passed.{way}.{port}"]) for way in ("to", "from"))
    return to, back


@contextmanager
def flood(lab: Lab, streams: Sequence[Stream]) -> Iterator[Mapping[str, "Synchronized[int]"]]:
    """Send every stream for the length of the block; the values tell how many packets of each have been sent."""
    sent = {stream.name: _FORK.Value("Q", 0) for stream in streams}
    stop = _FORK.Event()
    with ExitStack() as stack:
        for node in dict.fromkeys(stream.node for stream in streams):
            mine = [stream for stream in streams if stream.node == node]
            sockets = [stack.enter_context(_raw_socket(lab[node], stream)) for stream in mine]
            packets = [_packet(stream) for stream in mine]
            targets = [(stream.destination, 0) for stream in mine]
            counts = [sent[stream.name] for stream in mine]
            stack.enter_context(_process(_send, sockets, packets, targets, counts, stop))
        stack.callback(stop.set)
        yield sent


@contextmanager
def conversation(
    lab: Lab, client: str, server: str, address: str, port: int, kind: socket.SocketKind
) -> Iterator["Synchronized[int]"]:
    """A conversation by TCP or UDP for the length of the block: numbered messages that come back.

    Raises LabError at the end unless every message has come back, in order. The value is their number.
    """
    stop, exchanged, astray = _FORK.Event(), _FORK.Value("Q", 0), _FORK.Value("Q", 0)
    with ExitStack() as stack:
        theirs = stack.enter_context(open_socket(lab[server], socket.AF_INET, kind))
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        theirs.bind((address, port))
        if kind is socket.SOCK_STREAM:
            theirs.listen()
        ours = stack.enter_context(open_socket(lab[client], socket.AF_INET, kind))
        stack.enter_context(_process(_answer, theirs, stop))
        ours.settimeout(_JOIN_S)
        ours.connect((address, port))
        with _process(_talk, ours, exchanged, astray, stop):
            yield exchanged
            stop.set()
    if astray.value:
        raise LabError(f"{astray.value} of {exchanged.value} messages to port {port} did not come back")


@contextmanager
def _process(work: object, *arguments: object) -> Iterator[None]:
    """A process that is to end by itself soon after the block."""
    process = _FORK.Process(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
    process.start()
    try:
        yield
    finally:
        process.join(_JOIN_S)
        if process.is_alive():
            process.kill()
            process.join()


def _counters(node: Namespace) -> dict[str, int]:
    listed = json.loads(run(node, ("nft", "-j", "list", "counters", "table", "inet", "gates")).stdout)["nftables"]
    return {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}


def _raw_socket(node: Namespace, stream: Stream) -> socket.socket:
    return open_socket(node, socket.AF_INET6 if _is_ip6(stream) else socket.AF_INET, socket.SOCK_RAW, _RAW)


def _packet(stream: Stream) -> bytearray:
    """An IP packet with a UDP header but its source port, without a checksum; the kernel does that of IPv4 itself."""
    family = socket.AF_INET6 if _is_ip6(stream) else socket.AF_INET
    addresses = b"".join(socket.inet_pton(family, address) for address in (stream.source, stream.destination))
    payload = struct.pack("!HHHHQ", 0, stream.port, 16, 0, 0)
    if _is_ip6(stream):
        header = struct.pack("!IHBB", 6 << 28, len(payload), socket.IPPROTO_UDP, 64)
    else:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, socket.IPPROTO_UDP, 0)
    return bytearray(header + addresses + payload)


def _send(
    sockets: Sequence[socket.socket],
    packets: Sequence[bytearray],
    targets: Sequence[tuple[str, int]],
    counts: "Sequence[Synchronized[int]]",
    stop: Event,
) -> None:
    """Send packets of all streams in turn, each turn from the next source port, with their number in the payload."""
    payloads = [len(packet) - 16 for packet in packets]
    for number, port in enumerate(cycle(SOURCE_PORTS)):
        for sock, packet, target, at, count in zip(sockets, packets, targets, payloads, counts, strict=True):
            struct.pack_into("!H", packet, at, port)
            struct.pack_into("!Q", packet, at + 8, number)
            # What the output hook drops, the sender hears of as EPERM; it was sent all the same.
            with suppress(PermissionError):
                sock.sendto(packet, target)
            count.value += 1
        if number % max(_BURST_PACKETS // len(packets), 1) == 0:
            if stop.is_set():
                return
            sleep(_PAUSE_S)


def _talk(ours: socket.socket, exchanged: "Synchronized[int]", astray: "Synchronized[int]", stop: Event) -> None:
    """Send a numbered message, wait for it to come back, and go on."""
    ours.settimeout(1)
    while not stop.is_set():
        message = struct.pack("!Q", exchanged.value)
        try:
            ours.sendall(message)
            answer = ours.recv(_ECHO_BYTES)
        except OSError:
            answer = b""
        exchanged.value += 1
        astray.value += answer != message
        sleep(_PAUSE_S)


def _answer(theirs: socket.socket, stop: Event) -> None:
    """Send back what comes."""
    theirs.settimeout(0.2)
    if theirs.type is socket.SOCK_DGRAM:
        while not stop.is_set():
            with suppress(OSError):
                message, whence = theirs.recvfrom(_ECHO_BYTES)
                theirs.sendto(message, whence)
        return
    stream, _ = theirs.accept()
    stream.settimeout(0.2)
    while not stop.is_set():
        with suppress(OSError):
            stream.sendall(stream.recv(_ECHO_BYTES))


def _is_ip6(stream: Stream) -> bool:
    return ":" in stream.destination


_RAW = 255
"""IPPROTO_RAW: packets with their IP header."""
