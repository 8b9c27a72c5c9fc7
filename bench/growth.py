"""Growth of the compiler's work with the number of policies, for each shape that once was a cliff: figures and a plot.

    python3 -m bench.growth [SIZE ...] [PLOT.svg]

Processor time to compile, elements of maps, chains, and kernel memory are told for 10 to 10,000 policies. Kernel
memory is what the control group of a process that loads the script is charged for; without root it is left out.
"""

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from subprocess import DEVNULL, run
from time import process_time

from bench.inputs.mixtures import SHAPES, plan_of
from bench.measuring.plot import Panel, svg
from hostfw.compile.ruleset import compile_plan
from hostfw.nft.object_text import render

SIZES = (10, 100, 1000, 10_000)
GROWING: Mapping[str, Mapping[str, int]] = {
    "ports, a few nets denied": {"port": 986, "deny net": 14},
    "half ports, half nets": {"port": 1, "net": 1},
    "nets of any length": {"any length": 1},
    "sets of 99 nets, one port": {"set": 1},
    "a named port in one of 20": {"net and port": 19, "named port": 1},
    "wide ranges of ports": {"wide range": 1},
    "wide ranges of 3 nets": {"net and wide range": 1},
    "source ports": {"source port": 1},
    "source ports of a wide net": {"source port of a wide net": 19, "net": 1},
    "all but a net": {"but a net": 1},
    "every shape": dict.fromkeys(SHAPES, 1),
}
"""Mixtures by what they are called in the plot."""
_CGROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
"""Where control groups of memory are made: of version 1, and of version 2."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a compilation and what came of it; `kernel_bytes` None where nothing tells."""

    compile_s: float
    elements: int
    chains: int
    kernel_bytes: int | None


def work(weights: Mapping[str, int], count: int) -> Work:
    """The work that so many policies of a mixture are."""
    plan = plan_of(weights, count)
    gc.collect()
    gc.disable()  # As `hostfwctl` and the service do while they compile.
    started = process_time()
    ruleset = compile_plan(plan)
    compile_s = process_time() - started
    gc.enable()
    elements = sum(len(contents.elements) for table in ruleset.tables for contents in table.maps)
    elements += sum(len(contents.elements) for table in ruleset.tables for contents in table.sets)
    return Work(compile_s, elements, sum(len(table.chains) for table in ruleset.tables), _kernel_bytes(render(ruleset)))


def lines(sizes: Sequence[int] = SIZES, plot: Path | None = None) -> Iterator[str]:
    """A line for each mixture and size, how much the largest is of the one before, and the plot in a file."""
    found: dict[str, list[Work]] = {}
    yield f"{'':28}{'policies':>9}{'compile':>10}{'elements':>10}{'chains':>9}{'kernel':>10}"
    for name, weights in GROWING.items():
        for size in sizes:
            one = work(weights, size)
            found.setdefault(name, []).append(one)
            kernel = "-" if one.kernel_bytes is None else f"{one.kernel_bytes / 1e6:.1f} MB"
            yield f"{name:28}{size:9}{one.compile_s:8.2f} s{one.elements:10}{one.chains:9}{kernel:>10}"
        if len(sizes) > 1:
            *_, before, last = found[name]
            ratios = (
                last.compile_s / before.compile_s,
                last.elements / max(before.elements, 1),
                last.chains / before.chains,
            )
            rules = sizes[-1] / sizes[-2]
            yield f"  {rules:.0f} times the policies: {' '.join(f'{ratio:9.1f}' for ratio in ratios)} times"
    if plot is not None:
        panels = [
            Panel("processor time, s", {name: [one.compile_s for one in each] for name, each in found.items()}),
            Panel("elements", {name: [one.elements for one in each] for name, each in found.items()}),
            Panel("chains", {name: [one.chains for one in each] for name, each in found.items()}),
            Panel("kernel memory, kB", {name: [_kb(one) for one in each] for name, each in found.items()}),
        ]
        plot.write_text(svg("policies", sizes, panels))


def _kb(one: Work) -> float:
    return (one.kernel_bytes or 0) / 1000


def _kernel_bytes(script: str) -> int | None:
    """The kernel memory of a script that is loaded in a network namespace of its own."""
    name = f"hf-growth-{getpid()}"
    with _group(name) as group:
        if group is None:
            return None
        enter = f"echo $$ > {group}/cgroup.procs && exec ip netns exec {name} nft -f -"
        run(("ip", "netns", "add", name), check=True)
        try:
            before = _charged(group)
            run(("sh", "-c", enter), input=script, text=True, check=True, stdout=DEVNULL)
            return max(_charged(group) - before, 0)
        finally:
            run(("ip", "netns", "delete", name), check=True)


@contextmanager
def _group(name: str) -> Iterator[Path | None]:
    """A control group whose memory is counted; None where there can be none."""
    group = next(root for root in _CGROUPS if root.exists()) / name
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        yield group if (group / "memory.stat").exists() else None
    finally:
        group.rmdir()


def _charged(group: Path) -> int:
    """The bytes of kernel objects that a group is charged for."""
    of_version_1 = group / "memory.kmem.usage_in_bytes"
    if of_version_1.exists():
        return int(of_version_1.read_text())
    fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(fields["kernel"])


def main() -> None:
    """Measure the sizes that are given, or all, and write the plot where one is named."""
    sizes = [int(one) for one in sys.argv[1:] if one.isdigit()]
    (plot,) = [Path(one) for one in sys.argv[1:] if not one.isdigit()] or (None,)
    for line in lines(sizes or SIZES, plot):
        print(line, flush=True)


if __name__ == "__main__":
    main()
