"""The system bus: properties of services, and word of their changes (the D-Bus Specification).

As much of D-Bus as that takes. Each wait ends after a while, each message is read up to a limit, and nobody is started
by being asked. Raises EngineError.
"""

import os
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from hostfw.host.errors import reason
from hostfw.workloads.engine_socket import MOST_BYTES, PATIENCE_S, EngineError

SOCKET = Path("/run/dbus/system_bus_socket")
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_PROPERTIES = "org.freedesktop.DBus.Properties"
_CALL, _RETURN, _ERROR = 1, 2, 3
_NO_REPLY, _NO_START = 0x1, 0x2
_PATH, _INTERFACE, _MEMBER, _REPLY_TO, _DESTINATION, _SIGNATURE = 1, 2, 3, 5, 6, 8
_FIXED = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "b": "I"}
_HEAD_BYTES = 16
_MOST_LEVELS = 16
_LONGEST_LINE = 512

Value = object


class BusError(EngineError):
    """An answer that there is no such property, or nobody who has it."""


def _away(error: OSError) -> EngineError:
    return EngineError(f"the system bus: {reason(error)}")


class SystemBus:
    """A connection to the system bus."""

    def __init__(self, path: Path = SOCKET) -> None:
        """Connect, and say who we are."""
        self._serials = count(1)
        self._pending = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(PATIENCE_S)
            self._socket.connect(os.fspath(path))
            self._enter()
        except OSError as error:
            self.close()
            raise _away(error) from error
        except EngineError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def property(self, service: str, path: str, interface: str, name: str) -> Value:
        """A property of an object of a service. Raises BusError where there is none, or the service does not run."""
        values = self._ask(service, path, _PROPERTIES, "Get", interface, name)
        return values[0] if values else None

    def follow(self, service: str, interface: str) -> None:
        """Hear of changed properties of an interface from now on."""
        rule = f"type='signal',sender='{service}',interface='{_PROPERTIES}',arg0='{interface}'"
        try:
            self._send(_NO_REPLY, *_BUS, "AddMatch", rule)
        except OSError as error:
            raise _away(error) from error
        self._socket.settimeout(0)

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._socket.fileno()

    def read(self) -> None:
        """Take what has arrived: that there was a change, not which. Raises EngineError once nothing more will come."""
        with suppress(BlockingIOError):
            for _ in range(1000):
                if not self._socket.recv(MOST_BYTES):
                    raise EngineError("the system bus has ended the connection")

    def _enter(self) -> None:
        """Say who we are."""
        # Root is known by the credentials of the socket; the number repeats them.
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        if not self._line().startswith(b"OK "):
            raise EngineError("the system bus does not let us in")
        self._socket.sendall(b"BEGIN\r\n")
        self._ask(*_BUS, "Hello")

    def _ask(self, *call: str) -> Sequence[Value]:
        """The values that a method returns."""
        try:
            serial = self._send(0, *call)
            deadline = monotonic() + PATIENCE_S
            while True:
                kind, answered, values = self._message(deadline)
                if answered == serial and kind == _ERROR:
                    raise BusError(str(values[0]) if values else "the system bus refuses")
                if answered == serial and kind == _RETURN:
                    return values
        except OSError as error:
            raise _away(error) from error
        except ValueError as error:
            raise EngineError("the system bus: its answer is none") from error

    def _send(self, flags: int, service: str, path: str, interface: str, member: str, *words: str) -> int:
        serial = next(self._serials)
        fields = [
            (_PATH, "o", path),
            (_DESTINATION, "s", service),
            (_INTERFACE, "s", interface),
            (_MEMBER, "s", member),
        ]
        fields += [(_SIGNATURE, "g", "s" * len(words))] if words else []
        head = b""
        for code, kind, text in fields:
            head = _padded(head, 8) + bytes([code, 1]) + kind.encode() + b"\0" + _string(kind, text)
        body = b""
        for word in words:
            body = _padded(body, 4) + _string("s", word)
        fixed = struct.pack("<cBBBIII", b"l", _CALL, flags | _NO_START, 1, len(body), serial, len(head))
        self._socket.sendall(_padded(fixed + head, 8) + body)
        return serial

    def _message(self, deadline: float) -> tuple[int, int, Sequence[Value]]:
        """The next message: its kind, the serial that it answers, and its values if it answers one."""
        head = self._bytes(_HEAD_BYTES, deadline)
        order = "<" if head[:1] == b"l" else ">"
        body_bytes, _, fields_bytes = struct.unpack(f"{order}III", head[4:])
        rest = fields_bytes + -fields_bytes % 8
        if max(body_bytes, fields_bytes) > MOST_BYTES:
            raise EngineError(f"the system bus: a message has more than {MOST_BYTES // 1024} KiB")
        fields_data, body = self._bytes(rest, deadline), self._bytes(body_bytes, deadline)
        reader = _Reader(struct.pack(f"{order}I", fields_bytes) + bytes(4) + fields_data, order)
        fields = dict(reader.values("a(yv)")[0])  # type: ignore[call-overload]
        answered, signature = fields.get(_REPLY_TO, 0), fields.get(_SIGNATURE, "")
        values = _Reader(body, order).values(str(signature)) if answered else ()
        return head[1], int(answered), values

    def _bytes(self, number: int, deadline: float) -> bytes:
        while len(self._pending) < number:
            left = deadline - monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                raise EngineError(f"the system bus does not answer within {PATIENCE_S:.0f} s")
            chunk = self._socket.recv(MOST_BYTES)
            if not chunk:
                raise EngineError("the system bus has ended the connection")
            self._pending += chunk
        found, self._pending = self._pending[:number], self._pending[number:]
        return found

    def _line(self) -> bytes:
        deadline = monotonic() + PATIENCE_S
        line = b""
        while not line.endswith(b"\r\n") and len(line) < _LONGEST_LINE:
            line += self._bytes(1, deadline)
        return line


class _Reader:
    """The values in the bytes of a message. Raises ValueError for what is none."""

    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self._at = 0

    def values(self, signature: str, level: int = 0) -> list[Value]:
        """The values of types that are written one after the other."""
        if level > _MOST_LEVELS:
            raise ValueError("too many levels")
        return [self._value(one, level) for one in _single_types(signature)]

    def _value(self, kind: str, level: int) -> Value:
        if kind in _FIXED:
            return self._fixed(_FIXED[kind])
        if kind in ("s", "o"):
            return self._text(int(self._fixed("I")))
        if kind == "g":
            return self._text(int(self._fixed("B")))
        if kind == "v":
            (value,) = self.values(self._text(int(self._fixed("B"))), level + 1)
            return value
        if kind.startswith("a"):
            return self._array(kind[1:], level)
        self._align(8)
        return tuple(self.values(kind[1:-1], level + 1))

    def _array(self, kind: str, level: int) -> Value:
        length = int(self._fixed("I"))
        self._align(8 if kind[0] in "({xt" else struct.calcsize(f"={_FIXED.get(kind, 'I')}") if kind not in "vg" else 1)
        end = self._at + length
        if end > len(self._data):
            raise ValueError("an array that is cut off")
        if kind == "y":
            found, self._at = self._data[self._at : end], end
            return found
        values = []
        while self._at < end:
            before = self._at
            values.append(self._value(kind, level + 1))
            if self._at == before:
                raise ValueError("an array of nothing")
        return values

    def _fixed(self, form: str) -> int:
        size = struct.calcsize(f"={form}")
        self._align(size)
        try:
            (value,) = struct.unpack_from(f"{self._order}{form}", self._data, self._at)
        except struct.error as error:
            raise ValueError(str(error)) from error
        self._at += size
        number: int = value
        return number

    def _text(self, length: int) -> str:
        raw = self._data[self._at : self._at + length]
        if len(raw) != length:
            raise ValueError("a string that is cut off")
        self._at += length + 1
        return raw.decode("utf-8", "replace")

    def _align(self, size: int) -> None:
        self._at += -self._at % size


def _single_types(signature: str) -> list[str]:
    """The complete types of a signature. Raises ValueError."""
    found = []
    start = at = depth = 0
    while at < len(signature):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[at], 0)
        ends = depth == 0 and signature[at] != "a"
        at += 1
        if ends:
            found.append(signature[start:at])
            start = at
    if start != len(signature) or any(one[-1] not in f"{''.join(_FIXED)}sogv)}}" or one in (")", "}") for one in found):
        raise ValueError("no signature")
    return found


def _string(kind: str, text: str) -> bytes:
    raw = text.encode()
    return (bytes([len(raw)]) if kind == "g" else struct.pack("<I", len(raw))) + raw + b"\0"


def _padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)
