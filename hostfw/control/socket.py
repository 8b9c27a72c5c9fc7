"""The control socket: where it is, and how requests and answers travel.

A unix stream socket in the run directory, for root alone. A message is one JSON object and a NUL byte, as in varlink:
a request has `version`, `namespace` (the inode of the network namespace that it is about), `directories` and
`request`; an answer has `version` and either `reply` or `error` with `message` and `hint`. One request a connection.

Either side may send anything. A message that does not begin as ours do is not kept, and before one is parsed it is
known to be of no more than so many values, levels and digits: what it costs is bounded by `MOST_BYTES`.
"""

import re
import socket
import struct
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path

from hostfw.control.codec import CodecError, Json, brief, decode, encode
from hostfw.control.messages import Question, Reply, ServiceReport

VERSION = 1
END = b"\0"
MOST_BYTES = 96 * 1024 * 1024
"""More than the files of any configuration and its Feeds take: a million addresses are 20 MB."""
MOST_TOKENS = 2_000_000
"""Of brackets, braces, commas, strings and numbers: ten thousand policies with as many problems take half of it."""
MOST_LEVELS = 32
MOST_DIGITS = 64
"""An IPv6 address as a number has 39."""
START = b'{"version":'
"""What every message begins with, of whatever release."""
LONG_BYTES = 64 * 1024
"""What is longer than this must begin as a message of this release does, and have a room of its own."""
_LONG_START = f'{{"version":{VERSION},"content":{{"type":"'.encode()

_UCRED = struct.Struct("=iII")
"""struct ucred: pid, uid, gid (unix(7))."""
_OUR_NAMESPACE = Path("/proc/self/ns/net")


@dataclass(frozen=True, slots=True)
class Letter:
    """A request and what it is about: a network namespace, and directories (configuration, state) by their paths."""

    namespace: int
    config_dir: str
    state_dir: str
    request: Question


@dataclass(frozen=True, slots=True)
class Refusal:
    """The one who was asked did not begin: why, and what to do. `elsewhere` if another has to be asked."""

    message: str
    hint: str = ""
    elsewhere: bool = False


Answer = Reply | ServiceReport | Refusal


def socket_path(run_dir: Path) -> Path:
    """Where the daemon of a run directory listens."""
    return run_dir / "control.sock"


def peer_uid(channel: socket.socket) -> int:
    """Who is at the other end of a connection: the user who connected, or who listens, by the kernel's word."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def our_namespace() -> int:
    """The inode of the network namespace that we are in."""
    return _OUR_NAMESPACE.stat().st_ino


def letter_bytes(letter: Letter) -> bytes:
    """A request as it travels."""
    return _bytes(encode(letter))


def letter_of(data: bytes) -> Letter:
    """The request that came. Raises CodecError."""
    return decode(Letter, _content(data), "request")


def answer_bytes(answer: Answer) -> bytes:
    """An answer as it travels."""
    return _bytes(encode(answer))


def answer_of(data: bytes) -> Answer:
    """The answer that came. Raises CodecError."""
    answer: Answer = decode(Reply | ServiceReport | Refusal, _content(data), "answer")
    return answer


class Incoming:
    """A message as it comes in: what is no message of ours, or too long, is refused at once and not kept."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._data = bytearray()
        self.refused = ""

    @property
    def is_long(self) -> bool:
        """Whether so much is kept of it that not many may be at a time."""
        return len(self._data) > LONG_BYTES

    def feed(self, part: bytes) -> bool:
        """Take some bytes; True once the message has ended, whether or not it is `refused`."""
        end = part.find(END)
        if not self.refused:
            self._data += part if end < 0 else part[:end]
            start = _LONG_START if self.is_long else START[: len(self._data)]
            if not self._data.startswith(start):
                self._refuse("this is no message of hostfw")
            elif len(self._data) > MOST_BYTES:
                self._refuse(f"it is longer than {MOST_BYTES >> 20} MiB")
        return end >= 0

    def message(self) -> bytes:
        """What has come. Raises CodecError for what is refused."""
        if self.refused:
            raise CodecError(self.refused)
        return bytes(self._data)

    def _refuse(self, why: str) -> None:
        self.refused = why
        self._data = bytearray()


def _bytes(content: Json) -> bytes:
    return dumps({"version": VERSION, "content": content}, separators=(",", ":")).encode() + END


def _content(data: bytes) -> Json:
    _measure(data)
    try:
        envelope = loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"this is not JSON: {brief(error)}") from error
    match envelope:
        case {"version": 1, "content": content}:
            found: Json = content
            return found
        case {"version": version}:
            raise CodecError(
                f"version {VERSION} is spoken here, not {brief(version)}: are hostfwctl and the daemon of one release?"
            )
        case _:
            raise CodecError("a version and a content are expected")


def _measure(data: bytes) -> None:
    """Refuse what would cost more than its bytes to parse. Raises CodecError."""
    level = 0
    for number, token in enumerate(_TOKEN.finditer(data)):
        if number >= MOST_TOKENS:
            raise CodecError(f"it has more than {MOST_TOKENS} parts")
        first = data[token.start()]
        level += (first in _OPENING) - (first in _CLOSING)
        if level > MOST_LEVELS:
            raise CodecError(f"it is nested deeper than {MOST_LEVELS} levels")
        if first in _NUMERIC and token.end() - token.start() > MOST_DIGITS:
            raise CodecError(f"it has a number of more than {MOST_DIGITS} digits")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[][{},]|[-+.0-9][-+.0-9eE]*', re.DOTALL)
"""A string, ended or not; a bracket, brace or comma; what a number is made of."""
_OPENING, _CLOSING, _NUMERIC = b"[{", b"]}", b"-+.0123456789eE"
