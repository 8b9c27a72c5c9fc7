"""Values that the messages of a dump were parsed to, remembered until the next dump."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Generic, TypeVar

T = TypeVar("T")

_DIGEST_BYTES = 16


class Parsed(Generic[T]):
    """Values of the messages of the last dump, by digests of these: most messages are the same the next time.

    The messages themselves are not kept, which are ten times as long as what they say.
    """

    def __init__(self, parse: Callable[[bytes], T | None]) -> None:
        """Nothing is known yet."""
        self._parse = parse
        self._known: dict[bytes, T | None] = {}

    def of(self, payloads: Iterable[bytes]) -> list[T]:
        """The values of the messages of a dump: the very values of the last dump for messages that were in it."""
        known, found = self._known, dict[bytes, T | None]()
        for payload in payloads:
            digest = blake2b(payload, digest_size=_DIGEST_BYTES).digest()
            found[digest] = known[digest] if digest in known else self._parse(payload)
        self._known = found
        return [one for one in found.values() if one is not None]
