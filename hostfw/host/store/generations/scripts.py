"""The scripts of stored generations, and the ones that the boot loads instead once something has expired.

Digests tell whether a script is what was written; one that is not is empty, and its sources compile to it again.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from hostfw.host.store.atomic_files import remove_leftovers, write_atomically, write_new
from hostfw.host.store.codec import Unreadable, garbage, load_text, unreadable
from hostfw.host.store.generations.sources import link_to
from hostfw.model.problems import Problem, Severity
from hostfw.model.time.moments import moment_of

MOST_SCRIPTS = 4
"""Most recent scripts that are kept: an interface that comes and goes leads back to one of them."""

_LASTING = "lasting.nft"
EXPIRES = "expires"
"""The file that tells the boot between which seconds it may load the script that allows what expires."""


@dataclass(frozen=True, slots=True)
class LastingScript:
    """A script without anything that is allowed for the sake of a resource which expires, and until when it has not.

    The script is empty where it was found damaged.
    """

    script: str
    until: datetime


def save_script(kept: Path, path: Path, script: bytes) -> None:
    """Write a script, as a link to the one that is kept if there is one. Raises OSError."""
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    remove_leftovers(kept.parent)
    if _content(kept) == script:
        os.utime(kept)
    else:
        write_atomically(kept, script)
    if not link_to(kept, path):
        write_new(path, script)
    # Another writer in this state directory may be at it, too.
    with suppress(OSError):
        scripts = sorted(kept.parent.iterdir(), key=lambda one: (one != kept, -one.stat().st_mtime_ns))
        for one in scripts[MOST_SCRIPTS:]:
            one.unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def load_script(path: Path, digest: str) -> tuple[str, tuple[Problem, ...]]:
    """The script, or with a warning nothing: its sources can be compiled again."""
    try:
        text, problems = load_text(path, required=True)
    except Unreadable as error:
        text, problems = None, (unreadable(path, error),)
    if text is not None and sha256(text.encode()).hexdigest() == digest:
        return text, ()
    return "", tuple(replace(problem, severity=Severity.WARNING) for problem in problems or (garbage(path),))


def about_lasting(lasting: LastingScript | None) -> dict[str, object]:
    """The part of a generation's record that is about its lasting script."""
    if lasting is None:
        return {}
    return {"lasting": {"sha256": _digest(lasting.script), "until": lasting.until.isoformat()}}


def save_lasting(aside: Path, lasting: LastingScript | None, applied_at: datetime) -> None:
    """Write what the boot needs to choose: a script, and the seconds between which the other one may be loaded.

    Raises OSError.
    """
    if lasting is None:
        return
    write_new(aside / _LASTING, lasting.script.encode())
    first, last = int(applied_at.timestamp()), int(lasting.until.timestamp())
    write_new(aside / EXPIRES, f"{first} {last}\n".encode())


def load_lasting(folder: Path, about: object) -> LastingScript | None:
    """The lasting script of a stored generation, by its record; None if nothing of it expires."""
    match about:
        case {"lasting": {"sha256": str(digest), "until": str(until)}} if (when := moment_of(until)) is not None:
            return LastingScript(load_script(folder / _LASTING, digest)[0], when)
        case _:
            return None


def _digest(script: str) -> str:
    return sha256(script.encode()).hexdigest()
