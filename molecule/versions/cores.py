"""The ansible-core versions that the collection supports, each installed in a virtual environment of its own."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

CORES = {
    "2.16.19": (10, 12),
    "2.17.14": (10, 12),
    "2.18.19": (11, 13),
    "2.19.14": (11, 13),
    "2.20.10": (12, 14),
    "2.21.5": (12, 14),
}
"""The last release of every line since 2.16, with the first and the last minor version of Python 3 for a controller."""

_KEPT = Path("/var/cache/hostfw-ansible-cores")


class MissingError(Exception):
    """A version that this machine cannot have, and why."""


def core(version: str) -> Path:
    """The directory of the commands of a version, which is installed at the first call. Raises MissingError."""
    kept = _KEPT / version
    bin_ = kept / "bin"
    if (kept / "complete").exists() and (bin_ / "python").exists():
        return bin_
    first, last = CORES[version]
    python = next((found for minor in range(last, first - 1, -1) for found in _pythons(minor)), None)
    if python is None:
        raise MissingError(f"ansible-core {version} needs Python 3.{first} to 3.{last}, and there is none")
    _KEPT.mkdir(parents=True, exist_ok=True)
    pip = [str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for argv in ([str(python), "-m", "venv", "--clear", str(kept)], [*pip, f"ansible-core=={version}"]):
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            last_line = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            raise MissingError(f"ansible-core {version} cannot be installed; is there a network? {last_line}")
    (kept / "complete").touch()
    return bin_


def _pythons(minor: int) -> Iterator[Path]:
    """The interpreters of a minor version: on PATH, and those of pyenv."""
    on_path = shutil.which(f"python3.{minor}")
    pyenv = shutil.which("pyenv")
    found = sorted((Path(pyenv).parents[1] / "versions").glob(f"3.{minor}.*/bin/python")) if pyenv else []
    for candidate in ([Path(on_path)] if on_path else []) + found:
        answers = [str(candidate), "-c", "import venv, ensurepip"]
        if subprocess.run(answers, check=False, capture_output=True).returncode == 0:
            yield candidate
