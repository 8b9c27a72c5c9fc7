"""The workloads that run now: files below the run directory, written by whoever starts them and root trusts.

Each `*.yaml` holds WorkloadEndpoints and nothing else. A file that is wrong counts for nothing, and the others for what
they say. The folder and its files must belong to root, and nobody else may write them: who can write a file there says
which policy applies to what. Files are written aside and renamed, so that none is read in halves; one that is
incomplete is looked at again when it is closed.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hostfw.host.errors import reason
from hostfw.host.store.configuration.files import ENDINGS, distrust, file_problem, left_out, read_file
from hostfw.manifest.decode import DecodedSource, decode_source
from hostfw.model.host.facts import Running
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.problems import Problem

MOST_FILES = 16_384
"""Most files that are read: more than a host runs, and far less than would hold up the service."""


class WorkloadFiles:
    """Reads the files of a folder; those that are as they were the last time are not decoded again."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read before it is asked for."""
        self.folder = folder
        self._known: dict[str, DecodedSource] = {}

    def read(self) -> Running:
        """The workloads of now; none where there is no folder."""
        owner = 0 if os.geteuid() == 0 else None
        problems: list[Problem] = []
        found: list[WorkloadEndpoint] = []
        known: dict[str, DecodedSource] = {}
        for path in self._paths(owner, problems):
            source = read_file(path, owner)
            if isinstance(source, Problem):
                # One that was there a moment ago and has gone is none.
                if os.path.lexists(path):
                    problems.append(source)
                continue
            decoded = self._known.get(source.path)
            if decoded is None or decoded.source != source:
                decoded = decode_source(source)
            known[source.path] = decoded
            others = [one for one in decoded.resources if not isinstance(one, WorkloadEndpoint)]
            problems += decoded.problems
            problems += (
                file_problem(
                    path,
                    f"holds a {type(one).__name__}, so nothing of it counts",
                    expected="WorkloadEndpoints alone",
                    hint="policy belongs into the configuration directory",
                )
                for one in others[:1]
            )
            if not decoded.problems and not others:
                found += (one for one in decoded.resources if isinstance(one, WorkloadEndpoint))
        self._known = known
        found.sort(key=lambda one: (one.metadata.full_name, one.metadata.position))
        return Running(tuple(found), tuple(problems))

    def _paths(self, owner: int | None, problems: list[Problem]) -> Iterator[Path]:
        """The files in byte order of their names; what is wrong with the folder is added to the problems."""
        try:
            info = self.folder.lstat()
            if not stat.S_ISDIR(info.st_mode):
                problems.append(file_problem(self.folder, "is not a folder, so that no workload is known"))
                return
            if (problem := distrust(self.folder, info, owner)) is not None:
                problems.append(problem)
                return
            paths = sorted(
                path for path in self.folder.iterdir() if path.name.endswith(ENDINGS) and not left_out(path.name)
            )
        except FileNotFoundError:
            return
        except OSError as error:
            hint = "run it as root: no workload counts here" if isinstance(error, PermissionError) else ""
            problems.append(file_problem(self.folder, f"cannot be read: {reason(error)}", hint=hint))
            return
        if len(paths) > MOST_FILES:
            problems.append(
                file_problem(self.folder, f"has {len(paths)} files", expected=f"at most {MOST_FILES}: the first count")
            )
        for path in paths[:MOST_FILES]:
            if path.is_symlink():
                problems.append(file_problem(path, "is a symbolic link", expected="a file"))
            else:
                yield path
