"""Times of whole commands, and how they are told."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from resource import RUSAGE_CHILDREN, getpagesize, getrusage
from statistics import median
from time import perf_counter

ROUNDS = 5


def command_s(command: Sequence[str]) -> float:
    """The time that a command takes, in seconds; it must succeed."""
    started = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - started


def command_cpu_s(command: Sequence[str]) -> float:
    """The processor time that a command takes, in seconds, with compiled modules, as a package has them.

    On a machine that does other things as well it says more than the time on the clock.
    """
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=compiled())
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def children_cpu_s() -> float:
    """The processor time of the child processes of this thread, alive or not, in seconds."""
    ended = getrusage(RUSAGE_CHILDREN)
    living = Path("/proc/thread-self/children").read_text().split()
    run_ns = sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in living)
    return ended.ru_utime + ended.ru_stime + run_ns / 1e9


def resident_mib() -> float:
    """The memory of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / (1 << 20)


@contextmanager
def network_namespace() -> Iterator[tuple[str, ...]]:
    """A network namespace for the length of the block: the words that run a command in it."""
    name = f"hf-bench-{getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield ("nsenter", f"--net=/run/netns/{name}")
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def compiled() -> dict[str, str]:
    """The environment in which Python keeps the modules that it has compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def medians(*candidates: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    """The median of each candidate's figures over interleaved rounds, so that a busy moment hits them all alike."""
    figures: list[list[float]] = [[] for _ in candidates]
    for _ in range(rounds):
        for place, candidate in enumerate(candidates):
            figures[place].append(candidate())
    return [median(of_one) for of_one in figures]


def row(title: str, ours_s: float, theirs_s: float) -> str:
    """One line of a table: both times and their ratio."""
    return f"{title:28}{ours_s * 1000:12.1f} ms{theirs_s * 1000:12.1f} ms{ours_s / theirs_s:10.2f}"


def rss_row(title: str, now_mib: float, first_mib: float) -> str:
    """The same of memory."""
    return f"{title:28}{now_mib:11.1f} MiB{first_mib:11.1f} MiB{now_mib / first_mib:10.2f}"


def heading(title: str, ours: str, theirs: str) -> str:
    """The line above the rows."""
    return f"{title:28}{ours:>15}{theirs:>15}{'ratio':>10}"
