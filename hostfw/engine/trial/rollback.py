"""Back to a generation that was accepted: recompiled on the facts of now, or by its stored script."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from hostfw.build.cache import accepted_now, cached_governance
from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build, script_id
from hostfw.engine.apply.acceptance import accept_as, accepted_of, superseded
from hostfw.engine.apply.standing_record import keep_record, record_after
from hostfw.engine.checks.lockout import LockoutRequest, lockout_of
from hostfw.engine.checks.lost_connections import Lockout
from hostfw.engine.checks.lost_policy import lost_interfaces
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.events import note
from hostfw.engine.kernel.deploy.deploy import enforce, enforce_nothing
from hostfw.engine.kernel.deploy.disturbances import Enforced
from hostfw.engine.kernel.script.deploy import enforce_script
from hostfw.engine.kernel.state.record import note_saved
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import Failed, NoTrial, RolledBack
from hostfw.engine.reading.deadline import DEADLINE, REBOOT, due
from hostfw.engine.reading.standing import named, record_of, standing
from hostfw.host.errors import HostError
from hostfw.host.store.codec import StateError, Unreadable
from hostfw.host.store.generations.generations import Accepted, accepted_number, load_generation
from hostfw.host.store.generations.last_event import Event, EventKind
from hostfw.host.store.generations.trial import RollbackTimer, Trial, forget_trial, load_rollback_timer, load_trial
from hostfw.journal.notices import generation_confirmed, generation_rolled_back
from hostfw.model.sources import Configuration
from hostfw.policy.expiry import latest

BY_HAND = "by hand"
DAMAGED = "the record of the unconfirmed change was damaged"
NO_RULES = "nothing was accepted before: no rules of hostfw are in force, and every packet passes that no other denies"
_PATIENCE_S = 30.0
"""Seconds after the deadline of a trial for which what is accepted may be unreadable."""
TRIED_AGAIN = "the next hostfwctl tries again"


@dataclass(frozen=True, slots=True)
class Restored:
    """An earlier generation in force again: as it was compiled now, or (`generation` None) as its stored script was."""

    id: str | None
    generation: Generation | None = None
    warnings: tuple[str, ...] = ()


def expire(writer: Writer) -> RolledBack | Failed | None:
    """Bring to its end what should have ended by now; None if there is nothing or it may still be confirmed.

    Raises Unreadable: what cannot be read now may be confirmed all the same.
    """
    state = writer.directories.state
    trial, problems = load_trial(state)
    if trial is None:
        return roll_back(writer, None, DAMAGED) if problems else None
    timer = load_rollback_timer(writer.directories.run)
    try:
        is_confirmed = accepted_number(state) == trial.number
    except Unreadable:
        # It may pass. Long after the deadline nobody can be left outside for it.
        late = due(trial, timer, writer.host.boot_id(), writer.host.uptime() - _PATIENCE_S)
        if late != DEADLINE:
            raise
        is_confirmed = False
    if is_confirmed:
        # Killed on its way out: it was confirmed, and only the record was still there.
        with suppress(StateError):
            end(writer, timer)
            note_confirmed(writer, trial.id)
        return None
    if superseded(writer, trial.id):
        # Something else was accepted since, and a full disk took neither that nor the end of this.
        with suppress(StateError):
            end(writer, timer)
        return None
    reason = due(trial, timer, writer.host.boot_id(), writer.host.uptime())
    return None if reason is None else roll_back(writer, trial, reason)


def rollback(
    writer: Writer,
    if_pending: str | None,
    lockout: LockoutRequest | None = None,
    *,
    accept_loss: bool = False,
) -> RolledBack | NoTrial | Failed:
    """Roll back what is pending, by hand, or with the token of `if_pending` since its deadline has come.

    A record that cannot be read is taken for damaged, unless that of this boot says that the token is another's. By
    hand it is refused if what was accepted would cut the host off, or would leave bare what is governed now. At the
    deadline nothing stands in its way, since nobody has said that they could still get in.
    """
    trial: Trial | None = None
    try:
        load_trial(writer.directories.state)
    except Unreadable:
        if if_pending is not None:
            return NoTrial() if _is_of_another(writer, if_pending) else roll_back(writer, None, DAMAGED)
    else:
        expired = expire(writer)
        if expired is not None:
            return expired
        trial, _ = load_trial(writer.directories.state)
        if trial is not None and superseded(writer, trial.id):
            return NoTrial()
        if trial is None or if_pending not in (None, trial.token):
            return NoTrial()
        if if_pending is not None:
            return roll_back(writer, trial, DEADLINE)
    last = writer.cache.generation.generation if writer.cache else None
    result = Lockout()

    def objection(built: Generation) -> Failed | None:
        nonlocal result
        before = Before(writer.directories, writer.host, writer.cache, built.facts, last)
        lost = None if accept_loss else lost_interfaces(before, built.plan, "rollback")
        if lost is not None:
            return lost
        result = lockout_of(before, built, lockout, on_trial=True)
        return result.refusal

    taken = roll_back(writer, trial, BY_HAND if trial is not None else DAMAGED, objection)
    return taken if isinstance(taken, Failed) else replace(taken, warnings=(*taken.warnings, *result.warnings))


def _is_of_another(writer: Writer, token: str) -> bool:
    """True if it is certain that a token is not that of the trial of this boot."""
    try:
        timer = load_rollback_timer(writer.directories.run)
    except Unreadable:
        return False
    return timer is not None and timer.token != token


def _nothing_against(_: Generation) -> Failed | None:
    return None


def roll_back(
    writer: Writer,
    trial: Trial | None,
    reason: str,
    objection: Callable[[Generation], Failed | None] = _nothing_against,
) -> RolledBack | Failed:
    """Put what was accepted into force again and let nothing be pending; a failure leaves the way back as it is.

    What was accepted may meet with an `objection`, and what is pending stays then.
    A record that cannot be removed does not undo that: it is rolled back once more by whoever comes next.
    """
    timer: RollbackTimer | None = None
    with suppress(Unreadable):
        timer = load_rollback_timer(writer.directories.run)
    restored = _restore_accepted(writer, trial, reason, objection)
    if isinstance(restored, Failed):
        return restored
    note_saved(writer.directories.run, writer.cache, saved=True)
    rolled_back = trial.id if trial is not None else ""
    event = Event(EventKind.ROLLED_BACK, writer.host.now(), rolled_back, reason)
    note(writer.directories, writer.host, event, generation_rolled_back(rolled_back, restored.id or "", reason))
    unsaved: tuple[str, ...] = ()
    try:
        # The deadline has its watchdog running, which ends by itself.
        end(writer, None if reason == DEADLINE else timer)
    except HostError as error:
        unsaved = (f"{error.message}: {TRIED_AGAIN}",)
    else:
        unsaved = _accept_as_built(writer, restored.generation)
    from_sources = restored.id is None or restored.generation is not None
    return RolledBack(restored.id, event, from_sources, restored.warnings, unsaved)


def _accept_as_built(writer: Writer, built: Generation | None) -> tuple[str, ...]:
    """Accept what was accepted as it was built for the host of now: interfaces may have come during the trial.

    Gives what is unsaved, and why.
    """
    if built is None:
        return ()
    with suppress(Unreadable):
        accepted, _ = accepted_now(writer.directories.state, writer.cache)
        if accepted is None or accepted.id == built.id or accepted.configuration != built.candidate.configuration:
            return ()
        return accept_as(writer, accepted_of(built, writer), record_after(built, writer.host))
    return ()


def note_confirmed(writer: Writer, generation: str) -> None:
    """Note that what waited is accepted."""
    event = Event(EventKind.CONFIRMED, writer.host.now(), generation)
    note(writer.directories, writer.host, event, generation_confirmed(generation))


def end(writer: Writer, timer: RollbackTimer | None) -> None:
    """Let nothing be pending, and its watchdog be. Raises StateError."""
    forget_trial(writer.directories.state, writer.directories.run)
    if timer is not None and timer.watchdog:
        writer.host.disarm(timer.watchdog)


def restore(
    writer: Writer,
    accepted: Accepted,
    number: int | None,
    objection: Callable[[Generation], Failed | None] = _nothing_against,
    script_refusal: Failed | None = None,
) -> Restored | Failed:
    """Put the stored generation of a number into force: from its sources, or if they no longer build its script.

    Built from its sources it governs what is on record of it, whatever has become of the host. What is built from the
    sources may meet with an `objection`, and is not put into force then. Sources that no longer build end in
    `script_refusal`, if one is given, in place of the script.
    """
    enforced: Enforced | Failed
    cache = writer.cache
    script = accepted.script_at(writer.host.now())
    try:
        candidate = check_candidate(accepted.configuration, cache=cache.candidate if cache else None)
        facts = writer.host.facts(candidate.settings.node)
        before = record_of(writer.directories, writer.host, number, cached_governance(cache))
        before = named(before, candidate.resources, facts, take_name=False)
        # What has expired since then has expired for every generation, and the clock has been as far as it was.
        since = standing(writer.directories, writer.host, cached_governance(cache))
        expired = tuple(sorted({*before.expired, *since.expired}))
        before = replace(before, expired=expired, applied=latest(before.applied, since.applied))
        built = build(candidate, facts, cache.generation if cache else None, before)
    except HostError:
        built = None
    if isinstance(built, Generation):
        refused = objection(built)
        if refused is not None:
            return refused
        enforced = enforce(built, writer)
        if isinstance(enforced, Enforced):
            governance = record_after(built, writer.host)
            said = () if number is None else keep_record(writer.directories, number, governance, cache)
            return Restored(built.id, built, (*enforced.warnings, *said))
        if not script:
            return enforced
    elif not script:
        return Failed(
            f"generation {accepted.id} no longer builds on this host, and its stored script is damaged",
            "`hostfwctl apply` of a configuration that is valid ends this",
        )
    elif script_refusal is not None:
        return script_refusal
    enforced = enforce_script(script, writer, accepted.counts)
    if isinstance(enforced, Failed):
        return enforced
    return Restored(script_id(script), None, enforced.warnings)


def _restore_accepted(
    writer: Writer, trial: Trial | None, reason: str, objection: Callable[[Generation], Failed | None]
) -> Restored | Failed:
    state = writer.directories.state
    number = None
    try:
        number = accepted_number(state)
    except Unreadable:
        if trial is None or trial.previous is None:
            raise
    if number is None and trial is not None:
        number = trial.previous
    if number is not None:
        accepted, problems = load_generation(state, number)
        if accepted is not None:
            return restore(writer, accepted, number, objection)
        return Failed(f"the accepted generation cannot be read: {problems[0].position.path}: {problems[0].message}")
    if trial is None:
        return Failed("there is no accepted generation to go back to", "`hostfwctl apply` puts one into force")
    if trial.protected:
        return restore(writer, Accepted("", trial.deadline, Configuration(), ""), None)
    if reason == REBOOT:
        # Whatever is there now was put there by the boot.
        return Restored(None)
    enforced = enforce_nothing(writer)
    return enforced if isinstance(enforced, Failed) else Restored(None, warnings=(NO_RULES, *enforced.warnings))
