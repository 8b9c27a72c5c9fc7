"""The configuration of a host that takes bundles: its own files, and below config_dir/bundle those of the bundle.

A bundle that is tried is not where it will be read from. Its files have the paths already that they will have then, so
that what is accepted and what the directory says afterwards are the same.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hostfw.build.candidate import check_candidate
from hostfw.control.messages import Files
from hostfw.engine.context import Directories
from hostfw.host.bundles.folders import LINK
from hostfw.host.errors import HostError
from hostfw.host.store.configuration.files import ENDINGS, read_configuration
from hostfw.host.store.generations.generations import load_accepted
from hostfw.model.sources import Configuration, Source


def composed(directories: Directories, files: Mapping[str, bytes]) -> Files:
    """The configuration to put into force: what was accepted of the host's own files, and the files of a bundle.

    What somebody is writing in the configuration directory has not been asked for. Before anything was accepted, the
    directory is all there is. Raises HostError if what was accepted cannot be read.
    """
    accepted, problems = load_accepted(directories.state, with_scripts=False)
    if accepted is None and problems:
        raise HostError(str(problems[0]), problems[0].hint)
    if accepted is None:
        configuration, unread = read_configuration(directories.config)
    else:
        configuration, unread = accepted.configuration, ()
    own, link = directories.config, f"{directories.config / LINK}/"
    kept = tuple(source for source in configuration.resources if not is_of_bundle(source.path, own))
    new = tuple(Source(f"{link}{path}", text.decode("utf-8-sig")) for path, text in files.items())
    manifests = (*kept, *(source for source in new if source.path.endswith(ENDINGS)))
    whole = Configuration(configuration.settings, tuple(sorted(manifests, key=lambda source: source.path.encode())))
    lists = (
        *(source for source in configuration.feeds if not is_of_bundle(source.path, own)),
        *(source for source in new if not source.path.endswith(ENDINGS)),
    )
    if lists:
        feeds = check_candidate(whole).resources.feeds
        wanted = {feed.file for feed in feeds if feed.has_file}
        whole = replace(whole, feeds=tuple(source for source in lists if source.path in wanted))
    return Files(whole, unread, None)


def is_of_bundle(path: str, config_dir: Path) -> bool:
    """True if a file was read as one of a bundle."""
    return path.startswith(f"{config_dir / LINK}/")


def is_from(configuration: Configuration, config_dir: Path, files: Mapping[str, bytes]) -> bool:
    """True if a configuration has exactly these files of a bundle."""
    found = {
        source.path.removeprefix(f"{config_dir / LINK}/"): source.text
        for source in (*configuration.resources, *configuration.feeds)
        if is_of_bundle(source.path, config_dir)
    }
    return found == {path: text.decode("utf-8-sig") for path, text in files.items()}
