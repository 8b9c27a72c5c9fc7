"""The start of hostfwctl against an empty Python, and where they are there against `nft` and `ufw`.

    BENCH_AGAINST=/path/to/another/checkout python3 -m bench.startup

The verbs are of 1,000 policies in force in a network namespace. With another checkout its times are in a table of
their own, in interleaved rounds. Modules are compiled, as a package has them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import which
from subprocess import run
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.inputs import configurations
from bench.measuring.measure import compiled, heading, medians, network_namespace, row

ROOT = Path(__file__).parents[1]
POLICIES = 1000
ROUNDS = 11
PYTHON = (sys.executable, "-c", "pass")
OTHERS = (("nft", "--version"), ("ufw", "status"))
_HOSTFWCTL = (sys.executable, "-m", "hostfw.cli")
_FOLDERS = {"config": "etc", "state": "state", "run": "run"}
_VALIDATED = ROOT / "examples/bastion/etc/policies/ssh.yaml"


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    against = os.environ.get("BENCH_AGAINST")
    others = [PYTHON, *(command for command in OTHERS if which(command[0]))]
    with TemporaryDirectory(prefix="hostfw-bench-") as folder, in_force(Path(folder)) as (inside, directories):
        verbs = {
            "--version": ("--version",),
            "validate, one file": ("validate", "-f", str(_VALIDATED)),
            f"status, {POLICIES} policies": (*directories, "status"),
        }
        for other in others:
            yield heading("startup", "hostfwctl", " ".join(other[-1:] if other == PYTHON else other)[:14])
            for title, verb in verbs.items():
                ours = partial(_took_s, ROOT, (*inside, *_HOSTFWCTL, *verb))
                yield row(title, *medians(ours, partial(_took_s, ROOT, (*inside, *other)), rounds=ROUNDS))
        if against is not None:
            yield heading("startup", "here", "there")
            for title, verb in verbs.items():
                command = (*inside, *_HOSTFWCTL, *verb)
                here, there = partial(_took_s, ROOT, command), partial(_took_s, Path(against), command)
                yield row(title, *medians(here, there, rounds=ROUNDS))


@contextmanager
def in_force(folder: Path, policies: int = POLICIES) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """A network namespace with policy in force: the words that enter it, and the options that name its directories."""
    configurations.write(folder / "etc", policies)
    directories = tuple(
        word for option in ("config", "state", "run") for word in (f"--{option}-dir", str(folder / _FOLDERS[option]))
    )
    with network_namespace() as inside:
        run([*inside, *_HOSTFWCTL, *directories, "apply"], cwd=ROOT, check=True, capture_output=True)
        yield inside, directories


def _took_s(checkout: Path, command: tuple[str, ...]) -> float:
    started = perf_counter()
    run(command, cwd=checkout, check=True, capture_output=True, env=compiled())
    return perf_counter() - started


if __name__ == "__main__":
    for line in lines():
        print(line)
