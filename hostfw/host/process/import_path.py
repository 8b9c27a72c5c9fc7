"""The import path of this process, for a child that runs a module of ours, wherever the package was imported from."""

import os
import sys
from pathlib import Path

import hostfw

_PACKAGE_DIRECTORY = str(Path(hostfw.__file__).parents[1])


def import_path() -> str:
    """The value of PYTHONPATH for such a child; each entry is absolute, since it may run in another directory."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in (_PACKAGE_DIRECTORY, *sys.path))
