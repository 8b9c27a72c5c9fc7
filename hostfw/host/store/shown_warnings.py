"""The warnings that have been shown, so a reload by a timer does not repeat them every time.

    run_dir/told-warnings.json    a digest of each, until the next boot

It only affects output: if it cannot be read or written, a warning is shown again.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import Unreadable, load_json, to_json
from hostfw.model.problems import Problem

_FILE = "told-warnings.json"


def not_yet_shown(run_dir: Path, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems that have not been told since the boot, or have gone and come back since."""
    try:
        known, _ = load_json(run_dir / _FILE)
    except Unreadable:
        return tuple(problems)
    match known:
        case {"format": 1, "told": list(digests)}:
            return tuple(problem for problem in problems if _digest(problem) not in digests)
        case _:
            return tuple(problems)


def remember_shown(run_dir: Path, problems: Collection[Problem]) -> None:
    """Note that these have been told, and no others."""
    with suppress(OSError):
        write_atomically(run_dir / _FILE, to_json(told=sorted({_digest(problem) for problem in problems})))


def _digest(problem: Problem) -> str:
    """A problem without its line, which moves with everything above it."""
    return sha256(f"{problem.position.path}\0{problem.message}".encode(errors="replace")).hexdigest()[:32]
