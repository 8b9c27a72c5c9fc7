"""A configuration that is stored: it was checked when it was accepted, so what checks it is not loaded."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from hostfw.host.store.codec import Unreadable
from hostfw.host.store.generations.decoded import FileContent, load_decoded, save_decoded
from hostfw.host.store.generations.generations import generation_folder, generations
from hostfw.host.store.generations.sources import parts_of, stored_parts
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration

if TYPE_CHECKING:
    from hostfw.build.candidate import Candidate
    from hostfw.manifest.decode import DecodeCache


def stored_content(
    configuration: Configuration, state_dir: Path, cache: "DecodeCache | None" = None, *, policies: bool = True
) -> tuple[Resources, Settings]:
    """The resources and settings of a configuration that is stored.

    What is kept decoded is not decoded again, and neither are files that a cache knows. Without `policies` there may be
    none: most of the time goes into them.
    """
    parts = parts_of(configuration)
    wanted = (*parts.settings, *parts.resources)
    kept = load_decoded(state_dir, wanted, policies=policies) if cache is None else {}
    content = _assembled(configuration, kept)
    if content is None:
        # With YAML, 30 ms: only for what is kept nowhere.
        from hostfw.manifest.decode import DecodeCache, decode

        cache = cache or DecodeCache()
        if policies:
            _remember(cache, configuration, kept)
        decoded = decode(configuration, cache)
        content = decoded.resources, decoded.settings
    resources, settings = content
    if resources.feeds:
        from hostfw.manifest.files.feed_file import filled

        resources, _ = filled(resources, configuration.feeds)
    return resources, settings


def remember_stored(cache: "DecodeCache", configuration: Configuration, state_dir: Path) -> None:
    """Have a cache know the files of a stored configuration that are kept decoded."""
    _remember(cache, configuration, load_decoded(state_dir, parts_of(configuration).resources))


def _remember(cache: "DecodeCache", configuration: Configuration, kept: Mapping[str, FileContent]) -> None:
    from hostfw.manifest.decode import DecodedSource

    for source in configuration.resources:
        if source.path in kept:
            found = kept[source.path]
            cache.sources[source.path] = DecodedSource(source, found.resources, found.problems)


def keep_decoded(state_dir: Path, candidate: "Candidate") -> None:
    """Keep a configuration that was just stored in decoded form too, for `stored_content`. Never fails."""
    configuration = candidate.configuration
    parts = parts_of(configuration)
    texts = {source.path: source for source in configuration.resources}
    contents = {
        found.source.path: FileContent(None, found.resources, found.problems)
        for found in candidate.decoded
        if texts.get(found.source.path) == found.source
    }
    if configuration.settings is not None:
        contents[configuration.settings.path] = FileContent(candidate.settings)
    try:
        known = stored_parts(generation_folder(state_dir, number) for number in generations(state_dir))
    except Unreadable:
        return
    if all(source.path in contents for source in configuration.resources):
        save_decoded(state_dir, (*parts.settings, *parts.resources), contents.__getitem__, known)


def _assembled(configuration: Configuration, kept: Mapping[str, FileContent]) -> tuple[Resources, Settings] | None:
    """The content of all files together; None where not all of it is kept."""
    settings = Settings()
    if configuration.settings is not None:
        found = kept.get(configuration.settings.path)
        if found is None or found.settings is None:
            return None
        settings = found.settings
    if any(source.path not in kept for source in configuration.resources):
        return None
    return Resources.of(
        chain.from_iterable(kept[source.path].resources for source in configuration.resources)
    ), settings
