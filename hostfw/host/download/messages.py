"""Messages between the process that downloads and its caller: a request on standard input, and an answer.

The answer is a line of JSON, and after it the addresses, one prefix a line. The caller bounds and checks what it reads.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

MOST_PREFIXES = 2_000_000
"""Most prefixes of an answer; ranges can be many."""
MOST_ADDRESSES = 256
"""Most addresses that the resolver may give for one name."""
HEADER_BYTES = 64 * 1024 + MOST_ADDRESSES * 32 * 64
MOST_TEXT = 512
"""Most characters of a message, or of a word of a server that is sent back to it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A download to make: `etag` and `modified` are those of what is there, empty to have it in any case.

    All of it may take `within_s` seconds. With `raw` what comes is given as it is, not as a list.
    """

    url: str = ""
    hostnames: tuple[str, ...] = ()
    sha256: str = ""
    most_bytes: int = 0
    etag: str = ""
    modified: str = ""
    within_s: float = 300.0
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The result: what was wrong, or else whether there is something new.

    `addresses` are those of each name of a host that the resolver knows, and `unresolved` says of each other one why
    its addresses are not among them. `text` is the list of a url, one prefix a line, or what was
    asked for `raw`.
    """

    problem: str = ""
    unchanged: bool = False
    etag: str = ""
    modified: str = ""
    addresses: Mapping[str, tuple[str, ...]] | None = None
    unresolved: Mapping[str, str] | None = None
    text: bytes = b""


class DownloadError(Exception):
    """Nothing was downloaded, or something that is not to be believed; the message is a sentence without a stop."""


def request_to_json(request: Request) -> bytes:
    """A request as it is sent."""
    return json.dumps(asdict(request)).encode()


def request_of(data: bytes) -> Request:
    """The request that was sent. Raises ValueError or TypeError for anything else."""
    found = json.loads(data)
    return Request(**{**found, "hostnames": tuple(found["hostnames"])})


def header_of(answer: Answer) -> bytes:
    """The first line of an answer."""
    fields = {
        "problem": answer.problem[:MOST_TEXT],
        "unchanged": answer.unchanged,
        "etag": answer.etag,
        "modified": answer.modified,
        "addresses": dict(answer.addresses or {}),
        "unresolved": {name: why[:MOST_TEXT] for name, why in (answer.unresolved or {}).items()},
    }
    return json.dumps(fields).encode() + b"\n"


def answer_of(header: bytes, text: bytes) -> Answer:
    """The answer of a first line and what followed. Raises DownloadError for one that was not written by hostfw."""
    try:
        found = json.loads(header)
        words = [_word(found[name]) for name in ("problem", "etag", "modified")]
        addresses = {
            _word(name): tuple(_word(one) for one in listed[:MOST_ADDRESSES])
            for name, listed in found["addresses"].items()
        }
        unresolved = {_word(name): _word(why) for name, why in found["unresolved"].items()}
        unchanged = found["unchanged"] is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DownloadError("the process that downloads gave no answer") from error
    problem, etag, modified = words
    return Answer(problem, unchanged, etag, modified, addresses, unresolved, text)


def plain(text: str) -> str:
    """As much of a foreign text as a line of a terminal or journal may hold."""
    return "".join(character if character.isprintable() else "?" for character in text[:MOST_TEXT])


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT or not value.isprintable():
        raise ValueError("no word that hostfw writes")
    return value
