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
from time import time_ns
from typing import NamedTuple

from hostfw.host.errors import reason
from hostfw.host.store.configuration.files import ENDINGS, distrust, file_problem, left_out, read_file
from hostfw.manifest.decode import DecodedSource, decode_source
from hostfw.model.host.facts import Running
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

MOST_FILES = 16_384
"""Most files that are read: more than a host runs, and far less than would hold up the service."""


_SETTLED_NS = 2_000_000_000
"""The age of a change from which on another one has another time, whatever the file system's clock ticks in."""

_Stamp = tuple[int, ...]
"""The identity of a file, its size, its times, and who may write it."""


class _Read(NamedTuple):
    """A file as it was read, with the stamp that it had before, None where it had changed just then."""

    stamp: _Stamp | None
    source: Source
    decoded: DecodedSource


def is_read(name: str) -> bool:
    """True if a file of that name in the folder counts."""
    return name.endswith(ENDINGS) and not left_out(name)


class WorkloadFiles:
    """Reads the files of a folder; those that are as they were the last time are not read or decoded again."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read before it is asked for."""
        self.folder = folder
        self._known: dict[str, _Read] = {}

    def read(self) -> Running:
        """The workloads of now; none where there is no folder."""
        owner = 0 if os.geteuid() == 0 else None
        problems: list[Problem] = []
        found: list[WorkloadEndpoint] = []
        known: dict[str, _Read] = {}
        for path, stamp in self._paths(owner, problems):
            one = self._known.get(path.name)
            if one is None or stamp is None or one.stamp != stamp:
                source = read_file(path, owner)
                if isinstance(source, Problem):
                    # One that was there a moment ago and has gone is none.
                    if os.path.lexists(path):
                        problems.append(source)
                    continue
                is_same = one is not None and one.source == source
                one = _Read(stamp, source, one.decoded if one is not None and is_same else decode_source(source))
            known[path.name] = one
            decoded = one.decoded
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

    def _paths(self, owner: int | None, problems: list[Problem]) -> Iterator[tuple[Path, _Stamp | None]]:
        """The files in byte order of their names with their stamps; what is wrong is added to the problems."""
        try:
            info = self.folder.lstat()
            if not stat.S_ISDIR(info.st_mode):
                problems.append(file_problem(self.folder, "is not a folder, so that no workload is known"))
                return
            if (problem := distrust(self.folder, info, owner)) is not None:
                problems.append(problem)
                return
            with os.scandir(self.folder) as entries:
                paths = sorted((entry for entry in entries if is_read(entry.name)), key=lambda entry: entry.name)
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
        for entry in paths[:MOST_FILES]:
            path = self.folder / entry.name
            if entry.is_symlink():
                problems.append(file_problem(path, "is a symbolic link", expected="a file"))
            else:
                yield path, _stamp(entry)


def _stamp(entry: "os.DirEntry[str]") -> _Stamp | None:
    """The stamp of a file, None where it may change once more without another one, or has gone."""
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    if not 0 <= max(info.st_mtime_ns, info.st_ctime_ns) <= time_ns() - _SETTLED_NS:
        return None
    times = info.st_mtime_ns, info.st_ctime_ns
    return info.st_dev, info.st_ino, info.st_size, info.st_mode, info.st_uid, info.st_gid, *times
