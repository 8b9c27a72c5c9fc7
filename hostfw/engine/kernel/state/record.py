"""The record of what is in force, written and written again: what a disk would not take is owed until it does.

A record that could not be written is removed, since it would say what is not so. Where that fails as well an old one
stays. A process with a cache knows it by its stamp, and takes it neither for the work of another hostfwctl nor for
true.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hostfw.build.cache import EngineCache
from hostfw.host.errors import HostError
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.generations.active import ActiveGeneration, forget_active, load_active, record_stamp, save_active
from hostfw.host.store.generations.unsaved import forget_unsaved


def write_record(run_dir: Path, cache: EngineCache | None, record: ActiveGeneration) -> str:
    """Write down what is in force; gives the error of a disk that refuses it, or "". With a cache it is retried."""
    said = ""
    try:
        save_active(run_dir, record)
    except HostError as error:
        said = error.message
        with suppress(HostError):
            forget_active(run_dir)
    if cache is not None:
        cache.done.owed = record if said else None
        cache.done.stamp = record_stamp(run_dir)
    return said


def forget_record(run_dir: Path, cache: EngineCache | None) -> str:
    """Write down that nothing of ours is in force; gives what a disk says that does not take it, or nothing."""
    said = ""
    try:
        forget_active(run_dir)
    except HostError as error:
        said = error.message
    if cache is not None:
        cache.done.owed = None
        cache.done.stamp = record_stamp(run_dir)
    return said


def write_owed(run_dir: Path, cache: EngineCache | None) -> str:
    """Write down again what could not be, unless somebody else has written since; gives what the disk says."""
    owed = cache.done.owed if cache is not None else None
    if cache is None or owed is None:
        return ""
    stamp = record_stamp(run_dir)
    if stamp is None:
        return f"the record in {run_dir} cannot be read"
    if stamp != cache.done.stamp and not (cache.done.stamp is None and _is_stale(run_dir, owed)):
        cache.done.owed = None
        return ""
    return write_record(run_dir, cache, owed)


def is_of_another(run_dir: Path, cache: EngineCache | None, generation_id: str) -> bool:
    """True if the record is of another generation, and another hostfwctl wrote it.

    One that nobody has written since we last did, or failed to, is a stale one of ours. Raises Unreadable.
    """
    if cache is not None and cache.done.stamp is not None and cache.done.stamp == record_stamp(run_dir):
        return False
    record, _ = load_active(run_dir)
    if record is None or record.id == generation_id:
        return False
    if cache is None or cache.done.stamp is None:
        return True
    stamp = record_stamp(run_dir)
    if stamp is None:
        raise Unreadable(f"the record in {run_dir} cannot be read", "run it again")
    return stamp != cache.done.stamp


def _is_stale(run_dir: Path, owed: ActiveGeneration) -> bool:
    """True if the record cannot be newer than one that is owed. Raises Unreadable."""
    record, _ = load_active(run_dir)
    return record is None or record.applied_at <= owed.applied_at


def note_saved(run_dir: Path, cache: EngineCache | None, *, saved: bool) -> None:
    """Let the record of what is in force say whether a reboot leads to it.

    The record is in the run directory, which has a disk of its own. Where that takes nothing either, none is kept.
    """
    if cache is not None:
        # Whatever stops this midway leaves it to be done again.
        cache.done.unsaved |= not saved
    _note_saved(run_dir, cache, saved=saved)
    if cache is not None:
        cache.done.unsaved = not saved
    if saved:
        forget_unsaved(run_dir)


def _note_saved(run_dir: Path, cache: EngineCache | None, *, saved: bool) -> None:
    held = cache.last_commit if cache is not None else None
    if cache is not None and held is not None and (not held.stamp or held.stamp != record_stamp(run_dir)):
        held = cache.last_commit = None
    owed = cache.done.owed if cache is not None else None
    record = owed
    with suppress(Unreadable):
        record = owed or (held.record if held is not None else load_active(run_dir)[0])
    if record is None or record.saved == saved:
        return
    now = replace(record, saved=saved)
    said = write_record(run_dir, cache, now)
    if cache is not None and held is not None:
        cache.last_commit = None if said else replace(held, record=now, stamp=record_stamp(run_dir) or ())
