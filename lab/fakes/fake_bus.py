"""A system bus for tests: the DHCP servers of systemd-networkd, as their leases are told by D-Bus."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

GET, FOLLOW = b"\0Get\0", b"\0AddMatch\0"
_LEASES = b"a(uayayayayt)"


@dataclass(slots=True)
class FakeBus:
    """Answers questions for a property, by the object that is asked, with the bytes of a value.

    An object without one is answered with an error, and one of `silent` with nothing. `asked` has the questions.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[bytes] = field(default_factory=list)
    followers: list[socket.socket] = field(default_factory=list)
    welcome: bytes = b"OK 0123456789abcdef0123456789abcdef\r\n"

    def hang_up(self) -> None:
        """End the connections of all who follow something."""
        for one in self.followers:
            one.shutdown(socket.SHUT_RDWR)

    def tell(self) -> None:
        """Say to all who follow something that something has changed."""
        for one in self.followers:
            with suppress(OSError):
                one.sendall(_message(4, 0, b""))


def leases(*items: tuple[str, str, float]) -> bytes:
    """The values of an answer: leases, each an Ethernet address, an IPv4 address, and its end in seconds."""
    listed = b""
    for mac, address, end_s in items:
        raw = bytes.fromhex(mac.replace(":", ""))
        listed += bytes(-len(listed) % 8) + struct.pack("<I", 2)
        for one in (b"\1" + raw, socket.inet_aton(address), bytes(4), raw + bytes(10)):
            listed += bytes(-len(listed) % 4) + struct.pack("<I", len(one)) + one
        listed += bytes(-len(listed) % 8) + struct.pack("<Q", int(end_s * 1_000_000))
    head = bytes([len(_LEASES)]) + _LEASES + b"\0"
    head += bytes(-len(head) % 4) + struct.pack("<I", len(listed))
    return head + bytes(-len(head) % 8) + listed


@contextmanager
def fake_bus(path: Path) -> Iterator[FakeBus]:
    """A bus that listens at a path, for the length of the block."""
    bus = FakeBus()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        Thread(target=_accept, args=(bus, listening), daemon=True).start()
        try:
            yield bus
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _accept(bus: FakeBus, listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            Thread(target=_serve, args=(bus, connection), daemon=True).start()


def _serve(bus: FakeBus, connection: socket.socket) -> None:
    with connection, suppress(OSError):
        connection.recv(1024)
        connection.sendall(bus.welcome)
        data = connection.recv(65536).removeprefix(b"BEGIN\r\n")
        while True:
            for question in _questions(data):
                _answer(bus, connection, question)
            data = connection.recv(65536)
            if not data:
                return


def _questions(data: bytes) -> Sequence[bytes]:
    """The calls in what arrived at once."""
    found = []
    while data:
        body, fields = struct.unpack_from("<I", data, 4)[0], struct.unpack_from("<I", data, 12)[0]
        size = 16 + fields + -fields % 8 + body
        found.append(data[:size])
        data = data[size:]
    return found


def _answer(bus: FakeBus, connection: socket.socket, question: bytes) -> None:
    serial = struct.unpack_from("<I", question, 8)[0]
    if FOLLOW in question:
        bus.followers.append(connection)
        return
    if GET not in question:
        connection.sendall(_message(2, serial, b"\5\0\0\0:1.37\0", b"s"))
        return
    bus.asked.append(question)
    # A signal of somebody else comes first.
    connection.sendall(_message(4, 0, b""))
    for path, body in bus.answers.items():
        if path.encode() + b"\0" in question:
            connection.sendall(_message(2, serial, body, b"v"))
            return
    if not any(path.encode() + b"\0" in question for path in bus.silent):
        connection.sendall(_message(3, serial, b"\7\0\0\0no such\0", b"s"))


def _message(kind: int, answered: int, body: bytes, signature: bytes = b"") -> bytes:
    fields = b"\5\1u\0" + struct.pack("<I", answered) if answered else b"\3\1s\0\1\0\0\0x\0"
    if signature:
        fields += bytes(-len(fields) % 8) + b"\x08\1g\0" + bytes([len(signature)]) + signature + b"\0"
    fixed = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 7, len(fields))
    return fixed + fields + bytes(-len(fields) % 8) + body
