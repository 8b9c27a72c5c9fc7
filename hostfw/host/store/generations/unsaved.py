"""The accepted generation that a full disk did not take: run_dir/unsaved, laid out as the state directory.

The run directory has a disk of its own, which ends with the boot. What is kept there is in force, so whoever takes over
in this boot has its sources and its record, and writes them down once the disk takes them.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import Accepted, read_accepted, save_accepted
from hostfw.model.host.governance import Governance

_UNSAVED = "unsaved"


def unsaved_state(run_dir: Path) -> Path:
    """The stand-in for the state directory."""
    return run_dir / _UNSAVED


def keep_unsaved(run_dir: Path, generation: Accepted, governance: Governance) -> None:
    """Keep a generation with its record. Where that disk is full as well nothing is kept."""
    forget_unsaved(run_dir)
    with suppress(HostError):
        save_accepted(unsaved_state(run_dir), generation, governance)


def load_unsaved(run_dir: Path, generation_id: str) -> Accepted | None:
    """The generation of an id that is kept, or None. Raises Unreadable."""
    found, _ = read_accepted(unsaved_state(run_dir))
    return found if found is not None and found.id == generation_id else None


def forget_unsaved(run_dir: Path) -> None:
    """Keep nothing: what is in force is saved, or is another. What cannot be removed is told by its id."""
    with suppress(OSError):
        shutil.rmtree(unsaved_state(run_dir))
