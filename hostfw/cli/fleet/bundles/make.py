"""A bundle made of a directory: what is in it, and the manifest around that."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.bundle.archive import archive
from hostfw.bundle.manifest import (
    MOST_BUNDLE_BYTES,
    BundleError,
    File,
    Manifest,
    SeparateEndpoints,
    Wave,
    is_path,
    manifest_text,
    mistake,
)
from hostfw.bundle.selections import endpoint_files_of
from hostfw.cli.fleet.bundles.endpoints import OTHERS_FILE, OWN_FILE
from hostfw.host.bundles.signature import sign
from hostfw.host.store.configuration.feed_files import read_feeds_within
from hostfw.host.store.configuration.files import SETTINGS_FILE, folders_of, read_paths
from hostfw.model.problems import Problem, errors
from hostfw.model.sources import Configuration

EPOCH = "SOURCE_DATE_EPOCH"
"""Of the environment: the time that counts as now, in seconds since 1970 (reproducible-builds.org)."""


class Content(NamedTuple):
    """The files of a directory that a bundle has, by path, and what was read and found wrong.

    `separate` are the endpoints that are no files of the bundle, None where they are; `endpoint_files` are theirs by
    digest.
    """

    files: dict[str, bytes]
    configuration: Configuration
    problems: tuple[Problem, ...]
    separate: SeparateEndpoints | None = None
    endpoint_files: Mapping[str, bytes] = MappingProxyType({})

    @property
    def is_valid(self) -> bool:
        """True if a bundle may be made of it; warnings do not stand in the way."""
        return not errors(self.problems)


class Rollout(NamedTuple):
    """The words of the manifest that are not about files."""

    name: str
    number: int | None
    created: datetime | None
    waves: Sequence[Wave] = ()
    most_failed: int | None = None
    least_confirmed: int = 1


def read_content(directory: Path, *, separate_endpoints: bool = False) -> Content:
    """Every manifest below a directory and the lists that its Feeds name. Raises BundleError for what has no place.

    With `separate_endpoints`, files of endpoints become files beside it.
    """
    if not os.path.isdir(directory):  # noqa: PTH112  Path.is_dir raises where a directory above cannot be searched
        raise BundleError(f"{directory} is not a directory", "name the directory that holds the policies")
    configuration, problems = read_paths((directory,), anywhere=False)
    if configuration.settings is not None:
        raise BundleError(
            f"{configuration.settings.path}: settings are those of a host, and no part of a bundle",
            f"leave {SETTINGS_FILE} out of the directory; each host has its own in /etc/hostfw",
        )
    read_feeds = partial(read_feeds_within, folders_of((directory,)))
    candidate = check_candidate(configuration, problems, read_feeds, of_a_host=False)
    sources = (*candidate.configuration.resources, *candidate.configuration.feeds)
    files = {_inside(source.path, directory): source.text.encode() for source in sources}
    content = Content(dict(sorted(files.items())), candidate.configuration, candidate.problems)
    return (
        _with_separate_endpoints(content, candidate, directory) if separate_endpoints and content.is_valid else content
    )


def _with_separate_endpoints(content: Content, candidate: Candidate, directory: Path) -> Content:
    """The content with its endpoints taken out of the files. Raises BundleError."""
    if taken := sorted({OWN_FILE, OTHERS_FILE} & content.files.keys()):
        raise BundleError(f"{directory / taken[0]}: hosts keep their endpoints in a file of this name", "rename it")
    endpoints = {one.metadata.position: one for one in candidate.resources.every_endpoint}
    mixed, of_endpoints = list[Problem](), set[str]()
    others = {one.metadata.position.path for one in candidate.resources.all() if one.metadata.position not in endpoints}
    for position in sorted(endpoints):
        if position.path not in others:
            of_endpoints.add(_inside(position.path, directory))
        else:
            mixed.append(
                Problem(
                    position,
                    "an endpoint is in one file with other resources, and the bundle is to have separate endpoints",
                    expected="files that have endpoints alone",
                    hint="move it to a file of its own",
                )
            )
    if mixed:
        return content._replace(problems=(*content.problems, *mixed))
    files = {path: text for path, text in content.files.items() if path not in of_endpoints}
    if not endpoints or not files:
        missing = "endpoint" if not endpoints else "policy"
        raise BundleError(f"{directory} has no {missing}, so that there is nothing to separate", "see --help")
    separate, endpoint_files = endpoint_files_of(candidate.resources)
    return content._replace(files=files, separate=separate, endpoint_files=endpoint_files)


def make(content: Content, rollout: Rollout, key: Path) -> tuple[Manifest, bytes]:
    """The manifest and the bytes of a bundle. Raises BundleError and HostError."""
    created = (rollout.created or _now()).astimezone(UTC).replace(microsecond=0)
    files = tuple(File(path, len(text), sha256(text).hexdigest()) for path, text in content.files.items())
    manifest = Manifest(
        rollout.name,
        int(created.timestamp()) if rollout.number is None else rollout.number,
        created,
        files,
        tuple(sorted(set(rollout.waves))),
        rollout.most_failed,
        rollout.least_confirmed,
        content.separate,
    )
    if why := mistake(manifest):
        raise BundleError(f"no bundle can be made of this: {why}", "`hostfwctl bundle --help` explains it")
    text = manifest_text(manifest)
    data = b"".join(archive(text, sign(text, key), content.files.items()))
    if len(data) > MOST_BUNDLE_BYTES:
        raise BundleError(f"the bundle would have {len(data)} bytes, more than {MOST_BUNDLE_BYTES}", _LISTS)
    return manifest, data


_LISTS = "long lists are better downloaded by each host, as Feeds with a url"


def _inside(path: str, directory: Path) -> str:
    """The path of a file as the bundle has it. Raises BundleError."""
    found = os.path.relpath(path, directory)
    if not is_path(found):
        raise BundleError(
            f"{path}: a bundle cannot have a file of this path",
            "names in a bundle are of letters, digits, dots, hyphens and underscores, and lie below its directory",
        )
    return found


def _now() -> datetime:
    """The time that counts as now. Raises BundleError if the environment says what is none."""
    text = os.environ.get(EPOCH)
    try:
        return datetime.now(UTC) if text is None else datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BundleError(f"{EPOCH}={text} in the environment is not a time", "seconds since 1970") from error
