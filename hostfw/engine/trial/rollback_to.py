"""The way back to a stored generation, by its number."""

from dataclasses import replace

from hostfw.build.generation import Generation
from hostfw.engine.apply.acceptance import accept_as, accepted_of
from hostfw.engine.apply.standing_record import record_after
from hostfw.engine.checks.lockout import LockoutRequest, lockout_of
from hostfw.engine.checks.lost_connections import Lockout
from hostfw.engine.checks.lost_policy import refusal, script_refusal
from hostfw.engine.checks.nft_rules import refusal_of_denials
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.events import note, note_failed, three
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import Failed, RolledBack
from hostfw.engine.reading.deadline import left_s
from hostfw.engine.reading.standing import record_of
from hostfw.engine.trial.rollback import expire, restore
from hostfw.engine.trial.trial import waits
from hostfw.host.store.generations.generations import load_generation, stored_generations
from hostfw.host.store.generations.last_event import Event, EventKind
from hostfw.host.store.generations.trial import load_trial
from hostfw.journal.notices import generation_applied


def rollback_to(
    writer: Writer, number: int, lockout: LockoutRequest | None, *, accept_loss: bool = False
) -> RolledBack | Failed:
    """Put a stored generation into force and accept it, unless it would cut the host off or lose most of policy."""
    directories, host = writer.directories, writer.host
    expire(writer)
    trial, _ = load_trial(directories.state)
    if trial is not None:
        return waits(trial, left_s(trial, host))
    stored, problems = load_generation(directories.state, number)
    if stored is None:
        known = any(item.number == number for item in stored_generations(directories.state))
        why = f"cannot be read: {problems[0].position.path}: {problems[0].message}" if known else "is not stored"
        return Failed(f"generation number {number} {why}", "`hostfwctl history` lists those that are")
    last = writer.cache.generation.generation if writer.cache else None
    result, verb = Lockout(), f"rollback --to {number}"

    def objection(built: Generation) -> Failed | None:
        nonlocal result
        before = Before(directories, host, writer.cache, built.facts, last)
        lost = None if accept_loss else refusal(before, built.candidate.resources, built.plan, verb)
        if lost is not None:
            return lost
        result = lockout_of(before, built, lockout)
        if result.refusal is not None:
            return result.refusal
        accepted = lockout is None or lockout.accepted
        return refusal_of_denials(built, before, accepted=accepted, way_to_try="")

    restored = restore(writer, stored, number, objection, None if accept_loss else script_refusal(verb))
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
    return RolledBack(again.id, event, from_sources, (*restored.warnings, *result.warnings), unsaved)
