"""State files as JSON and text: written by us, so that anything unexpected in them is an error."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostfw.host.errors import HostError, reason
from hostfw.model.positions import Position
from hostfw.model.problems import Problem

FORMAT = 1
"""Rises when an older hostfw could not read the files any more."""


class StateError(HostError):
    """A state file could not be written; its earlier content is still there."""


class Unreadable(HostError):
    """A state file cannot be read at this moment: it is neither absent nor damaged, and what it holds is not known."""


_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_LASTING = _ABSENT | {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG}
"""Errors of reading that tell how the files are; any other, such as EIO, EINTR or ENOMEM, may pass by itself."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an error of reading that may pass by itself into an Unreadable; any other stays an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno in _LASTING:
            raise
        raise Unreadable(f"{path}: cannot be read: {reason(error)}", "run it again") from error


def is_there(path: Path) -> bool:
    """True unless a path is absent, whatever it is and whoever may read it. Raises Unreadable."""
    try:
        with reading(path):
            os.lstat(path)
    except OSError as error:
        return error.errno not in _ABSENT
    return True


def names_in(folder: Path) -> tuple[str, ...]:
    """The names in a folder, sorted; none where there is no folder that may be read. Raises Unreadable."""
    try:
        with reading(folder):
            return tuple(sorted(path.name for path in folder.iterdir()))
    except OSError:
        return ()


@contextmanager
def saving(what: str, where: Path | None = None) -> Iterator[None]:
    """Turn what the operating system refuses while `what` is written into a StateError.

    `where` it is written is said in place of the name of a file that is none yet.
    """
    try:
        yield
    except OSError as error:
        hint = "free some space, then run it again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise StateError(f"{what} could not be saved: {where or error.filename}: {reason(error)}", hint) from error


def load_json(path: Path, *, required: bool = False) -> tuple[object, tuple[Problem, ...]]:
    """The content of a JSON file; None without a problem where it is absent and may be. Raises Unreadable."""
    text, problems = load_text(path, required=required)
    if text is None:
        return None, problems
    try:
        return json.loads(text), ()
    except json.JSONDecodeError as error:
        return None, (garbage(path, error.lineno, error.colno),)
    except (ValueError, RecursionError):
        return None, (garbage(path),)


def load_text(path: Path, *, required: bool) -> tuple[str | None, tuple[Problem, ...]]:
    """The content of a text file, with its line ends; None without a problem where it is absent and may be.

    Raises Unreadable.
    """
    try:
        with reading(path):
            return path.read_bytes().decode(), ()
    except UnicodeDecodeError:
        return None, (garbage(path),)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return None, ()
        return None, (Problem(Position(str(path), 1, 1), f"cannot be read: {reason(error)}"),)


def unreadable(path: Path, error: Unreadable) -> Problem:
    """The problem of what cannot be read at this moment, for those who do without it."""
    return Problem(Position(str(path), 1, 1), error.message.removeprefix(f"{path}: "))


def garbage(path: Path, line: int = 1, column: int = 1) -> Problem:
    """The problem of a state file that hostfw did not write."""
    return Problem(
        Position(str(path), line, column),
        "was not written by hostfw",
        hint="`hostfwctl apply` writes it again",
    )


def to_json(**fields: object) -> bytes:
    """The content of a JSON file with these fields; `format` may be another than FORMAT."""
    return json.dumps({"format": FORMAT, **fields}, indent=1).encode() + b"\n"


def to_json_of_many(**fields: object) -> bytes:
    """The same on one line: what is long is not read by people, and is written four times as fast."""
    return json.dumps({"format": FORMAT, **fields}).encode() + b"\n"


def is_text(text: str) -> bool:
    """True if a JSON string is text that can be encoded: JSON allows halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def counts_of(data: object) -> tuple[tuple[str, int], ...]:
    """The counts of a record; one of before they were kept has none."""
    match data:
        case {"counts": dict(counts)}:
            return tuple((str(name), number) for name, number in counts.items() if isinstance(number, int))
        case _:
            return ()
