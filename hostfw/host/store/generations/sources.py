"""The files of a stored generation in parts, so that a change writes what changed and links to the rest.

    generations/000012/sources.json     the parts in order: of the settings, of the resource files, of each Feed's file
    generations/000012/parts/*.json     some files each; the name is a digest of their paths and texts

A part that another generation has is a hard link to the same file, which is never edited. Resource files are cut where
a digest of a path says so: that depends on nothing around it, so one file that changes leaves all parts but one alone.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from hostfw.host.store.atomic_files import sync_directory, write_new
from hostfw.host.store.codec import garbage, is_text, load_json, to_json, to_json_of_many
from hostfw.model.problems import Problem
from hostfw.model.sources import Configuration, Source

FORMAT = 2
"""In format 1 sources.json held all texts itself."""

_SOURCES = "sources.json"
_PARTS = "parts"
_FILES_A_PART = 128
"""Average number of files in a part."""
_PART_BYTES = 256 * 1024
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.ENOENT})


class Part(NamedTuple):
    """Some files, and the name of the file that they are stored in."""

    name: str
    sources: tuple[Source, ...]


class Parts(NamedTuple):
    """A configuration in parts."""

    settings: tuple[Part, ...]
    resources: tuple[Part, ...]
    feeds: tuple[Part, ...]

    @property
    def digest(self) -> str:
        """A digest of the settings and the resource files: what is the same although Feeds changed."""
        names = ("|".join(part.name for part in parts) for parts in (self.settings, self.resources))
        return sha256("\n".join(names).encode()).hexdigest()


def parts_of(configuration: Configuration) -> Parts:
    """A configuration in parts."""
    settings = (configuration.settings,) if configuration.settings is not None else ()
    return Parts(
        tuple(map(_part, _each(settings))),
        tuple(map(_part, _runs(configuration.resources))),
        tuple(map(_part, _each(configuration.feeds))),
    )


def stored_parts(folders: Iterable[Path]) -> dict[str, Path]:
    """The parts that generations in these folders have, by name."""
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            found.update((path.name, path) for path in (folder / _PARTS).iterdir())
        except OSError:
            continue
    return found


def save_parts(folder: Path, parts: Parts, known: Mapping[str, Path]) -> None:
    """Write a configuration into the folder of a generation, what is `known` as links. Raises OSError."""
    (folder / _PARTS).mkdir(mode=0o700)
    for part in dict.fromkeys((*parts.settings, *parts.resources, *parts.feeds)):
        path = folder / _PARTS / part.name
        if part.name not in known or not link_to(known[part.name], path):
            write_new(path, to_json_of_many(sources=[source_json(source) for source in part.sources]))
    sync_directory(folder / _PARTS)
    names = {kind: [part.name for part in of] for kind, of in parts._asdict().items()}
    write_new(folder / _SOURCES, to_json(format=FORMAT, **names))


def load_parts(folder: Path) -> tuple[Configuration | None, tuple[Problem, ...]]:
    """The configuration in the folder of a generation, of either format, or None and why."""
    path = folder / _SOURCES
    data, problems = load_json(path, required=True)
    if problems:
        return None, problems
    match data:
        case {"format": 2, "settings": list(settings), "resources": list(resources), "feeds": list(feeds)}:
            return _assembled(folder, settings, resources, feeds)
        case {"format": 1, "settings": settings, "resources": list(resources), **more}:
            found, feed_files = _sources(resources), _sources(more.get("feeds", []))
            if found is not None and feed_files is not None and (settings is None or _source(settings) is not None):
                return Configuration(_source(settings), found, feed_files), ()
    return None, (garbage(path),)


def link_to(known: Path, path: Path) -> bool:
    """Make a hard link to a file that is never edited; False where that is not possible. Raises OSError."""
    try:
        os.link(known, path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def source_json(source: Source) -> dict[str, str]:
    """A file as it is stored."""
    return {"path": source.path, "text": source.text}


def _part(sources: tuple[Source, ...]) -> Part:
    digest = sha256()
    for source in sources:
        digest.update(f"{source.digest} {source.path}\0".encode("utf-8", "surrogatepass"))
    return Part(f"{digest.hexdigest()}.json", sources)


def _each(sources: Iterable[Source]) -> Iterator[tuple[Source, ...]]:
    return ((source,) for source in sources)


def _runs(sources: Iterable[Source]) -> Iterator[tuple[Source, ...]]:
    """Files in order, cut where a path says so and where there are many bytes."""
    run: list[Source] = []
    size = 0
    for source in sources:
        if run and size + len(source.text) > _PART_BYTES:
            yield tuple(run)
            run, size = [], 0
        run.append(source)
        size += len(source.text)
        if crc32(source.path.encode("utf-8", "surrogatepass")) % _FILES_A_PART == 0:
            yield tuple(run)
            run, size = [], 0
    if run:
        yield tuple(run)


def _assembled(folder: Path, *kinds: Sequence[object]) -> tuple[Configuration | None, tuple[Problem, ...]]:
    found: list[tuple[Source, ...]] = []
    for names in kinds:
        of_kind: list[Source] = []
        for name in names:
            if not isinstance(name, str) or os.sep in name:
                return None, (garbage(folder / _SOURCES),)
            path = folder / _PARTS / name
            data, problems = load_json(path, required=True)
            if problems:
                return None, problems
            match data:
                case {"format": 1, "sources": list(items)} if (sources := _sources(items)) is not None:
                    of_kind.extend(sources)
                case _:
                    return None, (garbage(path),)
        found.append(tuple(of_kind))
    settings, resources, feeds = found
    if len(settings) > 1:
        return None, (garbage(folder / _SOURCES),)
    return Configuration(settings[0] if settings else None, resources, feeds), ()


def _sources(data: object) -> tuple[Source, ...] | None:
    found = [_source(item) for item in data] if isinstance(data, list) else [None]
    known = tuple(source for source in found if source is not None)
    return known if len(known) == len(found) else None


def _source(data: object) -> Source | None:
    match data:
        case {"path": str(path), "text": str(text)} if is_text(path) and is_text(text):
            return Source(path, text)
        case _:
            return None
