"""The stored generation that is in force, without its scripts."""

from hostfw.engine.context import Directories
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import Accepted, generations, read_accepted, read_generation
from hostfw.host.store.generations.unsaved import load_unsaved


def stored_active(directories: Directories, accepted: Accepted | None = None) -> Accepted | None:
    """The stored generation that is in force: the accepted one where that is not on record, as after a boot.

    `accepted` is the accepted one where it has been read just now. Raises Unreadable.
    """
    record, _ = load_active(directories.run)
    if accepted is None:
        accepted, _ = read_accepted(directories.state, with_scripts=False)
    if record is None or (accepted is not None and accepted.id == record.id):
        return accepted
    unsaved = load_unsaved(directories.run, record.id)
    if unsaved is not None:
        return unsaved
    # It waits for its confirmation, or is one that somebody went back to.
    stored = (
        read_generation(directories.state, number, with_scripts=False)[0]
        for number in reversed(generations(directories.state))
    )
    return next((generation for generation in stored if generation and generation.id == record.id), None)
