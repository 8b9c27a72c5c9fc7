"""The generations that are stored, as `hostfwctl history` lists them."""

from dataclasses import dataclass

from hostfw.engine.context import Directories
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import Stored, accepted_number, stored_generations
from hostfw.host.store.generations.trial import load_trial


@dataclass(frozen=True, slots=True)
class History:
    """The stored generations, oldest first, and which of them are accepted, in force and waiting, by number."""

    generations: tuple[Stored, ...]
    accepted: int | None
    in_force: int | None
    on_trial: int | None


def history(directories: Directories) -> History:
    """The stored generations. Of equal ones the latest is in force. Raises Unreadable."""
    stored = stored_generations(directories.state)
    record, _ = load_active(directories.run)
    trial, _ = load_trial(directories.state)
    accepted = accepted_number(directories.state)
    alike = [item.number for item in stored if record is not None and item.id == record.id]
    likely = [number for number in (trial.number if trial else None, accepted) if number in alike]
    in_force = next(iter((*likely, *reversed(alike))), None)
    return History(stored, accepted, in_force, trial.number if trial else None)
