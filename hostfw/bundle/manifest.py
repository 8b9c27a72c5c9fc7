"""The manifest of a bundle: its number, its files with their digests, and the waves in which hosts take it.

It is what is signed. Its text is canonical: any other text, even one that means the same, is refused.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

FORMAT, SEPARATE_FORMAT = 1, 2
"""Of bundles, and of those with separate endpoints: an older hostfw reads no higher one."""
MOST_NUMBER = 2**53 - 1
"""Above it, JSON of other programs is not exact."""
MOST_FILES = 10_000
MOST_MANIFEST_BYTES = 4 * 1024 * 1024
MOST_BUNDLE_BYTES = 64 * 1024 * 1024
"""The size above which a bundle is not read, if nobody says otherwise."""
MOST_PAGES = 1024
"""Pages of separate endpoints."""
MOST_WAVES = 100
MOST_AFTER_S = 30 * 86_400
"""Longest time from the creation of a bundle to one of its waves."""
ALL = "all"
"""The ring of a wave that is for every host."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]*", re.ASCII)
_MOST_PATH = 200
_MOST_DEPTH = 12
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_FIRST_YEAR = 1970


class BundleError(Exception):
    """A bundle that is not to be believed, or cannot be made: a sentence without a stop, and the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A file of a bundle: its path below the directory, its size in bytes, and its SHA-256 digest."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, order=True)
class Wave:
    """From `after_s` seconds after the creation on, so many percent of the hosts of a ring take the bundle."""

    after_s: int
    ring: str
    share: int = 100


@dataclass(frozen=True, slots=True)
class EndpointFile:
    """A file beside a bundle, named after the SHA-256 digest of its content, and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class SeparateEndpoints:
    """The files with the endpoints that are no files of the bundle (`bundle.selections`).

    `pages` are digests. `policies` has what the rules of any policy ask for, and `whole` all endpoints.
    """

    pages: tuple[str, ...]
    policies: EndpointFile
    whole: EndpointFile


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a bundle. Without waves every host takes it at once.

    A wave after the first waits until `least_confirmed` hosts have confirmed, and nobody takes the bundle any more once
    over `most_failed` percent of those that tried have failed. None: nobody asks how others fared.
    """

    name: str
    number: int
    created: datetime
    files: tuple[File, ...]
    waves: tuple[Wave, ...] = ()
    most_failed: int | None = None
    least_confirmed: int = field(default=1)
    endpoints: SeparateEndpoints | None = None


def is_word(text: str) -> bool:
    """True for what a bundle or a ring may be called."""
    return _WORD.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """True for the path of a file in a bundle: relative, plain, and of nothing that hostfw leaves out."""
    if len(text) > _MOST_PATH or text.count("/") >= _MOST_DEPTH or ".dpkg-" in text or text.endswith(".lock"):
        return False
    return all(_PART.fullmatch(part) for part in text.split("/"))


def manifest_text(manifest: Manifest) -> bytes:
    """The canonical text of a manifest."""
    fields = {
        "format": FORMAT if manifest.endpoints is None else SEPARATE_FORMAT,
        **asdict(manifest),
        "created": manifest.created.astimezone(UTC).strftime(_MOMENT),
    }
    if manifest.endpoints is None:
        del fields["endpoints"]
    return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"


def manifest_of(text: bytes) -> Manifest:
    """The manifest of a text that was signed. Raises BundleError for what hostfw did not write."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unknown() from error
    if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > SEPARATE_FORMAT:
        raise BundleError("its manifest is of a newer hostfw", "upgrade hostfw on this host")
    manifest = _decoded(found)
    if manifest is None or manifest_text(manifest) != text:
        raise _unknown()
    if why := mistake(manifest):
        raise BundleError(f"its manifest is wrong: {why}", "make the bundle anew with `hostfwctl bundle`")
    return manifest


def mistake(manifest: Manifest) -> str:
    """A sentence about what no manifest may say, or nothing."""
    paths = [file.path for file in manifest.files]
    folders = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    bad = next((path for path in paths if not is_path(path)), None)
    numbers = (manifest.least_confirmed, *(file.size for file in manifest.files))
    found = (
        (not is_word(manifest.name), "its name has other characters than letters, digits, dots and hyphens"),
        (not 1 <= manifest.number <= MOST_NUMBER, f"its number is not one from 1 to {MOST_NUMBER}"),
        (bad is not None, f"{bad!a} is not a path that a bundle may have"),
        (paths != sorted(set(paths)), "its paths are not sorted, or one is there twice"),
        (bool(folders.intersection(paths)), "a path is that of a file and of a folder"),
        (not 1 <= len(paths) <= MOST_FILES, f"it has {len(paths)} files, not 1 to {MOST_FILES}"),
        (any(number < 0 for number in numbers), "a number is below 0"),
        (any(_DIGEST.fullmatch(file.sha256) is None for file in manifest.files), "a digest is none of SHA-256"),
        (list(manifest.waves) != sorted(set(manifest.waves)), "its waves are not sorted, or one is there twice"),
        (len(manifest.waves) > MOST_WAVES, f"it has more than {MOST_WAVES} waves"),
        (any(not _is_wave(wave) for wave in manifest.waves), "one of its waves is none"),
        (manifest.most_failed is not None and not 0 <= manifest.most_failed <= 100, "mostFailed is no percentage"),
        (manifest.endpoints is not None and not _is_separate(manifest.endpoints), "what it says of endpoints is wrong"),
    )
    return next((why for holds, why in found if holds), "")


def _is_separate(separate: SeparateEndpoints) -> bool:
    endpoint_files = (separate.policies, separate.whole)
    digests = (*separate.pages, *(file.sha256 for file in endpoint_files))
    return (
        1 <= len(separate.pages) <= MOST_PAGES
        and all(_DIGEST.fullmatch(digest) for digest in digests)
        and all(0 <= file.size <= MOST_BUNDLE_BYTES for file in endpoint_files)
    )


def _is_wave(wave: Wave) -> bool:
    return is_word(wave.ring) and 0 <= wave.after_s <= MOST_AFTER_S and 1 <= wave.share <= 100


def _decoded(found: object) -> Manifest | None:
    """The manifest that JSON says, None for anything else; what it says need not make sense yet."""
    match found:
        case {"format": 2, "endpoints": said}:
            separate = _separate(said)
            if separate is None:
                return None
        case _:
            separate = None
    match found:
        case {
            "format": 1 | 2,
            "name": str(name),
            "number": int(number),
            "created": str(created),
            "files": list(files),
            "waves": list(waves),
            "most_failed": int() | None as most_failed,
            "least_confirmed": int(least),
        }:
            at = _moment(created)
            of_files, of_waves = [_file(one) for one in files], [_wave(one) for one in waves]
        case _:
            return None
    if at is None or None in of_files or None in of_waves:
        return None
    known_files = tuple(file for file in of_files if file is not None)
    known_waves = tuple(wave for wave in of_waves if wave is not None)
    return Manifest(name, number, at, known_files, known_waves, most_failed, least, separate)


def _separate(found: object) -> SeparateEndpoints | None:
    match found:
        case {"pages": list(pages), "policies": policies, "whole": whole} if all(isinstance(p, str) for p in pages):
            endpoint_files = _endpoint_file(policies), _endpoint_file(whole)
        case _:
            return None
    return (
        None
        if endpoint_files[0] is None or endpoint_files[1] is None
        else SeparateEndpoints(tuple(pages), endpoint_files[0], endpoint_files[1])
    )


def _endpoint_file(found: object) -> EndpointFile | None:
    match found:
        case {"sha256": str(digest), "size": int(size)}:
            return EndpointFile(digest, size)
        case _:
            return None


def _file(found: object) -> File | None:
    match found:
        case {"path": str(path), "size": int(size), "sha256": str(digest)}:
            return File(path, size, digest)
        case _:
            return None


def _wave(found: object) -> Wave | None:
    match found:
        case {"after_s": int(after_s), "ring": str(ring), "share": int(share)}:
            return Wave(after_s, ring, share)
        case _:
            return None


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return found if found.year >= _FIRST_YEAR else None


def _unknown() -> BundleError:
    return BundleError("its manifest was not written by hostfw", "make the bundle with `hostfwctl bundle`")
