"""The linters are tests too, so that nothing is merged that they object to."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", ["ruff", "types", "imports", "spelling", "shell", "yaml"])
def test_a_linter_has_no_objection(target: str) -> None:
    """A part of `make lint` passes."""
    done = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )

    if done.returncode != 0:
        pytest.fail(done.stdout.decode(), pytrace=False)
