"""The generations that are stored, and the way back to one of them."""

from dataclasses import dataclass, replace

from hostfw.build.generation import Generation
from hostfw.engine.acceptance import accept_as, accepted_of
from hostfw.engine.context import Directories
from hostfw.engine.deploy import Writer
from hostfw.engine.events import note, note_failed, three
from hostfw.engine.judgement import LockoutQuestion, judgement_of
from hostfw.engine.lockout_check import Judgement
from hostfw.engine.loss_check import refusal
from hostfw.engine.outcomes import Failed, TakenBack
from hostfw.engine.plan_before import Before
from hostfw.engine.rollback import restore, settle
from hostfw.engine.standing import record_after, record_of
from hostfw.engine.trial import left_s, waits
from hostfw.host.store.active import load_in_force
from hostfw.host.store.generations import Stored, accepted_number, load_generation, stored_generations
from hostfw.host.store.refused import Event, EventKind
from hostfw.host.store.trial import load_pending
from hostfw.journal.notices import generation_applied


@dataclass(frozen=True, slots=True)
class History:
    """The stored generations, oldest first, and which of them are accepted, in force and waiting, by number."""

    generations: tuple[Stored, ...]
    accepted: int | None
    in_force: int | None
    pending: int | None


def history(directories: Directories) -> History:
    """The stored generations. Of equal ones the latest is in force."""
    stored = stored_generations(directories.state)
    record, _ = load_in_force(directories.run)
    pending, _ = load_pending(directories.state)
    accepted = accepted_number(directories.state)
    alike = [item.number for item in stored if record is not None and item.id == record.id]
    likely = [number for number in (pending.number if pending else None, accepted) if number in alike]
    in_force = next(iter((*likely, *reversed(alike))), None)
    return History(stored, accepted, in_force, pending.number if pending else None)


def rollback_to(
    writer: Writer, number: int, lockout: LockoutQuestion | None, *, accept_loss: bool = False
) -> TakenBack | Failed:
    """Put a stored generation into force and accept it, unless it would cut the host off or lose most of policy."""
    directories, host = writer.directories, writer.host
    settle(writer)
    pending, _ = load_pending(directories.state)
    if pending is not None:
        return waits(pending, left_s(pending, host))
    stored, problems = load_generation(directories.state, number)
    if stored is None:
        known = any(item.number == number for item in stored_generations(directories.state))
        why = f"cannot be read: {problems[0].position.path}: {problems[0].message}" if known else "is not stored"
        return Failed(f"generation number {number} {why}", "`hostfwctl history` lists those that are")
    last = writer.memory.building.generation if writer.memory else None
    judgement = Judgement()

    def objection(built: Generation) -> Failed | None:
        nonlocal judgement
        before = Before(directories, host, writer.memory, built.facts, last)
        lost = (
            None if accept_loss else refusal(before, built.inspected.resources, built.plan, f"rollback --to {number}")
        )
        if lost is not None:
            return lost
        judgement = judgement_of(before, built, lockout)
        return judgement.refusal

    restored = restore(writer, stored, number, objection)
    if isinstance(restored, Failed):
        return note_failed(directories, host, restored, stored.id)
    from_sources = restored.generation is not None
    again = accepted_of(restored.generation, writer) if restored.generation is not None else stored
    # Built it has a record of now; a script has that of then.
    built = restored.generation
    governance = record_after(built, host) if built is not None else record_of(directories, host, number)
    unsaved = accept_as(writer, replace(again, applied_at=host.now()), governance)
    reason = f"back to generation number {number} by hand"
    event = Event(EventKind.APPLIED, host.now(), again.id, reason)
    note(directories, host, event, generation_applied(again.id, *three(again.counts), reason))
    return TakenBack(again.id, event, from_sources, (*restored.warnings, *judgement.warnings), unsaved)
