"""The workloads that run now: files below the run directory, written by whoever starts them and root trusts.

Each `*.yaml` holds WorkloadEndpoints and nothing else. A file that is wrong counts for nothing, and the others for what
they say. The folder and its files must belong to root, and nobody else may write them: who can write a file there says
which policy applies to what. Files are written aside and renamed, so that none is read in halves; one that is
incomplete is looked at again when it is closed.
"""

import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from hostfw.host.errors import reason
from hostfw.host.store.configuration.files import ENDINGS, distrust, file_problem, left_out, read_file
from hostfw.manifest.decode import decode_source
from hostfw.model.host.facts import Running
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

MOST_FILES = 16_384
"""Most files that are read: more than a host runs, and far less than would hold up the service."""

MOST_BYTES = 1024 * 1024
"""Most bytes of a file: some two thousand workloads, which are decoded in a few seconds."""

_SETTLED_NS = 2_000_000_000
"""The age of a change from which on another one has another time, whatever the file system's clock ticks in."""

_Stamp = tuple[int, ...]
"""The identity of a file, its size, its times, and who may write it."""


class _Read(NamedTuple):
    """A file as it was read, with the stamp that it had before, None where it had changed just then.

    `workloads` are those that count: none where there are problems.
    """

    stamp: _Stamp | None
    source: Source
    workloads: tuple[WorkloadEndpoint, ...]
    problems: tuple[Problem, ...]


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
        for name, stamp in self._files(owner, problems):
            one = self._known.get(name)
            if one is None or stamp is None or one.stamp != stamp:
                path = self.folder / name
                source = read_file(path, owner, MOST_BYTES)
                if isinstance(source, Problem):
                    # One that was there a moment ago and has gone is none.
                    if os.path.lexists(path):
                        problems.append(source)
                    continue
                is_same = one is not None and one.source == source
                if one is None or not is_same:
                    one = _read_now(path, stamp, source)
                elif one.stamp != stamp:
                    one = one._replace(stamp=stamp)
            known[name] = one
            problems += one.problems
            found += one.workloads
        self._known = known
        # Most files hold one, and stand in the order of names: what is in order is sorted with little work.
        found.sort(key=lambda one: (one.metadata.full_name, one.metadata.position))
        return Running(tuple(found), tuple(problems))

    def _files(self, owner: int | None, problems: list[Problem]) -> Iterator[tuple[str, _Stamp | None]]:
        """The names of the files in byte order with their stamps; what is wrong is added to the problems."""
        try:
            info = self.folder.lstat()
            if not stat.S_ISDIR(info.st_mode):
                problems.append(file_problem(self.folder, "is not a folder, so that no workload is known"))
                return
            if (problem := distrust(self.folder, info, owner)) is not None:
                problems.append(problem)
                return
            with os.scandir(self.folder) as entries:
                files = sorted((entry for entry in entries if is_read(entry.name)), key=attrgetter("name"))
        except FileNotFoundError:
            return
        except OSError as error:
            hint = "run it as root: no workload counts here" if isinstance(error, PermissionError) else ""
            problems.append(file_problem(self.folder, f"cannot be read: {reason(error)}", hint=hint))
            return
        if len(files) > MOST_FILES:
            problems.append(
                file_problem(self.folder, f"has {len(files)} files", expected=f"at most {MOST_FILES}: the first count")
            )
        for entry in files[:MOST_FILES]:
            if entry.is_symlink():
                problems.append(file_problem(self.folder / entry.name, "is a symbolic link", expected="a file"))
            else:
                yield entry.name, _stamp(entry)


def _read_now(path: Path, stamp: _Stamp | None, source: Source) -> _Read:
    decoded = decode_source(source)
    others = [one for one in decoded.resources if not isinstance(one, WorkloadEndpoint)]
    wrong = (
        file_problem(
            path,
            f"holds a {type(one).__name__}, so nothing of it counts",
            expected="WorkloadEndpoints alone",
            hint="policy belongs into the configuration directory",
        )
        for one in others[:1]
    )
    problems = (*decoded.problems, *wrong)
    workloads = () if problems else tuple(one for one in decoded.resources if isinstance(one, WorkloadEndpoint))
    return _Read(stamp, source, workloads, problems)


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
