"""The control socket: where it is, and how requests and answers travel.

A unix stream socket in the run directory, for root alone. A message is one JSON object and a NUL byte, as in varlink:
a request has `version`, `namespace` (the inode of the network namespace that it is about), `directories` and
`request`; an answer has `version` and either `reply` or `error` with `message` and `hint`. One request a connection.
"""

from dataclasses import dataclass
from json import JSONDecodeError, dumps, loads
from pathlib import Path

from hostfw.control.codec import CodecError, Json, decode, encode
from hostfw.control.requests import Question, Reply, ServiceReport

VERSION = 1
END = b"\0"
MOST_BYTES = 256 * 1024 * 1024
"""More than the files of any configuration that may be read."""

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


def _bytes(content: Json) -> bytes:
    return dumps({"version": VERSION, "content": content}, separators=(",", ":")).encode() + END


def _content(data: bytes) -> Json:
    try:
        envelope = loads(data)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"this is not JSON: {error}") from error
    match envelope:
        case {"version": 1, "content": content}:
            found: Json = content
            return found
        case {"version": version}:
            raise CodecError(
                f"version {VERSION} is spoken here, not {version}: are hostfwctl and the daemon of one release?"
            )
        case _:
            raise CodecError("a version and a content are expected")
