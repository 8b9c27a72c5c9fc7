"""Files of Feeds that hostfw downloads, and a record of each: state_dir/feeds/NAME.txt and NAME.json.

A download is written to NAME.next, and takes the place of NAME.txt when it is in force. Only root writes here: what was
downloaded came through a process without rights, as one address or prefix a line.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hostfw.host.download.lists import FOLDER
from hostfw.host.errors import HostError
from hostfw.host.store.atomic_files import sync_directory, write_atomically
from hostfw.host.store.codec import load_json, saving, to_json
from hostfw.model.time.moments import moment_of

Answers = tuple[tuple[str, tuple[tuple[str, datetime], ...]], ...]
"""For each name of a host its addresses, each with the moment at which the resolver gave it last."""


@dataclass(frozen=True, slots=True)
class DownloadRecord:
    """The last attempts to download a Feed.

    `tried` is the last one and `problem` what was wrong with it, `checked` the last one without a problem, and
    `changed` the last one that brought something new. `origin`, `etag` and `modified` belong to the file that is kept;
    `answers` are those of the resolver.
    """

    origin: str = ""
    tried: datetime | None = None
    checked: datetime | None = None
    changed: datetime | None = None
    problem: str = ""
    etag: str = ""
    modified: str = ""
    answers: Answers = ()


def folder(state_dir: Path) -> Path:
    """The folder of the files, made if it is not there. Raises StateError."""
    found = state_dir / FOLDER
    with saving("what was downloaded", found):
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def write_next(state_dir: Path, name: str, text: bytes) -> None:
    """Write a download that is not in force yet. Raises StateError."""
    with saving(f"the download of Feed {name}"):
        write_atomically(folder(state_dir) / f"{name}.next", text)


def keep_next(state_dir: Path, name: str) -> None:
    """Let what was written last take the place of the file, since it is in force. Raises StateError."""
    place = folder(state_dir)
    with saving(f"the download of Feed {name}"):
        (place / f"{name}.next").replace(place / f"{name}.txt")
        sync_directory(place)


def drop_next(state_dir: Path, name: str) -> None:
    """Remove what was written last and is not in force. Raises StateError."""
    with saving(f"the download of Feed {name}"):
        (folder(state_dir) / f"{name}.next").unlink(missing_ok=True)


@contextmanager
def only_one(state_dir: Path, name: str) -> Iterator[None]:
    """Hold the right to download a Feed. Raises HostError if another process is at it."""
    path = folder(state_dir) / f"{name}.lock"
    with saving("the lock of a download"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HostError(
                f"another process is downloading Feed {name}", "wait for it, and see `feed list`"
            ) from error
        yield
    finally:
        os.close(descriptor)


def save_record(state_dir: Path, name: str, record: DownloadRecord) -> None:
    """Write down how the last attempt went. Raises StateError."""
    with saving(f"the record of Feed {name}"):
        write_atomically(
            folder(state_dir) / f"{name}.json",
            to_json(
                origin=record.origin,
                tried=_text(record.tried),
                checked=_text(record.checked),
                changed=_text(record.changed),
                problem=record.problem,
                etag=record.etag,
                modified=record.modified,
                answers={host: {address: at.isoformat() for address, at in found} for host, found in record.answers},
            ),
        )


def load_record(state_dir: Path, name: str) -> DownloadRecord:
    """The record of the last attempts; an empty one where there is none that can be read."""
    data, _ = load_json(state_dir / FOLDER / f"{name}.json")
    if not isinstance(data, dict):
        return DownloadRecord()
    origin, problem, etag, modified = (
        value if isinstance(value := data.get(key), str) else "" for key in ("origin", "problem", "etag", "modified")
    )
    tried, checked, changed = (_moment(data.get(key)) for key in ("tried", "checked", "changed"))
    answers = data.get("answers")
    known = _answers(answers) if isinstance(answers, dict) else ()
    return DownloadRecord(origin, tried, checked, changed, problem, etag, modified, known)


def _answers(data: Mapping[object, object]) -> Answers:
    return tuple(
        (str(host), tuple((str(address), at) for address, text in found.items() if (at := _moment(text)) is not None))
        for host, found in data.items()
        if isinstance(found, dict)
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: object) -> datetime | None:
    return moment_of(text) if isinstance(text, str) else None
