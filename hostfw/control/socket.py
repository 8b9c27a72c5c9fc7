"""The control socket: where it is, and how requests and answers travel.

A unix stream socket in the run directory, for root alone. A message is one JSON object and a NUL byte, as in varlink:
`version` and `content`, a `Envelope` on the way there and an `Answer` on the way back. One request a connection.

The version is the digest of everything that a content may be. So a release with another field anywhere speaks another
version, and neither side ever meets what it does not know: the service refuses a request of another release, in the
version of the client, and `hostfwctl` takes no answer of another. Every release understands a `Refusal`, which
must stay as it is.

Either side may send anything. A message that does not begin as ours do is not kept, and before one is parsed it is
known to be of no more than so many values, escapes, levels and digits: what it costs is bounded by `MOST_BYTES`.
"""

import re
import socket
import struct
from dataclasses import dataclass
from functools import cache
from json import dumps, loads
from pathlib import Path

from hostfw.control.codec import CodecError, Json, brief, decode, encode, shape_digest
from hostfw.control.messages import Query, Reply, ServiceReport

END = b"\0"
MOST_BYTES = 96 * 1024 * 1024
"""More than the files of any configuration and its Feeds take: a million addresses are 20 MB."""
MOST_TOKENS = 2_000_000
"""Of brackets, braces, commas, strings and numbers: ten thousand policies with as many problems take half of it."""
MOST_ESCAPES = 3_000_000
"""Of characters in strings, such as the ends of lines: each takes 100 bytes while it is parsed (json, Python 3.11)."""
MOST_LEVELS = 32
MOST_DIGITS = 64
"""An IPv6 address as a number has 39."""
START = b'{"version":'
"""The first bytes of every message, of any release."""
LONG_BYTES = 64 * 1024
"""Messages that are longer must begin as those of this release do, and are limited in number."""
_CONTENT_START = b',"content":{"type":"'
_VERSION = re.compile(rb'\{"version": ?("[0-9a-z.]{0,64}"|[0-9]{1,9})[,}]')
"""The first bytes of a message of any release; the first one's version was the number 1."""

_UCRED = struct.Struct("=iII")
"""struct ucred: pid, uid, gid (unix(7))."""
_OUR_NAMESPACE = Path("/proc/self/ns/net")


class OtherReleaseError(CodecError):
    """A message is of another release, and nothing is done about it. Its `version` is JSON, as in the message."""

    def __init__(self, version: str) -> None:
        """The version as JSON."""
        super().__init__("hostfwctl and the running hostfw.service are of different releases")
        self.version = version

    hint = "`systemctl restart hostfw` starts the installed release; the rules in force stay"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request and what it is about: a network namespace, and directories (configuration, state) by their paths."""

    namespace: int
    config_dir: str
    state_dir: str
    request: Query


@dataclass(frozen=True, slots=True)
class Refusal:
    """The one who was asked did not begin: why, and what to do. `elsewhere` if another has to be asked."""

    message: str
    hint: str = ""
    elsewhere: bool = False


Answer = Reply | ServiceReport | Refusal


@cache
def our_version() -> str:
    """The version that this release speaks, as JSON."""
    return dumps(shape_digest(Envelope, Answer))


def socket_path(run_dir: Path) -> Path:
    """The path of the control socket of a run directory."""
    return run_dir / "control.sock"


def peer_uid(channel: socket.socket) -> int:
    """The user at the other end of a connection, as the kernel knows it."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def our_namespace() -> int:
    """The inode of the network namespace that we are in."""
    return _OUR_NAMESPACE.stat().st_ino


def envelope_bytes(envelope: Envelope) -> bytes:
    """A request as it travels."""
    return _bytes(encode(envelope), our_version())


def envelope_of(data: bytes) -> Envelope:
    """The request that came. Raises CodecError."""
    return decode(Envelope, _content(data), "request")


def answer_bytes(answer: Answer) -> bytes:
    """An answer as it travels."""
    return _bytes(encode(answer), our_version())


def refusal_bytes(refusal: Refusal, version: str) -> bytes:
    """A refusal as it travels to one who speaks another version, which is given as JSON."""
    return _bytes(encode(refusal), version)


def answer_of(data: bytes) -> Answer:
    """The answer that came. Raises CodecError."""
    answer: Answer = decode(Reply | ServiceReport | Refusal, _content(data), "answer")
    return answer


class Incoming:
    """A message as it comes in: what is no message of ours, or too long, is refused at once and not kept."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._data = bytearray()
        self._long_start = b'{"version":' + our_version().encode() + _CONTENT_START
        self.refused: CodecError | None = None

    @property
    def is_long(self) -> bool:
        """True if so much is kept of it that not many may be at a time."""
        return len(self._data) > LONG_BYTES

    def feed(self, part: bytes) -> bool:
        """Take some bytes; True once the message has ended, whether or not it is `refused`."""
        end = part.find(END)
        if not self.refused:
            self._data += part if end < 0 else part[:end]
            start = self._long_start if self.is_long else START[: len(self._data)]
            if not self._data.startswith(start):
                version = _version_of(self._data)
                is_other = version not in ("", our_version())
                self._refuse(OtherReleaseError(version) if is_other else CodecError("this is no message of hostfw"))
            elif len(self._data) > MOST_BYTES:
                self._refuse(CodecError(f"it is longer than {MOST_BYTES >> 20} MiB"))
        return end >= 0

    def message(self) -> bytes:
        """The message. Raises CodecError if it was refused."""
        if self.refused is not None:
            raise self.refused
        return bytes(self._data)

    def _refuse(self, why: CodecError) -> None:
        self.refused = why
        self._data = bytearray()


def _bytes(content: Json, version: str) -> bytes:
    return f'{{"version":{version},"content":{dumps(content, separators=(",", ":"))}}}'.encode() + END


def _version_of(data: bytes | bytearray) -> str:
    """The version of a message, as JSON; empty if it does not begin as messages of hostfw do."""
    found = _VERSION.match(data)
    return "" if found is None else found[1].decode()


def _content(data: bytes) -> Json:
    version = _version_of(data)
    if version not in ("", our_version()):
        raise OtherReleaseError(version)
    _measure(data)
    try:
        envelope = loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"this is not JSON: {brief(error)}") from error
    match envelope:
        case {"version": str(spoken), "content": content} if dumps(spoken) == our_version():
            found: Json = content
            return found
        case _:
            raise CodecError("a version and a content are expected")


def has_too_many_escapes(data: bytes) -> bool:
    """True if a message would cost far more than its bytes to parse: each line of a file in it ends in an escape."""
    return data.count(b"\\") > MOST_ESCAPES


def _measure(data: bytes) -> None:
    """Refuse what would cost more than its bytes to parse. Raises CodecError."""
    if has_too_many_escapes(data):
        raise CodecError(f"it has more than {MOST_ESCAPES} escaped characters")
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
    raise ValueError(f"{name} is not a number")


_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[][{},]|[-+.0-9][-+.0-9eE]*', re.DOTALL)
"""A string, ended or not; a bracket, brace or comma; what a number is made of."""
_OPENING, _CLOSING, _NUMERIC = b"[{", b"]}", b"-+.0123456789eE"
