"""The workloads that run now, for those who may have none: what decodes files is loaded once there is a folder."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hostfw.model.host.facts import Running

if TYPE_CHECKING:
    from hostfw.host.workloads.files import WorkloadFiles

FOLDER = "workloads"
"""The folder below the run directory."""


class WorkloadReader:
    """Reads the folder of a run directory whenever it is asked."""

    def __init__(self, run_dir: Path) -> None:
        """Nothing is read before it is asked for."""
        self._folder = run_dir / FOLDER
        self._files: WorkloadFiles | None = None

    def read(self) -> Running:
        """The workloads of now; none where there is no folder."""
        if self._files is None:
            if not os.path.lexists(self._folder) or _is_empty(self._folder):
                return Running()
            from hostfw.host.workloads.files import WorkloadFiles

            self._files = WorkloadFiles(self._folder)
        return self._files.read()


def _is_empty(folder: Path) -> bool:
    """True for a folder that hostfw made and nobody wrote to: looked at without what decodes."""
    try:
        return folder.is_dir() and next(folder.iterdir(), None) is None
    except OSError:
        return False
