"""An engine's interface on its Unix socket: HTTP with bounds on time and size, and the things that it answers.

An engine may hang, answer half, or pass on what somebody wrote into the labels of an image. Each wait ends after
`PATIENCE_S`, each answer is read up to `MOST_BYTES` an item, and what is not what it should be is an `EngineError`.
"""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from types import TracebackType
from typing import Self

from hostfw.host.errors import reason

PATIENCE_S = 5.0
"""Longest wait for any part of an answer."""
_LONGEST_S = 30.0
"""Longest time for one whole answer."""
MOST_BYTES = 1024 * 1024
"""Most bytes of one item: labels of some kilobytes are usual, and one of ten megabytes is no label."""
_MOST_ITEMS = 16_384
_CHUNK_BYTES = 64 * 1024
_DONE, _SWITCHING_PROTOCOLS = 200, 101
NO_HEADERS: Mapping[str, str] = {}

Object = Mapping[str, object]


class EngineError(Exception):
    """An engine that does not answer, or not as it should; the message fits behind a colon."""


class TooLargeError(EngineError):
    """An item that is larger than `MOST_BYTES`."""


class EngineSocket:
    """A connection to an engine, made anew where the engine or an answer too large has ended it."""

    def __init__(self, path: str) -> None:
        """Connect with the first request."""
        self._path = path
        self._connection: HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def ask(self, path: str) -> Object:
        """The object that is the answer to a GET. Raises EngineError, TooLargeError among them."""
        response = self._get(path)
        data = b"".join(self._chunks(response, MOST_BYTES))
        return parsed(data)

    def items(self, path: str) -> Iterator[bytes]:
        """The items of the array that is the answer to a GET, unparsed. Raises EngineError.

        One that is too large is given up to `MOST_BYTES`: by what it begins with it can be told from the others.
        """
        yield from items_of(self._chunks(self._get(path), None))

    def stream(self, path: str, headers: Mapping[str, str] = NO_HEADERS) -> socket.socket:
        """The socket on which an answer without an end comes. Raises EngineError."""
        self._get(path, headers)
        if self._connection is None or self._connection.sock is None:
            raise EngineError("it ended the connection")
        return self._connection.sock

    def _get(self, path: str, headers: Mapping[str, str] = NO_HEADERS) -> HTTPResponse:
        try:
            if self._connection is None:
                self._connection = _UnixConnection(self._path)
            self._connection.request("GET", path, headers={"Host": "engine", **headers})
            response = self._connection.getresponse()
        except (OSError, HTTPException) as error:
            self.close()
            raise EngineError(_why(error, self._path)) from error
        if response.status not in (_DONE, _SWITCHING_PROTOCOLS):
            self.close()
            raise EngineError(f"it answers {path.partition('?')[0]} with status {response.status}")
        return response

    def _chunks(self, response: HTTPResponse, most: int | None) -> Iterator[bytes]:
        """The answer in parts, to its end."""
        deadline = monotonic() + _LONGEST_S
        size = 0
        complete = False
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                size += len(chunk)
                if most is not None and size > most:
                    raise TooLargeError(f"its answer has more than {most // 1024} KiB")
                if monotonic() > deadline:
                    raise EngineError(f"its answer takes more than {_LONGEST_S:.0f} s")
                yield chunk
            if response.length:
                raise EngineError("its answer ends early")
            response.close()
            complete = True
        except (OSError, HTTPException) as error:
            raise EngineError(_why(error, self._path)) from error
        finally:
            if not complete:
                # The rest of the answer would be taken for the next one.
                self.close()


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket of the engine."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self.sock = sock


def _why(error: OSError | HTTPException, path: str) -> str:
    match error:
        case FileNotFoundError():
            return f"its socket {path} is not there"
        case ConnectionRefusedError():
            return f"nobody listens at its socket {path}"
        case TimeoutError():
            return f"it does not answer within {PATIENCE_S:.0f} s"
        case OSError():
            return reason(error)
        case _:
            return f"it does not speak HTTP ({type(error).__name__})"


def parsed(data: bytes) -> Object:
    """A JSON object. Raises EngineError for everything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EngineError("its answer is no JSON") from error
    if not isinstance(found, dict):
        raise EngineError("its answer is no JSON object")
    return found


def at(value: object, *keys: str) -> object:
    """The value at the end of a path of keys; None where a part of the path is missing or no object."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def object_at(value: object, *keys: str) -> Object:
    """The object at the end of a path of keys, an empty one where there is none."""
    found = at(value, *keys)
    return found if isinstance(found, dict) else {}


def text_at(value: object, *keys: str) -> str:
    """The text at the end of a path of keys, "" where there is none."""
    found = at(value, *keys)
    return found if isinstance(found, str) else ""


_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE_TEXT = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)


def items_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The objects of a JSON array that comes in chunks, each as its bytes, of which `MOST_BYTES` are kept.

    Raises EngineError if it is no array of objects, or has no end.
    """
    depth = count = 0
    in_text = after_backslash = False
    item = bytearray()
    for chunk in chunks:
        place = begin = 0
        while place < len(chunk):
            if after_backslash:
                after_backslash = False
                place += 1
            elif in_text:
                place = _end_of(_INSIDE_TEXT.match(chunk, place), place)
                if place < len(chunk):
                    in_text, after_backslash = chunk[place] != ord('"'), chunk[place] == ord("\\")
                    place += 1
            else:
                found = _OUTSIDE.search(chunk, place)
                if found is None:
                    break
                place = found.end()
                match found.group():
                    case b'"':
                        in_text = True
                    case b"[" | b"{" as opening:
                        if depth < 2 and opening != (b"[", b"{")[depth]:
                            raise EngineError("its answer is no JSON array of objects")
                        begin = found.start() if depth == 1 else begin
                        depth += 1
                    case _:
                        depth -= 1
                        if depth == 1:
                            _keep(item, chunk[begin:place])
                            yield bytes(item)
                            item.clear()
                            count += 1
                            if count >= _MOST_ITEMS:
                                raise EngineError(f"its answer has over {_MOST_ITEMS} items")
        if depth >= 2:
            _keep(item, chunk[begin:])
    if depth != 0:
        raise EngineError("its answer ends early")


def _keep(item: bytearray, more: bytes) -> None:
    item += more[: max(0, MOST_BYTES - len(item))]


def _end_of(match: re.Match[bytes] | None, place: int) -> int:
    return place if match is None else match.end()
