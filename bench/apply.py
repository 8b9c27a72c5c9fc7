"""`hostfwctl apply` of a first generation against `nft -f` of the very script that it comes down to.

And the processor time of an `apply` that changes nothing, against that of the first.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.inputs import configurations
from bench.measuring.measure import ROUNDS, command_cpu_s, command_s, heading, medians, network_namespace, row

SIZES = (10, 100, 1000)
UNCHANGED = (1000, 10_000)


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    yield heading("apply, first generation", "hostfwctl", "nft -f")
    for size in SIZES:
        ours_s, theirs_s = _measure(size)
        yield row(f"{size} policies", ours_s, theirs_s)
    yield heading("apply, processor time", "unchanged", "first")
    for size in UNCHANGED:
        yield row(f"{size} policies", *_unchanged(size))


def _unchanged(size: int) -> tuple[float, float]:
    with TemporaryDirectory(prefix="hostfw-bench-") as folder, network_namespace() as inside:
        etc = Path(folder, "etc")
        configurations.write(etc, size)
        command = [*inside, *_hostfwctl(folder, etc), "apply"]
        first_s = command_cpu_s(command)
        return median(command_cpu_s(command) for _ in range(ROUNDS)), first_s


def _measure(size: int) -> tuple[float, float]:
    with TemporaryDirectory(prefix="hostfw-bench-") as folder:
        etc, script = Path(folder, "etc"), Path(folder, "ruleset.nft")
        configurations.write(etc, size)
        with network_namespace() as inside:
            compiled = subprocess.run(
                [*inside, *_hostfwctl(folder, etc), "compile"], check=True, capture_output=True, text=True
            )
        script.write_text(compiled.stdout)

        def ours() -> float:
            with network_namespace() as inside:
                return command_s([*inside, *_hostfwctl(folder, etc), "apply"])

        def theirs() -> float:
            with network_namespace() as inside:
                return command_s([*inside, "nft", "-f", str(script)])

        ours_s, theirs_s = medians(ours, theirs)
        return ours_s, theirs_s


def _hostfwctl(folder: str, etc: Path) -> list[str]:
    directories = ["--config-dir", str(etc), "--state-dir", f"{folder}/state", "--run-dir", f"{folder}/run"]
    return [sys.executable, "-m", "hostfw.cli", *directories]
