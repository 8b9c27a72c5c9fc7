"""A container engine that answers on a Unix socket as it is told, for what no real one does on demand."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import sleep

_POLL_S = 0.05
_STREAMS = {
    "/events": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "/1.0/events": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
}
"""The beginnings of answers without an end, by their paths: of Docker and of Incus."""


@dataclass(slots=True)
class FakeEngine:
    """Answers by paths, without what follows '?'. A path that is missing is answered with status 404.

    `hanging` has it read requests and answer none. `events` counts the streams that it was asked for.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    hanging: bool = False
    asked: list[str] = field(default_factory=list)
    _streams: list[socket.socket] = field(default_factory=list)
    _ended: Event = field(default_factory=Event)

    def tell(self, data: bytes) -> None:
        """Send something on the streams of events."""
        for stream in self._streams:
            with suppress(OSError):
                stream.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def frame(self, data: bytes) -> None:
        """Send a frame of a WebSocket on the streams of events."""
        while not self._streams:
            sleep(_POLL_S)
        for stream in self._streams:
            stream.sendall(data)

    def pongs(self, number: int) -> list[bytes]:
        """The first frames that came back, each of six bytes."""
        return [self._streams[0].recv(6) for _ in range(number)]

    def hang_up(self) -> None:
        """End the streams of events."""
        for stream in self._streams:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        self._streams.clear()

    def serve(self, connection: socket.socket) -> None:
        """Answer one connection."""
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            while request := lines.readline():
                while lines.readline().strip():
                    pass
                path = request.decode().split()[1].partition("?")[0]
                self.asked.append(path)
                while self.hanging and not self._ended.is_set():
                    sleep(_POLL_S)
                if path in _STREAMS:
                    connection.sendall(_STREAMS[path])
                    self._streams.append(connection)
                    self._ended.wait()
                    return
                found = self.answers.get(path)
                status = b"404 Not Found" if found is None else b"200 OK"
                body = found or b"{}"
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def end(self) -> None:
        """Let those go that wait."""
        self._ended.set()
        self.hang_up()


@contextmanager
def fake_engine(path: Path, answers: Mapping[str, bytes]) -> Iterator[FakeEngine]:
    """An engine that listens at a path for the length of the block."""
    engine = FakeEngine(dict(answers))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    Thread(target=engine.serve, args=(connection,), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        try:
            yield engine
        finally:
            engine.end()
            listening.shutdown(socket.SHUT_RDWR)
            path.unlink(missing_ok=True)
