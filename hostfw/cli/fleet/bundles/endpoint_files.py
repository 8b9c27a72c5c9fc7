"""The directory beside a bundle that has its endpoints: written before the bundle, and cleared of what nobody needs.

Hosts that fetched the bundle before may still ask for its files, so those stay until the next one but one.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from hostfw.bundle.archive import opened
from hostfw.bundle.manifest import BundleError, manifest_of
from hostfw.cli.fleet.bundles.fetched import BESIDE
from hostfw.cli.fleet.bundles.tally import write_file
from hostfw.host.errors import HostError, reason

_DIGEST = re.compile(r"[0-9a-f]{64}")


def write_endpoint_files(archive: Path, endpoint_files: Mapping[str, bytes]) -> None:
    """Write the files of a bundle that is about to take the place of the one in a file. Raises HostError."""
    folder = archive.with_name(f"{archive.name}{BESIDE}")
    try:
        folder.mkdir(exist_ok=True)
        wrong = [digest for digest in sorted(endpoint_files) if _content(folder / digest) != endpoint_files[digest]]
    except OSError as error:
        raise HostError(f"{folder} cannot be written: {reason(error)}", "it is to be a directory") from error
    for digest in wrong:
        write_file(folder / digest, endpoint_files[digest])
    _forget(folder, {*endpoint_files, *_of_bundle(archive, folder)})


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _of_bundle(archive: Path, folder: Path) -> Iterator[str]:
    """The files of the bundle that is in a file, if one is: pages, and the selections that they name."""
    with suppress(OSError, BundleError, ValueError, KeyError, TypeError, AttributeError):
        separate = manifest_of(opened(archive.read_bytes()).manifest).endpoints
        if separate is not None:
            yield from (separate.policies.sha256, separate.whole.sha256, *separate.pages)
            for page in separate.pages:
                entries = json.loads((folder / page).read_bytes()).values()
                yield from (entry["selection"]["sha256"] for entry in entries)


def _forget(folder: Path, keep: Collection[str]) -> None:
    """Remove the files of older bundles, and nothing else that is there."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _DIGEST.fullmatch(path.name) and path.name not in keep:
                path.unlink()
