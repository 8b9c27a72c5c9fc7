"""`hostfwctl validate` against PyYAML's C loader on the same text: a whole process each, and the work alone."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import yaml

from bench.inputs import configurations
from bench.measuring.measure import command_s, heading, medians, row
from hostfw.build.candidate import check_candidate
from hostfw.host.store.configuration.files import read_paths

SIZES = (10, 100, 1000, 10_000)
ROUNDS = 3

BASELINE = """
import sys, yaml
from pathlib import Path
for path in sorted(Path(sys.argv[1]).rglob("*.yaml")):
    for _ in yaml.load_all(path.read_bytes(), yaml.CSafeLoader):
        pass
"""


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    yield heading("validate, whole process", "hostfwctl", "CSafeLoader")
    for size in SIZES:
        with TemporaryDirectory(prefix="hostfw-bench-") as folder:
            configurations.write(Path(folder, "etc"), size)
            etc = str(Path(folder, "etc"))
            ours_s, theirs_s = medians(
                partial(command_s, [sys.executable, "-m", "hostfw.cli", "validate", "-f", etc]),
                partial(command_s, [sys.executable, "-c", BASELINE, etc]),
                rounds=ROUNDS,
            )
            yield row(_title(size, Path(etc)), ours_s, theirs_s)
    yield heading("validate, the work alone", "inspect()", "CSafeLoader")
    for size in SIZES:
        with TemporaryDirectory(prefix="hostfw-bench-") as folder:
            etc_path = Path(folder, "etc")
            configurations.write(etc_path, size)
            ours_s, theirs_s = medians(
                partial(_seconds, _inspect, etc_path), partial(_seconds, _load, etc_path), rounds=ROUNDS
            )
            yield row(_title(size, etc_path), ours_s, theirs_s)


def _title(size: int, etc: Path) -> str:
    kilobytes = sum(path.stat().st_size for path in etc.rglob("*.yaml")) / 1000
    return f"{size} policies, {kilobytes:.0f} kB"


def _inspect(etc: Path) -> None:
    problems = check_candidate(*read_paths([etc])).problems
    if problems:
        raise AssertionError(problems[0])


def _load(etc: Path) -> None:
    for path in sorted(etc.rglob("*.yaml")):
        for _ in yaml.load_all(path.read_bytes(), yaml.CSafeLoader):
            pass


def _seconds(work: Callable[[Path], None], etc: Path) -> float:
    started = perf_counter()
    work(etc)
    return perf_counter() - started
