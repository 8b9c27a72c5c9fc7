"""The files that Feeds name: which of them may be read, and their texts.

Problems do not show the content of a file: the author of the Feed may not be allowed to read it.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from hostfw.host.errors import reason
from hostfw.host.store.configuration.files import file_problem, leads_out, read_file
from hostfw.host.store.configuration.path_trust import is_below, is_made_up, suspicion
from hostfw.model.problems import Problem, in_order
from hostfw.model.sources import Source

FeedTexts = tuple[tuple[Source, ...], tuple[Problem, ...]]


def read_own_feeds(config_dir: Path, paths: Sequence[str], state_dir: Path | None = None) -> FeedTexts:
    """The files that Feeds of the configuration directory name, each once, wherever they are.

    Read as root, they must be root's own as the manifests must, and so must every folder and symbolic link that leads
    to them. Downloads are below `state_dir`, by default below DOWNLOADS; one that is not there, or that the caller may
    not read, is left out without a problem.
    """
    owner = 0 if os.geteuid() == 0 else None

    def refusal(path: Path) -> Problem | None:
        found = suspicion(path, owner, config_dir) if owner is not None else None
        return file_problem(found.path, found.message, expected=found.expected, hint=found.hint) if found else None

    return _read_all(paths, owner, refusal, state_dir)


def read_feeds_within(folders: Sequence[str] | None, paths: Sequence[str], state_dir: Path | None = None) -> FeedTexts:
    """The files that Feeds of a proposal name, each once, and only what is below these `folders`; None is anywhere.

    Whoever wrote the proposal is not the one who reads it, so a file elsewhere is not even looked for. Downloads are
    as in `read_own_feeds`.
    """
    return _read_all(
        paths,
        None,
        lambda path: None if folders is None or is_below(path, folders) else leads_out(path, folders),
        state_dir,
    )


def _read_all(
    paths: Sequence[str], owner: int | None, refusal: Callable[[Path], Problem | None], state_dir: Path | None
) -> FeedTexts:
    from hostfw.host.download.lists import is_download, read_download

    read = [
        read_download(PurePath(path).stem, state_dir) if is_download(path) else _read(Path(path), owner, refusal)
        for path in dict.fromkeys(paths)
    ]
    problems = in_order(item for item in read if isinstance(item, Problem))
    return tuple(item for item in read if isinstance(item, Source)), problems


def _read(path: Path, owner: int | None, refusal: Callable[[Path], Problem | None]) -> Source | Problem:
    if not str(path).isprintable():
        return file_problem(path, "name holds characters that cannot be printed", hint="rename the file")
    try:
        if problem := refusal(path):
            return problem
        if is_made_up(path.stat()):
            return file_problem(path, "is made up by the kernel, and no list of addresses", expected="a file on a disk")
    except OSError as error:
        return file_problem(path, f"cannot be read: {reason(error)}")
    return read_file(path, owner)
