"""A bundle as it comes from a web server or a file, verified before anything is made of it."""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from hostfw.bundle.archive import contents, opened
from hostfw.bundle.manifest import BundleError, EndpointFile, Manifest, manifest_of
from hostfw.host.bundles.folders import bundles_folder, keep_endpoints, keep_fetched, read_endpoints, read_fetched
from hostfw.host.bundles.signature import verify
from hostfw.host.bundles.state import BundleState, Known, save_state
from hostfw.host.download.messages import DownloadError, Request
from hostfw.host.download.process import fetch
from hostfw.host.errors import HostError, reason

SCHEMES = ("http://", "https://")
WITHIN_S = 300.0
BESIDE = ".d"
"""Ends the name of the directory beside a bundle that has its endpoints."""

_MISSING = (
    "publish the directory of endpoints before the bundle; what is in force stays, and the next pull tries it again"
)
_AGAIN = "publish the bundle and its directory of endpoints again, and find out who changed them on their way"


class Verified(NamedTuple):
    """A bundle whose signature and bytes are those of somebody whom the host trusts."""

    manifest: Manifest
    files: Mapping[str, bytes]
    signer: str
    known: Known


def is_url(source: str) -> bool:
    """True for what a web server has, False for a file."""
    return source.startswith(SCHEMES)


def fetched(source: str, state_dir: Path, state: BundleState, most_bytes: int) -> tuple[bytes, BundleState]:
    """The bytes that a source has, and the state with what a server says of them. Raises HostError.

    What a server says did not change is what was kept.
    """
    if not is_url(source):
        return read_file(Path(source), most_bytes), state
    kept = read_fetched(state_dir) if state.origin == source and (state.etag or state.modified) else None
    request = Request(
        source,
        most_bytes=most_bytes,
        etag=state.etag if kept is not None else "",
        modified=state.modified if kept is not None else "",
        within_s=WITHIN_S,
        raw=True,
    )
    try:
        answer = fetch(request, bundles_folder(state_dir))
    except DownloadError as error:
        raise HostError(f"{source}: {error}", "what is in force stays; the next pull tries it again") from error
    if answer.unchanged and kept is not None:
        return kept, state
    if state.etag or state.modified:
        # A kill between the two files must not leave the words of the one with the other.
        save_state(state_dir, replace(state, etag="", modified=""))
    keep_fetched(state_dir, answer.text)
    state = replace(state, origin=source, etag=answer.etag, modified=answer.modified)
    save_state(state_dir, state)
    return answer.text, state


def fetched_endpoints(source: str, state_dir: Path, file: EndpointFile) -> bytes:
    """A file beside a bundle, from here if it was kept. Raises HostError, and BundleError for another content."""
    kept = read_endpoints(state_dir, file.sha256)
    if kept is not None and sha256(kept).hexdigest() == file.sha256:
        return kept
    place = place_beside(source, file.sha256)
    if is_url(source):
        request = Request(place, most_bytes=file.size, within_s=WITHIN_S, raw=True)
        try:
            data = fetch(request, bundles_folder(state_dir)).text
        except DownloadError as error:
            raise HostError(f"{place}: {error}", _MISSING) from error
    else:
        try:
            data = read_file(Path(place), file.size)
        except HostError as error:
            raise HostError(error.message, _MISSING) from error
    if sha256(data).hexdigest() != file.sha256:
        raise BundleError(f"{place} is not what was signed: its SHA-256 digest is another", _AGAIN)
    keep_endpoints(state_dir, file.sha256, data)
    return data


def place_beside(source: str, digest: str) -> str:
    """The place of a file beside a bundle: in a directory called like it, with `.d`; a query of a URL stays."""
    path, mark, query = source.partition("?") if is_url(source) else (source, "", "")
    return f"{path}{BESIDE}/{digest}{mark}{query}"


def answers(source: str, state_dir: Path, state: BundleState, most_bytes: int, within_s: float) -> str:
    """The reason why a server cannot be reached over a new connection, or nothing."""
    request = Request(
        source, most_bytes=most_bytes, etag=state.etag, modified=state.modified, within_s=within_s, raw=True
    )
    try:
        fetch(request, bundles_folder(state_dir))
    except DownloadError as error:
        return str(error)
    return ""


def read_file(path: Path, most_bytes: int) -> bytes:
    """A bundle that is a file here. Raises HostError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise HostError(f"{path} is not a file", "give a URL, or a file that `hostfwctl bundle` wrote")
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise HostError(f"{path}: {reason(error)}", "give a URL, or a file that `hostfwctl bundle` wrote") from error
    if len(data) > most_bytes:
        raise HostError(f"{path} has more than {most_bytes} bytes", "--most-bytes allows more, if it is meant")
    return data


def verified(data: bytes, signers: Path) -> Verified:
    """The bundle that some bytes are. Raises BundleError if they are not to be believed, and HostError."""
    envelope = opened(data)
    signer = verify(envelope.manifest, envelope.signature, signers)
    manifest = manifest_of(envelope.manifest)
    files = contents(data, envelope.files_at, manifest)
    for path, content in files.items():
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise BundleError(
                f"{path} in it is not text in UTF-8", "make the bundle with `hostfwctl bundle`"
            ) from error
    return Verified(
        manifest, files, signer, Known(manifest.number, sha256(envelope.manifest).hexdigest(), manifest.name)
    )
