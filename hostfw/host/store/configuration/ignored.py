"""Files and folders that a `.hostfwignore` leaves out of a walk, and a check for policy among them."""

import re
import stat
from collections.abc import Iterable
from pathlib import Path

from hostfw.manifest.files.ignore_file import IgnoreFile

_OUR_VERSION = re.compile(
    rb"""^[-{ \t"']*apiVersion["']?[ \t]*:\s*["']?(?:projectcalico\.org/v3|hostfw\.io/v1)\b""", re.MULTILINE
)
_HEAD_BYTES = 64 * 1024
"""Of a file that is left out, so much is looked at."""


def left_out_by(path: Path, files: Iterable[IgnoreFile], *, is_folder: bool) -> str:
    """The file and line that leave a path out; empty if none does. The files are those of folders above it."""
    for file in files:
        relative = path.relative_to(Path(file.path).parent).as_posix()
        line = file.line_for(relative, is_folder=is_folder)
        if line is not None:
            return f"{file.path}:{line}"
    return ""


def holds_resources(path: Path) -> bool:
    """True if the head of a file looks like one of hostfw's; what cannot be read does not."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return _OUR_VERSION.search(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
