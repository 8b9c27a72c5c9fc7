"""Tallies of bundles: how many hosts confirmed each, and how many it failed on, counted from their status records."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from hostfw.bundle.manifest import BundleError
from hostfw.bundle.waves import Tally
from hostfw.cli.fleet.bundles.fetched import is_url, read_file
from hostfw.cli.fleet.bundles.status import KIND as RECORD
from hostfw.cli.output.documents import Document, document
from hostfw.host.bundles.folders import bundles_folder
from hostfw.host.download.messages import DownloadError, Request
from hostfw.host.download.process import fetch
from hostfw.host.errors import HostError, reason

KIND = "BundleTally"
_MOST_BYTES = 1024 * 1024
_MOST_RECORD_BYTES = 1024 * 1024
_WITHIN_S = 30.0


def read_records(folder: Path) -> Iterator[Document]:
    """The status records among the JSON files below a folder. Raises BundleError if one cannot be read."""
    if not os.path.isdir(folder):  # noqa: PTH112  Path.is_dir raises where a directory above cannot be searched
        raise BundleError(f"{folder} is not a directory", "name the directory of the status records that hosts sent")
    for top, folders, names in os.walk(folder):
        folders.sort()
        for path in (Path(top) / name for name in sorted(names) if name.endswith(".json")):
            try:
                found = json.loads(read_file(path, _MOST_RECORD_BYTES))
            except HostError as error:
                raise BundleError(error.message, "") from error
            except (ValueError, RecursionError) as error:
                raise BundleError(f"{path} is no JSON", "wait until it is written whole, or remove it") from error
            if isinstance(found, dict) and found.get("kind") == RECORD:
                yield found


def tally_document(records: Iterable[Document]) -> Document:
    """The tally of every bundle that a record names; a host counts once, with its latest record."""
    latest: dict[str, Document] = {}
    for record in records:
        node = str(record.get("node"))
        if node not in latest or str(record.get("at")) >= str(latest[node].get("at")):
            latest[node] = record
    confirmed = Counter(number for one in latest.values() if isinstance(number := one.get("inForce"), int))
    failed = Counter(number for one in latest.values() if isinstance(number := one.get("failed"), int))
    numbers = sorted(confirmed.keys() | failed.keys())
    items = [{"number": number, "confirmed": confirmed[number], "failed": failed[number]} for number in numbers]
    return document(KIND, {"items": items})


def read_tally(source: str, number: int, state_dir: Path) -> Tally | None:
    """The tally of a bundle from a URL or a file; None where it cannot be had."""
    try:
        data = _read(source, state_dir)
        found = json.loads(data)
    except (HostError, DownloadError, ValueError, RecursionError):
        return None
    return tally_of(found, number)


def tally_of(found: object, number: int) -> Tally | None:
    """The tally of a bundle that a document says, 0 if it does not name the bundle; None if it is no tally."""
    match found:
        case {"kind": "BundleTally", "items": list(items)}:
            pass
        case _:
            return None
    for item in items:
        match item:
            case {"number": int(of), "confirmed": int(confirmed), "failed": int(failed)} if of == number:
                return Tally(max(confirmed, 0), max(failed, 0))
            case _:
                continue
    return Tally()


def _read(source: str, state_dir: Path) -> bytes:
    if not is_url(source):
        return read_file(Path(source), _MOST_BYTES)
    request = Request(source, most_bytes=_MOST_BYTES, within_s=_WITHIN_S, raw=True)
    return fetch(request, bundles_folder(state_dir)).text


def write_file(path: Path, data: bytes) -> None:
    """Write a file for others to read, as a whole. Raises HostError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise HostError(f"{path} cannot be written: {reason(error)}") from error
