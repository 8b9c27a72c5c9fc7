"""Lists that were downloaded, as every reader of a configuration meets them: state_dir/feeds/NAME.txt."""

import os
from pathlib import Path, PurePath

from hostfw.host.store.configuration.files import file_problem, read_file
from hostfw.model.kinds.sets import DOWNLOADS, downloaded_file
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

FOLDER = "feeds"


def is_download(path: str) -> bool:
    """True if the path of a Feed's file is that of a download."""
    return path.startswith(f"{DOWNLOADS}/") and str(PurePath(path).parent) == DOWNLOADS


def read_download(name: str, state_dir: Path | None, ending: str = "txt") -> Source | Problem | None:
    """The text of a download by the name of its Feed; None if it is not there, or the caller may not read it."""
    path = (Path(DOWNLOADS) if state_dir is None else state_dir / FOLDER) / f"{name}.{ending}"
    try:
        if path.is_symlink() or not path.is_file():
            return file_problem(path, "is not a file") if path.is_symlink() or path.exists() else None
    except PermissionError:
        return None
    if not os.access(path, os.R_OK):
        return None
    read = read_file(path, 0 if os.geteuid() == 0 else None)
    return Source(downloaded_file(name), read.text) if isinstance(read, Source) else read
